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
	began  time.Time // of a round; zero if it is a sum of several
	took   time.Duration
	line   Timeline
	steps  int // of a round's line at most: later answers count for the last one
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

// mostSteps bounds a round's line, but for one step more for all that is answered
// after that.
const mostSteps = 500

// beginTally begins the tally of a round.
func beginTally(duration time.Duration) *tally {
	t := newTally()
	t.began = time.Now()
	// Ten steps show a short round's shape, and each second of a long one, within reason.
	t.line.Step = max(min(duration/10, time.Second), duration/mostSteps, time.Millisecond)
	t.line.Rounds, t.steps = [][]int64{nil}, mostSteps+1
	return t
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
	t.line.count(time.Since(t.began), t.steps)
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

// merge adds what a later round came to.
func (t *tally) merge(from *tally) {
	t.line.Step = from.line.Step
	t.line.Rounds = append(t.line.Rounds, from.line.Rounds...)
	t.sum(from)
}

// join adds what another load came to at the same time.
func (t *tally) join(from *tally) {
	t.took = max(t.took, from.took)
	t.line.overlay(from.line)
	t.sum(from)
}

func (t *tally) sum(from *tally) {
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

// count adds a good answer at a time of the line's only round.
func (l *Timeline) count(at time.Duration, steps int) {
	if l.Step == 0 {
		return
	}
	step := min(int(at/l.Step), steps-1)
	for len(l.Rounds[0]) <= step {
		l.Rounds[0] = append(l.Rounds[0], 0)
	}
	l.Rounds[0][step]++
}

// overlay adds a line that ran at the same time.
func (l *Timeline) overlay(other Timeline) {
	if len(l.Rounds) == 0 {
		l.Step, l.Rounds = other.Step, [][]int64{nil}
	}
	mine, theirs := l.Rounds[0], other.Rounds[0]
	for len(mine) < len(theirs) {
		mine = append(mine, 0)
	}
	for i, n := range theirs {
		mine[i] += n
	}
	l.Rounds[0] = mine
}
