// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

func TestWebActionThatIsASequence(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.must(200, "PUT", guest+"/actions/one", hello)
	p.must(200, "PUT", guest+"/actions/two", hello)
	p.must(200, "PUT", guest+"/actions/both", `{"exec":{"kind":"sequence","components":["/_/one","/_/two"]},"annotations":[{"key":"web-export","value":true}]}`)
	p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
		var in map[string]any
		if err := json.Unmarshal(run.Value, &in); err != nil {
			t.Error(err)
		}
		if inv.Key.Action.Name == "one" {
			return controllertest.Outcome(inv, whisk.Response{Result: json.RawMessage(fmt.Sprintf(`{"name":%q}`, in["name"]))})
		}
		return controllertest.Outcome(inv, whisk.Response{Result: json.RawMessage(fmt.Sprintf(`{"statusCode":201,"headers":{"Set-Cookie":["a=1","b=2"]},"body":"hello %v"}`, in["name"]))})
	}
	got := p.must(201, "GET", webRoot+"/both?name=you", "", noAuth)
	if got.body != "hello you" || len(got.header["Set-Cookie"]) != 2 {
		t.Errorf("%s %v", got.body, got.header)
	}
	record := p.must(200, "GET", guest+"/activations/"+got.header.Get("x-openwhisk-activation-id"), "").decode(t)
	if logs, _ := record["logs"].([]any); record["name"] != "both" || len(logs) != 2 {
		t.Errorf("record %v", record)
	}
}

func TestWebActionCORS(t *testing.T) {
	p := newPlatform(t)
	p.run()
	const methods, accepted = "OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH", "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent"
	p.answersJSON(`{"statusCode":200,"headers":{"Access-Control-Allow-Methods":"GET","Access-Control-Max-Age":"7","Access-Control-Allow-Origin":"https://a.example"},"body":"x"}`)

	p.export("plain")
	for _, method := range []string{"OPTIONS", "GET", "HEAD"} {
		for wanted, want := range map[string]string{"": accepted, "x-custom-header": "x-custom-header"} {
			got := p.must(200, method, webRoot+"/plain.http", "", noAuth, "Access-Control-Request-Headers: "+wanted)
			if got.header.Get("Access-Control-Allow-Methods") != methods || got.header.Get("Access-Control-Allow-Headers") != want || fmt.Sprint(got.header["Access-Control-Allow-Origin"]) != "[*]" {
				t.Errorf("%s: headers %v", method, got.header)
			}
			ran := got.header.Get("x-openwhisk-activation-id") != ""
			if ran == (method == "OPTIONS") || ran != (got.header.Get("Access-Control-Max-Age") == "7") || method == "OPTIONS" && got.body != "" {
				t.Errorf("%s: %q %v", method, got.body, got.header)
			}
		}
	}

	p.export("custom", "web-custom-options:true", "require-whisk-auth:true")
	got := p.must(200, "OPTIONS", webRoot+"/custom.http", "", noAuth, "Access-Control-Request-Headers: x-custom-header")
	if got.header.Get("Access-Control-Allow-Methods") != "GET" || got.header.Get("Access-Control-Allow-Headers") != "" || got.header.Get("Access-Control-Allow-Origin") != "https://a.example" {
		t.Errorf("headers %v", got.header)
	}
	if got := p.must(401, "GET", webRoot+"/custom.http", "", noAuth); got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("headers %v", got.header)
	}
}

