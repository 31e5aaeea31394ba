// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"sync"
	"time"
)

// verdict is what an answer says.
type verdict struct {
	fault string // why it is an error; "" if it is good
	cold  bool   // the activation was a cold start
}

// tally is what a load came to. Many goroutines may add to it while a round
// runs; it is read when the round is over.
type tally struct {
	mu     sync.Mutex
	took   time.Duration
	good   int64
	cold   int64 // good ones that were cold starts
	errors map[string]int64
	warms  histogram // latencies of good answers that were no cold starts
	colds  histogram // and of those that were
	unsent int64     // due when too many were under way
	lag    histogram // of sending, after it was due
}

func newTally() *tally {
	return &tally{errors: map[string]int64{}, warms: newHistogram(), colds: newHistogram(), lag: newHistogram()}
}

// add counts an answer that came so long after it was due.
func (t *tally) add(took time.Duration, said verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if said.fault != "" {
		t.errors[said.fault]++
		return
	}
	t.good++
	if said.cold {
		t.cold++
		t.colds.record(took)
	} else {
		t.warms.record(took)
	}
}

// late counts a request that was sent so long after it was due.
func (t *tally) late(lag time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lag.record(lag)
}

// skip counts a request that was not sent.
func (t *tally) skip() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unsent++
}

func (t *tally) merge(from *tally) {
	t.good += from.good
	t.cold += from.cold
	t.unsent += from.unsent
	for cause, n := range from.errors {
		t.errors[cause] += n
	}
	t.warms.merge(from.warms)
	t.colds.merge(from.colds)
	t.lag.merge(from.lag)
}

// times are the latencies of all good answers.
func (t *tally) times() histogram {
	all := newHistogram()
	all.merge(t.warms)
	all.merge(t.colds)
	return all
}

// rate is the number of good answers per second.
func (t *tally) rate() float64 {
	if t.took <= 0 {
		return 0
	}
	return float64(t.good) / t.took.Seconds()
}
