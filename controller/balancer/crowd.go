// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A few containers of an action whose runs are short keep all processors at work. More
// of them at once do no more: each run only takes longer, for it waits for a processor
// again and again where nobody can tell whose turn it is, and with it all others on the
// machine do. In the overflow it would wait in its namespace's line. So where more wants to
// run than the processors can begin soon, fewer activations of an action are let into
// its containers at once: fewer by those that would wait all the same.
//
// They are known by their runs, which take longer than they did when there was room. That
// runs take twice as long is no harm done, and what sleeps in its container, or waits for
// another machine, hardly takes longer in a crowd: it is left alone. When there is room,
// those that were kept out are let in, step by step.
//
// Who waits asks for containers, and to make one takes the processors of many runs. A burst
// that meets one container has a dozen made before the first period is over, which keep it
// waiting in the meantime. So as soon as a look finds a crowd, an action has containers made
// one after the other.

const (
	crowdLook   = 25 * time.Millisecond  // between two looks at the machine, while something runs
	crowdPeriod = 250 * time.Millisecond // of looks that actions are judged by
	crowdFrom   = 8                      // more than so much for each processor is a crowd, of a look and on the average of a period
	crowdSlow   = 2                      // an action whose runs take so many times as long as usual is let be
	crowdLinger = 10 * time.Second       // a bound that was not met for so long goes
)

// crowd watches how much wants to run on the machine, and has actions bounded, and their
// containers made one by one, while that is too much.
type crowd struct {
	b        *Balancer
	runnable func() float64 // see Deps; nil where nobody knows
	shares   shares         // of the latest period
	dense    atomic.Bool    // a look found a crowd, and no period has ended without one since

	mu     sync.Mutex // below an action's
	active []*action  // to be looked at when the period ends: something of them ran, or they are bounded
}

// pressure is an action's part in the crowd. It is guarded by action.mu.
type pressure struct {
	used int // slots in use

	// In this period.
	most   int           // slots in use at once
	ended  int           // runs of warm containers
	took   time.Duration // all of them together
	met    bool          // the bound kept somebody waiting
	listed bool          // in crowd.active

	usual    time.Duration // of a run while there was room; 0 before there was
	shortest time.Duration // of all runs; 0 before the first
	bound    int           // of used; 0 for none
	metLast  int64         // when the bound did, or began, on the balancer's clock
	spared   bool          // its runs did not suffer in the latest crowd
}

// full tells somebody who wants a slot whether the bound keeps him waiting.
func (p *pressure) full() bool {
	full := p.bound > 0 && p.used >= p.bound
	p.met = p.met || full
	return full
}

func (p *pressure) enter() {
	p.used++
	p.most = max(p.most, p.used)
}

func (p *pressure) leave() { p.used-- }

// ran notes a run of a warm container that ended as it should.
func (p *pressure) ran(took time.Duration) {
	p.ended++
	p.took += took
	if p.shortest == 0 || took < p.shortest {
		p.shortest = took
	}
}

// mean is how long a run took in this period, in which one must have ended.
func (p *pressure) mean() time.Duration { return p.took / time.Duration(p.ended) }

// next begins the next period.
func (p *pressure) next() {
	p.most, p.ended, p.took, p.met, p.listed = p.used, 0, 0, false, false
}

// learn has what is usual follow the runs of a period: quickly to less, for a crowd makes
// no run shorter, and slowly to more, which may be a crowd's doing.
func (p *pressure) learn() {
	switch {
	case p.ended == 0:
	case p.usual == 0:
		p.usual = p.mean()
	case p.mean() < p.usual:
		p.usual -= (p.usual - p.mean()) / 2
	default:
		p.usual += (p.mean() - p.usual) / 32
	}
}

// ease is for the end of a period with room: it learns what is usual, and lets one
// more in for every eight.
func (p *pressure) ease(now int64) {
	p.learn()
	switch {
	case p.bound == 0:
	case p.met:
		p.bound += max(1, p.bound/8)
		p.metLast = now
	case now-p.metLast >= int64(crowdLinger):
		p.bound = 0
	}
}

