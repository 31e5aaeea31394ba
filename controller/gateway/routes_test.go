// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/controller/gateway"
)

// mustLead checks which action GET of a path leads to, and what path it is told: "name" or "name path".
func mustLead(t *testing.T, routes *gateway.Routes, path, want string) {
	t.Helper()
	got := "nowhere"
	if resource, rest := routes.Find(path); resource != nil {
		got = "no verb"
		if operation := resource.Operation("GET"); operation != nil {
			target := operation.Target(path, rest)
			got = strings.TrimSpace(target.Action.Path() + " " + target.Path)
		}
	}
	if got != want {
		t.Errorf("%s leads to %s, want %s", path, got, want)
	}
}

func TestFind(t *testing.T) {
	var routes gateway.Routes
	club := put(t, gateway.New("/club", ""),
		endpoint("get", "/books", "list", ""), endpoint("get", "/books/{id}", "one", "http"), endpoint("get", "/books/new", "new", ""),
		endpoint("get", "/books/{id}/pages/{id}", "page", "http"), endpoint("post", "/books/new/pages", "never", ""), endpoint("get", "/a%20b", "space", ""))
	root := put(t, gateway.New("/", ""), endpoint("get", "/", "root", "http"), endpoint("get", "/club/books", "late", ""))
	for _, d := range []*gateway.Document{club, root} {
		if err := routes.Add("guest", d); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"/club/books":             "guest/list",
		"/club/books/":            "guest/list /",
		"/club//books":            "guest/list",
		"/club/books/new":         "guest/new",
		"/club/books/5":           "guest/one /club/books/5",
		"/club/books/a%2Fb%20c":   "guest/one /club/books/a%2Fb%20c",
		"/club/books/5/6/7":       "guest/one /club/books/5/6/7",
		"/club/books/5/pages/6":   "guest/page /club/books/5/pages/6",
		"/club/books/new/pages":   "no verb",
		"/club/books/new/pages/6": "guest/page /club/books/new/pages/6",
		"/club/books/new/x%2fy?":  "guest/new /x%2Fy%3F",
		"/club/a b":               "guest/space",
		"/club/a%20b/c":           "guest/space /c",
		"/club/%62ooks":           "guest/list",
		"/club":                   "guest/root /club",
		"/":                       "guest/root /",
		"/other/%zz":              "guest/root /other/%25zz",
		"/club/books/../../books": "guest/one /club/books/../../books",
	} {
		mustLead(t, &routes, path, want)
	}
	mustLead(t, new(gateway.Routes), "/", "nowhere")
}

// A document may be of another platform, and of another user.
func TestActionsAreFoundHere(t *testing.T) {
	for target, want := range map[string]string{
		"https://h:1/x/api/v1/web/other/pkg/act.json":     "other/pkg/act",
		"https://h/api/v1/web/_/default/act.http":         "guest/act",
		"https://h/api/v1/web/guest/default/my%20act.svg": "guest/my act",
		"https://h/api/v1/web/guest/default/my act/sub":   "guest/my act /sub",
	} {
		text := strings.ReplaceAll(strings.ReplaceAll(sample, "/p/{id}", "/p"), "https://h/api/v1/web/guest/default/a.http$(request.path)", target)
		d, err := gateway.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var routes gateway.Routes
		if err := routes.Add("guest", d); err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		mustLead(t, &routes, "/base/p", want)
	}
}

// Without a word about what the gateway does, the action that is named is enough.
func TestDocumentWithoutConfiguration(t *testing.T) {
	text := sample[:strings.Index(sample, `"x-ibm-configuration"`)] + `"x-more":1}`
	d, err := gateway.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var routes gateway.Routes
	if err := routes.Add("guest", d); err != nil {
		t.Fatal(err)
	}
	mustLead(t, &routes, "/base/p/7", "guest/a /base/p/7")
	if resource, _ := routes.Find("/base/p/7"); resource.CORS != gateway.CORSOfAction {
		t.Errorf("CORS is %v", resource.CORS)
	}
}

func TestOperationChangesTheRequest(t *testing.T) {
	text := strings.Replace(sample, `[{"operation-switch"`, `[{"set-variable":{"actions":[
		{"set":"message.headers.x-key","value":12},{"set":"message.headers.X-All","value":"a"},{"set":"message.query.q","value":"r&s"}]}},{"operation-switch"`, 1)
	text = strings.Replace(text, `"keep"}}`, `"post"}},{"set-variable":{"actions":[{"set":"message.headers.X-All","value":"one"}]}}`, 1)
	d, err := gateway.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var routes gateway.Routes
	if err := routes.Add("guest", d); err != nil {
		t.Fatal(err)
	}
	resource, _ := routes.Find("/base/p/1")
	r := httptest.NewRequest("GET", "/api/t/base/p/1?q=1", http.NoBody)
	r.Header.Set("X-Key", "theirs")
	got := resource.Operation("GET").Apply(r)
	if got.Method != "POST" || got.Header.Get("X-Key") != "12" || got.Header.Get("X-All") != "one" || got.URL.RawQuery != "q=1&q=r%26s" {
		t.Errorf("%s %s %v", got.Method, got.URL, got.Header)
	}
	if r.Method != "GET" || r.Header.Get("X-Key") != "theirs" || r.URL.RawQuery != "q=1" {
		t.Errorf("the request itself became %s %s %v", r.Method, r.URL, r.Header)
	}
}

func TestSpacing(t *testing.T) {
	text := strings.Replace(sample, `"swagger":"2.0"`, `"x-ibm-rate-limit":[{"rate":4,"unit":"second","units":2}]`, 1)
	d, err := gateway.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var routes gateway.Routes
	if err := routes.Add("guest", d); err != nil {
		t.Fatal(err)
	}
	resource, _ := routes.Find("/base/p/1")
	start := time.Unix(1000, 0)
	for _, at := range []struct {
		ms, share int
		want      bool
	}{{0, 1, true}, {0, 1, false}, {499, 1, false}, {500, 2, true}, {1000, 1, false}, {1499, 1, false}, {1500, 1, true}} {
		if got := resource.Limit.Admit(start.Add(time.Duration(at.ms)*time.Millisecond), at.share); got != at.want {
			t.Errorf("after %d ms: %v", at.ms, got)
		}
	}
	if none := (*gateway.Spacing)(nil); !none.Admit(start, 1) {
		t.Error("no limit limits")
	}
}
