// SPDX-License-Identifier: Apache-2.0

package schedulerload

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/bench/table"
)

// WriteText writes the report as tables, each under a line that says how its
// figures were taken.
func (r Report) WriteText(w io.Writer) error {
	out := bufio.NewWriter(w)
	r.writeHead(out)
	r.writeCluster(out)
	r.writeResults(out)
	r.writeCosts(out)
	fmt.Fprintf(out, "\n%d requisitions were rejected\n", r.Failures())
	for _, result := range r.Results {
		for _, reason := range slices.Sorted(maps.Keys(result.Rejections)) {
			fmt.Fprintf(out, "  %s, creation %s: %d x %s\n", result.Workload, result.Creation, result.Rejections[reason], reason)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func (r Report) writeHead(w io.Writer) {
	fmt.Fprintf(w, "Machine   %d CPUs  %s  %s\n", r.Setup.CPUs, r.Setup.Kernel, r.Setup.Go)
	fmt.Fprintf(w, "Sessions  %s\n", r.Setup.Transport)
	fmt.Fprintf(w, "Cluster   %d agents, %d controllers, %d containers\n", r.Setup.Agents, r.Setup.Controllers, r.Setup.Containers)
	if r.Setup.Rate > 0 {
		fmt.Fprintf(w, "Load      %g requisitions a second, whatever the answers do; %d rounds of %gs\n", r.Setup.Rate, r.Setup.Rounds, r.Setup.Round)
	} else {
		fmt.Fprintf(w, "Load      %d requisitions at once, a new one for each that is answered; %d rounds of %gs\n", r.Setup.AtOnce, r.Setup.Rounds, r.Setup.Round)
	}
	fmt.Fprintf(w, "Run       %s, took %s\n", r.Started.Format(time.RFC3339), r.Took.Round(time.Second))
	if r.Incomplete != "" {
		fmt.Fprintf(w, "Cut off   %s\n", r.Incomplete)
	}
}

func (r Report) writeCluster(w io.Writer) {
	fmt.Fprintf(w, "\nTaking the cluster in\n  For each: CPU time and live memory of %s, after a garbage collection.\n", r.measured())
	t := table.New(w, "", "count", "took s", "CPU us each", "bytes each", "resident MB")
	row := func(name string, g Growth) {
		t.Row(name, g.Count, fmt.Sprintf("%.2f", g.Took.Seconds()), us(g.CPU), int64(g.Live), g.Resident.Megabytes())
	}
	row("agents", r.Connect)
	row("containers", r.Fill)
	t.Flush()
	fmt.Fprintf(w, "  Without load it takes %.1f %% of a CPU, keep-alives included.\n", 100*r.Idle)
}

func (r Report) writeResults(w io.Writer) {
	fmt.Fprint(w, "\nDecisions, latencies in ms\n",
		"  From when a requisition was due to its allocation, less the time of the creation; round p99: the median of the rounds, and the best.\n",
		"  order: to when an agent heard that it is to create; late: how much later than due requisitions were sent.\n")
	t := table.New(w, "workload", "creation", "per second", "p50", "p90", "p99", "p99.9", "max", "round p99", "best", "order p50", "p99", "late p99")
	for _, one := range r.Results {
		a, order50, order99 := one.Answered, "-", "-"
		if one.Ordered.Count > 0 {
			order50, order99 = ms(one.Ordered.P50), ms(one.Ordered.P99)
		}
		t.Row(one.Workload, one.Creation, fmt.Sprintf("%.0f", one.Rate), ms(a.P50), ms(a.P90), ms(a.P99), ms(a.P999), ms(a.Max), ms(one.P99), ms(one.Best), order50, order99, ms(one.Late.P99))
	}
	t.Flush()
}

func (r Report) writeCosts(w io.Writer) {
	fmt.Fprintf(w, "\nCosts of a requisition, all messages included until its container is gone or idle\n  Of %s. Medians of the rounds.\n", r.measured())
	heads := []any{"workload", "creation", "CPU us", "allocations", "bytes"}
	if r.Setup.Apart {
		heads = append(heads, "load's CPU us")
	}
	t := table.New(w, heads...)
	for _, one := range r.Results {
		cells := []any{one.Workload, one.Creation, us(one.CPU), fmt.Sprintf("%.0f", one.Allocs), int64(one.Allocated)}
		if r.Setup.Apart {
			cells = append(cells, us(one.LoadCPU))
		}
		t.Row(cells...)
	}
	t.Flush()
}

// measured says whose figures CPU time and memory are.
func (r Report) measured() string {
	if r.Setup.Apart {
		return "the scheduler's process alone"
	}
	return "scheduler, agents and controllers together"
}

// summary is a result in one line.
func (r Result) summary() string {
	return fmt.Sprintf("%s, creation %s: %.0f/s, p50 %s ms, p99 %s ms, %s us CPU each", r.Workload, r.Creation, r.Rate, ms(r.Answered.P50), ms(r.Answered.P99), us(r.CPU))
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }
func us(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/float64(time.Microsecond)) }
