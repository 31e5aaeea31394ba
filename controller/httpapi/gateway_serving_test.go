// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/controller/httpapi"
	"github.com/whirl-faas/whirl/whisk"
)

func TestAPILeadsToTheAction(t *testing.T) {
	p := withGateway(t)
	p.run()
	p.export("echo")
	p.mustCreateAPI("/club", "/books/{id}", "GET", "echo", "http")
	p.mustCreateAPI("/club", "/books", "POST", "echo", "json")
	p.mustCreateAPI("/club", "/gone", "GET", "nothing", "json")

	got := p.must(200, "POST", served+"/club/books?a=b&n=1", `{"n":2}`, noAuth)
	sameJSON(t, got.body, `{"a":"b","n":2,"__ow_method":"post","__ow_path":"","__ow_headers":{
		"content-type":"application/json","host":"example.com","x-request-id":"tid","x-forwarded-url":"http://example.com`+served+`/club/books?a=b&n=1"}}`)
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, PATCH, HEAD, OPTIONS", "Access-Control-Allow-Credentials": "true",
	} {
		if got.header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, got.header.Get(name), want)
		}
	}
	if got.header.Get("X-Openwhisk-Activation-Id") == "" {
		t.Error("no activation id")
	}

	p.answersJSON(`{"statusCode":201,"headers":{"X-Mine":"1"},"body":"made"}`)
	if got := p.must(201, "GET", served+"/club/books/5", "", noAuth, "Origin: https://site.example"); got.body != "made" || got.header.Get("X-Mine") != "1" || got.header.Get("Access-Control-Allow-Origin") != "https://site.example" {
		t.Errorf("%v %s", got.header, got.body)
	}
	got = p.must(200, "OPTIONS", served+"/club/books/5", "", noAuth, "Access-Control-Request-Headers: X-Mine", "Origin: https://site.example")
	if got.body != "" || got.header.Get("Access-Control-Allow-Headers") != "X-Mine" || got.header.Get("Access-Control-Allow-Origin") != "https://site.example" || got.header.Get("X-Openwhisk-Activation-Id") != "" {
		t.Errorf("OPTIONS: %v %q", got.header, got.body)
	}
	p.mustFail(404, "The requested resource does not exist.", "GET", served+"/club/gone", "", noAuth)
	for target, want := range map[string]string{
		"GET " + served + "/club/book":       "Not found.",
		"GET " + served:                      "Not found.",
		"GET " + served + "/club/books":      "Whoops. Verb not supported.",
		"DELETE " + served + "/club/books/5": "Whoops. Verb not supported.",
		"GET /api/other-uuid/club/books/5":   "Not found.",
	} {
		method, path, _ := strings.Cut(target, " ")
		got := p.must(404, method, path, "", noAuth)
		if got.body != `{"status":404,"message":"Error: `+want+`"}`+"\n" || got.header.Get("Content-Type") != "application/json; charset=utf-8" {
			t.Errorf("%s = %v %s", target, got.header, got.body)
		}
	}
	for _, path := range []string{"/api/nobody/club/books", "/api/no%20body/club/books", "/api//x", "/api/", "/api", "/api/system-uuid2"} {
		sameJSON(t, p.must(404, "GET", path, "", noAuth).body, `{"error":"The requested resource could not be found.","code":"tid"}`)
	}
	// /api/v1 is what it always was.
	p.must(200, "GET", root, "", noAuth)
	p.must(404, "GET", root+"/club/books", "")
}

func TestAPIGivesThePathToTheAction(t *testing.T) {
	p := withGateway(t)
	p.run()
	p.export("echo", "raw-http:true")
	p.mustCreateAPI("/club", "/books/{id}", "GET", "echo", "http")
	p.mustCreateAPI("/raw", "/x", "GET", "echo", "json")
	sameJSON(t, p.must(200, "GET", served+"/raw/x/more?q=1&r", "", noAuth).body, `{"__ow_method":"get","__ow_path":"/more","__ow_query":"q=1&r","__ow_body":"",
		"__ow_headers":{"host":"example.com","x-request-id":"tid","x-forwarded-url":"<any>"}}`)
	var path string
	p.balancer.Run = recordingPath(&path)
	p.must(204, "GET", served+"/club/books/9%2F7/more", "", noAuth)
	if path != "/club/books/9%2F7/more" {
		t.Errorf("the action was told %q", path)
	}
}

