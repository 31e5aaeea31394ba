// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
)

// remove deletes an action, if it is still there.
func (p *platform) remove(t *testing.T, name string) {
	t.Helper()
	// The test's own context has ended when it cleans up.
	_, err := p.DeleteAction(context.WithoutCancel(t.Context()), name)
	if err != nil && refused(t, err).Status != http.StatusNotFound {
		t.Errorf("delete %s: %v", name, err)
	}
}

func TestAPI(t *testing.T) {
	need(t, "node")
	p := start(t)
	t.Run("server", p.testServer)
	t.Run("authentication", p.testAuthentication)
	t.Run("create", p.testCreate)
	t.Run("update merges", p.testUpdateMerges)
	t.Run("lists", p.testLists)
	t.Run("refusals", p.testRefusals)
	t.Run("activations", p.testActivationLists)
	t.Run("npm", p.testNPMClient)
}

func (p *platform) testServer(t *testing.T) {
	if got := p.sendRaw(t, "GET", "/ping", "", nil); got.status != 200 || strings.TrimSpace(string(got.body)) != "pong" {
		t.Errorf("ping: %d %s", got.status, got.body)
	}
	info, err := p.ServerInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.Description != "OpenWhisk" || !reflect.DeepEqual(info.APIPaths, []string{"/api/v1"}) || info.Limits["max_action_duration"] == 0 {
		t.Errorf("got %+v", info)
	}
	for _, family := range []string{"nodejs", "native"} {
		defaults := 0
		for _, runtime := range info.Runtimes[family] {
			if runtime.Default {
				defaults++
			}
		}
		if defaults != 1 {
			t.Errorf("%s has %d defaults: %+v", family, defaults, info.Runtimes[family])
		}
	}
	root := p.sendRaw(t, "GET", "/", "", nil)
	if kind := root.header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		t.Errorf("content type of the root: %q", kind)
	}
	api, err := p.APIInfo(t.Context())
	if err != nil || api.Version != "1.0.0" || api.Build == "" {
		t.Errorf("got %+v, %v", api, err)
	}
	if namespaces, err := p.Namespaces(t.Context()); err != nil || !reflect.DeepEqual(namespaces, []string{"guest"}) {
		t.Errorf("namespaces: %v, %v", namespaces, err)
	}
	p.testHeaders(t)
}

func (p *platform) testHeaders(t *testing.T) {
	header := http.Header{"Authorization": {basicAuth(guestKey)}, "X-Request-Id": {"my-transaction"}}
	got := p.sendRaw(t, "GET", "/api/v1/namespaces/_/actions/missing", "", header)
	if got.header.Get("X-Request-Id") != "my-transaction" || got.object(t)["code"] != "my-transaction" {
		t.Errorf("the caller's transaction id was not kept: %v %s", got.header, got.body)
	}
	got = p.sendRaw(t, "OPTIONS", "/api/v1/namespaces/_/actions/any", "", http.Header{})
	if got.status != 200 || got.header.Get("Access-Control-Allow-Origin") != "*" ||
		got.header.Get("Access-Control-Allow-Methods") != "GET, DELETE, POST, PUT, HEAD" {
		t.Errorf("OPTIONS: %d %v", got.status, got.header)
	}
}

