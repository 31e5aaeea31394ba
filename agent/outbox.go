// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"slices"
	"sync"

	"github.com/whirl-faas/whirl/whisk"
)

// errBehind ends a session whose peer does not read. A new one begins with a
// full report, so nothing is lost.
var errBehind = whisk.Errorf(whisk.Unavailable, "the peer does not take its messages")

// outbox holds the messages of one session in the order in which they were put
// in, so that nobody waits for a slow peer while holding a lock.
type outbox[T any] struct {
	limit int
	stop  context.CancelCauseFunc // of the session

	mu    sync.Mutex
	queue []T
	ready chan struct{} // holds one token if the queue may not be empty
}

func newOutbox[T any](limit int, stop context.CancelCauseFunc) *outbox[T] {
	return &outbox[T]{limit: limit, stop: stop, ready: make(chan struct{}, 1)}
}

// put never blocks. When the outbox is full it ends the session.
func (o *outbox[T]) put(message T) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) >= o.limit {
		o.stop(errBehind)
		return
	}
	o.queue = append(o.queue, message)
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

func (o *outbox[T]) takeAll() []T {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.queue
	o.queue = nil
	return all
}

// sendLoop sends what is put in until ctx ends or the transport fails, which
// ends the session.
func (o *outbox[T]) sendLoop(ctx context.Context, send func(context.Context, T) error) {
	for {
		select {
		case <-o.ready:
		case <-ctx.Done():
			return
		}
		if err := o.flush(ctx, send); err != nil {
			o.stop(err)
			return
		}
	}
}

// flush sends what is there. What could not be sent stays: a session that ends
// in good order flushes once more after its loop.
func (o *outbox[T]) flush(ctx context.Context, send func(context.Context, T) error) error {
	all := o.takeAll()
	for i, message := range all {
		if err := send(ctx, message); err != nil {
			o.putBack(all[i:])
			return err
		}
	}
	return nil
}

func (o *outbox[T]) putBack(unsent []T) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue = slices.Concat(unsent, o.queue)
}
