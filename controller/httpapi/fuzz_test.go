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
	} {
		f.Add(seed)
	}
	p := newPlatform(f)
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