func TestAPIOfASecuredAction(t *testing.T) {
	p := withGateway(t)
	p.run()
	p.export("secret", `require-whisk-auth:"s3cr3t"`)
	p.mustFail(401, "Authentication is possible but has failed or not yet been provided.", "GET", webRoot+"/secret.json", "", noAuth)
	body := `{"apidoc":{"namespace":"_","gatewayBasePath":"/s","gatewayPath":"/","gatewayMethod":"GET",
		"action":{"name":"secret","namespace":"_","backendMethod":"GET","backendUrl":"http://h/api/v1/web/_/default/x.http","authkey":"k","secureKey":"s3cr3t"}}}`
	p.must(200, "POST", management+"/createApi.http", body)
	p.must(200, "GET", served+"/s", "", noAuth, "X-Require-Whisk-Auth: guess")
	p.must(200, "POST", management+"/createApi.http", strings.Replace(body, `,"secureKey":"s3cr3t"`, ``, 1))
	p.must(401, "GET", served+"/s/", "", noAuth)
}

// document is an API as serverless-openwhisk makes one.
func document(base, more string) string {
	text := `{"swagger":"2.0","basePath":"` + base + `","info":{"title":"service","version":"1.0"},
		"paths":{"/hi":{"get":{"operationId":"get-/hi","responses":{},"x-openwhisk":{"action":"echo","namespace":"guest","package":"default","url":"https://h/api/v1/web/guest/default/echo.json"}}}},
		"x-ibm-configuration":{` + more + `"assembly":{"execute":[{"operation-switch":{"case":[{"operations":["get-/hi"],"execute":[
			{"set-variable":{"actions":[{"set":"message.headers.X-Require-Whisk-Auth"}]}},
			{"invoke":{"target-url":"https://h/api/v1/web/guest/default/echo.json","verb":"keep"}}]}]}}]}}}`
	encoded, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return `{"apidoc":{"namespace":"_","swagger":` + string(encoded) + `}}`
}

func TestAPIOfADocument(t *testing.T) {
	p := withGateway(t)
	p.run()
	p.export("echo", "web-custom-options:true")
	p.mustCreateAPI("/svc", "/old", "GET", "echo", "json")
	p.must(200, "GET", served+"/svc/old", "", noAuth)
	p.must(200, "POST", management+"/createApi.http", document("/svc", `"cors":{"enabled":false},`))
	p.must(404, "GET", served+"/svc/old", "", noAuth)

	p.answersJSON(`{"a":1}`)
	for _, test := range []struct{ more, origin string }{
		{`"cors":{"enabled":false},`, ""}, {`"cors":{"enabled":true},`, "*"},
	} {
		p.must(200, "POST", management+"/createApi.http", document("/svc", test.more))
		if got := p.must(200, "GET", served+"/svc/hi", "", noAuth); got.header.Get("Access-Control-Allow-Origin") != test.origin {
			t.Errorf("with %s the header is %v", test.more, got.header)
		}
	}
	p.must(200, "POST", management+"/createApi.http", document("/", ``))
	if got := p.must(200, "GET", served+"/hi", "", noAuth); got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("the action answers for itself, but: %v", got.header)
	}
}

func TestAPIRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := withGateway(t)
		defer runInBubble(t, p)()
		p.export("echo")
		body := strings.Replace(document("/svc", `"cors":{"enabled":true},`), `\"basePath\"`, `\"x-ibm-rate-limit\":[{\"rate\":2,\"unit\":\"minute\",\"units\":1}],\"basePath\"`, 1)
		p.must(200, "POST", management+"/createApi.http", body)
		p.must(200, "GET", served+"/svc/hi", "", noAuth)
		got := p.must(429, "GET", served+"/svc/hi", "", noAuth)
		if got.body != `{"status":429,"message":"Error: Rate limit exceeded"}`+"\n" {
			t.Errorf("got %s", got.body)
		}
		time.Sleep(30 * time.Second)
		p.must(200, "GET", served+"/svc/hi", "", noAuth)
	})
}

