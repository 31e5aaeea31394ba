// SPDX-License-Identifier: Apache-2.0

// Package throttle counts what namespaces begin and refuses what is beyond their
// limits. A [Rate] counts events in calendar minutes, a [Flight] what is under
// way. Both count what is, and keep nothing of what was: when a minute is over or
// an activation ends, its place is free again, whatever happened meanwhile.
//
// Methods may be called concurrently and never block.
package throttle

import (
	"math"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Rate counts events of each namespace in calendar minutes, as OpenWhisk does:
// a namespace may use its whole allowance at the end of one minute and again at
// the beginning of the next.
type Rate struct {
	mu     sync.Mutex
	minute int64 // since 1970; counts are of it
	counts map[string]int
}

// NewRate returns a rate without events.
func NewRate() *Rate { return &Rate{counts: map[string]int{}} }

// Take counts an event, and returns Throttled, with OpenWhisk's text, if it is
// one more than allowed. Refused events are counted too, as the text tells.
func (r *Rate) Take(namespace string, allowed int) error {
	r.mu.Lock()
	// The clock is read under the lock: who read it before the minute ended, and
	// came in after, would begin the old minute anew. It may also be set back, and
	// then another minute begins all the same, so that nobody waits for the later one.
	if minute := time.Now().Unix() / 60; minute != r.minute {
		r.minute = minute
		clear(r.counts) // also bounds the map: by who did something within a minute
	}
	r.counts[namespace]++
	count := r.counts[namespace]
	r.mu.Unlock()
	if count > allowed {
		return whisk.Errorf(whisk.Throttled, "Too many requests in the last minute (count: %d, allowed: %d).", count, allowed)
	}
	return nil
}

// Flight counts what each namespace has under way.
type Flight struct {
	mu     sync.Mutex
	counts map[string]int // none is 0
}

// NewFlight returns a flight with nothing under way.
func NewFlight() *Flight { return &Flight{counts: map[string]int{}} }

// Enter counts something that begins, or returns Throttled, with OpenWhisk's
// text, if as many as allowed are under way. What entered has to leave.
func (f *Flight) Enter(namespace string, allowed int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := full(f.counts[namespace], allowed); err != nil {
		return err
	}
	f.counts[namespace]++
	return nil
}

// Check returns the error that Enter would, and counts nothing.
func (f *Flight) Check(namespace string, allowed int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return full(f.counts[namespace], allowed)
}

func full(count, allowed int) error {
	if count < allowed {
		return nil
	}
	return whisk.Errorf(whisk.Throttled, "Too many concurrent requests in flight (count: %d, allowed: %d).", count, allowed)
}

// Join is Enter for what was accepted long since, such as by a process that died:
// it is never refused.
func (f *Flight) Join(namespace string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[namespace]++
}

// Leave counts an end. To leave without having entered is a broken invariant.
func (f *Flight) Leave(namespace string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch count := f.counts[namespace]; {
	case count > 1:
		f.counts[namespace] = count - 1
	case count == 1:
		delete(f.counts, namespace)
	default:
		panic("throttle: more left than entered")
	}
}

// Share is what one of several controllers may let in of what a namespace is
// allowed. Clients are not spread evenly, so together they allow a fifth more, as
// OpenWhisk's do; and none allows nothing of something.
func Share(allowed, controllers int) int {
	if controllers <= 1 || allowed <= 0 {
		return allowed
	}
	all := allowed + (allowed-1)/5 + 1
	if all < 0 {
		all = math.MaxInt
	}
	return min(allowed, (all-1)/controllers+1)
}
