// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/whirl-faas/whirl/agent"
	"github.com/whirl-faas/whirl/agent/httpapi"
	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/whisk"
)

const activation = "activation=0123456789abcdef0123456789abcdef&namespace=guest"

func TestSuspendAndResume(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.create("held", "ctl/1")
		b.create("free", "")
		steps := []struct {
			who, target string
			status      int
			says        string
		}{
			{"ctl", "/resume/held", 204, ""},
			{"ctl", "/suspend/held", 204, ""},
			{"ctl", "/suspend/held", 204, ""},
			{"other", "/resume/held", 403, "leased to ctl/1: only its lessee may do this, not other"},
			{"operator", "/resume/held", 403, "leased to ctl/1"},
			{"operator", "/suspend/held", 403, "leased to ctl/1"},
			{"ctl", "/resume/held", 204, ""},
			{"operator", "/suspend/free", 204, ""},
			{"operator", "/suspend/free", 204, ""},
			{"ctl", "/resume/free", 403, "only an operator"},
			{"guest", "/suspend/held", 403, "leased to ctl/1"},
			{"guest", "/suspend/free", 403, "only an operator"},
			{"operator", "/resume/free", 204, ""},
			{"operator", "/suspend/none", 404, "no container none"},
			{"operator", "/resume/none", 404, "no container none"},
			{"operator", "/resume/", 404, "no container"},
			{"operator", "/resume/..%2f..%2fetc", 404, "ids are"},
			{"operator", "/resume/a%00b", 404, "ids are"},
			{"operator", "/resume/" + strings.Repeat("a", 9000), 404, "ids are"},
			{"operator", "/resume/free/", 404, "ids are"},
			{"operator", "/resume", 404, "only /health"},
			{"operator", "/", 404, "only /health"},
			{"operator", "/health/x", 404, "only /health"},
			{"", "/resume/free", 401, "who is there"},
			{"", "/nothing", 401, "who is there"},
			{"scheduler", "/resume/free", 403, "no business"},
		}
		for _, step := range steps {
			w := b.get(step.who, step.target)
			if w.Code != step.status {
				t.Errorf("%s: %s = %d, want %d", step.who, step.target, w.Code, step.status)
			}
			if step.says == "" {
				if w.Body.Len() != 0 {
					t.Errorf("%s: %s says %q", step.who, step.target, w.Body)
				}
				continue
			}
			if got := errorOf(t, w); !strings.Contains(got, step.says) || len(got) > 500 {
				t.Errorf("%s: %s says %q, want %q", step.who, step.target, got, step.says)
			}
		}
		var changes []fake.EventKind
		for _, event := range b.driver.History() {
			if event.Kind == fake.Suspended || event.Kind == fake.Resumed {
				changes = append(changes, event.Kind)
			}
		}
		if want := []fake.EventKind{fake.Suspended, fake.Resumed, fake.Suspended, fake.Resumed}; !slices.Equal(changes, want) {
			t.Errorf("the driver saw %v, want %v", changes, want)
		}
	})
}

// errorOf returns the text of an error, which must be JSON.
func errorOf(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var body struct{ Error string }
	decoder := json.NewDecoder(w.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil || body.Error == "" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("an error is %q (%s): %v", w.Body, w.Header().Get("Content-Type"), err)
	}
	return body.Error
}

func TestAFailedSuspendSaysWhy(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Script.Suspend = func(*rand.Rand, whisk.ContainerID) fake.Operation {
			return fake.Operation{Err: errors.New("the freezer is broken")}
		}
	}, func(b *bench) {
		b.create("c", "")
		w := b.get("operator", "/suspend/c")
		if got := errorOf(t, w); w.Code != 500 || !strings.Contains(got, "the freezer is broken") {
			t.Errorf("%d %q", w.Code, got)
		}
	})
}

// TestTheNextGrantThaws holds that what an operator froze is no trap for who
// gets it next.
func TestTheNextGrantThaws(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.create("c", "")
		if w := b.get("operator", "/suspend/c"); w.Code != 204 {
			t.Fatal(w.Code)
		}
		b.command(whisk.GrantLease{Epoch: 1, Container: "c", To: "ctl"})
		time.Sleep(time.Second)
		b.run("c", "/init", "/run")
		if w := b.get("operator", "/suspend/c"); w.Code != 403 {
			t.Errorf("a held container: %d", w.Code)
		}
	})
}

