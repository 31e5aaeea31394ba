// SPDX-License-Identifier: Apache-2.0

package scheduler

import "sync"

// outbox holds what one session is to send, in the order in which it was
// decided. It takes no more memory than what waits in it: a cluster has many
// thousand sessions, and nearly all of them are nearly always empty.
type outbox struct {
	most  int           // effects that may wait; see [outbox.put]
	ready chan struct{} // holds a token when something may be waiting; never closed

	mu      sync.Mutex
	waiting []effect
	taken   int // of waiting, from its beginning
}

// spacious is the room that an outbox keeps when it is empty.
const spacious = 64

func newOutbox(most int) *outbox {
	return &outbox{most: most, ready: make(chan struct{}, 1)}
}

// put adds an effect. It never blocks: false says that the outbox is full.
func (o *outbox) put(e effect) bool {
	o.mu.Lock()
	full := len(o.waiting)-o.taken >= o.most
	if !full {
		o.waiting = append(o.waiting, e)
	}
	o.mu.Unlock()
	if full {
		return false
	}
	select {
	case o.ready <- struct{}{}:
	default: // there is one
	}
	return true
}

// take returns the effect that has waited for longest; false if there is none.
// One goroutine does so.
func (o *outbox) take() (e effect, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting) == 0 {
		return e, false
	}
	e, o.waiting[o.taken] = o.waiting[o.taken], effect{}
	o.taken++
	switch {
	case o.taken < len(o.waiting):
		o.compact()
	case cap(o.waiting) > spacious:
		o.waiting, o.taken = nil, 0
	default:
		o.waiting, o.taken = o.waiting[:0], 0
	}
	return e, true
}

// compact makes room at the front once that is the greater part, so that one
// who never quite catches up does not make the outbox grow.
func (o *outbox) compact() {
	if o.taken > spacious && o.taken > len(o.waiting)/2 {
		left := copy(o.waiting, o.waiting[o.taken:])
		clear(o.waiting[left:])
		o.waiting, o.taken = o.waiting[:left], 0
	}
}