func (p *platform) testAuthentication(t *testing.T) {
	const (
		missing = "The resource requires authentication, which was not supplied with the request"
		wrong   = "The supplied authentication is invalid"
	)
	for name, row := range map[string]struct{ header, text string }{
		"none":      {"", missing},
		"wrong key": {basicAuth(guestKey[:len(guestKey)-1] + "x"), wrong},
		"unknown":   {basicAuth("789c46b1-71f6-4ed5-8c54-816aa4f8c502" + guestKey[36:]), wrong},
		"short key": {basicAuth("user:password"), wrong},
	} {
		header := http.Header{}
		if row.header != "" {
			header.Set("Authorization", row.header)
		}
		got := p.sendRaw(t, "GET", "/api/v1/namespaces/_/actions", "", header)
		body := got.object(t)
		if code, isText := body["code"].(string); got.status != 401 || body["error"] != row.text || !isText || code == "" {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	if got := p.send(t, "GET", "/namespaces/whisk.system/actions", ""); got.status != 403 {
		t.Errorf("another namespace: %d %s", got.status, got.body)
	}
}

func (p *platform) testCreate(t *testing.T) {
	got := p.send(t, "PUT", "/namespaces/_/actions/made?overwrite=false",
		`{"exec":{"kind":"nodejs:default","code":"function main(p){return p}"},"parameters":[{"key":"a","value":1}],
		"annotations":[{"key":"web-export","value":true}],"limits":{"memory":128}}`)
	defer p.remove(t, "made")
	if got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	created := got.object(t)
	kind := created["exec"].(map[string]any)["kind"].(string)
	if !strings.HasPrefix(kind, "nodejs:") || kind == "nodejs:default" {
		t.Errorf("kind %q", kind)
	}
	want := map[string]any{
		"namespace": "guest", "name": "made", "version": "0.0.1", "publish": false,
		"exec":       map[string]any{"kind": kind, "code": "function main(p){return p}", "binary": false},
		"parameters": []any{map[string]any{"key": "a", "value": 1.0}},
		"limits":     map[string]any{"timeout": 60000.0, "memory": 128.0, "logs": 10.0, "concurrency": 1.0},
	}
	annotations := map[string]any{"web-export": true, "provide-api-key": false, "exec": kind}
	if updated, ok := created["updated"].(float64); !ok || updated < 1.6e12 {
		t.Errorf("updated: %v", created["updated"])
	}
	if got := byKey(created["annotations"]); !reflect.DeepEqual(got, annotations) {
		t.Errorf("annotations: %v", got)
	}
	delete(created, "updated")
	delete(created, "annotations")
	if !reflect.DeepEqual(created, want) {
		t.Errorf("got %v\nwant %v", created, want)
	}
	p.testRead(t)
}

// testRead reads the action that testCreate made.
func (p *platform) testRead(t *testing.T) {
	full := p.send(t, "GET", "/namespaces/_/actions/made", "").object(t)
	if full["exec"].(map[string]any)["code"] == nil {
		t.Error("a plain get has no code")
	}
	short := p.send(t, "GET", "/namespaces/_/actions/made?code=false", "").object(t)
	if _, has := short["exec"].(map[string]any)["code"]; has {
		t.Error("code=false has code")
	}
	if got := p.send(t, "PUT", "/namespaces/_/actions/made", `{"exec":{"kind":"nodejs:default","code":"x"}}`); got.status != 409 ||
		got.object(t)["error"] != "resource already exists" {
		t.Errorf("second create: %d %s", got.status, got.body)
	}
	if got := p.send(t, "DELETE", "/namespaces/_/actions/made", ""); got.status != 200 || got.object(t)["name"] != "made" {
		t.Errorf("delete: %d %s", got.status, got.body)
	}
	for _, method := range []string{"GET", "DELETE", "POST"} {
		got := p.send(t, method, "/namespaces/_/actions/made", "")
		if got.status != 404 || got.object(t)["error"] != "The requested resource does not exist." {
			t.Errorf("%s after the delete: %d %s", method, got.status, got.body)
		}
	}
}

// byKey turns an array of key/value objects into a map.
func byKey(parameters any) map[string]any {
	out := map[string]any{}
	for _, entry := range parameters.([]any) {
		one := entry.(map[string]any)
		out[one["key"].(string)] = one["value"]
	}
	return out
}

func (p *platform) testUpdateMerges(t *testing.T) {
	put := func(body string) map[string]any {
		t.Helper()
		got := p.send(t, "PUT", "/namespaces/_/actions/merged?overwrite=true", body)
		if got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
		return got.object(t)
	}
	put(`{"exec":{"kind":"nodejs:default","code":"function main(){return {}}"},"parameters":[{"key":"a","value":1},{"key":"b","value":2}],
		"annotations":[{"key":"x","value":1},{"key":"y","value":2}],"limits":{"timeout":5000,"memory":128}}`)
	defer p.remove(t, "merged")
	got := put(`{"parameters":[{"key":"c","value":3}],"annotations":[{"key":"x","value":9}],"delAnnotations":["y"],"limits":{"memory":192}}`)
	annotations := byKey(got["annotations"])
	if got["version"] != "0.0.2" || !reflect.DeepEqual(byKey(got["parameters"]), map[string]any{"c": 3.0}) {
		t.Errorf("got %v", got)
	}
	if _, kept := annotations["y"]; kept || annotations["x"] != 9.0 || annotations["provide-api-key"] != false {
		t.Errorf("annotations: %v", annotations)
	}
	if limits := got["limits"].(map[string]any); limits["timeout"] != 5000.0 || limits["memory"] != 192.0 {
		t.Errorf("limits: %v", limits)
	}
	if code := got["exec"].(map[string]any)["code"]; code != "function main(){return {}}" {
		t.Errorf("code: %v", code)
	}
}

func (p *platform) testLists(t *testing.T) {
	ctx := t.Context()
	for i := range 5 {
		made := p.create(t, fmt.Sprintf("listed-%d", i), client.ActionSpec{Exec: &client.Exec{Kind: "nodejs:default", Code: "x"}})
		// Those of one millisecond are listed by name.
		eventually(t, time.Second, "the clock moves on", func() bool { return time.Now().UnixMilli() > made.Updated })
	}
	names := func(page client.Page) (names []string) {
		t.Helper()
		actions, err := p.Actions(ctx, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, action := range actions {
			if action.Exec.Code != "" || action.Annotations.Get("exec") == nil {
				t.Errorf("entry %+v", action)
			}
			names = append(names, action.Name)
		}
		return names
	}
	all := names(client.Page{})
	for i, name := range []string{"listed-4", "listed-3", "listed-2", "listed-1", "listed-0"} {
		if len(all) <= i || all[i] != name {
			t.Fatalf("got %v", all)
		}
	}
	if got := names(client.Page{Limit: 2, Skip: 1}); !reflect.DeepEqual(got, all[1:3]) {
		t.Errorf("page: %v", got)
	}
	if n, err := p.CountActions(ctx); err != nil || n != len(all) {
		t.Errorf("count %d of %d, %v", n, len(all), err)
	}
}

func (p *platform) testRefusals(t *testing.T) {
	const malformed = "The request content was malformed:\n"
	for name, row := range map[string]struct {
		method, path, body string
		status             int
		text               string // its beginning
	}{
		"unknown path":      {"GET", "/namespaces/_/nothing", "", 404, "The requested resource could not be found."},
		"bad json":          {"PUT", "/namespaces/_/actions/a", "{", 400, malformed},
		"no exec":           {"PUT", "/namespaces/_/actions/a", "{}", 400, "exec undefined"},
		"unknown kind":      {"PUT", "/namespaces/_/actions/a", `{"exec":{"kind":"cobol:1","code":"x"}}`, 400, malformed + "The specified runtime 'cobol:1' is not supported by this platform. Valid values are: "},
		"memory":            {"PUT", "/namespaces/_/actions/a", `{"exec":{"kind":"nodejs:default","code":"x"},"limits":{"memory":9999}}`, 400, "memory size 9999 MB exceeds allowed threshold of 512 MB"},
		"timeout limit":     {"PUT", "/namespaces/_/actions/a", `{"exec":{"kind":"nodejs:default","code":"x"},"limits":{"timeout":1}}`, 400, "duration 1 milliseconds below allowed threshold of 100 milliseconds"},
		"name":              {"PUT", "/namespaces/_/actions/%24", `{"exec":{"kind":"nodejs:default","code":"x"}}`, 400, "The name of the entity contains illegal characters."},
		"list limit":        {"GET", "/namespaces/_/actions?limit=201", "", 400, "The query parameter 'limit' was malformed:\nThe value '201' is not in the range of 0 to 200 for actions."},
		"list skip":         {"GET", "/namespaces/_/actions?skip=-1", "", 400, "The query parameter 'skip' was malformed:\nThe value '-1' is not greater than or equal to 0 for actions."},
		"invoke timeout":    {"POST", "/namespaces/_/actions/a?blocking=true&timeout=99999", "{}", 400, "The query parameter 'timeout' was malformed:\nTimeout must be number of milliseconds up to 60000."},
		"activation id":     {"GET", "/namespaces/_/activations/xyz", "", 400, "Activation id length is 3 but must be 32."},
		"activation":        {"GET", "/namespaces/_/activations/0123456789abcdef0123456789abcdef", "", 404, "The requested resource does not exist."},
		"docs with count":   {"GET", "/namespaces/_/activations?count=true&docs=true", "", 400, "The parameter 'docs' is not permitted with 'count'."},
		"post activations":  {"POST", "/namespaces/_/activations", "", 405, "HTTP method not allowed, supported methods: GET"},
		"missing to invoke": {"POST", "/namespaces/_/actions/missing?blocking=true", "{}", 404, "The requested resource does not exist."},
	} {
		got := p.send(t, row.method, row.path, row.body)
		body := got.object(t)
		text, _ := body["error"].(string)
		if code, isText := body["code"].(string); got.status != row.status || !strings.HasPrefix(text, row.text) || !isText || code == "" {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	header := http.Header{"Authorization": {basicAuth(guestKey)}, "Content-Type": {"text/plain"}}
	if got := p.sendRaw(t, "PUT", "/api/v1/namespaces/_/actions/a", "x", header); got.status != 415 {
		t.Errorf("text body: %d %s", got.status, got.body)
	}
}

func (p *platform) testActivationLists(t *testing.T) {
	ctx := t.Context()
	p.create(t, "counted", client.ActionSpec{Exec: &client.Exec{Kind: "nodejs:default", Code: "function main(p){return p}"}})
	var ids []string
	for i := range 3 {
		record, err := p.Invoke(ctx, "counted", map[string]int{"n": i}, 0)
		if err != nil || !record.Response.Success {
			t.Fatalf("got %+v, %v", record, err)
		}
		ids = append([]string{string(record.ID)}, ids...)
	}
	eventually(t, recordTime, "all records are listed", func() bool {
		n, err := p.CountActivations(ctx, client.ActivationQuery{Name: "counted"})
		return err == nil && n == len(ids)
	})
	short := listActivations(t, p, client.ActivationQuery{Name: "counted"})
	for i, one := range short {
		if string(one.ID) != ids[i] || one.StatusCode == nil || *one.StatusCode != 0 || one.Response.Result != nil || one.Logs != nil ||
			!bytes.Contains(one.Annotations.Get("kind"), []byte("nodejs:")) || one.Annotations.Get("path") == nil {
			t.Errorf("entry %d: %+v", i, one)
		}
	}
	full := listActivations(t, p, client.ActivationQuery{Name: "counted", Full: true})
	for i, one := range full {
		if want := fmt.Sprintf(`{"n":%d}`, 2-i); string(one.Response.Result) != want || !one.Response.Success {
			t.Errorf("full entry %d: %s, want %s", i, one.Response.Result, want)
		}
	}
	page := listActivations(t, p, client.ActivationQuery{Name: "counted", Page: client.Page{Limit: 1, Skip: 1}})
	if len(page) != 1 || string(page[0].ID) != ids[1] {
		t.Errorf("page: %+v", page)
	}
	response, err := p.ActivationResponse(ctx, short[0].ID)
	if want := json.RawMessage(`{"n":2}`); err != nil || !response.Success || !bytes.Equal(response.Result, want) || response.Size != len(want) {
		t.Errorf("response %+v, %v", response, err)
	}
}

func listActivations(t *testing.T, p *platform, query client.ActivationQuery) []client.Activation {
	t.Helper()
	all, err := p.Activations(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
