// SPDX-License-Identifier: Apache-2.0

// Package meter counts what a controller does with activations, for Prometheus.
//
// A [Meter] stands between a controller and its balancer, so that neither knows
// of it, and a process that is not watched does without. Where OpenWhisk has a
// figure that means the same, its name is OpenWhisk's, as its Prometheus
// reporter writes it; all other names begin with whirl_controller_. No label
// names an action or a namespace.
package meter

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/whisk"
)

// Meter is a [controller.Balancer] that counts what goes by, and a
// [prometheus.Collector] of that.
type Meter struct {
	controller.Balancer
	look func() balancer.Snapshot

	blocking  prometheus.Counter // calls whose caller waits
	durable   prometheus.Counter // those that were made durable before they ran
	accepted  prometheus.Counter
	refused   prometheus.Counter
	warmed    prometheus.Counter
	ended     *prometheus.CounterVec // by status and start
	blockings prometheus.Histogram
	waits     prometheus.Histogram
	inits     prometheus.Histogram
	runs      prometheus.Histogram
}

// New returns a meter of a balancer, of which look tells how it stands.
func New(inner controller.Balancer, look func() balancer.Snapshot) *Meter {
	return &Meter{
		Balancer:  inner,
		look:      look,
		blocking:  counter("counter_controller_blockingActivation_start_total", "Activations whose caller waits."),
		durable:   counter("counter_controller_activation_start_total", "Activations whose caller does not wait."),
		accepted:  counter("counter_loadbalancer_activations_counter_total", "Activations accepted."),
		refused:   counter("whirl_controller_activations_refused_total", "Activations for which there was no place."),
		blockings: histogram("histogram_controller_blockingActivation_finish_seconds", "From the start of activations whose caller waits to their outcome."),
		waits:     histogram("whirl_controller_wait_seconds", "From an activation's arrival to the start of /init or /run."),
		inits:     histogram("histogram_invoker_activationInit_finish_seconds", "Durations of /init, failed ones included."),
		runs:      histogram("histogram_invoker_activationRun_finish_seconds", "Durations of /run, failed ones included."),
		warmed: prometheus.NewCounter(prometheus.CounterOpts{ // the scheduler has the other series of it
			Name: "counter_invoker_containerStart_counter_total", Help: "Containers that activations got, by what they were before.",
			ConstLabels: prometheus.Labels{"containerState": "warmed"},
		}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "whirl_controller_activations_total",
			Help: "Activations that ended, by their status and by how they started: cold, warm, or never.",
		}, []string{"status", "start"}),
	}
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

// histogram has buckets of 1 ms, 2 ms, ... 65 s.
func histogram(name, help string) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(0.001, 2, 17)})
}

// Invoke implements [controller.Balancer].
func (m *Meter) Invoke(ctx context.Context, inv *whisk.Invocation) (whisk.Outcome, error) {
	m.blocking.Inc()
	began := time.Now()
	outcome, err := m.Balancer.Invoke(ctx, inv)
	if err != nil {
		m.refused.Inc()
		return outcome, err
	}
	m.accepted.Inc()
	m.blockings.Observe(time.Since(began).Seconds())
	m.note(outcome)
	return outcome, nil
}

// Check implements [controller.Balancer].
func (m *Meter) Check(key whisk.ActionKey, patience time.Duration) error {
	err := m.Balancer.Check(key, patience)
	if err != nil {
		m.blocking.Inc()
		m.refused.Inc()
	}
	return err
}

// TryInvoke implements [controller.Balancer].
func (m *Meter) TryInvoke(ctx context.Context, inv *whisk.Invocation) (outcome whisk.Outcome, rest func() whisk.Outcome, taken bool) {
	began := time.Now()
	outcome, rest, taken = m.Balancer.TryInvoke(ctx, inv)
	if !taken {
		return outcome, nil, false
	}
	m.blocking.Inc()
	m.accepted.Inc()
	ended := func(outcome whisk.Outcome) whisk.Outcome {
		m.blockings.Observe(time.Since(began).Seconds())
		m.note(outcome)
		return outcome
	}
	if rest != nil {
		return outcome, func() whisk.Outcome { return ended(rest()) }, true
	}
	return ended(outcome), nil, true
}

