// SPDX-License-Identifier: Apache-2.0

package schedulerload

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/whirl-faas/whirl/whisk"
)

// Report is what a run measured. [Report.WriteText] shows it to people,
// [Report.WriteJSON] to programs.
type Report struct {
	Started    time.Time     `json:"started"`
	Took       time.Duration `json:"took_ns"`
	Incomplete string        `json:"incomplete,omitempty"` // why the run ended before all was measured, "" if it did not
	Setup      Setup         `json:"setup"`
	Connect    Growth        `json:"agents"`     // by each agent's session
	Fill       Growth        `json:"containers"` // by each container, controllers included
	Idle       float64       `json:"idle_cpus"`  // CPUs that the scheduler keeps busy while nobody asks for anything
	Results    []Result      `json:"results"`
}

// Setup is where and on what the figures were taken.
type Setup struct {
	CPUs        int     `json:"cpus"`
	Kernel      string  `json:"kernel,omitempty"`
	Go          string  `json:"go"`
	Transport   string  `json:"transport"`
	Apart       bool    `json:"scheduler_apart"` // in a process of its own: its CPU time is not the load's
	Agents      int     `json:"agents"`
	Controllers int     `json:"controllers"`
	Containers  int     `json:"containers"`
	Rate        float64 `json:"rate"` // 0 for as many as were answered
	AtOnce      int     `json:"at_once,omitempty"`
	Rounds      int     `json:"rounds"`
	Round       float64 `json:"round_s"`
}

func setupOf(config Config, target Target) Setup {
	s := Setup{
		CPUs: runtime.NumCPU(), Go: runtime.Version(), Transport: target.Transport, Apart: target.Apart,
		Agents: config.Agents, Controllers: config.Controllers, Containers: config.Containers,
		Rate: config.Rate, Rounds: config.Rounds, Round: config.Duration.Seconds(),
	}
	if config.Rate == 0 {
		s.AtOnce = config.AtOnce
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		s.Kernel = strings.TrimSpace(string(release))
	}
	return s
}

// Growth is what it took to take in many things of a kind, and what each takes.
type Growth struct {
	Count    int           `json:"count"`
	Took     time.Duration `json:"took_ns"`
	CPU      time.Duration `json:"cpu_ns"`         // of the scheduler's process, for each
	Live     whisk.Bytes   `json:"live_bytes"`     // that are in use, for each
	Resident whisk.Bytes   `json:"resident_bytes"` // of the whole process afterwards
}

func (g *Growth) account(before, after Reading, count int) {
	g.Count = count
	if count > 0 {
		g.CPU = (after.CPU - before.CPU) / time.Duration(count)
	}
	g.Live, g.Resident = each(after.Live-before.Live, count), after.Resident
}

// Result is what one workload came to. Rates and costs are medians of the
// rounds, the latencies are of all requisitions.
type Result struct {
	Workload   Workload         `json:"workload"`
	Creation   time.Duration    `json:"creation_ns"`
	Rate       float64          `json:"per_second"` // allocations
	Rates      []float64        `json:"rounds"`
	Answered   Latency          `json:"decision"` // from when it was due to its allocation, less the creation
	P99        time.Duration    `json:"decision_p99_median_ns"`
	Best       time.Duration    `json:"decision_p99_best_ns"` // of the best round: what other work on the machine spoiled least
	Ordered    Latency          `json:"order"`                // to when an agent heard that it is to create; without a count where none was
	Late       Latency          `json:"late"`                 // how much later than due they were sent, for lack of CPU
	CPU        time.Duration    `json:"cpu_ns"`
	LoadCPU    time.Duration    `json:"load_cpu_ns"` // of the agents and controllers, 0 if it is part of CPU
	Allocs     float64          `json:"allocs"`
	Allocated  whisk.Bytes      `json:"allocated_bytes"`
	Origins    map[string]int64 `json:"origins"`
	Rejections map[string]int64 `json:"rejections"`
}

// sum fills in what the rounds came to.
func (r *Result) sum(rounds []round, all *tally) {
	var p99, cpu, own []time.Duration
	var allocs, allocated []float64
	for _, one := range rounds {
		n := max(1, one.tally.answered.TotalCount())
		r.Rates = append(r.Rates, float64(one.tally.answered.TotalCount())/one.length.Seconds())
		p99 = append(p99, time.Duration(one.tally.answered.ValueAtQuantile(99)))
		cpu = append(cpu, (one.after.CPU-one.before.CPU)/time.Duration(n))
		own = append(own, one.own/time.Duration(n))
		allocs = append(allocs, float64(one.after.Allocs-one.before.Allocs)/float64(n))
		allocated = append(allocated, float64(one.after.Allocated-one.before.Allocated)/float64(n))
	}
	r.Best = slices.Min(p99)
	r.Rate, r.P99, r.CPU, r.LoadCPU = median(r.Rates), median(p99), median(cpu), median(own)
	r.Allocs, r.Allocated = median(allocs), whisk.Bytes(median(allocated))
	r.Answered, r.Ordered, r.Late = latencyOf(all.answered), latencyOf(all.ordered), latencyOf(all.late)
	r.Rejections = all.rejected()
	r.Origins = make(map[string]int64)
	for origin, count := range all.origins {
		if count > 0 {
			r.Origins[whisk.Origin(origin).String()] = count
		}
	}
}

// Failures is how many requisitions were rejected.
func (r Report) Failures() int64 {
	var n int64
	for _, result := range r.Results {
		for _, count := range result.Rejections {
			n += count
		}
	}
	return n
}

// Latency sums a distribution up. Percentiles are exact to three digits. In
// JSON durations are microseconds.
type Latency struct {
	Count                    int64
	P50, P90, P99, P999, Max time.Duration
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	at := func(quantile float64) time.Duration { return time.Duration(h.ValueAtQuantile(quantile)) }
	return Latency{Count: h.TotalCount(), P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: time.Duration(h.Max())}
}

// MarshalJSON implements [json.Marshaler].
func (l Latency) MarshalJSON() ([]byte, error) {
	us := func(d time.Duration) float64 { return float64(d.Round(100*time.Nanosecond)) / 1000 }
	return json.Marshal(struct {
		Count int64   `json:"count"`
		P50   float64 `json:"p50_us"`
		P90   float64 `json:"p90_us"`
		P99   float64 `json:"p99_us"`
		P999  float64 `json:"p999_us"`
		Max   float64 `json:"max_us"`
	}{l.Count, us(l.P50), us(l.P90), us(l.P99), us(l.P999), us(l.Max)})
}

// WriteJSON writes the report as one JSON object.
func (r Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(r); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
