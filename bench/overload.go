// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/whirl-faas/whirl/bench/table"
	"github.com/whirl-faas/whirl/whisk"
)

// An overload is an open loop at what the platform can do and at several times as
// much, in rounds that alternate. One call in mixOne is to one of mixColds other
// actions, which are seldom warm. When a round ends a caller goes on, one call after
// the other, and sees how long it takes until all is as before.
const (
	mixOne      = 100
	mixColds    = 40
	capacityOf  = 32 // connections, of the closed loop of the same calls that finds what the platform can do
	calmAfter   = 5  // seconds that are looked at after a round
	probeEvery  = 50 * time.Millisecond
	probesFirst = 40 // before any load
)

// Overload is what a workload came to at the platform's capacity and beyond.
type Overload struct {
	Kind      string    `json:"kind"`
	Workload  string    `json:"workload"`
	Factor    float64   `json:"factor"`
	Capacity  float64   `json:"capacity_per_second"`
	Calm      Latency   `json:"calm"`      // of calls one by one, before any load
	Even      Burden    `json:"even"`      // at capacity
	Over      Burden    `json:"over"`      // at Factor times that
	After     []Latency `json:"after"`     // of calls one by one, in each second after a round of Over
	Lingering []int64   `json:"lingering"` // of those, refused or failed, in each second
}

// Burden is one of the two loads. The side's errors have the refusals, too.
type Burden struct {
	Side     Side          `json:"side"`
	Due      float64       `json:"due_per_second"`
	Refused  int64         `json:"refused"`  // with 429 or 503
	Refusal  Latency       `json:"refusal"`  // from sending to that answer
	Resident []whisk.Bytes `json:"resident"` // memory of the named processes at the end of each round
}

// overloads measures every workload of a kind.
func (r *runner) overloads(ctx context.Context, kind string) error {
	if r.config.Overload == 0 {
		return nil
	}
	for _, w := range r.config.workloads(kind) {
		if err := r.overload(ctx, kind, w); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) overload(ctx context.Context, kind string, w Workload) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // breaks the connections that are still open
	made := &leavings{}
	defer r.clean(ctx, made)
	hot, err := r.deployWorkload(ctx, made, r.endpoints[0], kind, w)
	if err != nil {
		return err
	}
	o := &onslaught{r: r, ctx: ctx, name: describe(kind, w) + ", overload"}
	cold := &contest{endpoint: r.endpoints[0], connections: mixColds}
	defer cold.close()
	if err := r.deployRivals(ctx, made, cold, kind, r.endpoints[0].actionName(kind, "cold-"+w.slug()), Rivals{Actions: mixColds, Connections: mixColds}); err != nil {
		return err
	}
	parameters, want := w.parameters()
	calls := r.endpoints[0].target(hot.actions, parameters, want)
	o.hot = r.newLoad(ctx, calls, capacityOf)
	defer o.hot.close()
	o.mixed = r.newLoad(ctx, mix(calls, cold.loads), r.config.Outstanding)
	defer o.mixed.close()
	result, err := o.run()
	if err != nil {
		return err
	}
	result.Kind, result.Workload = kind, w.String()
	r.report.Overloads = append(r.report.Overloads, result)
	r.display.note("%s", result.summary())
	return nil
}

// mix puts one call of each of the others, which do something else, after every so
// many of the hot ones.
func mix(hot target, others []*load) target {
	mixed := hot
	mixed.calls = nil
	for i, other := range others {
		mixed.calls = append(mixed.calls, slices.Repeat(hot.calls[i%len(hot.calls):][:1], mixOne-1)...)
		mixed.calls = append(mixed.calls, other.target.calls...)
	}
	return mixed
}

// onslaught carries one overload out.
type onslaught struct {
	r          *runner
	ctx        context.Context
	name       string
	mixed, hot *load

	mu        sync.Mutex
	after     [calmAfter]histogram
	lingering [calmAfter]int64
}

