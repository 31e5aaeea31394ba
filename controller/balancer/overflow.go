// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"container/list"
	"sync/atomic"

	"github.com/whirl-faas/whirl/whisk"
)

// overflow counts what waits, over all actions, against its limits. Each namespace
// has a part of it: see [tenant].
type overflow struct {
	entries, bytes       atomic.Int64
	maxEntries, maxBytes int64
}

// room is one action's share of the overflow. It is guarded by action.mu.
type room struct {
	shared  *overflow
	tenant  *tenant
	entries int
	bytes   whisk.Bytes
}

func (r *room) reserve(config *Config, size whisk.Bytes) error {
	if r.entries >= config.ActionWaiting {
		return whisk.Errorf(whisk.Throttled, "Too many activations of this action are waiting: the limit of %d is reached.", config.ActionWaiting)
	}
	if r.bytes+size > config.ActionBytes {
		return whisk.Errorf(whisk.Throttled, "The waiting activations of this action hold too much memory: the limit of %v is reached.", config.ActionBytes)
	}
	if err := r.shared.reserve(r.tenant, size); err != nil {
		return err
	}
	r.entries++
	r.bytes += size
	return nil
}

// force takes room that may not be there.
func (r *room) force(size whisk.Bytes) {
	r.entries++
	r.bytes += size
	r.shared.force(r.tenant, size)
}

func (r *room) release(size whisk.Bytes) {
	r.entries--
	r.bytes -= size
	r.shared.release(r.tenant, size)
}

// queue is the activations that wait for a slot of one action, the oldest first.
type queue struct{ waiting list.List }

// waiter is an activation in a queue. It is taken out by whoever decides its
// fate, under action.mu; the verdict is there from then on.
type waiter struct {
	inv     *whisk.Invocation
	first   bool          // of an action that had no container
	place   *list.Element // nil once it was taken out
	verdict chan verdict  // holds one; never closed
}

// verdict ends a wait: with a slot, with another controller that has one, or
// with the response of an activation that will not run.
type verdict struct {
	container *container // nil if there is none
	peer      *peer      // likewise
	response  whisk.Response
}

func (q *queue) len() int { return q.waiting.Len() }

// add puts an activation at the end, or at the head if it was there before.
func (q *queue) add(inv *whisk.Invocation, again bool) *waiter {
	w := &waiter{inv: inv, verdict: make(chan verdict, 1)}
	if again {
		w.place = q.waiting.PushFront(w)
	} else {
		w.place = q.waiting.PushBack(w)
	}
	return w
}

// next takes out the oldest and gives it its verdict. There must be one.
func (q *queue) next(v verdict) {
	w := q.waiting.Front().Value.(*waiter)
	q.remove(w)
	w.verdict <- v
}

// remove takes w out, and reports whether it was still there.
func (q *queue) remove(w *waiter) bool {
	if w.place == nil {
		return false
	}
	q.waiting.Remove(w.place)
	w.place = nil
	return true
}
