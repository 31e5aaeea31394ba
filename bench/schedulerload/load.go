// SPDX-License-Identifier: Apache-2.0

package schedulerload

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// load is requisitions of one kind for a while.
type load struct {
	cluster  *cluster
	workload Workload
	tally    *tally
	next     *atomic.Int64 // the number of the next action, among all loads

	slots   chan struct{} // without a rate: one for each requisition that may be under way
	pending atomic.Int64  // trips under way, and 1 while more may begin
	done    chan struct{} // closed when there are none, and no more begin
}

func newLoad(c *cluster, workload Workload, next *atomic.Int64) *load {
	l := &load{cluster: c, workload: workload, tally: newTally(), next: next, done: make(chan struct{})}
	if c.config.Rate == 0 {
		l.slots = make(chan struct{}, c.config.AtOnce)
	}
	l.pending.Store(1)
	return l
}

// run sends requisitions for so long and waits until all have ended.
func (l *load) run(ctx context.Context, length time.Duration) error {
	if err := l.send(ctx, length); err != nil {
		return l.cluster.blame(err)
	}
	l.release()
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return l.cluster.blame(context.Cause(ctx))
	case <-time.After(2 * giveUp):
		return whisk.Errorf(whisk.Timeout, "%d requisitions were not answered", l.pending.Load())
	}
}

// send sends one requisition after the other, each when it is due.
func (l *load) send(ctx context.Context, length time.Duration) error {
	start := time.Now()
	for n := 0; ; n++ {
		due, err := l.wait(ctx, start, n)
		if err != nil {
			return err
		}
		if due.Sub(start) >= length {
			return nil
		}
		l.pending.Add(1)
		if err := l.ask(ctx, due); err != nil {
			return err
		}
	}
}

// wait returns when the requisition of that number is due; that time has come.
// Without a rate it is when an earlier one has ended.
func (l *load) wait(ctx context.Context, start time.Time, n int) (time.Time, error) {
	if l.slots != nil {
		select {
		case l.slots <- struct{}{}:
			return time.Now(), nil
		case <-ctx.Done():
			return time.Time{}, context.Cause(ctx)
		}
	}
	due := start.Add(time.Duration(float64(n) / l.cluster.config.Rate * float64(time.Second)))
	return due, sleep(ctx, time.Until(due))
}

// ask has a controller ask: for new actions each in turn, for an idle container
// the one after its holder.
func (l *load) ask(ctx context.Context, due time.Time) error {
	c, one := l.cluster, &trip{load: l, due: due}
	number := l.next.Add(1)
	if l.workload != Transfer {
		asker := c.controllers[int(number)%len(c.controllers)]
		return asker.ask(ctx, key(len(c.holders)+int(number)), one)
	}
	one.container = int(number) % len(c.holders)
	holder := int(c.holders[one.container].Load())
	return c.controllers[(holder+1)%len(c.controllers)].ask(ctx, key(one.container), one)
}

// ended notes the end of a trip.
func (l *load) ended(*trip) {
	if l.slots != nil {
		<-l.slots
	}
	l.release()
}

func (l *load) release() {
	if l.pending.Add(-1) == 0 {
		close(l.done)
	}
}
