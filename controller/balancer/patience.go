// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Who would have to wait for longer than he is ready to is turned away when he
// comes, and not when it is too late. How long he would wait is what went before
// him, at the pace at which that went lately. The pace is measured and not worked
// out: it has in it how busy the machine is, what containers come and go, and which
// part of all that the scheduler gives to this namespace.
//
// To turn away all who come while the first in the queue has waited for long would
// let the queue run empty, and fill again, in turns; to wait for it to be full would
// make the wait depend on the bound and not on the work.

// pace is the mean time between two steps of a queue that is not empty, the latest
// steps counting most. The zero pace knows nothing.
type pace struct {
	steps, span float64 // weighed; span in nanoseconds
	since       int64   // of the last step, or the time when the queue was empty last
	seen        int     // steps in all
}

const (
	paceKept  = 1 - 1.0/32 // of a step's weight, at each later one
	paceKnown = 16         // before so many steps it says nothing
)

// begin says that the queue is not empty any more.
func (p *pace) begin(now int64) { p.since = now }

// step says that the first of the queue left it for what it waited for.
func (p *pace) step(now int64) {
	p.steps = p.steps*paceKept + 1
	p.span = p.span*paceKept + float64(now-p.since)
	p.since = now
	p.seen++
}

// wait returns how long one waits behind so many. ok is false if that is not known.
// The time since the last step counts as soon as it is longer than steps took: a
// queue that has stopped, because its containers went, makes none that would tell.
func (p *pace) wait(before int, now int64) (wait int64, ok bool) {
	if p.seen < paceKnown {
		return 0, false
	}
	each := p.span / p.steps
	if pause := float64(now - p.since); pause > each {
		each = (p.span*paceKept + pause) / (p.steps*paceKept + 1)
	}
	return int64(each * float64(before+1)), true
}

// Callers that come one by one and wait for their answers are not too many, however
// slow their action is: what is turned away is what comes faster than it can go.
const (
	shortQueue = 16               // activations of an action that may wait whatever comes of it
	longQueue  = 64               // likewise, if that does not take longer than longWait
	coldQueue  = 128              // actions without a container, of one namespace, likewise
	longWait   = 30 * time.Second // half of what a blocking call waits for
)

// tooLate reports whether somebody with so much patience is to be turned away from
// a queue of an action.
func tooLate(queue int, wait, patience time.Duration) bool {
	return wait > patience && (queue >= longQueue || queue >= shortQueue && wait > longWait)
}

// Check returns the error with which Invoke would turn away an activation with so
// much patience, if that can be told before there is one: an action's queue is longer
// than it is ready to wait. It costs far less than an activation that is turned away,
// and promises nothing: nil means that Invoke decides.
func (b *Balancer) Check(key whisk.ActionKey, patience time.Duration) error {
	b.mu.RLock()
	a := b.actions[key]
	b.mu.RUnlock()
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting.len() == 0 {
		return nil // there may be a container at once
	}
	return a.hastyLocked(patience)
}

// hastyLocked returns why who has so much patience should not begin to wait, nil if
// they may; no patience stands for any.
func (a *action) hastyLocked(patience time.Duration) error {
	if patience <= 0 {
		return nil
	}
	if estimate, ok := a.handed.wait(a.room.entries, a.b.now()); ok && a.waiting.len() > 0 && tooLate(a.room.entries, time.Duration(estimate), patience) {
		kind := whisk.Unavailable
		if a.instances > 0 && len(a.containers) >= a.instances {
			kind = whisk.Throttled // it is the action's own bound
		}
		return tooMany(kind, "activations of this action are waiting for its containers", a.room.entries, time.Duration(estimate), patience)
	}
	if len(a.containers) > 0 || a.bare {
		return nil
	}
	if others, estimate, ok := a.tenant.coldWait(a.b.now()); ok && others >= coldQueue && time.Duration(estimate) > patience {
		return tooMany(whisk.Unavailable, "actions of this namespace are waiting for a container", others, time.Duration(estimate), patience)
	}
	return nil
}

// laterAtMost is when who was turned away is told to come back at the latest: a queue that
// stands, for which an estimate may be hours, is as quick as before when it goes on.
const laterAtMost = time.Minute

// tooMany is the error for who would have to wait behind so many of what for longer than
// he is ready to.
func tooMany(kind whisk.Kind, what string, before int, wait, patience time.Duration) error {
	return whisk.Later(kind, min(wait-patience, laterAtMost), "Too many %s: %d, and one more would wait for about %v.", what, before, roughly(wait))
}

// roughly rounds an estimate to two digits, so that it does not look like a promise.
func roughly(wait time.Duration) time.Duration {
	unit := time.Millisecond
	for unit <= wait/100 {
		unit *= 10
	}
	return wait.Round(unit)
}
