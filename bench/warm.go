// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/client"
)

const (
	warmupRounds = 20               // at most, while cold starts still happen
	recordsWait  = 15 * time.Second // for the last records to be written
)

// warmLoads measures one kind at every concurrency, beside the same code in
// sandboxes without the platform if there are any.
func (r *runner) warmLoads(ctx context.Context, kind string) error {
	if len(r.config.Concurrency) == 0 {
		return nil
	}
	name := fmt.Sprintf("whirl-bench-%s-%s", r.tag, family(kind))
	action, remove, err := r.deploy(ctx, name, kind)
	if err != nil {
		return err
	}
	defer remove()
	direct, stop, err := r.direct(ctx, kind, action.Exec.Kind)
	if err != nil {
		return err
	}
	defer stop()
	var answered int64
	for _, concurrency := range r.config.Concurrency {
		w := workload{kind: kind, concurrency: concurrency, platform: r.platform(name), direct: direct}
		result, all, err := r.warmLoad(ctx, w)
		answered += all
		if result != nil {
			r.report.addWarm(*result)
		}
		if err != nil {
			return err
		}
	}
	return r.countRecords(ctx, kind, []string{name}, answered)
}

// workload is one kind at one concurrency.
type workload struct {
	kind        string
	concurrency int
	platform    target
	direct      *target // nil if only the platform is measured
}

// warmLoad measures one workload. It returns nil figures if not even one round
// of each side was finished, and the number of all good answers of the platform.
func (r *runner) warmLoad(ctx context.Context, w workload) (*Warm, int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // breaks the connections that are still open
	platform := newLoad(ctx, w.platform, w.concurrency, r.config.Timeout)
	defer platform.close()
	answered := r.warmUp(w, platform)
	sides := []*side{{name: "platform", load: platform, connections: w.concurrency, meter: &r.meter, total: newTally(), used: map[string]usage{}}}
	if w.direct != nil {
		connections := r.config.directConnections(w.concurrency)
		direct := newLoad(ctx, *w.direct, connections, r.config.Timeout)
		defer direct.close()
		sides = append(sides, &side{name: "direct", load: direct, connections: connections, total: newTally()})
	}
	turns := slices.Clone(sides)
	for round := range r.config.Rounds {
		for _, side := range turns {
			r.display.step("%s, %d at once: round %d of %d, %s", w.kind, w.concurrency, round+1, r.config.Rounds, side.name)
			if err := side.round(r.config.Duration); err != nil {
				return nil, answered, err
			}
			if ctx.Err() != nil {
				return nil, answered, context.Cause(ctx)
			}
		}
		// Whoever goes second finds the machine as the first left it.
		slices.Reverse(turns)
	}
	warm := figures(w, sides)
	r.display.note("%s", warm.summary())
	return &warm, answered + sides[0].total.good, nil
}

// warmUp drives the platform until no more containers are started for the load.
func (r *runner) warmUp(w workload, platform *load) (answered int64) {
	if r.config.Warmup == 0 {
		return 0
	}
	for range warmupRounds {
		r.display.pending("%s, %d at once: warming up", w.kind, w.concurrency)
		sum := platform.round(w.concurrency, r.config.Warmup)
		answered += sum.good
		if platform.ctx.Err() != nil || sum.cold == 0 {
			break
		}
	}
	return answered
}

// loader keeps a number of requests under way for a while and returns when all
// were answered.
type loader interface {
	round(concurrency int, duration time.Duration) *tally
}

// side is the platform or the sandbox alone, in one workload.
type side struct {
	name        string
	load        loader
	connections int
	meter       *meter // nil where CPU time is not measured

	rates     []float64 // one of each round
	total     *tally
	used      map[string]usage // CPU time over all rounds
	generator time.Duration    // CPU time of this process over all rounds
}

func (s *side) round(duration time.Duration) error {
	before, err := s.cpu()
	if err != nil {
		return err
	}
	own := ownCPU()
	sum := s.load.round(s.connections, duration)
	s.generator += ownCPU() - own
	after, err := s.cpu()
	if err != nil {
		return err
	}
	for name, now := range after {
		then, sofar := before[name], s.used[name]
		s.used[name] = usage{sofar.own + now.own - then.own, sofar.children + now.children - then.children, now.found}
	}
	s.rates = append(s.rates, sum.rate())
	s.total.merge(sum)
	return nil
}

func (s *side) cpu() (map[string]usage, error) {
	if s.meter == nil {
		return nil, nil
	}
	return s.meter.read()
}

func (s *side) figures() Side {
	return Side{
		Connections: s.connections,
		Rate:        median(s.rates),
		Rates:       s.rates,
		Latency:     s.total.times.latency(),
		Errors:      s.total.errors,
		Cold:        s.total.cold,
	}
}

// cpuEach returns the CPU time of each process, and of the load generator, for
// each good answer.
func (s *side) cpuEach() (processes []CPU, generator time.Duration) {
	per := time.Duration(max(s.total.good, 1))
	for _, process := range s.meter.processes {
		used := s.used[process.Name]
		processes = append(processes, CPU{process.Name, used.own / per, used.children / per, used.found})
	}
	return processes, s.generator / per
}

// figures makes the report of a workload; sides is the platform, and the direct
// side if there is one.
func figures(w workload, sides []*side) Warm {
	platform := sides[0]
	warm := Warm{Kind: w.kind, Concurrency: w.concurrency, Platform: platform.figures()}
	warm.CPU, warm.Generator = platform.cpuEach()
	if len(sides) > 1 {
		direct := sides[1].figures()
		warm.Direct = &direct
		if direct.Rate > 0 {
			warm.Share = warm.Platform.Rate / direct.Rate
		}
	}
	return warm
}

// countRecords compares the answers that actions gave with the records that were
// stored of them. A record may be written a moment after its answer.
func (r *runner) countRecords(ctx context.Context, kind string, names []string, answered int64) error {
	r.display.pending("%s: counting records", kind)
	ctx, cancel := context.WithTimeout(ctx, recordsWait)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	records := Records{Kind: kind, Answered: answered}
	for {
		var stored int64
		for _, name := range names {
			n, err := r.client.CountActivations(ctx, client.ActivationQuery{Name: name})
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("count the records of %s: %w", kind, err)
			}
			stored += int64(n)
		}
		records.Stored = max(records.Stored, stored)
		if records.Stored >= answered || ctx.Err() != nil {
			r.report.Records = append(r.report.Records, records)
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
}

// median of a copy of values; 0 of none.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
