// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/scheduler"
	"github.com/whirl-faas/whirl/scheduler/httpapi"
	"github.com/whirl-faas/whirl/surface"
	"github.com/whirl-faas/whirl/whisk"
)

// bench is a scheduler with its surface, in a bubble. The test plays the agent
// of node n1 and the controller.
type bench struct {
	*testing.T
	scheduler  *scheduler.Scheduler
	api        *httpapi.API
	agent      whisk.AgentToScheduler
	controller whisk.ControllerToScheduler
	end        func() // ends the scheduler
}

func inBubble(t *testing.T, test func(*bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		config := scheduler.Default()
		s, err := scheduler.New(config, scheduler.Deps{})
		if err != nil {
			t.Fatal(err)
		}
		api, err := httpapi.New(surface.Default(), s, authorize, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 3)
		agent, agentFar := inmem.Pipe[whisk.AgentReport, whisk.AgentCommand]()
		controller, controllerFar := inmem.Pipe[whisk.FactoryRequest, whisk.FactoryEvent]()
		go func() { ran <- s.Run(ctx) }()
		go func() { ran <- s.ServeAgent(ctx, agentFar) }()
		go func() { ran <- s.ServeController(ctx, controllerFar) }()
		ended := false
		b := &bench{T: t, scheduler: s, api: api, agent: agent, controller: controller, end: func() {
			if !ended {
				ended = true
				stop()
				for range 3 {
					<-ran // sessions end with whatever error their end has
				}
			}
		}}
		defer b.end()
		b.say(whisk.NodeReport{Node: "n1", Memory: whisk.GB})
		test(b)
	})
}

func (b *bench) say(report whisk.AgentReport) {
	b.Helper()
	if err := b.agent.Send(b.Context(), report); err != nil {
		b.Fatal(err)
	}
	synctest.Wait()
}

func (b *bench) request(request whisk.FactoryRequest) {
	b.Helper()
	if err := b.controller.Send(b.Context(), request); err != nil {
		b.Fatal(err)
	}
	synctest.Wait()
}

// authorize believes what the header says.
func authorize(r *http.Request) (surface.Caller, error) {
	switch who := r.Header.Get("Who"); who {
	case "":
		return surface.Caller{}, errors.New("who is there?")
	case "refused":
		return surface.Caller{}, whisk.Errorf(whisk.Denied, "not you")
	default:
		return surface.Caller{Name: who, Operator: who == "operator"}, nil
	}
}

func (b *bench) ask(who, method, target string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", target, nil)
	r.Method = method
	r.Header.Set("Who", who)
	w := httptest.NewRecorder()
	b.api.ServeHTTP(w, r)
	synctest.Wait()
	return w
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

func TestStatus(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.request(whisk.Register{Controller: "ctl"})
		b.request(whisk.Requisition{
			ID: 7, Count: 2, Deadline: time.Now().Add(time.Minute),
			Key:  whisk.ActionKey{Namespace: "guest", Action: whisk.FullName{Namespace: "team", Package: "tools", Name: "hello"}, Revision: 3},
			Spec: whisk.ContainerSpec{Kind: "nodejs:20", Memory: 768 * whisk.MB},
		})
		w := b.ask("operator", "GET", "/status")
		want := `{"at":"2000-01-01T00:00:00Z","epoch":1,"settled":false,"nodes":[` +
			`{"node":"n1","state":"up","since":"2000-01-01T00:00:00Z","connected":true,"memory":1073741824,"used":805306368,"promised":0,` +
			`"pools":{"busy":0,"free":0,"kept":0,"prewarmed":0,"creating":1,"granting":0,"removing":0}}],` +
			`"controllers":[{"controller":"ctl","connected":true,"containers":0,"claimed":0,"requisitions":1}],"prewarmed":[],"actions":[` +
			`{"namespace":"guest","action":"team/tools/hello","revision":3,"kind":"nodejs:20","memory":805306368,"busy":0,"free":0,"kept":0,"coming":1,"waiting":1}],` +
			`"waiting":[{"controller":"ctl","requisition":7,"namespace":"guest","action":"team/tools/hello","slots":2,"underWay":1,` +
			`"since":"2000-01-01T00:00:00Z","deadline":"2000-01-01T00:01:00Z"}],"omitted":{"prewarmed":0,"actions":0,"waiting":0}}` + "\n"
		if w.Code != 200 || w.Body.String() != want || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%d %s\nwant %s", w.Code, w.Body, want)
		}
	})
}

