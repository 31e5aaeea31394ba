// SPDX-License-Identifier: Apache-2.0

package inmem

import (
	"context"
	"sync"

	"github.com/whirl-faas/whirl/whisk"
)

// Exchange connects the roles of one process: it makes sessions and owns the
// goroutines that serve them.
type Exchange struct {
	sessions sync.WaitGroup
	ctx      context.Context // of all served sessions
	end      context.CancelCauseFunc

	mu     sync.Mutex
	closed bool // no more sessions
}

// NewExchange returns an exchange that connects at once.
func NewExchange() *Exchange {
	ctx, end := context.WithCancelCause(context.Background())
	return &Exchange{ctx: ctx, end: end}
}

// Run returns after ctx ended and with it every session that the exchange serves.
func (e *Exchange) Run(ctx context.Context) error {
	<-ctx.Done()
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.end(context.Cause(ctx))
	e.sessions.Wait()
	return nil
}

// Dial makes a session, has serve look after its far end, and returns the near
// one. The session ends when serve returns. Unavailable if the exchange is closed.
func Dial[Out, In any](e *Exchange, serve func(context.Context, whisk.Stream[In, Out]) error) (whisk.Stream[Out, In], error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, whisk.Errorf(whisk.Unavailable, "the process is stopping")
	}
	near, far := Pipe[Out, In]()
	e.sessions.Go(func() {
		defer far.Close()
		_ = serve(e.ctx, far) // both ends learn of a broken session by its close
	})
	return near, nil
}
