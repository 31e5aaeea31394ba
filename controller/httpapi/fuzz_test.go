// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/controller"
)

// Whatever the path and the query, the answer is JSON and no fault of ours.
func FuzzRequestTarget(f *testing.F) {
	for _, seed := range []string{
		"/", "/api/v1", "/api/v1/namespaces/_/actions/a%2Fb?code=false", "/api/v1/namespaces/%5F/actions//", "/api/v1/namespaces/_/activations?since=1&upto=-1&name=a%2fb",
		"/api/v1/namespaces/_/actions?limit=%zz", "/api/v1/namespaces/../actions/%00", "/api/v1/namespaces/_/activations/" + strings.Repeat("0", 32) + "/logs", "/api/v1/namespaces/_/actions/a/b/?count=1;x",
		"/api/v1/namespaces/_/packages/p?force=%74rue", "/api/v1/namespaces/other/packages?count=yes", "/api/v1/namespaces/_/triggers/t%00/", "/api/v1/namespaces/_/rules/?skip=1&limit=0", "/api/v1/namespaces/_/actions/bound/a?code=0",
	} {
		f.Add(seed)
	}
	p := newPlatform(f)
	p.furnish()
	f.Fuzz(func(t *testing.T, target string) {
		address, err := url.ParseRequestURI(target)
		if err != nil || address.Host != "" {
			return
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.URL, r.RequestURI = address, target
		r.Header.Set("Authorization", basic(guestUUID, guestKey))
		checkAnswer(t, p, r)
	})
}

// Whatever the body of a PUT, the answer is an action or the client's fault.
func FuzzPutBody(f *testing.F) {
	for _, seed := range []string{
		hello, `{}`, `{"exec":null,"limits":{"timeout":null}}`, `{"exec":{"kind":"nodejs:20","code":"x","jar":1}}`, `{"exec":{"kind":"nodejs:20","code":"x"},"limits":{"memory":1e3}}`,
		`{"exec":{"kind":"nodejs:20","code":"x"},"parameters":[{"key":"a","value":[1,]}]}`, `{"exec":{"kind":"blackbox","image":"a.b:1/c/d:e@sha256:0","code":" "}}`, `{"exec":{"kind":"nodejs:20","code":"x"},"version":"1.2.3.4","annotations":[{"key":"exec","value":" 1 "}]}`, `[`,
	} {
		f.Add(seed)
	}
	p := newPlatformWith(f, func(deps *controller.Deps) { deps.Images = true })
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest("PUT", guest+"/actions/a?overwrite=true", strings.NewReader(body))
		r.Header.Set("Authorization", basic(guestUUID, guestKey))
		r.Header.Set("Content-Type", "application/json")
		if w := checkAnswer(t, p, r); w.Code == http.StatusOK {
			p.t = t
			if got := p.must(200, "GET", guest+"/actions/a", "").body; got != w.Body.String() {
				t.Errorf("put answered %s, get %s", w.Body, got)
			}
		}
	})
}

// furnish gives the guest one of everything that bodies may refer to.
func (p *platform) furnish() {
	p.t.Helper()
	p.must(200, "PUT", guest+"/packages/p", `{"parameters":[{"key":"k","value":1}]}`)
	p.must(200, "PUT", guest+"/packages/bound", `{"binding":{"namespace":"_","name":"p"}}`)
	p.must(200, "PUT", guest+"/actions/p/a", hello)
	p.must(200, "PUT", guest+"/triggers/t", "{}")
	p.must(200, "PUT", guest+"/rules/r", `{"trigger":"/_/t","action":"/_/bound/a"}`)
	p.must(200, "PUT", guest+"/actions/s", `{"exec":{"kind":"sequence","components":["/_/p/a","/_/bound/a"]}}`)
}

// Whatever the body of a PUT in any collection, the answer is the entity or the
// client's fault, and a GET shows the same.
func FuzzPutEntity(f *testing.F) {
	collections := []string{"packages", "triggers", "rules", "actions"}
	for i, seed := range []string{
		`{"binding":{"namespace":"_","name":"p"},"annotations":[{"key":"binding","value":1}]}`, `{"binding":{ }}`, `{"binding":{"namespace":"","name":"x"}}`,
		`{"annotations":[{"key":"feed","value":"/a//b"}],"parameters":null,"limits":7}`, `{"version":"1","publish":null}`,
		`{"trigger":"/_/t","action":{"path":"guest/bound","name":"a"},"status":"on"}`, `{"trigger":{"path":"/","name":"/"},"action":"_"}`,
		`{"exec":{"kind":"sequence","components":["/_/p/a",{"path":"_","name":"s"}]}}`, `{"exec":{"kind":"sequence","components":[[]]},"delAnnotations":["x"]}`,
	} {
		f.Add(uint8(i/2), seed)
	}
	p := newPlatform(f)
	p.furnish()
	f.Fuzz(func(t *testing.T, which uint8, body string) {
		path := guest + "/" + collections[int(which)%len(collections)] + "/x"
		w := checkAnswer(t, p, benchRequest("PUT", path+"?overwrite=true", body))
		if w.Code != http.StatusOK {
			return
		}
		p.t = t
		got := p.must(200, "GET", path, "").decode(t)
		delete(got, "actions") // of packages, which only a GET shows
		delete(got, "feeds")
		put := reply{body: w.Body.String()}.decode(t)
		delete(got, "parameters") // which a binding inherits
		delete(put, "parameters")
		if !matches(got, put) {
			t.Errorf("put answered %v, get %v", put, got)
		}
		p.must(200, "DELETE", path, "")
	})
}

// Whatever is sent to what takes a POST, the answer is no fault of ours, and a
// firing that is accepted leaves a record that tells of each rule.
func FuzzPost(f *testing.F) {
	targets := []string{"/triggers/t", "/rules/r", "/actions/s", "/actions/bound/a?blocking=true"}
	for i, seed := range []string{`{"a":1,"a":2}`, `{"__ow_headers":{}}`, `{"status":"active"}`, `{"status":null,"trigger":null}`, `{"k":[{"deep":1e400}]}`, ``, `{"error":1}`, `{"\u0061":"\ud800"}`} {
		f.Add(uint8(i/2), seed)
	}
	p := newPlatform(f)
	p.furnish()
	p.run()
	f.Fuzz(func(t *testing.T, which uint8, body string) {
		w := checkAnswer(t, p, benchRequest("POST", guest+targets[int(which)%len(targets)], body))
		if w.Code == http.StatusAccepted && int(which)%len(targets) == 0 {
			p.t = t
			if logs := p.recordOf(t, w.Header().Get("x-openwhisk-activation-id"))["logs"].([]any); len(logs) != 1 || !json.Valid([]byte(logs[0].(string))) {
				t.Errorf("logs %v", logs)
			}
		}
	})
}

func checkAnswer(t *testing.T, p *platform, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r)
	if w.Code >= 500 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w.Header().Get("Content-Type") == "application/json" && !json.Valid(w.Body.Bytes()) {
		t.Errorf("no JSON: %q", w.Body)
	}
	return w
}