func TestOnlyGET(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.create("c", "")
		for _, method := range []string{"HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get"} {
			r := httptest.NewRequest("GET", "/suspend/c", nil)
			r.Method = method
			r.Header.Set("Who", "operator")
			w := httptest.NewRecorder()
			b.api.ServeHTTP(w, r)
			if w.Code != 405 || w.Header().Get("Allow") != "GET" || !strings.Contains(errorOf(t, w), "GET") {
				t.Errorf("%s = %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
			}
		}
		if state := b.agent.Status().Containers[0].State; state != "running" {
			t.Errorf("it is %s", state)
		}
	})
}

func TestHealth(t *testing.T) {
	var silent atomic.Bool
	inBubble(t, func(s *setup) {
		s.driver.Script.Ping = func() fake.Operation {
			if silent.Load() {
				return fake.Operation{Err: errors.New("connection refused")}
			}
			return fake.Operation{}
		}
	}, func(b *bench) {
		b.create("c1", "ctl")
		b.create("c2", "")
		b.get("operator", "/suspend/c2")
		w := b.get("operator", "/health")
		want := `{"node":"n1","healthy":true,"engine":{"driver":"fake","answers":true,"asked":"2000-01-01T00:00:00Z"},` +
			`"capacity":{"memory":1073741824,"memoryUsed":268435456,"containers":2,"maxContainers":4096},"logs":{"waiting":0,"bytes":0,"dropped":0},"containers":[` +
			`{"id":"c1","state":"running","label":"hello","kind":"fake:1","memory":134217728,"controller":"ctl","leaseEnd":"2000-01-01T00:00:10Z","used":true},` +
			`{"id":"c2","state":"suspended","label":"hello","kind":"fake:1","memory":134217728,"used":false}]}` + "\n"
		if w.Code != 200 || w.Body.String() != want {
			t.Errorf("%d %s\nwant %s", w.Code, w.Body, want)
		}

		silent.Store(true)
		time.Sleep(20 * time.Second)
		w = b.get("operator", "/health")
		var health struct {
			Healthy bool
			Problem string
			Engine  struct {
				Answers bool
				Error   string
			}
		}
		if err := json.Unmarshal(w.Body.Bytes(), &health); err != nil || health.Healthy || health.Engine.Answers ||
			health.Engine.Error != "connection refused" || !strings.Contains(health.Problem, "connection refused") {
			t.Errorf("%s: %v", w.Body, err)
		}
		silent.Store(false)
		time.Sleep(10 * time.Second)
		if w = b.get("operator", "/health"); !strings.Contains(w.Body.String(), `"healthy":true`) {
			t.Errorf("%s", w.Body)
		}
	})
}

func TestLog(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Script.Run = func(_ *rand.Rand, call fake.Call) fake.Answer {
			return fake.Answer{Stdout: fmt.Sprintf("out %d\n", call.N)}
		}
	}, func(b *bench) {
		b.create("c", "ctl")
		b.run("c", "/init", "/run", "/run", "/run", "/run")
		steps := []struct {
			who, query string
			status     int
			stored     string // of the last entry
		}{
			{"ctl", "&run=2", 204, "out 2"},
			{"ctl", "", 204, "out 3"},
			{"ctl", "&run=next", 204, "out 4"},
			{"ctl", "&run=1&limit=1m&sentinels=true&failed=false", 204, "out 1"},
			{"ctl", "&run=1", 204, ""}, // it was taken
			{"operator", "&run=1", 403, ""},
			{"other", "&run=1", 403, ""},
		}
		for _, step := range steps {
			b.logs.entries = nil
			w := b.get(step.who, "/log/c?"+activation+step.query)
			if w.Code != step.status {
				t.Errorf("%s %s = %d %s", step.who, step.query, w.Code, w.Body)
			}
			switch {
			case step.stored == "" && len(b.logs.entries) != 0:
				t.Errorf("%s %s stored %q", step.who, step.query, b.logs.entries)
			case step.stored == "":
			case len(b.logs.entries) != 1 || len(b.logs.entries[0].Lines) != 1 || !strings.HasSuffix(b.logs.entries[0].Lines[0], step.stored):
				t.Errorf("%s %s stored %q, want %q", step.who, step.query, b.logs.entries, step.stored)
			case b.logs.entries[0].Activation != "0123456789abcdef0123456789abcdef" || b.logs.entries[0].Namespace != "guest":
				t.Errorf("stored for %+v", b.logs.entries[0])
			}
		}
		b.run("c", "/run")
		if w := b.get("ctl", "/log/c?"+activation, "text/html, application/json"); w.Code != 200 ||
			w.Body.String() != `{"lines":1,"bytes":44,"truncated":false}`+"\n" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// TestNextFollowsTheSession: what the controller asked for by its session counts.
func TestNextFollowsTheSession(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Script.Run = func(_ *rand.Rand, call fake.Call) fake.Answer {
			return fake.Answer{Stdout: fmt.Sprintf("out %d\n", call.N)}
		}
	}, func(b *bench) {
		b.create("c", "ctl")
		b.run("c", "/init", "/run", "/run")
		b.ask(b.session("ctl"), whisk.SandboxRequest{Op: whisk.CollectLogs, Container: "c", Logs: whisk.LogRequest{
			Activation: "a1", Namespace: "guest", Run: 1, Limit: whisk.MB, Sentinels: true,
		}})
		w := b.get("ctl", "/log/c?"+activation)
		if last := b.logs.entries[len(b.logs.entries)-1].Lines; w.Code != 204 || !strings.HasSuffix(last[0], "out 2") {
			t.Errorf("%d, stored %q", w.Code, last)
		}
	})
}

