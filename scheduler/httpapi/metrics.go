// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/whirl-faas/whirl/scheduler"
	"github.com/whirl-faas/whirl/whisk"
)

// Figures has a scheduler's figures collected whenever they are asked for. Where
// OpenWhisk has a figure that means the same, its name is OpenWhisk's, as its
// Prometheus reporter writes it; all other names begin with whirl_scheduler_. No
// label names a node, an action or a namespace, so there are as many series in a
// large cluster as in a small one.
func Figures(s *scheduler.Scheduler) prometheus.Collector { return figures{s} }

type figures struct{ scheduler *scheduler.Scheduler }

// Describe implements [prometheus.Collector]. Nothing is described: Collect is
// the only place that names figures.
func (figures) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (f figures) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := f.scheduler.Metrics(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
		return
	}
	report := report(out)
	report.openwhisk(m)
	report.state(m)
	report.work(m)
}

// report is where figures go.
type report chan<- prometheus.Metric

// openwhisk reports what OpenWhisk's balancer and container pools do.
func (out report) openwhisk(m scheduler.Metrics) {
	nodes := func(state whisk.NodeState) float64 { return float64(m.Nodes[state]) }
	out.gauge("gauge_loadbalancer_totalHealthyInvokerManaged_counter", "Nodes that are up.", nodes(whisk.NodeUp))
	out.gauge("gauge_loadbalancer_totalUnhealthyInvokerManaged_counter", "Nodes that are unhealthy.", nodes(whisk.NodeUnhealthy))
	out.gauge("gauge_loadbalancer_totalUnresponsiveInvokerManaged_counter", "Nodes that are unresponsive.", nodes(whisk.NodeUnresponsive))
	out.gauge("gauge_loadbalancer_totalOfflineInvokerManaged_counter", "Nodes that are down, or out of service by an operator's order.",
		nodes(whisk.NodeDown)+nodes(whisk.NodeDraining)+nodes(whisk.NodeDrained))
	out.gauge("gauge_loadbalancer_totalCapacityManaged_counter", "Memory of the nodes that are not down, in MB.", float64(m.Memory.Megabytes()))
	out.gauge("gauge_containerPool_activeCount_counter", "Containers at work.", float64(m.Pools.Busy))
	out.gauge("gauge_containerPool_idlesCount_counter", "Warm containers that are idle.", float64(m.Pools.Free+m.Pools.Kept))
	out.gauge("gauge_containerPool_prewarmCount_counter", "Containers without code.", float64(m.Pools.Prewarmed))
	for was, count := range map[string]uint64{"cold": m.Allocations[whisk.Created], "prewarmed": m.Allocations[whisk.Prewarmed]} {
		// A controller has the warmed ones: of those the scheduler does not hear.
		out.counter("counter_invoker_containerStart_counter_total", "Containers that activations got, by what they were before.", count, "containerState", was)
	}
}

// state reports how things stand.
func (out report) state(m scheduler.Metrics) {
	settled := 0.0
	if m.Settled {
		settled = 1
	}
	out.gauge("whirl_scheduler_epoch", "The scheduler's epoch: the highest one leads.", float64(m.Epoch))
	out.gauge("whirl_scheduler_settled", "1 once the time is over in which it only listens.", settled)
	for state, count := range m.Nodes {
		out.gauge("whirl_scheduler_nodes", "Nodes by state.", float64(count), "state", state.String())
	}
	out.gauge("whirl_scheduler_memory_bytes", "Memory of the nodes that are not down.", float64(m.Memory))
	out.gauge("whirl_scheduler_memory_used_bytes", "Memory used by containers, also those being made or removed.", float64(m.Used))
	out.gauge("whirl_scheduler_memory_promised_bytes", "Memory promised to creations that wait.", float64(m.Promised))
	for pool, count := range map[string]int{
		"busy": m.Pools.Busy, "free": m.Pools.Free, "kept": m.Pools.Kept, "prewarmed": m.Pools.Prewarmed,
		"creating": m.Pools.Creating, "granting": m.Pools.Granting, "removing": m.Pools.Removing,
	} {
		out.gauge("whirl_scheduler_containers", "Containers by what they are at.", float64(count), "pool", pool)
	}
	out.gauge("whirl_scheduler_controllers", "Controllers that have a session.", float64(m.Controllers))
	out.gauge("whirl_scheduler_requisitions", "Requisitions that stand.", float64(m.Requisitions))
	out.gauge("whirl_scheduler_requisitions_waiting", "Those of them for which not enough is under way.", float64(m.Waiting))
}

// work reports what was done since the start.
func (out report) work(m scheduler.Metrics) {
	for origin, count := range m.Allocations {
		out.counter("whirl_scheduler_allocations_total", "Containers allocated to controllers, by where they came from.", count, "origin", origin.String())
	}
	for reason, count := range m.Rejections {
		out.counter("whirl_scheduler_rejections_total", "Slots of requisitions rejected, by reason.", count, "reason", reason.String())
	}
	for fault, count := range m.Failures {
		whose := "node"
		if fault == whisk.UserFault {
			whose = "user"
		}
		out.counter("whirl_scheduler_creation_failures_total", "Creations that failed, by whose fault.", count, "fault", whose)
	}
	out.counter("whirl_scheduler_redirects_total", "Slots answered by another controller's container.", m.Redirects)
	out.counter("whirl_scheduler_creations_total", "Creations ordered.", m.Creations)
	out.counter("whirl_scheduler_trials_total", "Those of them that tried an unhealthy node.", m.Trials)
	out.counter("whirl_scheduler_evictions_total", "Idle containers that had to make room.", m.Evictions)
	out.counter("whirl_scheduler_recalls_total", "Idle containers asked back for another controller.", m.Recalls)
	out.counter("whirl_scheduler_containers_lost_total", "Containers that ended without an order.", m.Lost)
	buckets := make(map[float64]uint64, len(m.Waits.Buckets))
	for _, bucket := range m.Waits.Buckets {
		buckets[bucket.UpTo.Seconds()] = bucket.Count
	}
	waits := prometheus.NewDesc("whirl_scheduler_requisition_wait_seconds", "How long requisitions stood before each allocation.", nil, nil)
	out <- prometheus.MustNewConstHistogram(waits, m.Waits.Count, m.Waits.Sum.Seconds(), buckets)
}

func (out report) gauge(name, help string, value float64, label ...string) {
	out.send(prometheus.GaugeValue, name, help, value, label)
}

func (out report) counter(name, help string, value uint64, label ...string) {
	out.send(prometheus.CounterValue, name, help, float64(value), label)
}

// send reports a figure, with a label's name and value if there is one.
func (out report) send(sort prometheus.ValueType, name, help string, value float64, label []string) {
	var names, values []string
	if len(label) == 2 {
		names, values = label[:1], label[1:]
	}
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), sort, value, values...)
}