func TestWebActionAnswers(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.export("a")
	get := func(extension, result string, headers ...string) reply {
		t.Helper()
		p.answersJSON(result)
		return p.do("GET", webRoot+"/a"+extension, "", headers...)
	}
	got := get("", `{"statusCode":302,"headers":{"location":"http://example.org/","Set-Cookie":["a=b","c=d; Path = /"],"x-request-id":"mine","x-openwhisk-activation-id":"mine","content-length":"99"}}`)
	if got.status != 302 || got.header.Get("Location") != "http://example.org/" || fmt.Sprint(got.header["Set-Cookie"]) != "[a=b c=d; Path = /]" || got.header.Get("Content-Type") != "" {
		t.Errorf("%d %v", got.status, got.header)
	}
	if fmt.Sprint(got.header["X-Request-Id"]) != "[tid]" || len(got.header["X-Openwhisk-Activation-Id"]) != 1 || got.header.Get("Content-Length") != "" {
		t.Errorf("headers %v", got.header)
	}
	for _, test := range []struct{ extension, result, accept, contentType, body string }{
		{".http", `{"body":"hello"}`, "", "text/html; charset=UTF-8", "hello"},
		{"", `{"body":"iVBORw==","headers":{"content-type":"image/png"}}`, "image/*", "image/png", "\x89PNG"},
		{".svg", `{"svg":"<svg/>"}`, "*/*", "image/svg+xml", "<svg/>"},
		{".html", `{"html":"<p/>"}`, "text/html", "text/html; charset=UTF-8", "<p/>"},
		{".text", `{"text":"x"}`, "application/json, text/*;q=0.1", "text/plain; charset=UTF-8", "x"},
		{".json", `[1,2]`, "application/json", "application/json", "[1, 2]"},
		{".http", `{"body":"` + strings.Repeat("YWFh", 5000) + `","headers":{"content-type":"application/zip"}}`, "", "application/zip", strings.Repeat("aaa", 5000)},
	} {
		got := get(test.extension, test.result, "Accept: "+test.accept)
		if got.status != 200 || got.header.Get("Content-Type") != test.contentType || got.body != test.body || got.header.Get("Content-Length") != fmt.Sprint(len(test.body)) {
			t.Errorf("%s of %.99s: %d %v %.99q", test.extension, test.result, got.status, got.header, got.body)
		}
	}
	if got := get("", `{}`, "Accept: application/json"); got.status != 204 || got.header.Get("Content-Type") != "" || got.header.Get("Content-Length") != "" {
		t.Errorf("nothing: %d %v", got.status, got.header)
	}
	if got := get("", `{"statusCode":404,"body":"gone"}`, "Accept: application/json"); got.status != 404 || got.body != "gone" {
		t.Errorf("an error that is not acceptable: %d %s", got.status, got.body)
	}
	got = get("", `{"body":"x"}`, "Accept: application/json")
	if got.status != 406 || got.body != `{"error":"Resource representation is only available with these types:\ntext/html; charset=UTF-8","code":"tid"}` {
		t.Errorf("not acceptable: %d %s", got.status, got.body)
	}
}

func TestWebActionErrors(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.export("a")
	for _, test := range []struct {
		response  whisk.Response
		extension string
		status    int
		text      string
	}{
		{whisk.ErrorResponse(whisk.DeveloperError, "bad"), ".json", 400, "There was an error processing your request."},
		{whisk.ErrorResponse(whisk.WhiskError, "lost"), ".text", 400, "There was an error processing your request."},
		{whisk.ErrorResponse(whisk.ApplicationError, "no"), ".json", 400, "Response is not valid 'application/json'."},
		{whisk.ErrorResponse(whisk.ApplicationError, "no"), ".http", 400, "Response is not valid 'message/http'."},
		{whisk.Response{Result: json.RawMessage(`{"a":1}`)}, ".text", 404, "Response does not include requested property."},
		{whisk.Response{Result: json.RawMessage(`{"body":"x","headers":{"content-type":"xyzbar"}}`)}, "", 400, "Response did not specify a known content-type."},
		{whisk.Response{Result: json.RawMessage(`{"body":{},"headers":{"content-type":"text/html"}}`)}, "", 400, "Response type in header did not match generated content type."},
	} {
		p.answers(test.response)
		got := p.mustFail(test.status, test.text, "POST", webRoot+"/a"+test.extension, "{}", noAuth, "Accept: text/html")
		if got.header.Get("x-openwhisk-activation-id") == "" || got.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("headers %v", got.header)
		}
	}
	p.answers(whisk.Response{Status: whisk.ApplicationError, Result: json.RawMessage(`{"error":{"statusCode":418,"body":"no hello for you"}}`)})
	if got := p.must(418, "GET", webRoot+"/a", ""); got.body != "no hello for you" {
		t.Errorf("body %s", got.body)
	}
}

func TestWebActionThatTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		defer runInBubble(t, p)()
		p.balancer.Cold = true
		p.export("slow")
		p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
			time.Sleep(2 * time.Minute)
			return controllertest.Outcome(inv, whisk.Response{Result: run.Value})
		}
		begin := time.Now()
		got := p.mustFail(202, "Response not yet ready.", "GET", webRoot+"/slow.json?timeout=5", "", noAuth)
		if waited := time.Since(begin); waited != time.Minute {
			t.Errorf("answered after %v, want 1m", waited)
		}
		time.Sleep(2 * time.Minute)
		p.must(200, "GET", guest+"/activations/"+got.header.Get("x-openwhisk-activation-id"), "")
	})
}
