// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"slices"
	"time"
)

// loader keeps a number of requests under way for a while and returns when all
// were answered.
type loader interface {
	round(duration time.Duration) *tally
}

const warmupRounds = 20 // at most, while cold starts still happen

// side is one of those that take turns in a workload: the platform, what it is
// compared with, the sandbox alone.
type side struct {
	name        string
	load        loader
	connections int    // of a closed loop
	meter       *meter // nil where CPU time is not measured
	stage       *stage // whose records count the answers; nil for none

	rates     []float64 // one of each round
	latencies []Latency // of each round
	total     *tally
	last      reading          // at the end of the last round
	used      map[string]usage // CPU time over all rounds; empty where there is none to read
	cpus      []float64        // own CPU time of all processes for each good answer, of each round, in seconds; 0 where not all of it is known
	generator time.Duration    // CPU time of this process over all rounds
}

func newSide(name string, load loader, connections int, meter *meter) *side {
	return &side{name: name, load: load, connections: connections, meter: meter, total: newTally(), used: map[string]usage{}}
}

// round puts load on and adds up what it came to.
func (s *side) round(duration time.Duration) error {
	before, err := s.cpu()
	if err != nil {
		return err
	}
	own := ownCPU()
	sum := s.load.round(duration)
	s.generator += ownCPU() - own
	after, err := s.cpu()
	if err != nil {
		return err
	}
	s.account(before, after, sum.good)
	s.rates = append(s.rates, sum.rate())
	s.latencies = append(s.latencies, sum.times().latency())
	s.total.merge(sum)
	return nil
}

// account adds the CPU time of a round. A ratio has no use for a round of which
// some is unknown, because a process ended.
func (s *side) account(before, after reading, good int64) {
	pause := before.since(s.last)
	for name, sofar := range s.used {
		sofar.found, sofar.ended = 0, sofar.ended+pause[name].ended
		s.used[name] = sofar
	}
	var all time.Duration
	ended := 0
	for name, round := range after.since(before) {
		sofar := s.used[name]
		s.used[name] = usage{sofar.own + round.own, sofar.children + round.children, round.found, sofar.ended + round.ended}
		all += round.own
		ended += round.ended
	}
	if ended > 0 {
		all = 0
	}
	s.cpus = append(s.cpus, all.Seconds()/float64(max(good, 1)))
	s.last = after
}

func (s *side) cpu() (reading, error) {
	if s.meter == nil {
		return nil, nil
	}
	return s.meter.read()
}

// warmUp drives the load until no more containers are started for it, and
// returns how many good answers that took.
func (s *side) warmUp(ctx context.Context, duration time.Duration) (answered int64) {
	if duration == 0 {
		return 0
	}
	for range warmupRounds {
		sum := s.load.round(duration)
		answered += sum.good
		if ctx.Err() != nil || sum.cold == 0 {
			break
		}
	}
	return answered
}

func (s *side) figures() Side {
	return Side{
		Connections: s.connections,
		Rate:        median(s.rates),
		Rates:       s.rates,
		Latency:     s.total.times().curved(),
		Timeline:    s.total.line,
		Errors:      s.total.errors,
		Cold:        s.total.cold,
		Unsent:      s.total.unsent,
		Lag:         s.total.lag.latency(),
	}
}

// compare returns the ratios of one side in another that took turns with it.
func (s *side) compare(versus *side) []Ratio {
	ratios := []Ratio{ratio("throughput", s.rates, versus.rates)}
	for _, quantile := range []struct {
		name string
		of   func(Latency) time.Duration
	}{
		{"p50", func(l Latency) time.Duration { return l.P50 }},
		{"p90", func(l Latency) time.Duration { return l.P90 }},
		{"p99", func(l Latency) time.Duration { return l.P99 }},
	} {
		each := func(side *side) (values []float64) {
			for _, l := range side.latencies {
				values = append(values, quantile.of(l).Seconds())
			}
			return values
		}
		ratios = append(ratios, ratio(quantile.name, each(s), each(versus)))
	}
	if len(s.used) > 0 && len(versus.used) > 0 {
		ratios = append(ratios, ratio("CPU", s.cpus, versus.cpus))
	}
	return ratios
}

// cpuEach returns the CPU time of each process, and of the load generator, for
// each good answer.
func (s *side) cpuEach() (processes []CPU, generator time.Duration) {
	per := time.Duration(max(s.total.good, 1))
	if s.meter == nil {
		return nil, s.generator / per
	}
	for _, process := range s.meter.processes {
		used := s.used[process.Name]
		processes = append(processes, CPU{process.Name, used.own / per, used.children / per, used.found, used.ended})
	}
	return processes, s.generator / per
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
