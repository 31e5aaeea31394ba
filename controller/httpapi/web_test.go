// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/controller/httpapi"
	"github.com/whirl-faas/whirl/whisk"
)

const (
	webRoot = root + "/web/guest/default"
	noAuth  = "Authorization:"
)

// export makes an action of that name with annotations, each "key: value", and

// offers it to the web.

func (p *platform) export(name string, annotations ...string) {
	p.t.Helper()
	p.exportWith(name, "[]", annotations...)
}

func (p *platform) exportWith(name, parameters string, annotations ...string) {
	p.t.Helper()
	var list strings.Builder
	list.WriteString(`{"key":"web-export","value":true}`)
	for _, annotation := range annotations {
		key, value, _ := strings.Cut(annotation, ":")
		list.WriteString(fmt.Sprintf(`,{"key":%q,"value":%s}`, key, value))
	}
	p.must(200, "PUT", guest+"/actions/"+name+"?overwrite=true", `{"exec":{"kind":"nodejs:20","code":"x"},"annotations":[`+list.String()+`],"parameters":`+parameters+`}`)
}

// answers makes every action respond with that.

func (p *platform) answers(response whisk.Response) {
	p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, _ controllertest.RunBody) whisk.Outcome {
		return controllertest.Outcome(inv, response)
	}
}

func (p *platform) answersJSON(result string) {
	p.answers(whisk.Response{Result: json.RawMessage(result), Size: len(result)})
}

// mustFail is must for an answer that is an error of a web action.

func (p *platform) mustFail(status int, text, method, path, body string, headers ...string) reply {
	p.t.Helper()
	got := p.must(status, method, path, body, headers...)
	encoded, err := json.Marshal(text)
	if err != nil {
		p.t.Fatal(err)
	}
	encoded = []byte(strings.NewReplacer(`\u003e`, ">", `\u003c`, "<").Replace(string(encoded)))
	if want := "{\n  \"error\": " + string(encoded) + ",\n  \"code\": \"tid\"\n}"; got.body != want || got.header.Get("Content-Type") != "application/json" {
		p.t.Errorf("%s %s = %s, want %s", method, path, got.body, want)
	}
	return got
}

func TestWebActionGetsTheRequest(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.exportWith("echo", `[{"key":"bound","value":1},{"key":"other","value":2}]`)
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		got := p.must(200, method, webRoot+"/echo.json/a%20b?other=q&x=y&x=z", `{"x":[1]}`, noAuth, "X-Thing: A")
		sameJSON(t, got.body, `{"bound":1,"other":"q","x":[1],"__ow_method":"`+strings.ToLower(method)+`","__ow_path":"/a%20b",
			"__ow_headers":{"content-type":"application/json","host":"example.com","x-request-id":"tid","x-thing":"A"}}`)
		if contentType := got.header.Get("Content-Type"); contentType != "application/json" {
			t.Errorf("type %s", contentType)
		}
		if id := got.header.Get("x-openwhisk-activation-id"); whisk.CheckActivationID(id) != nil || got.header.Get("X-Request-ID") != "tid" {
			t.Errorf("headers %v", got.header)
		}
		if !strings.Contains(got.body, "\n  \"bound\": 1,\n") {
			t.Errorf("not printed over several lines: %s", got.body)
		}
	}
	if got := p.must(200, "HEAD", webRoot+"/echo.json", "", noAuth); got.body != "" || got.header.Get("Content-Length") == "" {
		t.Errorf("HEAD answers %q %v", got.body, got.header)
	}
	got := p.must(200, "POST", webRoot+"/echo.json", "a=b+c&bound=2", noAuth, "Content-Type: application/x-www-form-urlencoded").decode(t)
	if got["a"] != "b c" || got["bound"] != "2" {
		t.Errorf("of a form the action got %v", got)
	}
	got = p.must(200, "POST", webRoot+"/echo.json", "\x89PNG", noAuth, "Content-Type: image/png").decode(t)
	if got["__ow_body"] != "iVBORw==" || got["__ow_path"] != "" {
		t.Errorf("of a picture the action got %v", got)
	}
}

func TestRawWebAction(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.exportWith("raw", `[{"key":"x","value":1}]`, "raw-http:true", "final:true")
	got := p.must(200, "POST", webRoot+"/raw.json?x=2&__ow_body=3", `{"x":3}`, noAuth).decode(t)
	if got["x"] != 1.0 || got["__ow_query"] != "x=2&__ow_body=3" || got["__ow_body"] != "eyJ4IjozfQ==" {
		t.Errorf("the action got %v", got)
	}
	got = p.must(200, "GET", webRoot+"/raw.json", "", noAuth).decode(t)
	if got["__ow_query"] != "" || got["__ow_body"] != "" {
		t.Errorf("the action got %v", got)
	}
}

func TestWebActionNotFound(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.export("open")
	p.export("textual", `web-export:"true"`)
	p.must(200, "PUT", guest+"/actions/private", hello)
	p.export("off", "web-export:false")
	for _, path := range []string{
		webRoot + "/none", webRoot + "/none.json", webRoot + "/private.json", webRoot + "/textual", webRoot + "/off",
		root + "/web/nobody/default/open", root + "/web/_/default/open", root + "/web/guest/p/open", root + "/web/guest/open/open",
		webRoot + "/open.xyz", webRoot + "/open.xyz/", webRoot + "/open.xyz/content", webRoot + "/open.JSON",
	} {
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST"} {
			for _, auth := range []string{noAuth, "X-None: 1"} {
				if method == "HEAD" {
					p.must(404, method, path, "", auth)
					continue
				}
				got := p.mustFail(404, "The requested resource does not exist.", method, path, "", auth)
				if got.header.Get("x-openwhisk-activation-id") != "" || got.header.Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("%s: headers %v", path, got.header)
				}
			}
		}
	}
	if runs := len(p.store.Records()); runs != 0 {
		t.Errorf("%d activations", runs)
	}
}