func (o *onslaught) run() (Overload, error) {
	result := Overload{Factor: o.r.config.Overload}
	for i := range o.after {
		o.after[i] = newHistogram()
	}
	o.r.display.step("%s: finding what the platform can do", o.name)
	o.hot.closed(capacityOf).round(o.r.config.Warmup + time.Second)
	result.Calm = o.calm()
	o.mixed.closed(capacityOf).round(o.r.config.Warmup)
	can := o.mixed.closed(capacityOf).round(o.r.config.Duration)
	switch result.Capacity = can.rate(); {
	case o.ctx.Err() != nil:
		return result, context.Cause(o.ctx)
	case result.Capacity <= 0:
		return result, whisk.Errorf(whisk.Unavailable, "%s: nothing was served: %s", o.name, strings.Join(causes(can.errors), ", "))
	}
	even, over := o.burden(result.Capacity), o.burden(result.Capacity*result.Factor)
	for round := range o.r.config.Rounds {
		for _, b := range []*burden{even, over} {
			o.r.display.step("%s: round %d of %d, %.0f/s", o.name, round+1, o.r.config.Rounds, b.rate)
			if err := o.round(b, b == over); err != nil {
				return result, err
			}
		}
	}
	result.Even, result.Over, result.Lingering = even.figures(o.r.config.Duration), over.figures(o.r.config.Duration), o.lingering[:]
	for i := range o.after {
		result.After = append(result.After, o.after[i].latency())
	}
	return result, nil
}

// calm calls before any load, at the pace of watch: a call after a pause takes longer
// than one at once after another.
func (o *onslaught) calm() Latency {
	calm := newHistogram()
	for i := 0; i < probesFirst && o.ctx.Err() == nil; i++ {
		if took, said := o.probe(); said.fault == "" {
			calm.record(took)
		}
		time.Sleep(probeEvery)
	}
	return calm.latency()
}

// burden is one of the two loads.
type burden struct {
	side     *side
	rate     float64
	resident []whisk.Bytes

	mu       sync.Mutex
	refusals histogram
	refused  int64
}

func (o *onslaught) burden(rate float64) *burden {
	b := &burden{rate: rate, refusals: newHistogram()}
	random, send := rand.New(rand.NewPCG(o.r.config.Seed, 0)), o.mixed.sender(0)
	b.side = newSide("platform", openLoop{
		ctx: o.ctx, outstanding: o.r.config.Outstanding, next: new(int),
		send: func(n int) verdict {
			sent := time.Now()
			return b.note(sent, send(n))
		},
		schedule: func() schedule { return pace{rate: rate, arrivals: o.r.config.Arrivals}.schedule(random) },
	}, 0, nil)
	return b
}

// note counts a refusal.
func (b *burden) note(sent time.Time, said verdict) verdict {
	took := time.Since(sent)
	if said.fault == refusal(fasthttp.StatusTooManyRequests) || said.fault == refusal(fasthttp.StatusServiceUnavailable) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.refused++
		b.refusals.record(took)
	}
	return said
}

func refusal(status int) string { return fmt.Sprintf("status %d", status) }

// figures makes the report of a burden. What was answered after the last request was
// due does not count for the rate: the load was another by then.
func (b *burden) figures(duration time.Duration) Burden {
	side := b.side.figures()
	side.Rates = side.Timeline.within(duration)
	side.Rate = median(side.Rates)
	return Burden{Side: side, Due: b.rate, Refused: b.refused, Refusal: b.refusals.latency(), Resident: b.resident}
}

// within returns the good answers per second of each round's first part, as far as
// that is whole steps.
func (l Timeline) within(duration time.Duration) (rates []float64) {
	for _, steps := range l.Rounds {
		whole, sum := duration/l.Step, int64(0)
		for _, good := range steps[:min(len(steps), int(whole))] {
			sum += good
		}
		rates = append(rates, float64(sum)/(whole*l.Step).Seconds())
	}
	return rates
}

// round puts a burden on, and looks at what comes after what was due.
func (o *onslaught) round(b *burden, look bool) error {
	end := time.Now().Add(o.r.config.Duration)
	var looking sync.WaitGroup
	looking.Go(func() {
		for wait := time.Until(end); wait > 0 && o.ctx.Err() == nil; wait = time.Until(end) {
			time.Sleep(min(wait, probeEvery))
		}
		o.watch(end, look)
	})
	err := b.side.round(o.r.config.Duration)
	looking.Wait()
	if err != nil {
		return err
	}
	if o.ctx.Err() != nil {
		return context.Cause(o.ctx)
	}
	resident, err := o.r.meterOf(o.r.endpoints[0]).resident()
	b.resident = append(b.resident, resident)
	return err
}

