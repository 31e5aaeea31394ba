// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/controller/gateway"
	"github.com/whirl-faas/whirl/whisk"
)

// endpoint is an operation as wsk api create sends it.
func endpoint(verb, path, action, responseType string) gateway.Endpoint {
	e := gateway.Endpoint{
		Path: path, Verb: verb, Type: responseType,
		Action:     whisk.FullName{Namespace: "guest", Name: action},
		BackendURL: "http://host:3233/api/v1/web/_/default/" + action + ".http",
	}
	if strings.Contains(path, "{id}") {
		e.Parameters = json.RawMessage(`[{"name":"id","in":"path","required":true,"type":"string"}]`)
	}
	return e
}

func put(t testing.TB, d *gateway.Document, endpoints ...gateway.Endpoint) *gateway.Document {
	t.Helper()
	for _, e := range endpoints {
		if err := d.Put(e); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func mustBeJSON(t *testing.T, d *gateway.Document, want string) {
	t.Helper()
	text, err := d.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var g, w any
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

// TestPut has the document that OpenWhisk makes of the same requests.
func TestPut(t *testing.T) {
	d := gateway.New("/club", "Book Club")
	secured := endpoint("GET", "/books/{id}", "getBooks", "http")
	secured.SecureKey = json.RawMessage(`12345678901234567890`)
	packaged := endpoint("post", "/books", "postBooks", "")
	packaged.Action.Package = "library"
	put(t, d, secured, packaged)
	mustBeJSON(t, d, `{
		"swagger": "2.0", "basePath": "/club", "info": {"title": "Book Club", "version": "1.0.0"},
		"paths": {
			"/books/{id}": {"get": {
				"operationId": "getBooksId",
				"parameters": [{"name":"id","in":"path","required":true,"type":"string"}],
				"x-openwhisk": {"action": "getBooks", "namespace": "guest", "package": "", "url": "http://host:3233/api/v1/web/guest/default/getBooks.http"},
				"responses": {"default": {"description": "Default response"}}}},
			"/books": {"post": {
				"operationId": "postBooks",
				"x-openwhisk": {"action": "postBooks", "namespace": "guest", "package": "library", "url": "http://host:3233/api/v1/web/guest/library/postBooks.json"},
				"responses": {"default": {"description": "Default response"}}}}},
		"x-ibm-configuration": {"cors": {"enabled": true}, "assembly": {"execute": [{"operation-switch": {"case": [
			{"operations": ["getBooksId"], "execute": [
				{"invoke": {"target-url": "http://host:3233/api/v1/web/guest/default/getBooks.http$(request.path)", "verb": "keep"}},
				{"set-variable": {"actions": [{"set": "message.headers.X-Require-Whisk-Auth", "value": 12345678901234567890}]}}]},
			{"operations": ["postBooks"], "execute": [
				{"invoke": {"target-url": "http://host:3233/api/v1/web/guest/library/postBooks.json", "verb": "keep"}}]}]}}]}}
	}`)
	if err := d.Check("guest"); err != nil {
		t.Error(err)
	}
	text, err := d.JSON()
	if err != nil || !strings.Contains(string(text), "12345678901234567890") {
		t.Errorf("the key lost digits: %s, %v", text, err)
	}
}

func TestPutReplacesAndRemoveTakesAway(t *testing.T) {
	d := put(t, gateway.New("/", ""), endpoint("get", "/a", "one", "http"))
	before, err := d.JSON()
	if err != nil {
		t.Fatal(err)
	}
	put(t, d, endpoint("GET", "/a", "two", "json"), endpoint("PUT", "/a", "one", ""), endpoint("GET", "/b", "one", ""), endpoint("get", "/a", "one", "http"))
	for _, step := range []struct{ path, verb, refusal string }{
		{"/c", "", "path '/c' does not exist in the API"},
		{"/b", "PUT", "path '/b' with operation 'put' does not exist in the API"},
		{"/c", "get", "path '/c' with operation 'get' does not exist in the API"},
		{"/a", "parameters", "path '/a' with operation 'parameters' does not exist in the API"},
		{"/b", "GET", ""},
		{"/a", "put", ""},
	} {
		err := d.Remove(step.path, step.verb)
		if step.refusal == "" && err != nil || step.refusal != "" && (err == nil || err.Error() != step.refusal) {
			t.Errorf("remove %s %s: %v, want %q", step.path, step.verb, err, step.refusal)
		}
	}
	mustBeJSON(t, d, string(before))
	if err := d.Remove("/a", ""); err != nil || !d.Empty() {
		t.Errorf("%v, empty %v", err, d.Empty())
	}
}

// Names of operations say less than their paths: they are told apart all the same.
func TestOperationsOfOneName(t *testing.T) {
	d := put(t, gateway.New("/x", ""), endpoint("get", "/a.b", "one", ""), endpoint("get", "/a/b", "two", ""), endpoint("get", "/a-b_c/D1/ünder", "three", ""))
	text, err := d.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{`"getAB"`, `"getAB2"`, `"getA-b_cD1Nder"`} {
		if strings.Count(string(text), id) != 2 {
			t.Errorf("%s has not two %s", text, id)
		}
	}
	if err := d.Remove("/a.b", "get"); err != nil {
		t.Fatal(err)
	}
	var routes gateway.Routes
	if err := routes.Add("guest", d); err != nil {
		t.Fatal(err)
	}
	mustLead(t, &routes, "/x/a/b", "guest/two")
}

func TestPutRefuses(t *testing.T) {
	for _, change := range []func(*gateway.Endpoint){
		func(e *gateway.Endpoint) { e.BackendURL = "http://elsewhere/x" },
		func(e *gateway.Endpoint) { e.BackendURL = "" },
		func(e *gateway.Endpoint) { e.Type = "exe" },
		func(e *gateway.Endpoint) { e.SecureKey = json.RawMessage(`[`) },
	} {
		e := endpoint("get", "/a", "one", "")
		change(&e)
		if err := gateway.New("/", "").Put(e); err == nil || whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("%+v: %v", e, err)
		}
	}
}

func TestParse(t *testing.T) {
	const good = `{"swagger":"2.0","basePath":"/b","info":{"title":"T","version":1.50},"paths":{"/":{}},"x-more":[1.0]}`
	d, err := gateway.Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	text, err := d.JSON()
	if err != nil || !strings.Contains(string(text), `"version":1.50`) || !strings.Contains(string(text), `"x-more":[1.0]`) {
		t.Errorf("what came is not kept: %s, %v", text, err)
	}
	if d.BasePath() != "/b" || d.Title() != "T" || gateway.TitleOf(text) != "T" {
		t.Errorf("read as %s %q %q", d.BasePath(), d.Title(), gateway.TitleOf(text))
	}
	deep := strings.Repeat("[", 2000) + strings.Repeat("]", 2000)
	for text, want := range map[string]string{
		"":                   "swagger field cannot be parsed. Ensure it is valid JSON.",
		"[]":                 "swagger field cannot be parsed. Ensure it is valid JSON.",
		"null":               "swagger field cannot be parsed. Ensure it is valid JSON.",
		good + "x":           "swagger field cannot be parsed. Ensure it is valid JSON.",
		`{"a":` + deep + `}`: "swagger field cannot be parsed. Ensure it is valid JSON.",
		strings.Replace(good, "basePath", "other", 1): "swagger is missing the basePath field.",
		strings.Replace(good, "paths", "other", 1):    "swagger is missing the paths field.",
		strings.Replace(good, "info", "other", 1):     "swagger is missing the info field.",
	} {
		if _, err := gateway.Parse([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%.60s: %v, want %s", text, err, want)
		}
	}
}

func TestDocumentIsNotEndless(t *testing.T) {
	d := gateway.New("/", strings.Repeat("x", int(gateway.MaxDocument)))
	if _, err := d.JSON(); err == nil || whisk.KindOf(err) != whisk.TooLarge {
		t.Errorf("got %v", err)
	}
}

func TestPath(t *testing.T) {
	for base, want := range map[string]string{
		"/": "/api/t", "": "/api/t", "/a": "/api/t/a", "a/b/": "/api/t/a/b", "/a b/ü?": "/api/t/a%20b/%C3%BC%3F",
	} {
		if got := gateway.Path("t", base); got != want {
			t.Errorf("path of %q is %s, want %s", base, got, want)
		}
	}
}
