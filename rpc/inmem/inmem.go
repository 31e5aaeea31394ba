// SPDX-License-Identifier: Apache-2.0

// Package inmem carries the protocols of package whisk between roles that live
// in one process: the standalone platform, tests and simulations.
//
// A pipe keeps messages in order in each direction. Each direction buffers a
// bounded number of messages; a sender blocks while the buffer is full.
package inmem

import (
	"context"
	"io"
	"sync"

	"github.com/whirl-faas/whirl/whisk"
)

// buffer is how many messages one direction holds before its sender blocks.
const buffer = 1024

// Pipe returns the two ends of a new session.
func Pipe[A, B any]() (whisk.Stream[A, B], whisk.Stream[B, A]) {
	there, back := make(chan A, buffer), make(chan B, buffer)
	session := &session{closed: make(chan struct{})}
	return &end[A, B]{session, there, back}, &end[B, A]{session, back, there}
}

type session struct {
	once   sync.Once
	closed chan struct{} // closed by whichever end closes first
}

type end[Out, In any] struct {
	*session
	out chan<- Out // never closed: senders may be many
	in  <-chan In
}

func (e *end[Out, In]) Send(ctx context.Context, message Out) error {
	select {
	case <-e.closed:
		return io.ErrClosedPipe
	default:
	}
	select {
	case e.out <- message:
		return nil
	case <-e.closed:
		return io.ErrClosedPipe
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (e *end[Out, In]) Recv(ctx context.Context) (In, error) {
	select {
	case message := <-e.in:
		return message, nil
	default:
	}
	var none In
	select {
	case message := <-e.in:
		return message, nil
	case <-e.closed:
		return none, io.EOF
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

func (s *session) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}