func TestDrainAndUndrain(t *testing.T) {
	inBubble(t, func(b *bench) {
		state := func(want whisk.NodeState) {
			b.Helper()
			shot, err := b.scheduler.Snapshot(b.Context())
			if err != nil || shot.Nodes[0].State != want {
				b.Errorf("the node is %v, %v; want %v", shot.Nodes, err, want)
			}
		}
		for _, order := range []struct {
			verb string
			want whisk.NodeState
		}{{"drain", whisk.NodeDrained}, {"drain", whisk.NodeDrained}, {"undrain", whisk.NodeUp}, {"undrain", whisk.NodeUp}} {
			if w := b.ask("operator", "POST", "/nodes/n1/"+order.verb); w.Code != 204 || w.Body.Len() != 0 {
				b.Errorf("%s: %d %s", order.verb, w.Code, w.Body)
			}
			state(order.want)
		}
		b.ask("controller ctl", "POST", "/nodes/n1/drain")
		b.ask("", "POST", "/nodes/n1/drain")
		state(whisk.NodeUp)
	})
}

func TestRefusals(t *testing.T) {
	inBubble(t, func(b *bench) {
		for _, row := range []struct {
			who, method, target string
			status              int
			says                string
		}{
			{"", "GET", "/status", 401, "who is there"},
			{"", "GET", "/nothing", 401, "who is there"},
			{"refused", "GET", "/status", 403, "not you"},
			{"controller ctl", "GET", "/status", 403, "for operators, not for controller ctl"},
			{"controller ctl", "POST", "/nodes/n1/drain", 403, "for operators"},
			{"operator", "POST", "/status", 405, "only GET"},
			{"operator", "HEAD", "/status", 405, "only GET"},
			{"operator", "GET", "/nodes/n1/drain", 405, "only POST"},
			{"operator", "PUT", "/nodes/n1/undrain", 405, "only POST"},
			{"operator", "GET", "/", 404, "only /status"},
			{"operator", "GET", "/status/", 404, "only /status"},
			{"operator", "GET", "/nodes/n1", 404, "only /status"},
			{"operator", "POST", "/nodes/n1/drain/", 404, "only /status"},
			{"operator", "POST", "/nodes/n1/x/drain", 404, "only /status"},
			{"operator", "POST", "/nodes/n2/drain", 404, `no node "n2"`},
			{"operator", "POST", "/nodes/n2/undrain", 404, `no node "n2"`},
			{"operator", "POST", "/nodes//drain", 404, `no node ""`},
			{"operator", "POST", "/nodes/..%2fn1/drain", 404, "only /status"},
			{"operator", "POST", "/nodes/a%00%0ab/drain", 404, `a\x00\nb`},
			{"operator", "POST", "/nodes/" + strings.Repeat("n", 9000) + "/drain", 404, "no node"},
			{"operator", "GET", "/" + strings.Repeat("n", 9000), 404, "only /status"},
		} {
			w := b.ask(row.who, row.method, row.target)
			if got := errorOf(t, w); w.Code != row.status || !strings.Contains(got, row.says) || len(got) > 500 {
				t.Errorf("%s: %s %.60s = %d %q, want %d %q", row.who, row.method, row.target, w.Code, got, row.status, row.says)
			}
			if (w.Code == 405) != (w.Header().Get("Allow") != "") || (w.Code == 401) != (w.Header().Get("WWW-Authenticate") != "") {
				t.Errorf("%s %.60s: headers %v", row.method, row.target, w.Header())
			}
		}
	})
}