func TestLogThatCannotBeStored(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Script.Run = func(*rand.Rand, fake.Call) fake.Answer { return fake.Answer{Stdout: "text\n"} }
	}, func(b *bench) {
		b.create("c", "ctl")
		b.run("c", "/init", "/run")
		b.logs.err = errors.New("the disk is full")
		w := b.get("ctl", "/log/c?"+activation)
		if got := errorOf(t, w); w.Code != 500 || !strings.Contains(got, "disk is full") {
			t.Errorf("%d %q", w.Code, got)
		}
	})
}

// TestLogWithoutAnEnd has output in which no sentinel comes.
func TestLogWithoutAnEnd(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Script.Run = func(*rand.Rand, fake.Call) fake.Answer { return fake.Answer{Stdout: "text\n", NoSentinels: true} }
	}, func(b *bench) {
		b.create("c", "ctl")
		b.run("c", "/init", "/run")
		w := b.get("ctl", "/log/c?"+activation)
		if got := errorOf(t, w); w.Code != 400 || !strings.Contains(got, "sentinel") || !strings.Contains(got, "2 lines") {
			t.Errorf("%d %q", w.Code, got)
		}
		if len(b.logs.entries) != 1 || len(b.logs.entries[0].Lines) != 2 {
			t.Errorf("stored %q", b.logs.entries)
		}
		b.run("c", "/run")
		if w := b.get("ctl", "/log/c?sentinels=false&"+activation); w.Code != 204 || len(b.logs.entries) != 2 {
			t.Errorf("without sentinels: %d %s", w.Code, w.Body)
		}
	})
}

// TestAnOperatorReadsTheDead collects what a container that nobody holds any more
// wrote last.
func TestAnOperatorReadsTheDead(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Script.Run = func(*rand.Rand, fake.Call) fake.Answer {
			return fake.Answer{Stdout: "last words\n", Hang: true}
		}
	}, func(b *bench) {
		b.create("c", "ctl")
		b.create("new", "")
		b.run("c", "/init")
		conn, err := b.driver.Dial(b.Context(), whisk.Address{Network: "memory", Address: "fake/c"})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n{\"value\":{}}")
		synctest.Wait()
		b.command(whisk.RemoveContainer{Epoch: 1, Container: "c", Lessee: "ctl"})
		_ = conn.Close()
		if w := b.get("operator", "/log/c?failed=true&"+activation); w.Code != 204 || len(b.logs.entries) != 1 || len(b.logs.entries[0].Lines) != 2 {
			t.Errorf("%d %s, stored %q", w.Code, w.Body, b.logs.entries)
		}
		if w := b.get("operator", "/log/new?"+activation); w.Code != 403 || !strings.Contains(errorOf(t, w), "never leased") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

func TestBadQueries(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.create("c", "ctl")
		for query, says := range map[string]string{
			"":                                       "activation is missing",
			"activation=x&namespace=guest":           "activation=\"x\"",
			"namespace=guest":                        "activation is missing",
			"activation=" + strings.Repeat("a", 32):  "namespace is missing",
			activation + "&run=0":                    `from 1, or "next"`,
			activation + "&run=-1":                   `from 1, or "next"`,
			activation + "&run=18446744073709551616": `from 1, or "next"`,
			activation + "&run=18446744073709551615": "has had 0 runs",
			activation + "&run=":                     `from 1, or "next"`,
			activation + "&limit=ten":                "bad size",
			activation + "&limit=-1":                 "bad size",
			activation + "&limit=2g":                 "at most 1 GB",
			activation + "&sentinels=1":              "true or false",
			activation + "&failed=":                  "true or false",
			activation + "&activation=x":             "2 times",
			activation + "&path=/etc/passwd":         "only activation, failed, limit",
			activation + "&run=%zz":                  "cannot be read",
			activation + ";run=1":                    "cannot be read",
			"activation=0123456789abcdef0123456789abcdef&namespace=a/b": "illegal characters",
			activation + "&" + strings.Repeat("x", 5000) + "=1":         "there is no query parameter",
		} {
			w := b.get("ctl", "/log/c?"+query)
			if got := errorOf(t, w); w.Code != 400 || !strings.Contains(got, says) || len(got) > 500 {
				t.Errorf("%.80s: %d %q, want %q", query, w.Code, got, says)
			}
		}
		if w := b.get("ctl", "/log/none?"+activation); w.Code != 404 {
			t.Errorf("an unknown container: %d", w.Code)
		}
	})
}

