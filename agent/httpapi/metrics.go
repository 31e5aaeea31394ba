// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/whirl-faas/whirl/agent"
)

// Figures has an agent's figures collected whenever they are asked for. Their
// names begin with whirl_agent_, and no label names a container.
func Figures(a *agent.Agent) prometheus.Collector { return figures{a} }

type figures struct{ agent *agent.Agent }

// Describe implements [prometheus.Collector]. Nothing is described: Collect is
// the only place that names figures.
func (figures) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (f figures) Collect(out chan<- prometheus.Metric) {
	figure := func(kind prometheus.ValueType) func(name, help string, value float64) {
		return func(name, help string, value float64) {
			out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, nil), kind, value)
		}
	}
	gauge, counter := figure(prometheus.GaugeValue), figure(prometheus.CounterValue)
	status := f.agent.Status()
	healthy, answers := 1.0, 1.0
	if status.Problem != "" {
		healthy = 0
	}
	if status.Engine != "" {
		answers = 0
	}
	gauge("whirl_agent_healthy", "1 if containers may be made here.", healthy)
	gauge("whirl_agent_engine_answers", "1 if the engine answered when it was asked last.", answers)
	gauge("whirl_agent_memory_bytes", "Memory for containers.", float64(status.Memory))
	gauge("whirl_agent_memory_used_bytes", "Memory of the containers that are not gone.", float64(status.Used))
	gauge("whirl_agent_containers_max", "Containers that there may be.", float64(status.Most))
	kept := 0.0
	if status.Logs.Away != "" {
		kept = 1
	}
	gauge("whirl_agent_log_store_away", "1 if the log store does not take logs, which are kept for it.", kept)
	gauge("whirl_agent_logs_waiting", "Activations' logs that are not stored yet.", float64(status.Logs.Waiting))
	gauge("whirl_agent_logs_waiting_bytes", "Memory that they take.", float64(status.Logs.Bytes))
	counter("whirl_agent_logs_stored_total", "Activations' logs that were stored.", float64(status.Logs.Stored))
	counter("whirl_agent_logs_dropped_total", "Activations' logs that are lost, because the store was away for too long or refused them.", float64(status.Logs.Dropped))
	leased, states := 0, make(map[string]int)
	for _, container := range status.Containers {
		states[container.State]++
		if container.Lessee != "" {
			leased++
		}
	}
	gauge("whirl_agent_containers_leased", "Containers that a controller holds.", float64(leased))
	byState := prometheus.NewDesc("whirl_agent_containers", "Containers by state.", []string{"state"}, nil)
	for state, count := range states {
		out <- prometheus.MustNewConstMetric(byState, prometheus.GaugeValue, float64(count), state)
	}
}
