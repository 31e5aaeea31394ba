// SPDX-License-Identifier: Apache-2.0

package surface_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/whirl-faas/whirl/surface"
	"github.com/whirl-faas/whirl/whisk"
)

// watched returns the probes of a role whose own surface answers 418.
func watched(change func(*surface.Watch)) *surface.Probes {
	watch := surface.Watch{
		Ready:   func(context.Context) error { return nil },
		Metrics: surface.Metrics(),
		Authorize: func(r *http.Request) (surface.Caller, error) {
			who := r.Header.Get("Who")
			if who == "" {
				return surface.Caller{}, errors.New("who is there?")
			}
			return surface.Caller{Name: who, Operator: who == "operator"}, nil
		},
		Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&watch)
	}
	return surface.NewProbes(watch, surface.Default(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
	}))
}

func ask(handler http.Handler, who, method, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("Who", who)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

func TestWhoMaySeeWhat(t *testing.T) {
	plain := watched(nil)
	profiled := watched(func(w *surface.Watch) { w.Profiles = true })
	lacking := watched(func(w *surface.Watch) { w.Lacks = func(context.Context) error { return errors.New("logs wait") } })
	broken := watched(func(w *surface.Watch) {
		w.Ready = func(context.Context) error { return errors.New("no node") }
		w.Lacks = func(context.Context) error { return errors.New("logs wait") }
	})
	for _, row := range []struct {
		probes            *surface.Probes
		who, method, path string
		status            int
		says              string
	}{
		{plain, "", "GET", "/healthz", 200, "ok\n"},
		{plain, "", "HEAD", "/healthz", 200, ""},
		{plain, "", "POST", "/healthz", 405, "only GET"},
		{plain, "", "GET", "/readyz", 200, "ok\n"},
		{lacking, "", "GET", "/readyz", 200, "ok, but logs wait\n"},
		{broken, "", "GET", "/readyz", 503, "no node\n"},
		{plain, "", "GET", "/metrics", 401, "who is there"},
		{plain, "controller", "GET", "/metrics", 200, "\ngo_goroutines "},
		{plain, "controller", "POST", "/metrics", 405, "only GET"},
		{plain, "operator", "GET", "/debug/pprof/", 418, ""},
		{plain, "", "GET", "/healthz/", 418, ""},
		{profiled, "", "GET", "/debug/pprof/", 401, "who is there"},
		{profiled, "controller", "GET", "/debug/pprof/heap", 403, "for operators, not for controller"},
		{profiled, "operator", "GET", "/debug/pprof/", 200, "goroutine"},
		{profiled, "operator", "GET", "/debug/pprof/goroutine?debug=1", 200, "goroutine profile"},
		{profiled, "operator", "GET", "/debug/pprof/cmdline", 404, "Unknown profile"},
	} {
		w := ask(row.probes, row.who, row.method, row.path)
		if w.Code != row.status || !strings.Contains(w.Body.String(), row.says) {
			t.Errorf("%s: %s %s = %d %.200s, want %d %q", row.who, row.method, row.path, w.Code, w.Body, row.status, row.says)
		}
	}
}

func TestARoleWithoutASurface(t *testing.T) {
	probes := surface.NewProbes(surface.Watch{Logger: slog.New(slog.DiscardHandler)}, surface.Default(), nil)
	if w := ask(probes, "", "GET", "/status"); w.Code != 404 || !strings.Contains(w.Body.String(), "only /healthz") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestReadinessIsFoundOutOnceASecond holds that those who need no permission
// cannot keep a role busy, and that they hear of a change.
func TestReadinessIsFoundOutOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		var trouble error
		probes := watched(func(w *surface.Watch) {
			w.Ready = func(ctx context.Context) error {
				asked++
				if _, bounded := ctx.Deadline(); !bounded {
					t.Error("the role may take for ever")
				}
				return trouble
			}
		})
		for range 10 {
			if w := ask(probes, "", "GET", "/readyz"); w.Code != 200 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		}
		trouble = errors.New("the engine does not answer")
		time.Sleep(time.Second)
		for range 10 {
			if w := ask(probes, "", "GET", "/readyz"); w.Code != 503 || w.Body.String() != "the engine does not answer\n" {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		}
		if w := ask(probes, "", "GET", "/healthz"); w.Code != 200 {
			t.Errorf("/healthz of one that is not ready: %d", w.Code)
		}
		if asked != 2 {
			t.Errorf("the role was asked %d times", asked)
		}
	})
}

type broken struct{}

func (broken) Describe(chan<- *prometheus.Desc) {}
func (broken) Collect(out chan<- prometheus.Metric) {
	err := errors.New("the scheduler has ended")
	out <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
}

func TestMissingFiguresAreAnError(t *testing.T) {
	probes := watched(func(w *surface.Watch) { w.Metrics = surface.Metrics(broken{}) })
	if w := ask(probes, "operator", "GET", "/metrics"); w.Code != 500 || !strings.Contains(w.Body.String(), "the scheduler has ended") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestBounds(t *testing.T) {
	if err := surface.Default().Validate(); err != nil {
		t.Error(err)
	}
	if err := (surface.Bounds{}).Validate(); whisk.KindOf(err) != whisk.Invalid {
		t.Errorf("no bounds: %v", err)
	}
}