// watch calls one by one for some seconds.
func (o *onslaught) watch(end time.Time, look bool) {
	for o.ctx.Err() == nil {
		second := int(time.Since(end) / time.Second)
		if second >= calmAfter {
			return
		}
		took, said := o.probe()
		if look {
			o.count(second, took, said)
		}
		time.Sleep(probeEvery)
	}
}

func (o *onslaught) count(second int, took time.Duration, said verdict) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if said.fault != "" {
		o.lingering[second]++
		return
	}
	o.after[second].record(took)
}

func (o *onslaught) probe() (time.Duration, verdict) {
	sent := time.Now()
	said := o.hot.sender(0)(0)
	return time.Since(sent), said
}

// resident returns the memory of the named processes.
func (m meter) resident() (sum whisk.Bytes, err error) {
	if len(m.processes) == 0 {
		return 0, nil
	}
	all, err := m.stats()
	if err != nil {
		return 0, err
	}
	for pid := range m.named(all) {
		status, err := fs.ReadFile(m.proc, strconv.Itoa(pid)+"/status")
		if err != nil {
			continue // it has ended
		}
		for lines := bufio.NewScanner(bytes.NewReader(status)); lines.Scan(); {
			if text, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
				kb, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(text, "kB")), 10, 64)
				sum += whisk.Bytes(kb) * whisk.KB
			}
		}
	}
	return sum, nil
}

// failed is how many requests failed and were not just refused.
func (b Burden) failed() int64 { return count(b.Side.Errors) - b.Refused }

func (o Overload) summary() string {
	return fmt.Sprintf("%s, %s: %.0f/s can be done; of %g times that %.0f/s were, %d refused within %s ms (p99)",
		o.Kind, o.Workload, o.Capacity, o.Factor, o.Over.Side.Rate, o.Over.Refused, ms(o.Over.Refusal.P99))
}

func (r Report) writeOverloads(w io.Writer) {
	if len(r.Overloads) == 0 {
		return
	}
	section(w, "Overload, latencies in ms",
		fmt.Sprintf("An open loop at what %d connections get from the same calls in a closed one, and at more than that, in turns; one call in %d is to one of %d other actions.", capacityOf, mixOne, mixColds),
		"refused: answers 429 and 503, from sending to the answer; failed: all other errors. RSS: of the named processes, MB, at the end of the first and of the last round.")
	t := table.New(w, "kind", "workload", "due/s", "good/s", "share", "p50", "p99", "cold", "refused", "p50", "p99", "failed", "unsent", "RSS", "then", "lag p99")
	for _, one := range r.Overloads {
		for _, b := range []Burden{one.Even, one.Over} {
			l := b.Side.Latency
			first, last := whisk.Bytes(0), whisk.Bytes(0)
			if n := len(b.Resident); n > 0 {
				first, last = b.Resident[0], b.Resident[n-1]
			}
			t.Row(one.Kind, one.Workload, rate(b.Due), rate(b.Side.Rate), fmt.Sprintf("%.2f", b.Side.Rate/max(one.Even.Side.Rate, 1e-9)), ms(l.P50), ms(l.P99), b.Side.Cold,
				b.Refused, ms(b.Refusal.P50), ms(b.Refusal.P99), b.failed(), b.Side.Unsent, int64(first/whisk.MB), int64(last/whisk.MB), ms(b.Side.Lag.P99))
		}
	}
	t.Flush()
	section(w, "After the overload, p50 in ms", fmt.Sprintf("A call every %v: before any load, and in each second after the last request was due.", probeEvery))
	t = table.New(w, "kind", "workload", "before", "1st s", "2nd", "3rd", "4th", "5th", "refused or failed in each")
	for _, one := range r.Overloads {
		cells := []any{one.Kind, one.Workload, ms(one.Calm.P50)}
		for _, l := range one.After {
			cells = append(cells, ms(l.P50))
		}
		t.Row(append(cells, fmt.Sprint(one.Lingering))...)
	}
	t.Flush()
}
