// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/whisk"
)

// Whatever the path and the query, the answer is JSON and no fault of ours.
func FuzzRequestTarget(f *testing.F) {
	for _, seed := range []string{
		"/", "/api/v1", "/api/v1/namespaces/_/actions/a%2Fb?code=false", "/api/v1/namespaces/%5F/actions//", "/api/v1/namespaces/_/activations?since=1&upto=-1&name=a%2fb",
		"/api/v1/namespaces/_/actions?limit=%zz", "/api/v1/namespaces/../actions/%00", "/api/v1/namespaces/_/activations/" + strings.Repeat("0", 32) + "/logs", "/api/v1/namespaces/_/actions/a/b/?count=1;x",
		"/api/v1/namespaces/_/packages/p?force=%74rue", "/api/v1/namespaces/other/packages?count=yes", "/api/v1/namespaces/_/triggers/t%00/", "/api/v1/namespaces/_/rules/?skip=1&limit=0", "/api/v1/namespaces/_/actions/bound/a?code=0",
		"/api/" + guestUUID + "/fuzz/x%2f/..//y?a=%zz", "/api/v2", "/api//", "/api/%61/",
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
			record := p.awaitRecord(t, w.Header().Get("x-openwhisk-activation-id")).body
			if logs := gjson.Get(record, "logs").Array(); len(logs) != 1 || !json.Valid([]byte(logs[0].Str)) {
				t.Errorf("logs %v", logs)
			}
		}
	})
}

func checkAnswer(t *testing.T, p *platform, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	p.t = t
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r)
	if w.Header().Get("X-Openwhisk-Activation-Id") != "" {
		return w // the action's words
	}
	if w.Code >= 500 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w.Header().Get("Content-Type") == "application/json" && !json.Valid(w.Body.Bytes()) {
		t.Errorf("no JSON: %q", w.Body)
	}
	return w
}

// Whatever createApi is asked for, it is done or told why not, and what is done can be read and served.
func FuzzCreateAPI(f *testing.F) {
	for _, seed := range []string{
		document("/svc", `"cors":{"enabled":true},`), `{"apidoc":{}}`, `[]`, `{"apidoc":"{\"namespace\":1}"}`,
		`{"apidoc":{"namespace":"_","apiName":"n","gatewayBasePath":"b","gatewayPath":"/{x}/y","gatewayMethod":"get","pathParameters":[{"name":"x"}],
			"action":{"name":"/a/b/c","namespace":"_","backendMethod":"GET","backendUrl":"http://h/api/v1/web/_/default/a.http","authkey":"k","secureKey":{}}}}`,
	} {
		f.Add(seed, "http")
	}
	p := withGateway(f)
	p.run()
	f.Fuzz(func(t *testing.T, body, responseType string) {
		p.t = t
		made := p.do("POST", management+"/createApi.http?responsetype="+url.QueryEscape(responseType), body)
		switch made.status {
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong: // not for the action
		case http.StatusBadGateway:
			if made.decode(t)["error"] == "There was an internal server error." {
				t.Errorf("our fault: %s", body)
			}
		case http.StatusOK:
			value := made.decode(t)
			base := value["apidoc"].(map[string]any)["basePath"].(string)
			if !strings.HasPrefix(base, "/") {
				base = "/" + base
			}
			listed := p.must(200, "GET", management+"/getApi.http?basepath="+url.QueryEscape(base), "").decode(t)["apis"].([]any)
			if len(listed) != 1 {
				t.Fatalf("%d APIs of %q", len(listed), base)
			}
			p.must(404, "GET", strings.TrimPrefix(value["gwApiUrl"].(string), "http://example.com")+"/there/is/none", "")
			p.must(200, "DELETE", management+"/deleteApi.http?basepath="+url.QueryEscape(base), "")
		default:
			t.Errorf("%d %s", made.status, made.body)
		}
	})
}

// Whatever is sent to a web action, the answer is its, or the client's fault.
func FuzzWebRequest(f *testing.F) {
	f.Add("GET", "/echo.json/a%20b?a=b", "", "", "")
	f.Add("POST", "/echo.http", "application/json", `{"statusCode":"404","headers":{"a":["b"]},"body":{}}`, "text/html")
	f.Add("PUT", "/raw.text?%zz", "text/plain;charset=x", "\xff", "*/*;q=0")
	f.Add("PATCH", "/echo.html?&=&+", "application/x-www-form-urlencoded", "html=%3Cp%3E&__ow_body=", ",")
	f.Add("OPTIONS", "/raw.svg//..", "multipart/form-data", "", "image/*")
	p := newPlatform(f)
	p.run()
	p.export("echo")
	p.export("raw", "raw-http:true", "web-custom-options:true")
	f.Fuzz(func(t *testing.T, method, target, contentType, body, accept string) {
		address, err := url.ParseRequestURI(webRoot + target)
		if err != nil || address.Host != "" {
			return
		}
		r := httptest.NewRequest("GET", "/", strings.NewReader(body))
		r.URL, r.RequestURI, r.Method = address, webRoot+target, method
		r.Header["Content-Type"], r.Header["Accept"] = []string{contentType}, []string{accept}
		checkAnswer(t, p, r)
	})
}

// Whatever a web action responds, it is answered as the action wants, or as the
// action's fault.
func FuzzWebResult(f *testing.F) {
	for _, seed := range []string{
		`{"statusCode":302,"headers":{"location":"x"}}`, `{"headers":{"content-type":"image/png","a b":1},"body":"AAAA"}`, `{"error":{"statusCode":500}}`, `[{"body":[]}]`, `{"body":"\u0000","html":1,"text":null}`,
		`{"headers":{"content-length":"1","transfer-encoding":"chunked"},"statusCode":204,"body":"x"}`,
	} {
		f.Add(seed, ".http")
		f.Add(seed, ".json")
	}
	p := newPlatform(f)
	p.run()
	p.export("a")
	server := httptest.NewServer(p.handler)
	f.Cleanup(server.Close)
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	f.Fuzz(func(t *testing.T, result, extension string) {
		if !json.Valid([]byte(result)) || !strings.ContainsAny(strings.TrimSpace(result)[:1], "{[") || len(extension) > 5 || url.PathEscape(extension) != extension {
			return
		}
		status := whisk.Success
		if gjson.Get(result, "error").Exists() {
			status = whisk.ApplicationError
		}
		p.answers(whisk.Response{Status: status, Result: json.RawMessage(result)})
		// By a real server, which has its own mind about statuses and headers.
		got, err := client.Get(server.URL + webRoot + "/a" + extension)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Body.Close()
		if _, err := io.Copy(io.Discard, got.Body); err != nil {
			t.Errorf("%s: %v", result, err)
		}
		if got.Header.Get("X-Request-Id") == "" || got.StatusCode < 200 || got.StatusCode >= 500 && !strings.Contains(result, "statusCode") && !strings.Contains(result, `\u`) {
			t.Errorf("%s: %d %v", result, got.StatusCode, got.Header)
		}
	})
}
