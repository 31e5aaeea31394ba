// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	peer   string      // "agent" or "controller"
	outbox chan effect // never closed: only the owner loop sends
	stop   context.CancelCauseFunc
}

// post queues an effect; false if the outbox is full.
func (s *session) post(e effect) bool {
	select {
	case s.outbox <- e:
		return true
	default:
		return false
	}
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
		outbox: make(chan effect, s.cfg.Outbox), stop: stop,
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
	silence := time.AfterFunc(s.cfg.Silence, func() { me.stop(errSilence) })
	defer silence.Stop()
	for {
		m, err := stream.Recv(ctx)
		if err != nil {
			return fmt.Errorf("receive from %s: %w", me.peer, err)
		}
		silence.Reset(s.cfg.Silence)
		if err := s.post(ctx, letter{event: said(me.id, m), from: me.id}); err != nil {
			return err
		}
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
		select {
		case e := <-me.outbox:
			next = message(e)
		case <-tick.C:
			next = alive
		case <-s.ended:
			return errEnded
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