// What does not name an action is an unknown path, for which credentials count.

func TestWebPathsThatNameNothing(t *testing.T) {
	p := newPlatform(t)
	for _, path := range []string{"/web", "/web/", "/web/guest", "/web/guest/default", "/web/guest/default/", "/web/guest//a", "/web/guest/default/a%2Fb", "/website/guest/default/a"} {
		got := p.must(404, "GET", root+path, "")
		sameJSON(t, got.body, `{"error":"The requested resource could not be found.","code":"tid"}`)
		p.must(401, "GET", root+path, "", noAuth)
		p.must(200, "OPTIONS", root+path, "", noAuth)
	}
	got := p.must(405, "TRACE", webRoot+"/a", "", noAuth)
	sameJSON(t, got.body, `{"error":"HTTP method not allowed, supported methods: GET, DELETE, POST, PUT, HEAD, OPTIONS, PATCH","code":"tid"}`)
	if allow := got.header.Get("Allow"); allow != "GET, DELETE, POST, PUT, HEAD, OPTIONS, PATCH" {
		t.Errorf("allows %s", allow)
	}
}

func TestWebActionRefusals(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.exportWith("a", `[{"key":"y","value":"Y"},{"key":"empty","value":null}]`, "final:true")
	const protected = "Request defines parameters that are not allowed (e.g., reserved properties)."
	for _, test := range []struct {
		status                         int
		text, query, contentType, body string
	}{
		{400, protected, "?__ow_user=x", "", ""},
		{400, protected, "?y=x", "", ""},
		{400, protected, "", "application/json", `{"y":1}`},
		{400, protected, "", "application/x-www-form-urlencoded", `y=1`},
		{400, "The request content was malformed:\nunexpected end of JSON input", "", "application/json", `{"a":`},
		{400, `Illegal request-target: invalid URL escape "%zz"`, "?a=%zz", "", ""},
		{413, "Request larger than allowed: 1048577 > 1048576 bytes.", "", "text/plain", strings.Repeat("a", 1<<20+1)},
	} {
		p.mustFail(test.status, test.text, "POST", webRoot+"/a.json"+test.query, test.body, noAuth, "Content-Type: "+test.contentType)
	}
	p.must(200, "POST", webRoot+"/a.json?empty=x", "", noAuth)
	p.must(200, "POST", webRoot+"/a.json", strings.Repeat("a", 1<<20), noAuth, "Content-Type: image/png")
	p.mustFail(404, "The requested resource does not exist.", "POST", webRoot+"/none.json", strings.Repeat("a", 1<<20+1), noAuth)
	if got := p.do("POST", webRoot+"/a.json", strings.Repeat("\x01", 1<<20), noAuth, "Content-Type: text/plain"); got.status != 413 || !strings.Contains(got.body, "> 2228224 bytes.") {
		t.Errorf("%d %.200s", got.status, got.body)
	}

	p.balancer.Refuse = func(*whisk.Invocation) error { return whisk.Errorf(whisk.Throttled, "Too many requests") }
	p.mustFail(429, "Too many requests", "GET", webRoot+"/a", "", noAuth)
	p.balancer.Refuse = func(*whisk.Invocation) error { return whisk.Errorf(whisk.Unavailable, "busy") }
	p.mustFail(503, "busy", "GET", webRoot+"/a", "", noAuth)
}

// The warm path does no store I/O, and still hears of users that go.

// A broken store is no missing action.

func TestVanityHost(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.export("echo")
	api := p.handler
	p.handler = httpapi.New(httpapi.Config{VanityHost: "Whirl.example"}, p.control)
	for _, test := range []struct{ host, path, want string }{
		{"guest.whirl.example", "/default/echo.json/a?b=c", "/a"},
		{"GUEST.Whirl.Example:8080", "/default/echo.json", ""},
		{"whirl.example", "/api/v1/web/guest/default/echo.json/a", "/a"},
		{"a.guest.whirl.example", "/api/v1/web/guest/default/echo.json/a", "/a"},
		{"gu_est.whirl.example", "/api/v1/web/guest/default/echo.json/a", "/a"},
		{".whirl.example", "/api/v1/web/guest/default/echo.json/a", "/a"},
	} {
		got := p.askHost(test.host, test.path)
		if got.status != 200 || got.decode(t)["__ow_path"] != test.want {
			t.Errorf("%s%s = %d %s", test.host, test.path, got.status, got.body)
		}
	}
	for _, test := range []struct{ host, path, text string }{
		{"other.whirl.example", "/default/echo.json", "The requested resource does not exist."},
		{"guest.whirl.example", "/", "The requested resource does not exist."},
		{"guest.whirl.example", "/api/v1/web/guest/default/echo.json", "The requested resource does not exist."},
		{"guest.whirl.example", "/ping", "The resource requires authentication, which was not supplied with the request"},
		{"guest.elsewhere.example", "/default/echo.json", "The requested resource could not be found."},
	} {
		if got := p.askHost(test.host, test.path).decode(t); got["error"] != test.text {
			t.Errorf("%s%s = %v, want %s", test.host, test.path, got, test.text)
		}
	}
	p.handler = api
	if got := p.askHost("guest.whirl.example", "/default/echo.json"); got.status != 404 {
		t.Errorf("without the setting: %d %s", got.status, got.body)
	}
}

func (p *platform) askHost(host, path string) reply {
	r := httptest.NewRequest("GET", path, nil)
	r.Host = host
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r)
	return reply{w.Code, w.Header(), w.Body.String()}
}
