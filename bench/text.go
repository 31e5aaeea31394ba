// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/bench/table"
)

// WriteText writes the report as aligned tables, each under a line that says
// how its figures were taken.
func (r Report) WriteText(w io.Writer) error {
	out := bufio.NewWriter(w)
	r.writeHead(out)
	r.writeCold(out)
	r.writeWarm(out)
	r.writeOpen(out)
	r.writeReplays(out)
	r.writeMany(out)
	r.writeHop(out)
	r.writeVersus(out)
	r.writeContests(out)
	r.writeOverloads(out)
	r.writeAdded(out)
	r.writeCPU(out)
	r.writeErrors(out)
	return out.Flush()
}

func (r Report) writeHead(w io.Writer) {
	fmt.Fprintf(w, "Server   %s  %s\n", r.APIHost, r.Build)
	if r.Versus != "" {
		fmt.Fprintf(w, "Versus   %s  %s\n", r.Versus, r.VersusBuild)
	}
	fmt.Fprintf(w, "Machine  %d CPUs  %s  %s  %s\n", r.Machine.CPUs, r.Machine.Model, r.Machine.Kernel, r.Machine.Go)
	fmt.Fprintf(w, "Run      %s, took %s\n", r.Started.Format(time.RFC3339), r.Took.Round(time.Second))
	if r.Incomplete != "" {
		fmt.Fprintf(w, "Cut off  %s\n", r.Incomplete)
	}
	for _, line := range describeLeft(r.Left) {
		fmt.Fprintf(w, "Left     %s\n", line)
	}
}

func (r Report) writeCold(w io.Writer) {
	if len(r.Cold) == 0 {
		return
	}
	section(w, "Cold starts, in ms",
		"create: from sending the PUT of a fresh action to the answer of its first blocking invoke; invoke: the invoke alone.",
		"wait and init: medians of the records' waitTime and initTime. Answers without initTime are no cold starts and not in the figures.")
	t := table.New(w, "kind", "endpoint", "mode", "n", "errors", "warm", "create min", "p50", "p90", "max", "invoke p50", "max", "wait", "init")
	for _, c := range r.Cold {
		t.Row(c.Kind, c.Endpoint, c.Mode, c.Whole.Count, count(c.Errors), c.Warm,
			ms(c.Whole.Min), ms(c.Whole.P50), ms(c.Whole.P90), ms(c.Whole.Max), ms(c.Invoke.P50), ms(c.Invoke.Max), ms(c.Wait.P50), ms(c.Init.P50))
	}
	t.Flush()
}

func (r Report) writeWarm(w io.Writer) {
	closed := r.loops(func(one Warm) bool { return one.Concurrency > 0 })
	if len(closed) == 0 {
		return
	}
	section(w, "Warm activations, latencies in ms",
		fmt.Sprintf("Closed loop of blocking activations, each with its record, %s of memory; %d rounds of %gs; rates are medians of the rounds, latencies of all.",
			r.Setup.Memory, r.Setup.Rounds, r.Setup.Round),
		fmt.Sprintf("direct: the same code by /run without the platform, in up to %d sandboxes with a connection for each activation that one runs at a time (%d), in alternating rounds; share: platform/s in direct/s.",
			r.Setup.Sandboxes, max(r.Setup.AtOnce, 1)))
	t := table.New(w, "kind", "workload", "at once", "platform/s", "direct/s", "share", "errors", "cold", "p50", "p90", "p99", "p99.9", "max", "direct p50", "p99")
	for _, one := range closed {
		p := one.Platform.Latency
		direct, share := "-", "-"
		if one.Direct != nil {
			direct, share = rate(one.Direct.Rate), fmt.Sprintf("%.3f", one.Share)
		}
		d50, d99 := one.directly()
		t.Row(one.Kind, one.Workload, one.Concurrency, rate(one.Platform.Rate), direct, share, count(one.Platform.Errors), one.Platform.Cold,
			ms(p.P50), ms(p.P90), ms(p.P99), ms(p.P999), ms(p.Max), d50, d99)
	}
	t.Flush()
}

