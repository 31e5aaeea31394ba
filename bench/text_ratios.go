// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"io"
	"time"

	"github.com/whirl-faas/whirl/bench/table"
)

const pairsMethod = "Rounds in turns make pairs; the ratio is the Hodges-Lehmann estimate over their logarithms, the interval is by Wilcoxon's signed ranks. sure: the confidence, as far as so many pairs can give 95 %."

// writeVersus compares the platform with the other endpoint.
func (r Report) writeVersus(w io.Writer) {
	if r.Versus == "" {
		return
	}
	section(w, "Platform in terms of "+r.Versus,
		"Ratios, and the interval that the true one is in. Above 1 the platform has more throughput, is slower, or takes more CPU time.",
		pairsMethod)
	t := table.New(w, "kind", "what", "of", "ratio", "low", "high", "sure", "pairs")
	for _, c := range r.Cold {
		addRatios(t, c.Kind, "cold, "+c.Mode, c.Ratios)
	}
	for _, one := range r.Warm {
		addRatios(t, one.Kind, one.Workload+", "+one.Pace, one.Ratios)
	}
	for _, one := range r.Contests {
		addRatios(t, one.Kind, fmt.Sprintf("%d rivals, %d at once", one.Actions, one.Platform.Connections), one.Ratios)
	}
	t.Flush()
}

// writeMany compares several actions with a single one.
func (r Report) writeMany(w io.Writer) {
	many := r.loops(func(one Warm) bool { return one.Alone != nil })
	if len(many) == 0 {
		return
	}
	section(w, "Several actions in terms of one of them",
		"The same load on all in turns, and on one alone, in alternating rounds. cold: cold starts in the rounds of either. Where there are any, the platform has no room for the containers of all",
		fmt.Sprintf("(%s each: one for each action, and one for each request at once), and the ratio is that of making containers.", r.Setup.Memory))
	t := table.New(w, "kind", "workload", "pace", "all/s", "one/s", "cold", "cold of one", "of", "ratio", "low", "high", "sure", "pairs")
	for _, one := range many {
		for _, ratio := range one.OfAlone {
			t.Row(append([]any{one.Kind, one.Workload, one.Pace, rate(one.Platform.Rate), rate(one.Alone.Rate), one.Platform.Cold, one.Alone.Cold}, ratio.cells()...)...)
		}
	}
	t.Flush()
}

// writeHop compares the platform with the least that something in its place costs.
func (r Report) writeHop(w io.Writer) {
	hopped := r.loops(func(one Warm) bool { return one.Hop != nil })
	if len(hopped) == 0 {
		return
	}
	section(w, "Platform in terms of a bare hop",
		"The same load by a process that does nothing but pass requests on to the sandboxes of the direct side, in alternating rounds. CPU: of the platform's processes, sandboxes not included, and of the hop's.",
		pairsMethod)
	t := table.New(w, "kind", "workload", "pace", "platform/s", "hop/s", "hop CPU us", "of", "ratio", "low", "high", "sure", "pairs")
	for _, one := range hopped {
		var cpu time.Duration
		for _, c := range one.HopCPU {
			cpu += c.Own
		}
		for _, ratio := range one.OfHop {
			t.Row(append([]any{one.Kind, one.Workload, one.Pace, rate(one.Platform.Rate), rate(one.Hop.Rate), us(cpu)}, ratio.cells()...)...)
		}
	}
	t.Flush()
}

// addRatios adds a row for each.
func addRatios(t table.Table, kind, what string, ratios []Ratio) {
	for _, one := range ratios {
		t.Row(append([]any{kind, what}, one.cells()...)...)
	}
}

func (r Ratio) cells() []any {
	return []any{r.Of, fmt.Sprintf("%.3f", r.Value), fmt.Sprintf("%.3f", r.Low), fmt.Sprintf("%.3f", r.High), fmt.Sprintf("%.1f%%", 100*r.Confidence), r.Pairs}
}
