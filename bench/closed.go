// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// sender sends request n and waits for its answer. Successive numbers go round
// the actions of a workload.
type sender func(n int) verdict

// afterError keeps a connection from spinning while the server refuses everything.
const afterError = 5 * time.Millisecond

// closedLoop is load by a number of connections that each send their next
// request when they have the answer to the last. What a slow server kept from
// being sent is not counted: latencies tell what callers in a row would see.
type closedLoop struct {
	ctx     context.Context // ends the rounds
	senders []sender        // one for each connection
	next    *atomic.Int64   // number of the next request; rounds go on where the last one ended
}

// round keeps all connections busy for a while and returns when everything that
// was sent has its answer.
func (c closedLoop) round(duration time.Duration) *tally {
	var (
		sum     = beginTally(duration)
		callers sync.WaitGroup
		start   = time.Now()
		end     = start.Add(duration)
	)
	sum.steps = max(int(duration/sum.line.Step), 1) // what ends after the round was sent in it
	for _, send := range c.senders {
		callers.Go(func() { c.caller(send, end, sum) })
	}
	callers.Wait()
	sum.took = time.Since(start)
	return sum
}

// caller sends until the end, and at least once: on a busy machine a short round
// may be over before all callers have begun.
func (c closedLoop) caller(send sender, end time.Time, sum *tally) {
	for first := true; c.ctx.Err() == nil; first = false {
		start := time.Now()
		if !first && !start.Before(end) {
			return
		}
		said := send(int(c.next.Add(1) - 1))
		took := time.Since(start)
		if c.ctx.Err() != nil {
			return // what was under way says nothing about the server
		}
		sum.add(took, said)
		if said.fault != "" {
			c.pause()
		}
	}
}

func (c closedLoop) pause() {
	select {
	case <-time.After(afterError):
	case <-c.ctx.Done():
	}
}
