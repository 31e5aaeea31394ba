// SPDX-License-Identifier: Apache-2.0

package apidocstest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/controller/apidocs"
	"github.com/whirl-faas/whirl/controller/apidocs/apidocstest"
)

func documentOf(file apidocs.File) []byte {
	w := httptest.NewRecorder()
	file.Serve(w, httptest.NewRequest("GET", "/", nil))
	return w.Body.Bytes()
}

func describe(t *testing.T) *apidocstest.Description {
	t.Helper()
	library := apidocs.New()
	description, err := apidocstest.Parse(documentOf(library.Server), documentOf(library.API))
	if err != nil {
		t.Fatal(err)
	}
	return description
}

const (
	rule   = `{"namespace":"guest","name":"r","version":"0.0.1","publish":false,"updated":1,"annotations":[],"trigger":{"path":"guest","name":"t"},"action":{"path":"guest","name":"a"},"status":"active"}`
	absent = `{"error":"The requested resource does not exist.","code":"tid"}`
)

// What is wrong in an exchange is found, and what is right is not.
func TestCheck(t *testing.T) {
	description := describe(t)
	for _, row := range []struct {
		what, method, target, sent string
		status                     int
		answer, want               string // a part of the error, "" for none
	}{
		{"a rule", "GET", "/api/v1/namespaces/_/rules/r", "", 200, rule, ""},
		{"an absent rule", "GET", "/api/v1/namespaces/_/rules/r", "", 404, absent, ""},
		{"a field that nothing tells of", "GET", "/api/v1/namespaces/_/rules/r", "", 200, strings.Replace(rule, `"version"`, `"edition":1,"version"`, 1), `property "edition" is unsupported`},
		{"a field that is missing", "GET", "/api/v1/namespaces/_/rules/r", "", 200, strings.Replace(rule, `"version":"0.0.1",`, "", 1), `property "version" is missing`},
		{"a field of another type", "GET", "/api/v1/namespaces/_/rules/r", "", 200, strings.Replace(rule, `"updated":1`, `"updated":"1"`, 1), "must be an integer"},
		{"a status that nothing tells of", "GET", "/api/v1/namespaces/_/rules/r", "", 418, absent, "status is not supported"},
		{"an error of another form", "GET", "/api/v1/namespaces/_/rules/r", "", 404, `{"message":"none"}`, "another form"},
		{"an error of another request", "GET", "/api/v1/namespaces/_/rules/r", "", 404, strings.Replace(absent, "tid", "other", 1), "another form"},
		{"a list", "GET", "/api/v1/namespaces/_/rules/", "", 200, "[]", ""},
		{"a count", "GET", "/api/v1/namespaces/_/rules?count=YES", "", 200, `{"rules":3}`, ""},
		{"neither a list nor a count", "GET", "/api/v1/namespaces/_/rules", "", 200, `{"rules":"3"}`, "doesn't match"},
		{"a number that was accepted", "GET", "/api/v1/namespaces/_/rules?limit=201", "", 200, "[]", "was accepted (200)"},
		{"a number that was refused", "GET", "/api/v1/namespaces/_/rules?limit=201", "", 400, absent, ""},
		{"a body that was accepted", "PUT", "/api/v1/namespaces/_/rules/r", `{"publish":"yes"}`, 200, rule, "was accepted (200)"},
		{"fields that nobody reads", "PUT", "/api/v1/namespaces/_/rules/r", `{"anything":"at all"}`, 200, rule, ""},
		{"a name that was accepted", "GET", "/api/v1/namespaces/_/rules/r%2Fs", "", 200, rule, "was accepted (200)"},
		{"a path that nothing tells of", "GET", "/api/v1/namespaces/_/roles", "", 200, "[]", "is not described"},
		{"a path that there is not", "GET", "/api/v1/namespaces/_/roles", "", 404, absent, ""},
		{"a method that nothing tells of", "PATCH", "/api/v1/namespaces/_/rules/r", "{}", 200, rule, "is not described"},
		{"anything of a web action", "PATCH", "/api/v1/web/guest/default/a.json/b/c", "x", 299, "y", ""},
		{"an error before a web action", "PATCH", "/api/v1/web/guest/default/a.json/b/c", "x", 404, "y", "no JSON object"},
		{"the server's own", "GET", "/invokers", "", 200, `{"node":"up"}`, ""},
		{"a state that there is not", "GET", "/invokers", "", 200, `{"node":"tired"}`, "not one of the allowed values"},
	} {
		r := httptest.NewRequest(row.method, row.target, nil)
		r.Header.Set("Content-Type", "application/json")
		header := http.Header{"X-Request-Id": {"tid"}, "Content-Type": {"application/json"}}
		err := description.Check(apidocstest.Exchange{Request: r, Sent: []byte(row.sent), Status: row.status, Header: header, Answer: []byte(row.answer)})
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: %v, want %q", row.what, err, row.want)
		}
	}
	err := description.Check(apidocstest.Exchange{Request: httptest.NewRequest("GET", "/ping", nil), Status: 200, Header: http.Header{"Content-Type": {"text/plain"}}, Answer: []byte("pong")})
	if err == nil || !strings.Contains(err.Error(), "X-Request-ID") {
		t.Errorf("an answer without an id: %v", err)
	}
}

func TestParseFindsBrokenDocuments(t *testing.T) {
	document := string(documentOf(apidocs.New().API))
	for what, broken := range map[string]string{
		"no JSON":                        document[:1000],
		"another form":                   strings.Replace(document, `"2.0"`, `"1.2"`, 1),
		"a definition that there is not": strings.Replace(document, "#/definitions/Rule\"", "#/definitions/Role\"", 1),
		"an operation twice":             strings.Replace(document, `"getRule"`, `"getTrigger"`, 1),
		"a parameter that is not there":  strings.Replace(document, "/rules/{name}", "/rules/{rule}", 1),
	} {
		if broken == document {
			t.Errorf("%s: the document has not been broken", what)
		}
		if _, err := apidocstest.Parse([]byte(broken)); err == nil {
			t.Errorf("%s is not found", what)
		}
	}
}