// directly returns the percentiles of the direct side, as cells.
func (w Warm) directly() (p50, p99 string) {
	if w.Direct == nil {
		return "-", "-"
	}
	return ms(w.Direct.Latency.P50), ms(w.Direct.Latency.P99)
}

// writeOpen shows what had its own times to be sent at.
func (r Report) writeOpen(w io.Writer) {
	open := r.loops(func(one Warm) bool { return one.Concurrency == 0 })
	if len(open) == 0 {
		return
	}
	section(w, "Open loop, latencies in ms",
		fmt.Sprintf("Blocking activations that are due at their own times, whether earlier ones were answered or not; %d rounds of %gs. Latencies of good answers count from when they were due.", r.Setup.Rounds, r.Setup.Round),
		fmt.Sprintf("unsent: due when %d were under way already. lag p99: how late this program sent; where it is not small, the latencies are its own.", r.Setup.Outstanding))
	t := table.New(w, "kind", "workload", "pace", "due/s", "platform/s", "unsent", "errors", "cold", "p50", "p90", "p99", "p99.9", "max", "lag p99", "direct p50", "p99")
	for _, one := range open {
		p := one.Platform.Latency
		d50, d99 := one.directly()
		t.Row(one.Kind, one.Workload, one.Pace, rate(one.Offered), rate(one.Platform.Rate), one.Platform.Unsent, count(one.Platform.Errors), one.Platform.Cold,
			ms(p.P50), ms(p.P90), ms(p.P99), ms(p.P999), ms(p.Max), ms(one.Platform.Lag.P99), d50, d99)
	}
	t.Flush()
}

func (r Report) writeReplays(w io.Writer) {
	if len(r.Replays) == 0 {
		return
	}
	section(w, "Trace, latencies in ms",
		"Each call when the trace has it, in an open loop; an action for each function, which sleeps for as long as the function ran.",
		"Latencies count from when a call was due, without what the function ran for.")
	t := table.New(w, "kind", "endpoint", "functions", "calls", "speed", "platform/s", "unsent", "errors", "warm", "p50", "p90", "p99", "max", "cold", "p50", "p90", "p99", "max", "lag p99")
	for _, one := range r.Replays {
		s, warm, cold := one.Side, one.Warm, one.Cold
		t.Row(one.Kind, one.Endpoint, one.Functions, one.Calls, one.Speed, rate(s.Rate), s.Unsent, count(s.Errors),
			warm.Count, ms(warm.P50), ms(warm.P90), ms(warm.P99), ms(warm.Max), cold.Count, ms(cold.P50), ms(cold.P90), ms(cold.P99), ms(cold.Max), ms(s.Lag.P99))
	}
	t.Flush()
}

// loops picks the courses of a kind of loop.
func (r Report) loops(wanted func(Warm) bool) []Warm {
	return slices.DeleteFunc(slices.Clone(r.Warm), func(one Warm) bool { return !wanted(one) })
}

func (r Report) writeContests(w io.Writer) {
	if len(r.Contests) == 0 {
		return
	}
	section(w, "Rival actions, latencies in ms",
		"Several actions at once, on as many containers as the platform has room for; otherwise as above. cold: answers that took a cold start.",
		fmt.Sprintf("share: platform/s in that of one action at %d connections; least and most: the answers of one action in an even share; max is the longest that anybody waited. No pauses between rounds.", alone))
	t := table.New(w, "kind", "actions", "at once", "platform/s", "share", "errors", "cold", "least", "most", "p50", "p90", "p99", "max")
	for _, one := range r.Contests {
		p, share := one.Platform.Latency, "-"
		if one.Share > 0 {
			share = fmt.Sprintf("%.3f", one.Share)
		}
		t.Row(one.Kind, one.Actions, one.Platform.Connections, rate(one.Platform.Rate), share, count(one.Platform.Errors), one.Platform.Cold,
			fmt.Sprintf("%.2f", one.Least), fmt.Sprintf("%.2f", one.Most), ms(p.P50), ms(p.P90), ms(p.P99), ms(p.Max))
	}
	t.Flush()
}