// Admit implements [controller.Balancer].
func (m *Meter) Admit(inv *whisk.Invocation) (controller.Admission, error) {
	m.durable.Inc()
	inner, err := m.Balancer.Admit(inv)
	if err != nil {
		m.refused.Inc()
		return nil, err
	}
	return admission{inner, m}, nil
}

// admission is one whose outcome is counted.
type admission struct {
	controller.Admission
	meter *Meter
}

// Invoke implements [controller.Admission].
func (a admission) Invoke(ctx context.Context) whisk.Outcome {
	a.meter.accepted.Inc()
	outcome := a.Admission.Invoke(ctx)
	a.meter.note(outcome)
	return outcome
}

// note counts an outcome.
func (m *Meter) note(outcome whisk.Outcome) {
	start := "warm"
	switch {
	case outcome.Cold:
		start = "cold"
		m.inits.Observe(outcome.Init.Seconds())
	case outcome.Run == 0:
		start = "never"
	default:
		m.warmed.Inc()
	}
	if outcome.Run != 0 {
		m.runs.Observe(outcome.Run.Seconds())
	}
	m.waits.Observe(outcome.Wait.Seconds())
	m.ended.WithLabelValues(outcome.Response.Status.String(), start).Inc()
}

// Describe implements [prometheus.Collector]. Nothing is described, so that the
// figures of a snapshot are named in one place.
func (m *Meter) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (m *Meter) Collect(out chan<- prometheus.Metric) {
	for _, counted := range []prometheus.Collector{
		m.blocking, m.durable, m.accepted, m.refused, m.warmed, m.ended, m.blockings, m.waits, m.inits, m.runs,
	} {
		counted.Collect(out)
	}
	gauge := func(name, help string, value float64) {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, nil), prometheus.GaugeValue, value)
	}
	now := m.look()
	gauge("gauge_loadbalancer_activationsInflight_counter", "Activations accepted that have not ended.", float64(now.Inflight))
	gauge("whirl_controller_waiting", "Those of them that wait for a container.", float64(now.Waiting))
	gauge("whirl_controller_waiting_bytes", "Memory of what waits.", float64(now.WaitingBytes))
	gauge("whirl_controller_slots_requested", "Slots that the scheduler owes.", float64(now.Requisitions))
	gauge("whirl_controller_containers", "Containers held, those included whose logs are awaited.", float64(now.Containers))
	gauge("whirl_controller_actions", "Actions that have containers or activations.", float64(len(now.Actions)))
	m.collectForwards(out, now)
	var busy, free, paused, slots, bounded int
	for _, action := range now.Actions {
		if action.Bound > 0 {
			bounded++
		}
		busy, free, paused, slots = busy+action.Busy, free+action.Free, paused+action.Paused, slots+action.Slots
	}
	gauge("whirl_controller_containers_busy", "Containers that run an activation or receive code.", float64(busy))
	gauge("whirl_controller_containers_free", "Containers that are idle.", float64(free))
	gauge("whirl_controller_containers_paused", "Containers that are suspended.", float64(paused))
	gauge("whirl_controller_slots", "Slots in use.", float64(slots))
	gauge("whirl_controller_actions_bounded", "Actions of which fewer activations run at once than have containers, because the machine's processors have too much to do.", float64(bounded))
}

// collectForwards tells what controllers run for each other.
func (m *Meter) collectForwards(out chan<- prometheus.Metric, now balancer.Snapshot) {
	desc := prometheus.NewDesc("whirl_controller_forwards_total", "Activations between this controller and others: sent (others have taken them), returned (others would not), hosted (of others, run here), refused (of others, not run here).", []string{"what"}, nil)
	for _, line := range []struct {
		what  string
		count uint64
	}{{"sent", now.Forwarded}, {"returned", now.Returned}, {"hosted", now.Hosted}, {"refused", now.Refused}} {
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(line.count), line.what)
	}
	guests := prometheus.NewDesc("whirl_controller_guests", "Activations of other controllers that run here.", nil, nil)
	out <- prometheus.MustNewConstMetric(guests, prometheus.GaugeValue, float64(now.Guests))
}
