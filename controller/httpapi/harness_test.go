// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/controller/httpapi"
	"github.com/whirl-faas/whirl/whisk"
)

const (
	guestUUID = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502"
	root      = "/api/v1"
	guest     = root + "/namespaces/_"
)

var guestKey = strings.Repeat("k", whisk.KeyLength)

// platform is the API over a store in memory and a scripted balancer.
type platform struct {
	t        testing.TB
	store    *controllertest.Store
	balancer *controllertest.Balancer
	control  *controller.Controller
	handler  http.Handler
}

var manifest = whisk.Manifest{Families: []whisk.RuntimeFamily{
	{Name: "nodejs", Runtimes: []whisk.Runtime{
		{Kind: "nodejs:18", Image: "whirl/nodejs:18", Deprecated: true, Attached: true, Sentinels: true},
		{Kind: "nodejs:20", Image: "whirl/nodejs:20", Default: true, Attached: true, Sentinels: true},
	}},
	{Name: "java", Runtimes: []whisk.Runtime{{Kind: "java:8", Image: "whirl/java:8", Default: true, RequireMain: true}}},
}}

func newPlatform(t testing.TB, configure ...func(*controller.Config)) *platform {
	t.Helper()
	return newPlatformWith(t, func(*controller.Deps) {}, configure...)
}

// newPlatformWith lets a test change what the controller works with.
func newPlatformWith(t testing.TB, provide func(*controller.Deps), configure ...func(*controller.Config)) *platform {
	t.Helper()
	p := &platform{t: t, store: controllertest.NewStore(), balancer: &controllertest.Balancer{}}
	for name, uuid := range map[string]string{"guest": guestUUID, "other": "other-uuid"} {
		err := p.store.PutSubject(context.Background(), whisk.Subject{Name: name + "-user", Namespaces: []whisk.SubjectNamespace{
			{Name: name, UUID: uuid, Key: whisk.HashKey(guestKey)},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	p.control = newControl(t, p.store, p.balancer, provide, configure...)
	p.handler = p.serve(httpapi.Config{Build: "today", BuildNumber: "7"})
	return p
}

// newControl makes the use cases over a store.
func newControl(t testing.TB, store *controllertest.Store, balancer *controllertest.Balancer, provide func(*controller.Deps), configure ...func(*controller.Config)) *controller.Controller {
	t.Helper()
	config := controller.Default()
	config.ID = "test"
	config.Limits = controllertest.Unthrottled()
	for _, set := range configure {
		set(&config)
	}
	deps := controller.Deps{
		Entities: store, Subjects: store, APIs: store, Blobs: store.Blobs(), Activations: store, Logs: store, Queue: store,
		Balancer: balancer, Manifest: manifest,
		Hint: func(kind string) string {
			if strings.HasPrefix(kind, "python") {
				return "To get it: apt-get install python3."
			}
			return ""
		},
	}
	provide(&deps)
	control, err := controller.New(config, deps)
	if err != nil {
		t.Fatal(err)
	}
	return control
}

// serve returns the API, held to its description; benchmarks measure it alone.
func (p *platform) serve(config httpapi.Config) http.Handler {
	api := httpapi.New(config, p.control)
	if _, measured := p.t.(*testing.B); measured {
		return api
	}
	return held{p, api}
}

// run keeps the controller going until the test ends.
func (p *platform) run() { p.t.Cleanup(p.start()) }

// start keeps the controller going until stop is called.
func (p *platform) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.control.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			p.t.Error(err)
		}
	}
}

// runInBubble is run for a synctest bubble, where the controller must have
// ended before the bubble does: the caller defers what it returns.
func runInBubble(t *testing.T, p *platform) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.control.Run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func basic(uuid, key string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(uuid+":"+key))
}

type reply struct {
	status int
	header http.Header
	body   string
}