// TestNoRenewal holds that the surface keeps no lease alive: that is the
// sessions' affair.
func TestNoRenewal(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.create("c", "ctl")
		for range 20 {
			time.Sleep(time.Second)
			b.get("ctl", "/resume/c")
		}
		if w := b.get("ctl", "/resume/c"); w.Code != 404 {
			t.Errorf("after twice a lease's time: %d", w.Code)
		}
	})
}

func TestNobodyIsServedUnasked(t *testing.T) {
	logger := slog.New(slog.DiscardHandler)
	if _, err := httpapi.New(httpapi.Default(), nil, nil, logger); whisk.KindOf(err) != whisk.Invalid {
		t.Errorf("New without an Authorize = %v", err)
	}
	if _, err := httpapi.New(httpapi.Config{}, nil, authorize, logger); whisk.KindOf(err) != whisk.Invalid {
		t.Errorf("New without bounds = %v", err)
	}
}

// TestTooMany fills the places with collections that wait.
func TestTooMany(t *testing.T) {
	inBubble(t, func(s *setup) { s.api.Logs = 2 }, func(b *bench) {
		b.create("c", "ctl")
		codes := make(chan int, 2)
		for run := range 2 {
			go func() { codes <- b.get("ctl", fmt.Sprintf("/log/c?run=%d&%s", run+1, activation)).Code }()
		}
		synctest.Wait()
		if w := b.get("ctl", "/log/c?"+activation); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("a third collection: %d", w.Code)
		}
		if w := b.get("operator", "/health"); w.Code != 200 {
			t.Errorf("health meanwhile: %d", w.Code)
		}
		for range 2 {
			if code := <-codes; code == http.StatusServiceUnavailable {
				t.Error("a collection that had a place was refused")
			}
		}
	})
}

// TestFiguresOfLogs has the log store fail.
func TestFiguresOfLogs(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Script.Run = func(*rand.Rand, fake.Call) fake.Answer { return fake.Answer{Stdout: "x\n"} }
	}, func(b *bench) {
		b.create("c", "ctl")
		b.run("c", "/init", "/run", "/run", "/run")
		b.logs.fail(whisk.Errorf(whisk.Unavailable, "out of order"))
		if w := b.get("ctl", "/log/c?activation="+strings.Repeat("1", 32)+"&namespace=guest&run=1"); w.Code != 500 || !strings.Contains(w.Body.String(), "out of order") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if w := b.get("operator", "/health"); !strings.Contains(w.Body.String(), `"healthy":true`) || !strings.Contains(w.Body.String(), `"logs":{"waiting":1,`) || !strings.Contains(w.Body.String(), `"error":"out of order"`) {
			t.Errorf("%s", w.Body)
		}
		want := map[string]float64{"whirl_agent_log_store_away": 1, "whirl_agent_logs_waiting": 1, "whirl_agent_logs_stored_total": 0, "whirl_agent_logs_dropped_total": 0}
		checkFigures(t, b.agent, want)
		b.logs.fail(nil)
		time.Sleep(5 * time.Second)
		want = map[string]float64{"whirl_agent_log_store_away": 0, "whirl_agent_logs_waiting": 0, "whirl_agent_logs_stored_total": 1, "whirl_agent_logs_dropped_total": 0}
		checkFigures(t, b.agent, want)
	})
}

func checkFigures(t *testing.T, a *agent.Agent, want map[string]float64) {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(httpapi.Figures(a))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		got[family.GetName()] = family.GetMetric()[0].GetGauge().GetValue() + family.GetMetric()[0].GetCounter().GetValue()
	}
	for name, value := range want {
		if found, ok := got[name]; !ok || found != value {
			t.Errorf("%s is %v, want %v", name, found, value)
		}
	}
}
