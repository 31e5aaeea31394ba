// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"slices"
	"testing"
	"time"
)

func TestCurvesKeepTheTail(t *testing.T) {
	h := newHistogram()
	for i := range 10_000 {
		h.record(time.Duration(i+1) * time.Millisecond / 10)
	}
	at := map[float64]time.Duration{}
	curve := h.curved().Curve
	for _, q := range curve {
		at[q.Share] = q.Within
	}
	for share, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 0.999: 999 * time.Millisecond, 1: time.Second} {
		if !near(at[share], want) {
			t.Errorf("%v are within %v, want %v", share, at[share], want)
		}
	}
	if !slices.IsSortedFunc(curve, func(a, b Quantile) int { return int(a.Within - b.Within) }) {
		t.Errorf("out of order: %v", curve)
	}
	if got := newHistogram().curved(); got.Curve != nil {
		t.Errorf("nothing has a curve: %v", got)
	}
}

// TestTimelines has answers in a closed loop, and the drain of an open one.
func TestTimelines(t *testing.T) {
	line := Timeline{Step: time.Second, Rounds: [][]int64{nil}}
	for _, at := range []time.Duration{0, 2500 * time.Millisecond, 2600 * time.Millisecond, time.Hour} {
		line.count(at, 4)
	}
	if want := []int64{1, 0, 2, 1}; !slices.Equal(line.Rounds[0], want) {
		t.Errorf("got %v, want %v", line.Rounds[0], want)
	}
	var all Timeline
	all.overlay(line)
	all.overlay(Timeline{Step: time.Second, Rounds: [][]int64{{1, 1}}})
	if want := []int64{2, 1, 2, 1}; !slices.Equal(all.Rounds[0], want) || all.Step != time.Second || line.Rounds[0][0] != 1 {
		t.Errorf("got %v, want %v", all, want)
	}
}

// TestRatesWithinTheRound leave out what was answered afterwards, also where a round
// is no whole number of steps, or so long that the line has no more of them.
func TestRatesWithinTheRound(t *testing.T) {
	for _, duration := range []time.Duration{200 * time.Millisecond, 10_900 * time.Millisecond, 600 * time.Second} {
		sum := beginTally(duration)
		for at := time.Duration(0); at < 2*duration; at += duration / 1000 {
			sum.line.count(at, sum.steps)
		}
		if rates, want := sum.line.within(duration), 1000/duration.Seconds(); len(rates) != 1 || rates[0] < 0.995*want || rates[0] > 1.005*want {
			t.Errorf("%s: got %v, want %.1f", duration, rates, want)
		}
	}
}
