// SPDX-License-Identifier: Apache-2.0

package meter_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/controller/meter"
	"github.com/whirl-faas/whirl/surface"
	"github.com/whirl-faas/whirl/whisk"
)

// scripted is a balancer that answers what it was told.
type scripted struct {
	controller.Balancer
	outcome   whisk.Outcome
	err       error
	cancelled int
}

func (s *scripted) Invoke(context.Context, *whisk.Invocation) (whisk.Outcome, error) {
	return s.outcome, s.err
}

func (s *scripted) Check(whisk.ActionKey, time.Duration) error { return s.err }

func (s *scripted) Admit(*whisk.Invocation) (controller.Admission, error) {
	if s.err != nil {
		return nil, s.err
	}
	return place{s}, nil
}

type place struct{ *scripted }

func (p place) Invoke(context.Context) whisk.Outcome { return p.outcome }
func (p place) Cancel()                              { p.cancelled++ }

// TestWhatGoesByIsCounted holds that calls go through unchanged and are counted.
func TestWhatGoesByIsCounted(t *testing.T) {
	inner := &scripted{}
	m := meter.New(inner, func() balancer.Snapshot {
		return balancer.Snapshot{Inflight: 5, Waiting: 2, Guests: 1, Forwarded: 8, Returned: 2, Hosted: 6, Refused: 4, Actions: []balancer.ActionSnapshot{{Busy: 1, Slots: 3, Bound: 4}, {Busy: 2, Paused: 1}}}
	})
	invoke := func(outcome whisk.Outcome) {
		inner.outcome = outcome
		got, err := m.Invoke(t.Context(), nil)
		if err != nil || got.Container != outcome.Container {
			t.Errorf("%+v, %v", got, err)
		}
	}
	invoke(whisk.Outcome{Container: "c", Cold: true, Init: 3 * time.Millisecond, Run: time.Second, Wait: time.Minute})
	invoke(whisk.Outcome{Container: "c", Run: 1500 * time.Microsecond})
	invoke(whisk.Outcome{Response: whisk.Response{Status: whisk.WhiskError}})

	inner.outcome = whisk.Outcome{Run: time.Second, Response: whisk.Response{Status: whisk.ApplicationError}}
	first, err := m.Admit(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := first.Invoke(t.Context()); got.Run != time.Second {
		t.Errorf("%+v", got)
	}
	second, err := m.Admit(nil)
	if err != nil {
		t.Fatal(err)
	}
	second.Cancel()
	if inner.cancelled != 1 {
		t.Errorf("the balancer heard of %d cancellations", inner.cancelled)
	}
	if err := m.Check(whisk.ActionKey{}, time.Second); err != nil { // counts nothing: Invoke comes after it
		t.Error(err)
	}
	inner.err = errors.New("full")
	if err := m.Check(whisk.ActionKey{}, time.Second); !errors.Is(err, inner.err) {
		t.Error(err)
	}
	if _, err := m.Invoke(t.Context(), nil); !errors.Is(err, inner.err) {
		t.Error(err)
	}
	if _, err := m.Admit(nil); !errors.Is(err, inner.err) {
		t.Error(err)
	}

	w := httptest.NewRecorder()
	surface.Metrics(m).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		"counter_controller_blockingActivation_start_total 5",
		"counter_controller_activation_start_total 3",
		"counter_loadbalancer_activations_counter_total 4",
		"histogram_controller_blockingActivation_finish_seconds_count 3",
		"gauge_loadbalancer_activationsInflight_counter 5",
		"whirl_controller_activations_refused_total 3",
		`whirl_controller_activations_total{start="cold",status="success"} 1`,
		`whirl_controller_activations_total{start="warm",status="success"} 1`,
		`whirl_controller_activations_total{start="warm",status="application error"} 1`,
		`whirl_controller_activations_total{start="never",status="whisk internal error"} 1`,
		`histogram_invoker_activationInit_finish_seconds_bucket{le="0.004"} 1`,
		`histogram_invoker_activationRun_finish_seconds_bucket{le="0.002"} 1`,
		"histogram_invoker_activationRun_finish_seconds_count 3",
		`counter_invoker_containerStart_counter_total{containerState="warmed"} 2`,
		`whirl_controller_wait_seconds_bucket{le="32.768"} 3`,
		"whirl_controller_containers_busy 3",
		"whirl_controller_containers_paused 1",
		"whirl_controller_slots 3",
		"whirl_controller_actions_bounded 1",
		"whirl_controller_waiting 2",
		"whirl_controller_guests 1",
		`whirl_controller_forwards_total{what="sent"} 8`,
		`whirl_controller_forwards_total{what="returned"} 2`,
		`whirl_controller_forwards_total{what="hosted"} 6`,
		`whirl_controller_forwards_total{what="refused"} 4`,
	} {
		if !strings.Contains(w.Body.String(), "\n"+want+"\n") {
			t.Errorf("no %q in\n%s", want, w.Body)
		}
	}
}
