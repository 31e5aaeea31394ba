// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"sync"
	"time"
)

// patience makes contexts that end after a time, for many who wait for long and
// hardly ever to the end: those who come within a second share one. A context and
// a timer for each would cost more than the waiting.
type patience struct {
	mu     sync.Mutex
	shared context.Context // nil at first
	renew  time.Time       // when shared is nobody else's any more
}

// patienceShared is how long a context is shared.
const patienceShared = time.Second

// context returns one that ends when parent does, or after a time that is long, or
// up to a second later.
func (p *patience) context(parent context.Context, long time.Duration) context.Context {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shared == nil || now.After(p.renew) {
		ctx, cancel := context.WithCancelCause(parent)
		time.AfterFunc(long+patienceShared, func() { cancel(context.DeadlineExceeded) })
		p.shared, p.renew = ctx, now.Add(patienceShared)
	}
	return p.shared
}
