// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// link is a way between two parts of the cluster. It can be cut: the sessions on
// it break, and no new one comes about while it is down. It can be slow, and it
// can hold what goes one way: the sessions stand, and their messages stand still.
type link struct {
	trace     *trace
	near, far string          // what it connects; near dials
	wires     *sync.WaitGroup // what carries the messages of all sessions

	mu       sync.Mutex
	random   *rand.Rand
	down     bool
	lag      time.Duration // that a message takes at most
	held     [2]hold       // by direction
	sessions map[breaker]struct{}
}

// direction of messages on a link.
type direction int

const (
	there direction = iota // from near to far
	back
)

// hold is how many reasons there are for a direction to stand still.
type hold struct {
	count int
	open  chan struct{} // closed when there is none any more
}

type breaker interface{ breakNow() }

// cut breaks the sessions. With down the link stays unusable until mend.
func (l *link) cut(down bool) {
	l.mu.Lock()
	l.down = l.down || down
	sessions := l.sessions
	l.sessions = nil
	l.mu.Unlock()
	for session := range sessions {
		session.breakNow()
	}
}

func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}

// slow has each message take up to lag from now on. None overtakes another.
func (l *link) slow(lag time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lag = lag
}

// hold has what goes that way stand still until as many releases.
func (l *link) hold(way direction) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := &l.held[way]
	if h.count++; h.count == 1 {
		h.open = make(chan struct{})
	}
}

func (l *link) release(way direction) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := &l.held[way]
	if h.count--; h.count == 0 {
		close(h.open)
		h.open = nil
	}
}

// gate returns what is closed when messages may pass that way, nil if they may.
func (l *link) gate(way direction) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[way].open
}

// due returns when a message that is sent now arrives at the earliest.
func (l *link) due() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lag == 0 {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(l.random.Int64N(int64(l.lag))))
}

func (l *link) forget(session breaker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sessions, session)
}

// over dials through the link. dial also returns the epoch of the scheduler that
// it reached, 0 if it is none.
func over[Out, In any](l *link, dial func() (whisk.Stream[Out, In], uint64, error)) (whisk.Stream[Out, In], error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, whisk.Errorf(whisk.Unavailable, "the link is down")
	}
	far, leader, err := dial()
	if err != nil {
		return nil, err
	}
	s := newSession(l, leader, far)
	if l.sessions == nil {
		l.sessions = map[breaker]struct{}{}
	}
	l.sessions[s] = struct{}{}
	return s, nil
}
