// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"time"
)

// Arrivals is how the requests of an open loop are spread over time.
type Arrivals string

const (
	Poisson  Arrivals = "poisson"  // each independent of the others, as of many callers who do not know each other
	Constant Arrivals = "constant" // as a clock ticks
)

// pace is when the requests of a course come: either a number of connections in
// a closed loop, or a rate, or bursts.
type pace struct {
	connections int           // of the closed loop; 0 otherwise
	rate        float64       // of the open loop, per second; 0 otherwise
	arrivals    Arrivals      // of the rate
	burst       int           // requests that are due at the same instant; 0 otherwise
	every       time.Duration // from burst to burst
}

// paces returns how each workload is to be sent.
func (c Config) paces() (all []pace) {
	for _, n := range c.Concurrency {
		all = append(all, pace{connections: n})
	}
	for _, rate := range c.Rates {
		all = append(all, pace{rate: rate, arrivals: c.Arrivals})
	}
	for _, n := range c.Bursts {
		all = append(all, pace{burst: n, every: c.BurstEvery})
	}
	return all
}

// connections is how many a pace may need.
func (c Config) connections(p pace) int {
	if p.open() {
		return c.Outstanding
	}
	return p.connections
}

// open says whether requests are due at times of their own.
func (p pace) open() bool { return p.connections == 0 }

// String describes the pace in tables and progress.
func (p pace) String() string {
	switch {
	case p.connections > 0:
		return fmt.Sprintf("%d at once", p.connections)
	case p.burst > 0:
		return fmt.Sprintf("bursts of %d each %s", p.burst, p.every)
	}
	return fmt.Sprintf("%g/s %s", p.rate, p.arrivals)
}

// offered is how many requests per second are due in an open loop.
func (p pace) offered() float64 {
	if p.burst > 0 {
		return float64(p.burst) / p.every.Seconds()
	}
	return p.rate
}

// schedule yields when requests are due, counted from the start of a round, in
// order and without end.
type schedule iter.Seq[time.Duration]

// schedule draws the arrivals of an open loop.
func (p pace) schedule(random *rand.Rand) schedule {
	switch {
	case p.burst > 0:
		return bursts(p.burst, p.every)
	case p.arrivals == Constant:
		return constant(p.rate)
	}
	return poisson(p.rate, random)
}

func constant(rate float64) schedule {
	return func(yield func(time.Duration) bool) {
		// Multiplied and not added up, so that rounding does not change the rate.
		for n := 0; yield(seconds(float64(n) / rate)); n++ {
		}
	}
}

func poisson(rate float64, random *rand.Rand) schedule {
	return func(yield func(time.Duration) bool) {
		for at := random.ExpFloat64() / rate; yield(seconds(at)); at += random.ExpFloat64() / rate {
		}
	}
}

func bursts(size int, every time.Duration) schedule {
	return func(yield func(time.Duration) bool) {
		for at := time.Duration(0); ; at += every {
			for range size {
				if !yield(at) {
					return
				}
			}
		}
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
