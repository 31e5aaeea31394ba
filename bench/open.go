// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"sync"
	"time"
)

// openLoop is load by callers that come when they come, whether earlier ones
// have been answered or not. Latencies count from when a request was due, so
// that a request that was late because the server or this program was slow is
// not taken for a fast one. At most outstanding requests are under way: one that
// is due beyond that is not sent, and counted as such.
type openLoop struct {
	ctx         context.Context // ends the rounds
	send        sender
	schedule    func() schedule // of the next round
	outstanding int
	next        *int                      // number of the next request; rounds go on where the last one ended
	asked       func(n int) time.Duration // how long request n is meant to take, which its latency is counted without; nil for not at all
}

// round sends what is due in a while, and returns when everything that was sent
// has its answer.
func (o openLoop) round(duration time.Duration) *tally {
	var (
		sum      = beginTally(duration)
		slots    = make(chan struct{}, o.outstanding)
		underWay sync.WaitGroup
		alarm    = time.NewTimer(0)
		start    = time.Now()
	)
	defer alarm.Stop()
	for at := range o.schedule() {
		if at >= duration || !o.sleep(alarm, start.Add(at)) {
			break
		}
		select {
		case slots <- struct{}{}:
			n := *o.next
			underWay.Go(func() {
				defer func() { <-slots }()
				o.request(n, start.Add(at), sum)
			})
		default:
			sum.skip()
		}
		*o.next++
	}
	o.sleep(alarm, start.Add(duration))
	underWay.Wait()
	sum.took = time.Since(start)
	return sum
}

func (o openLoop) request(n int, due time.Time, sum *tally) {
	lag := time.Since(due)
	said := o.send(n)
	took := time.Since(due)
	if o.ctx.Err() != nil {
		return // what was under way says nothing about the server
	}
	if o.asked != nil {
		took -= o.asked(n)
	}
	sum.add(took, said)
	sum.late(lag)
}

// sleep waits until due, and says whether the round goes on.
func (o openLoop) sleep(alarm *time.Timer, due time.Time) bool {
	if wait := time.Until(due); wait > 0 {
		alarm.Reset(wait)
		select {
		case <-alarm.C:
		case <-o.ctx.Done():
		}
	}
	return o.ctx.Err() == nil
}
