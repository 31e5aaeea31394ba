// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Why sessions end from our side.
var (
	errLag     = whisk.Errorf(whisk.Unavailable, "the peer does not take its messages")
	errSilence = whisk.Errorf(whisk.Timeout, "the peer has been silent for too long")
	errClosed  = errors.New("the session is over")
)

// session is the owner loop's end of a stream: a bounded outbox that a
// goroutine of the session sends from.
type session struct {
	id     sessionID
	peer   string  // "agent" or "controller"
	outbox *outbox // that the owner loop alone fills
	stop   context.CancelCauseFunc
}

// ServeController speaks the Container Factory Protocol with a controller until
// the session ends, and closes the stream. The error says why it ended; it is
// nil if the peer closed it or the scheduler has ended. Calls may overlap, and
// wait for Run if it was not called yet.
func (s *Scheduler) ServeController(ctx context.Context, stream whisk.SchedulerToController) error {
	return serve[whisk.FactoryEvent, whisk.FactoryRequest](ctx, s, stream, "controller",
		func(id sessionID, m whisk.FactoryRequest) event { return controllerSaid{id, m} },
		func(e effect) whisk.FactoryEvent { return e.event },
		whisk.KeepAlive{Epoch: s.cfg.Epoch})
}

// ServeAgent speaks the agent protocol with an agent, as ServeController does
// with a controller.
func (s *Scheduler) ServeAgent(ctx context.Context, stream whisk.SchedulerToAgent) error {
	return serve[whisk.AgentCommand, whisk.AgentReport](ctx, s, stream, "agent",
		func(id sessionID, m whisk.AgentReport) event { return agentSaid{id, m} },
		func(e effect) whisk.AgentCommand { return e.command },
		whisk.KeepAlive{Epoch: s.cfg.Epoch})
}

// serve runs one session: this goroutine reads, another one sends.
func serve[Out, In any](ctx context.Context, s *Scheduler, stream whisk.Stream[Out, In], peer string,
	said func(sessionID, In) event, message func(effect) Out, alive Out) error {
	defer stream.Close()
	if !s.enter() {
		return nil
	}
	defer s.serving.Done()
	ctx, stop := context.WithCancelCause(ctx)
	me := &session{
		id: sessionID(s.lastSession.Add(1)), peer: peer,
		outbox: newOutbox(s.cfg.Outbox), stop: stop,
	}
	if err := s.post(ctx, letter{open: me}); err != nil {
		return over(err)
	}
	unhook := context.AfterFunc(ctx, func() { stream.Close() })
	defer unhook()

	sent := make(chan struct{})
	go func() {
		defer close(sent)
		stop(sendLoop(ctx, s, me, stream, message, alive))
	}()
	stop(receiveLoop(ctx, s, me, stream, said))
	<-sent
	// The owner loop must learn of the end also if ctx is what ended it.
	end := over(context.Cause(ctx))
	if err := s.post(context.WithoutCancel(ctx), letter{event: sessionEnded{me.id, end}, from: me.id}); err != nil {
		return over(err)
	}
	return end
}

// enter counts a session in, unless Run has ended.
func (s *Scheduler) enter() bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.closing {
		return false
	}
	s.serving.Add(1)
	return true
}

// over drops the reasons that are no errors.
func over(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, errEnded) || errors.Is(err, errClosed) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// receiveLoop hands what the peer says to the owner loop, until the stream ends
// or the peer is silent for too long.
func receiveLoop[Out, In any](ctx context.Context, s *Scheduler, me *session, stream whisk.Stream[Out, In], said func(sessionID, In) event) error {
	silence := listen(s.cfg.Silence, func() { me.stop(errSilence) })
	defer silence.timer.Stop()
	for {
		m, err := stream.Recv(ctx)
		if err != nil {
			return fmt.Errorf("receive from %s: %w", me.peer, err)
		}
		silence.suspend()
		if err := s.post(ctx, letter{event: said(me.id, m), from: me.id}); err != nil {
			return err
		}
		silence.heard()
	}
}

// silence rings when nothing was heard for too long. To note a message costs a
// look at the clock; the timer is set anew only when it has run out.
type silence struct {
	limit time.Duration
	ring  func()
	timer *time.Timer
	start time.Time
	last  atomic.Int64 // when something was heard, in nanoseconds since start; suspended while nobody listens
}

const suspended = -1

const never = 1<<63 - 1

// listen begins to wait. Its timer has to be stopped.
func listen(limit time.Duration, ring func()) *silence {
	l := &silence{limit: limit, ring: ring, start: time.Now()}
	l.timer = time.AfterFunc(never, l.check) // which needs to find the timer in its place
	l.timer.Reset(limit)
	return l
}

// suspend says that nobody listens until heard is called: while the owner loop
// is behind, it is not the peer that is silent.
func (l *silence) suspend() { l.last.Store(suspended) }

func (l *silence) heard() { l.last.Store(int64(time.Since(l.start))) }

// check rings, or waits for the rest of the time.
func (l *silence) check() {
	last := l.last.Load()
	lasted := time.Since(l.start) - time.Duration(last)
	switch {
	case last == suspended:
		l.timer.Reset(l.limit)
	case lasted >= l.limit:
		l.ring()
	default:
		l.timer.Reset(l.limit - lasted)
	}
}

// sendLoop sends what the owner loop has for the peer, and a keep-alive now and
// then. One is the greeting: with the first word the peer learns who leads.
func sendLoop[Out, In any](ctx context.Context, s *Scheduler, me *session, stream whisk.Stream[Out, In], message func(effect) Out, alive Out) error {
	tick := time.NewTicker(s.cfg.KeepAlive)
	defer tick.Stop()
	next := alive
	for {
		if err := stream.Send(ctx, next); err != nil {
			if errors.Is(err, io.ErrClosedPipe) {
				err = errClosed
			}
			return fmt.Errorf("send to %s: %w", me.peer, err)
		}
		e, ok, err := s.await(ctx, me, tick.C)
		if err != nil {
			return err
		}
		if next = alive; ok {
			next = message(e)
		}
	}
}

// await waits for what a session is to send next; false when that is the tick's turn.
func (s *Scheduler) await(ctx context.Context, me *session, tick <-chan time.Time) (e effect, ok bool, err error) {
	for {
		if e, ok = me.outbox.take(); ok {
			return e, true, nil
		}
		select {
		case <-me.outbox.ready:
		case <-tick:
			return e, false, nil
		case <-s.ended:
			return e, false, errEnded
		case <-ctx.Done():
			return e, false, context.Cause(ctx)
		}
	}
}