// TestAnEndedScheduler holds that it is told apart from a wrong request.
func TestAnEndedScheduler(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.end()
		for target, method := range map[string]string{"/status": "GET", "/nodes/n1/drain": "POST"} {
			if w := b.ask("operator", method, target); w.Code != 503 || !strings.Contains(errorOf(t, w), "ended") {
				t.Errorf("%s: %d", target, w.Code)
			}
		}
		if w := b.figures(); w.Code != 500 || !strings.Contains(w.Body.String(), "ended") {
			t.Errorf("its figures: %d %.300s", w.Code, w.Body)
		}
	})
}

// figures asks for the figures as Prometheus does.
func (b *bench) figures() *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	surface.Metrics(httpapi.Figures(b.scheduler)).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w
}

// TestFigures holds names and values to what the scheduler says.
func TestFigures(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.request(whisk.Register{Controller: "ctl"})
		b.request(whisk.Requisition{
			ID: 1, Count: 3, Deadline: time.Now().Add(time.Minute), Key: whisk.ActionKey{Namespace: "guest"},
			Spec: whisk.ContainerSpec{Kind: "nodejs:20", Memory: 512 * whisk.MB},
		})
		text := b.figures().Body.String()
		for _, want := range []string{
			"\ngauge_loadbalancer_totalHealthyInvokerManaged_counter 1\n",
			"\ngauge_loadbalancer_totalOfflineInvokerManaged_counter 0\n",
			"\ngauge_loadbalancer_totalCapacityManaged_counter 1024\n",
			"\nwhirl_scheduler_nodes{state=\"up\"} 1\n",
			"\nwhirl_scheduler_nodes{state=\"drained\"} 0\n",
			"\nwhirl_scheduler_containers{pool=\"creating\"} 2\n",
			"\nwhirl_scheduler_requisitions_waiting 1\n",
			"\nwhirl_scheduler_creations_total 2\n",
			"\ncounter_invoker_containerStart_counter_total{containerState=\"cold\"} 0\n",
			"\ncounter_invoker_containerStart_counter_total{containerState=\"prewarmed\"} 0\n",
			"\nwhirl_scheduler_creation_failures_total{fault=\"user\"} 0\n",
			"\nwhirl_scheduler_requisition_wait_seconds_count 0\n",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
	})
}

func TestNobodyIsServedUnasked(t *testing.T) {
	logger := slog.New(slog.DiscardHandler)
	if _, err := httpapi.New(surface.Default(), nil, nil, logger); whisk.KindOf(err) != whisk.Invalid {
		t.Errorf("New without an Authorize = %v", err)
	}
	if _, err := httpapi.New(surface.Bounds{}, nil, authorize, logger); whisk.KindOf(err) != whisk.Invalid {
		t.Errorf("New without bounds = %v", err)
	}
}

// FuzzRequest sends any method, path and caller to a scheduler that has ended:
// every answer is one that docs/operations.md names, and every body JSON.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/status", "operator")
	f.Add("POST", "/nodes/n1/drain", "operator")
	f.Add("POST", "/nodes/../undrain", "controller")
	f.Add("DELETE", "//nodes///", "")
	s, err := scheduler.New(scheduler.Default(), scheduler.Deps{})
	if err != nil {
		f.Fatal(err)
	}
	ended, end := context.WithCancel(f.Context())
	end()
	if err := s.Run(ended); err != nil {
		f.Fatal(err)
	}
	api, err := httpapi.New(surface.Default(), s, authorize, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	statuses := map[int]bool{401: true, 403: true, 404: true, 405: true, 503: true}
	f.Fuzz(func(t *testing.T, method, path, who string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.URL.Path = method, path
		r.Header["Who"] = []string{who}
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		if text := errorOf(t, w); !statuses[w.Code] || len(text) > 1000 || who == "" && w.Code != 401 {
			t.Errorf("%q: %d %q", who, w.Code, text)
		}
	})
}
