// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"sync"

	"github.com/whirl-faas/whirl/whisk"
)

// link is a way between two parts of the cluster that can be cut: the sessions
// on it break, and no new one comes about while it is down.
type link struct {
	trace     *trace
	near, far string // what it connects

	mu       sync.Mutex
	down     bool
	sessions map[closer]struct{}
}

type closer interface{ Close() error }

// cut breaks the sessions. With down the link stays unusable until mend.
func (l *link) cut(down bool) {
	l.mu.Lock()
	l.down = l.down || down
	sessions := l.sessions
	l.sessions = nil
	l.mu.Unlock()
	for session := range sessions {
		_ = session.Close() // an in-memory session always closes
	}
}

func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}

// over dials through the link.
func over[Out, In any](l *link, dial func() (whisk.Stream[Out, In], error)) (whisk.Stream[Out, In], error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, whisk.Errorf(whisk.Unavailable, "the link is down")
	}
	stream, err := dial()
	if err != nil {
		return nil, err
	}
	if l.sessions == nil {
		l.sessions = map[closer]struct{}{}
	}
	l.sessions[stream] = struct{}{}
	return tapped[Out, In]{stream, l.trace, l.near, l.far}, nil
}
