// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/controller/httpapi"
	"github.com/whirl-faas/whirl/store/files"
	"github.com/whirl-faas/whirl/store/sqlite"
	"github.com/whirl-faas/whirl/whisk"
)

// The API over a real server, the embedded stores and a restart.
func TestOverEmbeddedStores(t *testing.T) {
	dir := t.TempDir()
	var ids []string
	embedded(t, dir, "first", func(do func(method, path, body string) (int, string)) {
		expect := func(status int, method, path, body string) string {
			t.Helper()
			got, answer := do(method, path, body)
			if got != status {
				t.Fatalf("%s %s = %d %s, want %d", method, path, got, answer, status)
			}
			return answer
		}
		expect(200, "PUT", guest+"/actions/hello", `{"exec":{"kind":"nodejs:default","code":"`+strings.Repeat("x", 100_000)+`"},"parameters":[{"key":"bound","value":1.50}]}`)
		expect(409, "PUT", guest+"/actions/hello", hello)
		expect(200, "PUT", guest+"/actions/hello?overwrite=true", `{"limits":{"memory":128}}`)
		if got := expect(200, "POST", guest+"/actions/hello?blocking=true&result=true", `{"n":12345678901234567890}`); got != `{"bound":1.50,"n":12345678901234567890}` {
			t.Errorf("result %s", got)
		}
		expect(200, "PUT", guest+"/packages/p", `{"publish":true,"parameters":[{"key":"pkg","value":1}]}`)
		expect(200, "PUT", guest+"/actions/p/a", hello)
		expect(200, "PUT", guest+"/packages/bind", `{"binding":{"namespace":"_","name":"p"},"parameters":[{"key":"bind","value":2}]}`)
		expect(200, "PUT", guest+"/actions/seq", `{"exec":{"kind":"sequence","components":["/_/bind/a","/_/hello"]}}`)
		expect(200, "PUT", guest+"/triggers/t", `{}`)
		expect(200, "PUT", guest+"/rules/r", `{"trigger":"/_/t","action":"/_/seq"}`)
		expect(202, "POST", guest+"/triggers/t", `{"__ow_headers":0}`)
		for i := range 20 {
			answer := expect(202, "POST", guest+"/actions/hello", fmt.Sprintf(`{"i":%d}`, i))
			ids = append(ids, answer[len(`{"activationId":"`):len(answer)-2])
		}
	})
	embedded(t, dir, "second", func(do func(method, path, body string) (int, string)) {
		if status, answer := do("GET", guest+"/actions/hello", ""); status != 200 || strings.Count(answer, "x") < 100_000 || !strings.Contains(answer, `"version":"0.0.2"`) {
			t.Errorf("the action after a restart: %d %.300s", status, answer)
		}
		for i, id := range ids {
			want := fmt.Sprintf(`"result":{"bound":1.50,"i":%d}`, i)
			if status, answer := do("GET", guest+"/activations/"+id, ""); status != 200 || !strings.Contains(answer, want) {
				t.Errorf("activation %d after a restart: %d %s", i, status, answer)
			}
		}
		for name, count := range map[string]int{"hello": 22, "bind/a": 1, "seq": 1, "t": 1} {
			if _, answer := do("GET", guest+"/activations?count=true&name="+name, ""); answer != fmt.Sprintf(`{"activations":%d}`, count) {
				t.Errorf("count of %s: %s", name, answer)
			}
		}
		if _, answer := do("GET", guest+"/activations?name=seq&docs=true", ""); !strings.Contains(answer, `"result":{"bound":1.50,"pkg":1,"bind":2,"__ow_headers":0}`) || !strings.Contains(answer, `"topmost"`) {
			t.Errorf("the sequence's record: %s", answer)
		}
		if _, answer := do("GET", guest+"/activations?name=t", ""); strings.Contains(answer, `"end"`) || strings.Contains(answer, `"statusCode"`) {
			t.Errorf("the trigger's record has an end: %s", answer)
		}
		if _, answer := do("GET", guest+"/rules/r", ""); !strings.Contains(answer, `"status":"active"`) {
			t.Errorf("the rule after a restart: %s", answer)
		}
		if status, answer := do("DELETE", guest+"/packages/p?force=true", ""); status != 200 {
			t.Errorf("delete of a package by force: %d %s", status, answer)
		}
		if status, answer := do("DELETE", guest+"/actions/hello", ""); status != 200 {
			t.Errorf("delete: %d %s", status, answer)
		}
	})
}

// embedded runs a platform on the stores in dir while use does its requests.
func embedded(t *testing.T, dir string, id whisk.ControllerID, use func(do func(method, path, body string) (int, string))) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	entities, err := sqlite.OpenEntities(t.Context(), filepath.Join(dir, "entities.db"))
	must(err)
	activations, err := sqlite.OpenActivations(t.Context(), filepath.Join(dir, "activations.db"), nil)
	must(err)
	logs, err := sqlite.OpenLogs(t.Context(), filepath.Join(dir, "logs.db"))
	must(err)
	blobs, err := files.Open(filepath.Join(dir, "code"))
	must(err)
	must(controller.Subjects{Store: entities}.Ensure(t.Context(), "guest", "guest", whisk.AuthKey{UUID: guestUUID, Key: guestKey}))

	config := controller.Default()
	config.ID = id
	config.Limits = controllertest.Unthrottled()
	control, err := controller.New(config, controller.Deps{
		Entities: entities, Subjects: entities, APIs: entities, Queue: entities, Blobs: blobs, Activations: activations, Logs: logs,
		Balancer: &controllertest.Balancer{}, Manifest: manifest,
	})
	must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- control.Run(ctx) }()
	server := httptest.NewServer(httpapi.New(httpapi.Config{}, control))

	use(func(method, path, body string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
		must(err)
		r.Header.Set("Authorization", basic(guestUUID, guestKey))
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
		answer, err := server.Client().Do(r)
		must(err)
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		must(err)
		return answer.StatusCode, string(text)
	})
	cancel()
	select {
	case err := <-done:
		must(err)
	case <-time.After(20 * time.Second):
		t.Fatal("the controller does not stop")
	}
	server.Close()
	must(entities.Close())
	must(activations.Close())
	must(logs.Close())
	must(blobs.Close())
}
