// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

// buffer is how many messages one end of a session holds in each direction,
// beside what gRPC's flow control lets through, before its sender blocks.
const buffer = 128

// patience is how long the end of a session may take: what was sent before is
// on its way then, or is lost.
const patience = time.Second

// pipe is what gRPC offers for a stream, at either side.
type pipe interface {
	SendMsg(any) error
	RecvMsg(any) error
}

// session is one end of a session over gRPC. gRPC allows one sender at a time,
// and neither sending nor receiving can be given up without ending the stream;
// so two goroutines do nothing else, and everybody else talks to them.
type session[Out, In any] struct {
	pipe pipe
	out  protocol[Out]
	in   protocol[In]
	// admit, if not nil, checks each message before it is handed out.
	admit func(In) error

	outbox  chan frame    // never closed: senders may be many
	inbox   chan In       // never closed
	closing chan struct{} // closed by the first Close of this end
	sent    chan struct{} // closed by sendLoop when it sends no more
	ended   chan struct{} // closed by receiveLoop when the last message is in the inbox
	cause   error         // why; io.EOF if the peer closed the session. Written before ended is closed
	once    sync.Once
}

func newSession[Out, In any](p pipe, out protocol[Out], in protocol[In]) *session[Out, In] {
	return &session[Out, In]{
		pipe:    p,
		out:     out,
		in:      in,
		outbox:  make(chan frame, buffer),
		inbox:   make(chan In, buffer),
		closing: make(chan struct{}),
		sent:    make(chan struct{}),
		ended:   make(chan struct{}),
	}
}

// Send implements [whisk.Stream].
func (s *session[Out, In]) Send(ctx context.Context, message Out) error {
	if err := s.over(); err != nil {
		return err
	}
	out, err := s.out.encodeOne(message)
	if err != nil {
		return err
	}
	select {
	case s.outbox <- out:
		return nil
	case <-s.closing:
		return io.ErrClosedPipe
	case <-s.ended:
		return s.over()
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.sent: // receiveLoop is about to learn why
	}
	select {
	case <-s.ended:
		return s.over()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// over returns what a Send fails with that comes too late, or nil.
func (s *session[Out, In]) over() error {
	select {
	case <-s.ended:
		if s.cause != io.EOF {
			return s.cause
		}
		return io.ErrClosedPipe
	default:
	}
	select {
	case <-s.closing:
		return io.ErrClosedPipe
	default:
		return nil
	}
}

// Recv implements [whisk.Stream].
func (s *session[Out, In]) Recv(ctx context.Context) (In, error) {
	select {
	case message := <-s.inbox:
		return message, nil
	default:
	}
	var none In
	select {
	case message := <-s.inbox:
		return message, nil
	case <-s.closing:
		return none, io.EOF
	case <-ctx.Done():
		return none, context.Cause(ctx)
	case <-s.ended:
	}
	select { // it was filled before the end
	case message := <-s.inbox:
		return message, nil
	default:
		return none, s.cause
	}
}

// brokeBy reports whether that is why receiving ended.
func (s *session[Out, In]) brokeBy(err error) bool {
	select {
	case <-s.ended:
		return errors.Is(err, s.cause)
	default:
		return false
	}
}

// close begins the end of the session from this side.
func (s *session[Out, In]) close() { s.once.Do(func() { close(s.closing) }) }

// sendLoop sends what is put into the outbox, and after close what is left in
// it. It ends early if the session does; what it still has is lost then.
func (s *session[Out, In]) sendLoop() {
	defer close(s.sent)
	for {
		var next frame
		select {
		case next = <-s.outbox:
		case <-s.ended:
			return
		case <-s.closing:
			select {
			case next = <-s.outbox:
			default:
				return
			}
		}
		if s.pipe.SendMsg(next) != nil {
			return // receiveLoop learns why
		}
	}
}

// receiveLoop fills the inbox until the stream ends, or a message is refused.
// After close it throws away what comes, so that the peer can end as well.
func (s *session[Out, In]) receiveLoop() {
	defer close(s.ended)
	wanted := true
	for {
		next := arrival[In]{protocol: s.in}
		err := s.pipe.RecvMsg(&next)
		switch {
		case err != nil:
			err = fromStatus(err)
		case next.err != nil:
			err = next.err
		case s.admit != nil:
			err = s.admit(next.message)
		}
		if err != nil {
			s.cause = s.endedBy(err)
			return
		}
		wanted = wanted && s.deliver(next.message)
	}
}

// deliver puts a message into the inbox. It gives up if nobody wants it any
// more, and if the inbox is full while nothing can be sent: the stream is
// broken then, and a role that waits for its Send before it receives must hear
// of that.
func (s *session[Out, In]) deliver(message In) bool {
	select {
	case s.inbox <- message:
		return true
	default:
	}
	select {
	case s.inbox <- message:
		return true
	case <-s.closing:
	case <-s.sent:
	}
	return false
}

// endedBy returns why a session is over in which receiving fails with err: what
// happens after this end closed it is of no interest.
func (s *session[Out, In]) endedBy(err error) error {
	select {
	case <-s.closing:
		return io.EOF
	default:
		return err
	}
}