// tighten is for the end of a period in which so much was runnable, for each
// processor. It lets an action be whose runs hardly suffer from that. Of any other, by
// Little's law, as many activations waited at a time as the time beyond what is usual, of all
// its runs together, is longer than the period. Of these only a part may stay, so small
// that what is runnable would be no crowd, but floor at any rate.
func (p *pressure) tighten(runnable float64, period time.Duration, floor int, now int64) {
	if p.ended == 0 {
		return
	}
	usual := p.usual
	if usual == 0 {
		usual = p.shortest
	}
	if p.spared = p.mean() <= crowdSlow*usual; p.spared {
		return
	}
	late := p.took - time.Duration(p.ended)*usual
	waited := min(float64(late)/float64(period), float64(p.most))
	if out := int(waited - max(waited*crowdFrom/runnable, float64(floor))); out > 0 {
		p.bound, p.metLast = p.most-out, now
	}
}

// watchLocked has the action looked at when the period ends.
func (w *crowd) watchLocked(a *action) {
	if a.pressure.listed || w.runnable == nil {
		return
	}
	a.pressure.listed = true
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active = append(w.active, a)
}

// run looks at the machine until ctx ends.
func (w *crowd) run(ctx context.Context) {
	if w.runnable == nil {
		return
	}
	timer := time.NewTimer(crowdPeriod)
	defer timer.Stop()
	begun, sum, looks := w.b.now(), 0.0, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		runnable := w.runnable()
		if runnable > crowdFrom {
			w.dense.Store(true)
		}
		sum += runnable
		looks++
		if now := w.b.now(); now-begun >= int64(crowdPeriod) {
			w.judge(sum/float64(looks), time.Duration(now-begun), now)
			begun, sum, looks = now, 0, 0
		}
		timer.Reset(w.pause())
	}
}

// pause is the time until the next look. Where nothing runs there is no crowd of ours.
func (w *crowd) pause() time.Duration {
	if w.b.inflight.Load() == 0 {
		return crowdPeriod
	}
	return crowdLook
}

// judge ends a period in which so much was runnable, for each processor. What may wait at the
// worst is shared out among the namespaces that ran something, and the actions of each. The lookout
// learns who crowds others, as long as any action is bounded. A period without a crowd ends what a
// look began.
func (w *crowd) judge(runnable float64, period time.Duration, now int64) {
	w.mu.Lock()
	active := w.active
	w.active = nil
	w.mu.Unlock()
	busy := map[*tenant]int{} // how many actions of each
	for _, a := range active {
		busy[a.tenant]++
	}
	fresh, bounded := make(shares, len(busy)), false
	for _, a := range active {
		floor := max(1, w.b.config.CrowdFloor/(len(busy)*busy[a.tenant]))
		a.mu.Lock()
		fresh[a.tenant] = fresh[a.tenant].plus(a.pressure.used+a.waiting.len(), a.pressure.ended)
		a.judgeLocked(runnable, period, floor, now)
		bounded = bounded || a.pressure.bound > 0
		a.mu.Unlock()
	}
	w.shares = fresh.after(w.shares)
	if bounded {
		w.b.deps.Lookout.Crowd(w.shares.crowding())
	} else {
		w.b.deps.Lookout.Crowd(nil)
	}
	if runnable <= crowdFrom && w.dense.Swap(false) {
		w.resume()
	}
}

// resume has all actions ask for what a crowd kept them from asking for.
func (w *crowd) resume() {
	for _, a := range w.b.allActions() {
		a.mu.Lock()
		a.needLocked()
		a.mu.Unlock()
	}
}

func (a *action) judgeLocked(runnable float64, period time.Duration, floor int, now int64) {
	p := &a.pressure
	before := p.bound
	if runnable > crowdFrom {
		p.tighten(runnable, period, floor, now)
	} else {
		p.ease(now)
	}
	p.next()
	if a.gone {
		return
	}
	if p.bound > 0 {
		a.b.crowd.watchLocked(a)
	}
	if p.bound != before {
		a.pumpLocked(now)
	}
}