func (r Report) writeAdded(w io.Writer) {
	if len(r.Added) == 0 {
		return
	}
	section(w, "Added latency, in ms", "Platform minus direct, where both were sent the same: with one connection, and in open loops.")
	t := table.New(w, "kind", "workload", "pace", "p50", "p99")
	for _, a := range r.Added {
		t.Row(a.Kind, a.Workload, a.Pace, ms(a.P50), ms(a.P99))
	}
	t.Flush()
}

func (r Report) writeCPU(w io.Writer) {
	if len(r.Warm)+len(r.Contests)+len(r.Replays) == 0 {
		return
	}
	section(w, "CPU time per activation, in microseconds",
		"User and kernel time of /proc/PID/stat over the rounds of the platform, or of whose process it is; own: the process itself; children: what it started, sandboxes included.",
		"ended: how many processes of the name did; what they used in the round in which they ended is not known, so that the figures are too low.")
	t := table.New(w, "kind", "workload", "pace", "process", "own", "children", "ended")
	for _, one := range r.Warm {
		addCPU(t, one.Kind, one.Workload, one.Pace, "", one.CPU)
		addCPU(t, one.Kind, one.Workload, one.Pace, "versus: ", one.VersusCPU)
		addCPU(t, one.Kind, one.Workload, one.Pace, "", one.HopCPU)
		t.Row(one.Kind, one.Workload, one.Pace, "load generator", us(one.Generator), "-", "-")
	}
	for _, one := range r.Replays {
		at, side := fmt.Sprintf("speed %g", one.Speed), ""
		if one.Endpoint == "versus" {
			side = "versus: "
		}
		addCPU(t, one.Kind, "trace", at, side, one.CPU)
		t.Row(one.Kind, "trace", at, side+"load generator", us(one.Generator), "-", "-")
	}
	for _, one := range r.Contests {
		what, at := fmt.Sprintf("%d rivals", one.Actions), pace{connections: one.Platform.Connections}.String()
		addCPU(t, one.Kind, what, at, "", one.CPU)
		addCPU(t, one.Kind, what, at, "versus: ", one.VersusCPU)
		t.Row(one.Kind, what, at, "load generator", us(one.Generator), "-", "-")
	}
	t.Flush()
}

// addCPU adds a row for each process of a side.
func addCPU(t table.Table, kind, workload, pace, side string, processes []CPU) {
	for _, c := range processes {
		if c.Processes+c.Ended == 0 {
			t.Row(kind, workload, pace, side+c.Process, "not found", "-", "-")
			continue
		}
		t.Row(kind, workload, pace, side+c.Process, us(c.Own), us(c.Children), c.Ended)
	}
}

func (r Report) writeErrors(w io.Writer) {
	section(w, "Errors and records", "Each good answer must have a record; records of failed or repeated activations may come on top.")
	if len(r.Overloads) > 0 {
		fmt.Fprintln(w, "  What is refused under overload, with 429 or 503, is no failure.")
	}
	for _, one := range r.Records {
		fmt.Fprintf(w, "  %s: %d good answers, %d records\n", one.Kind, one.Answered, one.Stored)
	}
	for _, c := range r.Cold {
		writeCauses(w, fmt.Sprintf("%s, cold %s, %s", c.Kind, c.Mode, c.Endpoint), c.Errors)
	}
	for _, one := range r.Warm {
		for _, named := range one.sides() {
			where := one.describe()
			if named.name != "platform" {
				where += ", " + named.name
			}
			writeCauses(w, where, named.side.Errors)
		}
	}
	for _, one := range r.Replays {
		writeCauses(w, one.describe(), one.Side.Errors)
	}
	for _, one := range r.Contests {
		where := Rivals{one.Actions, one.Platform.Connections}.describe(one.Kind)
		writeCauses(w, where, one.Platform.Errors)
		if one.Versus != nil {
			writeCauses(w, where+", versus", one.Versus.Errors)
		}
	}
	for _, one := range r.Overloads {
		for _, b := range []Burden{one.Even, one.Over} {
			writeCauses(w, fmt.Sprintf("%s, %s, overload, %s/s", one.Kind, one.Workload, rate(b.Due)), b.Side.Errors)
		}
	}
	fmt.Fprintf(w, "  %d failures in all\n", r.Failures())
}