// do sends a request as the guest; header lines "Name: value" change that.
func (p *platform) do(method, path, body string, headers ...string) reply {
	p.t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, path, content)
	r.Header.Set("Authorization", basic(guestUUID, guestKey))
	r.Header.Set("X-Request-ID", "tid")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ":")
		r.Header.Set(name, strings.TrimSpace(value))
		if strings.TrimSpace(value) == "" {
			r.Header.Del(name)
		}
	}
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r)
	return reply{w.Code, w.Header(), w.Body.String()}
}

// must is do for a request that has to be answered with that status.
func (p *platform) must(status int, method, path, body string, headers ...string) reply {
	p.t.Helper()
	got := p.do(method, path, body, headers...)
	if got.status != status {
		p.t.Fatalf("%s %s = %d %s, want %d", method, path, got.status, got.body, status)
	}
	return got
}

func (r reply) decode(t testing.TB) map[string]any {
	t.Helper()
	var document map[string]any
	if err := json.Unmarshal([]byte(r.body), &document); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
	return document
}

func (r reply) list(t testing.TB) []map[string]any {
	t.Helper()
	var list []map[string]any
	if err := json.Unmarshal([]byte(r.body), &list); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
	return list
}

// sameJSON compares documents without regard to the order of keys; a string
// "<any>" in want stands for whatever is there.
func sameJSON(t testing.TB, got, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Fatalf("got no JSON: %v in %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("want no JSON: %v in %s", err, want)
	}
	if !matches(g, w) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func matches(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok || len(object) != len(want) {
			return false
		}
		for key, value := range want {
			if inner, there := object[key]; !there || !matches(inner, value) {
				return false
			}
		}
		return true
	case []any:
		array, ok := got.([]any)
		if !ok || len(array) != len(want) {
			return false
		}
		for i := range want {
			if !matches(array[i], want[i]) {
				return false
			}
		}
		return true
	case string:
		return want == "<any>" || got == want
	}
	return got == want
}

const hello = `{"exec":{"kind":"nodejs:default","code":"function main(p){return p}"}}`

// asOther makes a request one of the other namespace's.
func asOther() string { return "Authorization: " + basic("other-uuid", guestKey) }

// step is a request of a test that tells a story, and the answer that it must have.
type step struct {
	what, method, path, body string
	headers                  []string
	status                   int
	text                     string // of the error, "" for none
}

// walk sends requests in their order, some of which must be refused.
func (p *platform) walk(t *testing.T, steps []step) {
	t.Helper()
	for _, s := range steps {
		got := p.do(s.method, s.path, s.body, s.headers...)
		text := ""
		if got.status >= 400 {
			text, _ = got.decode(t)["error"].(string)
		}
		if got.status != s.status || text != s.text {
			t.Errorf("%s: %s %s = %d %s, want %d %q", s.what, s.method, s.path, got.status, got.body, s.status, s.text)
		}
	}
}

// recordOf reads an activation's record, waiting until it is there.
func (p *platform) recordOf(t *testing.T, id string) map[string]any {
	t.Helper()
	return p.awaitRecord(t, id).decode(t)
}

// awaitRecord is recordOf for records with numbers that Go has no type for.
func (p *platform) awaitRecord(t *testing.T, id string) reply {
	t.Helper()
	for range 1000 {
		if got := p.do("GET", guest+"/activations/"+id, ""); got.status == 200 && p.stored(id) {
			return got
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("no record of %q", id)
	return reply{}
}

func (p *platform) stored(id string) bool {
	_, there := p.store.Records()[whisk.ActivationID(id)]
	return there
}

func annotationOf(entity map[string]any, key string) any {
	annotations, _ := entity["annotations"].([]any)
	for _, annotation := range annotations {
		if pair, _ := annotation.(map[string]any); pair["key"] == key {
			return pair["value"]
		}
	}
	return nil
}

// eventually waits for what happens on other goroutines.
func eventually(t *testing.T, happened func() bool) {
	t.Helper()
	for range 5000 {
		if happened() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Error("it did not happen")
}
