// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// session is the near end of a session over a link. What the link delays or
// holds waits here, in order, also the news that an end closed the session.
type session[Out, In any] struct {
	link   *link
	leader uint64 // epoch of the scheduler that is the far end, 0 if none is
	far    whisk.Stream[Out, In]
	out    *wire[Out]
	in     *wire[In]

	once   sync.Once
	closed chan struct{} // by the near end
	broke  sync.Once
	broken chan struct{} // by the link
}

func newSession[Out, In any](l *link, leader uint64, far whisk.Stream[Out, In]) *session[Out, In] {
	s := &session[Out, In]{link: l, leader: leader, far: far, closed: make(chan struct{}), broken: make(chan struct{})}
	s.out, s.in = newWire[Out](l, there), newWire[In](l, back)
	l.wires.Go(s.carryThere)
	l.wires.Go(s.carryBack)
	return s
}

// Send notes what was handed over, before the far end can answer it.
func (s *session[Out, In]) Send(_ context.Context, message Out) error {
	select {
	case <-s.closed:
		return io.ErrClosedPipe
	case <-s.broken:
		return io.ErrClosedPipe
	default:
	}
	s.link.trace.note(Message{From: s.link.near, To: s.link.far, Leader: s.leader, Body: message})
	s.out.put(message, nil)
	return nil
}

// Recv notes what arrived.
func (s *session[Out, In]) Recv(ctx context.Context) (In, error) {
	message, err := s.in.take(ctx, s.closed, s.broken)
	if err == nil {
		s.link.trace.note(Message{From: s.link.far, To: s.link.near, Leader: s.leader, Body: message})
	}
	return message, err
}

// Close ends the session; the far end learns of it when all before has arrived.
func (s *session[Out, In]) Close() error {
	s.once.Do(func() {
		close(s.closed)
		s.link.forget(s)
		var none Out
		s.out.put(none, io.EOF)
	})
	return nil
}

// breakNow ends the session for both ends at once. What is under way is lost.
func (s *session[Out, In]) breakNow() {
	s.broke.Do(func() { close(s.broken) })
	_ = s.far.Close() // an in-memory session always closes
}

// carryThere takes messages to the far end until an end closed the session. If
// it is the far one, the near one learns of that only by what comes back.
func (s *session[Out, In]) carryThere() {
	for {
		message, err := s.out.take(context.Background(), nil, s.broken)
		if err != nil {
			_ = s.far.Close() // an in-memory session always closes
			return
		}
		_ = s.far.Send(context.Background(), message) // lost if the far end is gone
	}
}

func (s *session[Out, In]) carryBack() {
	for {
		message, err := s.far.Recv(context.Background())
		s.in.put(message, err)
		if err != nil {
			return
		}
	}
}

// wire is one direction of a session: a queue that one goroutine takes from.
type wire[M any] struct {
	link *link
	way  direction
	wake chan struct{} // has a token when something was put

	mu    sync.Mutex
	queue []parcel[M]
	last  time.Time // when the last one is due
}

// parcel is a message, or the end of them.
type parcel[M any] struct {
	message M
	err     error
	due     time.Time
}

func newWire[M any](l *link, way direction) *wire[M] {
	return &wire[M]{link: l, way: way, wake: make(chan struct{}, 1)}
}

func (w *wire[M]) put(message M, err error) {
	due := w.link.due()
	w.mu.Lock()
	if due.Before(w.last) {
		due = w.last
	}
	w.last = due
	w.queue = append(w.queue, parcel[M]{message, err, due})
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default: // it will see this one, too
	}
}

// take returns the next message when the link lets it pass.
func (w *wire[M]) take(ctx context.Context, closed, broken <-chan struct{}) (none M, err error) {
	for {
		next, there := w.peek()
		ready, stop := w.waitFor(next, there)
		if ready == nil {
			w.mu.Lock()
			w.queue = w.queue[1:]
			w.mu.Unlock()
			return next.message, next.err
		}
		select {
		case <-ready:
			stop()
		case <-closed:
			stop()
			return none, io.ErrClosedPipe
		case <-broken:
			stop()
			return none, io.EOF
		case <-ctx.Done():
			stop()
			return none, context.Cause(ctx)
		}
	}
}

func (w *wire[M]) peek() (next parcel[M], there bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return next, false
	}
	return w.queue[0], true
}

// waitFor returns what to wait for before the parcel may be taken; nil if it
// may be now.
func (w *wire[M]) waitFor(next parcel[M], there bool) (ready <-chan struct{}, stop func()) {
	nothing := func() {}
	if !there {
		return w.wake, nothing
	}
	if wait := time.Until(next.due); !next.due.IsZero() && wait > 0 {
		timed, stop := context.WithTimeout(context.Background(), wait)
		return timed.Done(), stop
	}
	return w.link.gate(w.way), nothing
}