func writeCauses(w io.Writer, where string, errors map[string]int64) {
	for _, text := range causes(errors) {
		fmt.Fprintf(w, "  %s: %s\n", where, text)
	}
}

// causes are errors with how often there were which, in words.
func causes(errors map[string]int64) (all []string) {
	for _, cause := range slices.Sorted(maps.Keys(errors)) {
		all = append(all, fmt.Sprintf("%d x %s", errors[cause], cause))
	}
	return all
}

func section(w io.Writer, title string, method ...string) {
	fmt.Fprintf(w, "\n%s\n", title)
	for _, line := range method {
		fmt.Fprintf(w, "  %s\n", line)
	}
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }
func us(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/float64(time.Microsecond)) }
func rate(r float64) string     { return fmt.Sprintf("%.0f", r) }

func (w Warm) describe() string {
	return fmt.Sprintf("%s, %s, %s", w.Kind, w.Workload, w.Pace)
}

// summary is a workload in one line, to show while others are still measured.
func (w Warm) summary() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s: %.0f/s, p50 %s ms, p99 %s ms, %d errors",
		w.describe(), w.Platform.Rate, ms(w.Platform.Latency.P50), ms(w.Platform.Latency.P99), count(w.Platform.Errors))
	if w.Direct != nil {
		fmt.Fprintf(&s, ", %.3f of direct %.0f/s", w.Share, w.Direct.Rate)
	}
	if w.Alone != nil {
		fmt.Fprintf(&s, ", %.3f of one action %.0f/s, %d cold starts", w.OfAlone[0].Value, w.Alone.Rate, w.Platform.Cold)
	}
	if w.Hop != nil {
		fmt.Fprintf(&s, ", %.3f of bare hop %.0f/s", w.OfHop[0].Value, w.Hop.Rate)
	}
	if w.Versus != nil {
		fmt.Fprintf(&s, ", %.3f of versus %.0f/s", w.Ratios[0].Value, w.Versus.Rate)
	}
	if w.Concurrency == 0 {
		fmt.Fprintf(&s, ", %d not sent", w.Platform.Unsent)
	}
	return s.String()
}

func (c Contest) summary() string {
	s := fmt.Sprintf("%s: %.0f/s, p50 %s ms, p99 %s ms, %d errors, each action %.2f to %.2f of an even share",
		Rivals{c.Actions, c.Platform.Connections}.describe(c.Kind), c.Platform.Rate, ms(c.Platform.Latency.P50), ms(c.Platform.Latency.P99),
		count(c.Platform.Errors), c.Least, c.Most)
	if c.Share > 0 {
		s += fmt.Sprintf(", %.3f of one action", c.Share)
	}
	if c.Versus != nil {
		s += fmt.Sprintf(", %.3f of versus %.0f/s", c.Ratios[0].Value, c.Versus.Rate)
	}
	return s
}

func (r Replay) describe() string {
	return fmt.Sprintf("%s, trace, %s", r.Kind, r.Endpoint)
}

func (r Replay) summary() string {
	return fmt.Sprintf("%s: %d warm, p50 %s ms, p99 %s ms, %d cold, p50 %s ms, p99 %s ms, %d errors, %d not sent", r.describe(),
		r.Warm.Count, ms(r.Warm.P50), ms(r.Warm.P99), r.Cold.Count, ms(r.Cold.P50), ms(r.Cold.P99), count(r.Side.Errors), r.Side.Unsent)
}

func (c Cold) summary() string {
	return fmt.Sprintf("%s, %d cold starts %s, %s: p50 %s ms, max %s ms, %d errors",
		c.Kind, c.Whole.Count, c.Mode, c.Endpoint, ms(c.Whole.P50), ms(c.Whole.Max), count(c.Errors))
}