// Another controller of the same store serves what was made by the first.
func TestAPIsAreSharedByControllers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := withGateway(t)
		defer runInBubble(t, p)()
		p.export("echo")
		second := p.another(t)
		defer runInBubble(t, second)()
		second.must(404, "GET", served+"/a/x", "", noAuth)

		p.mustCreateAPI("/a", "/x", "GET", "echo", "json")
		p.must(200, "GET", served+"/a/x", "", noAuth)
		time.Sleep(time.Second)
		second.must(200, "GET", served+"/a/x", "", noAuth)
		p.must(200, "GET", served+"/a/x", "", noAuth)
		reads := p.store.Calls("APIs")
		p.must(200, "GET", served+"/a/x", "", noAuth)
		if p.store.Calls("APIs") != reads {
			t.Error("the store was asked, not the memory")
		}

		subject, err := p.store.Subject(t.Context(), "guest-user")
		if err != nil {
			t.Fatal(err)
		}
		subject.Blocked = true
		if err := p.store.PutSubject(t.Context(), subject); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		second.must(404, "GET", served+"/a/x", "", noAuth)
	})
}

// another is a second controller on the same store.
func (p *platform) another(t *testing.T) *platform {
	t.Helper()
	q := *p
	config := controller.Default()
	config.ID = "second"
	var err error
	q.control, err = controller.New(config, controller.Deps{
		Entities: p.store, Subjects: p.store, APIs: p.store, Blobs: p.store.Blobs(), Activations: p.store, Logs: p.store, Queue: p.store,
		Balancer: p.balancer, Manifest: manifest,
	})
	if err != nil {
		t.Fatal(err)
	}
	q.handler = httpapi.New(httpapi.Config{}, q.control)
	return &q
}

func TestAPIStoreFails(t *testing.T) {
	p := withGateway(t)
	p.run()
	p.mustCreateAPI("/a", "/x", "GET", "echo", "json")
	fail := func(failing string) {
		p.store.SetFault(func(op string, done bool) error {
			if op == failing {
				return whisk.Errorf(whisk.Unavailable, "the disk is full of secrets")
			}
			return nil
		})
	}
	for _, request := range []struct{ failing, method, target, body string }{
		{"APIs", "POST", "/createApi.http", document("/svc", "")},
		{"PutAPI", "POST", "/createApi.http", document("/svc", "")},
		{"APIs", "GET", "/getApi.http", ""},
		{"APIs", "DELETE", "/deleteApi.http?basepath=/a", ""},
		{"DeleteAPI", "DELETE", "/deleteApi.http?basepath=/a", ""},
	} {
		fail(request.failing)
		got := p.must(502, request.method, management+request.target, request.body)
		if !strings.Contains(got.body, "There was an internal server error.") || strings.Contains(got.body, "secrets") {
			t.Errorf("%s without %s says %s", request.target, request.failing, got.body)
		}
	}
	fail("APIs")
	if got := p.do("GET", served+"/a/x", "", noAuth); got.status != http.StatusServiceUnavailable || strings.Contains(got.body, "secrets") {
		t.Errorf("serving: %d %s", got.status, got.body)
	}
	fail("")
	p.must(200, "DELETE", management+"/deleteApi.http?basepath=/a", "")
}

// recordingPath is an action that notes what path it is told.
func recordingPath(path *string) func(context.Context, *whisk.Invocation, controllertest.RunBody) whisk.Outcome {
	return func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
		var value struct {
			Path string `json:"__ow_path"`
		}
		response := whisk.Response{Result: json.RawMessage(`{}`)}
		if err := json.Unmarshal(run.Value, &value); err != nil {
			response = whisk.ErrorResponse(whisk.WhiskError, err.Error())
		}
		*path = value.Path
		return controllertest.Outcome(inv, response)
	}
}
