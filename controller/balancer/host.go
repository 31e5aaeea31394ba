// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// ServePeer serves one session with another controller, which forwards
// activations to this one. Each is run at once, or refused; an activation that
// runs goes on when the session breaks, until it ends or the balancer cuts it.
// A session whose numbers do not rise is ended: nothing may be run twice.
// ServePeer returns when the session has ended and all that it brought has. The
// error says why the session broke; it is nil if the other side closed it, or ctx
// ended, which cuts no run either.
func (b *Balancer) ServePeer(ctx context.Context, stream whisk.PeerToController) error {
	var guests sync.WaitGroup
	defer guests.Wait()
	var last uint64
	for {
		message, err := stream.Recv(ctx)
		switch {
		case errors.Is(err, io.EOF), ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case message.Seq <= last: // it may be the same once more, and would run twice
			return whisk.Errorf(whisk.Invalid, "forward %d of %s came after forward %d", message.Seq, message.Activation, last)
		}
		last = message.Seq
		g := &guest{b: b, stream: stream, message: message}
		if err := g.enter(); err != nil {
			b.traffic.refused.Add(1)
			if err := g.reply(ctx, whisk.ForwardRefused{Seq: message.Seq, Reason: err.Error()}); err != nil {
				return err
			}
			continue
		}
		guests.Go(func() { g.run(ctx) })
	}
}

// guest is another controller's activation, which runs here.
type guest struct {
	b         *Balancer
	stream    whisk.PeerToController
	message   whisk.Forward
	container *container // of which it has a slot, once it entered
}

// enter takes a slot, or says why there is none. There is no waiting here: who
// asks has a queue for that, and may be better served elsewhere.
func (g *guest) enter() error {
	b, m := g.b, g.message
	if !m.StartBy.IsZero() && time.Now().After(m.StartBy) {
		return errors.New("it is too late to start it")
	}
	if err := b.begin(); err != nil {
		return err
	}
	if n := b.guests.Add(1); n > int64(b.config.Forwards) {
		g.leave()
		return fmt.Errorf("%d activations of others run here already", b.config.Forwards)
	}
	b.mu.RLock()
	a := b.actions[m.Key]
	b.mu.RUnlock()
	if a != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		g.container = a.lendLocked(b.now())
	}
	if g.container == nil {
		g.leave()
		return errors.New("no container of the action has a free slot")
	}
	b.traffic.hosted.Add(1)
	return nil
}

func (g *guest) leave() {
	g.b.guests.Add(-1)
	g.b.end()
}

// run runs the activation as if it were ours, and tells how it ended. If it
// cannot be told that it begins it does not: nobody would hear of it.
func (g *guest) run(ctx context.Context) {
	seq := g.message.Seq
	j := job{b: g.b, inv: g.invocation()}
	if err := g.reply(ctx, whisk.ForwardTaken{Seq: seq, Container: g.container.ID}); err != nil {
		j.leave(g.container, unsent, nil)
		g.leave()
		return
	}
	outcome, again := j.attempt(ctx, g.container)
	var reply whisk.ForwardReply = whisk.ForwardRefused{Seq: seq, Reason: "the container turned it away"}
	if !again {
		reply = whisk.ForwardEnded{
			Seq: seq, Response: outcome.Response, Start: outcome.Start, Run: outcome.Run, TimedOut: outcome.TimedOut, Logs: outcome.AfterLogs != nil,
		}
	}
	err := g.reply(ctx, reply)
	g.leave()
	if err != nil {
		g.b.log.Warn("another controller's activation ended, and it could not be told", "peer", g.message.Controller, "activation", g.message.Activation, "err", err)
	}
	if outcome.AfterLogs != nil {
		g.tellLogs(ctx, outcome)
	}
}

// tellLogs waits for the activation's output, which only the lessee can have
// stored.
func (g *guest) tellLogs(ctx context.Context, outcome whisk.Outcome) {
	logs, err := outcome.AwaitLogs(ctx)
	logged := whisk.ForwardLogged{Seq: g.message.Seq, Logs: logs}
	if err != nil {
		logged.Kind, logged.Err = whisk.KindOf(err), err.Error()
	}
	_ = g.reply(ctx, logged) // who does not hear it learns that from its session
}

// invocation is the activation as a container here needs it. It has no code to
// bring: its container has that.
func (g *guest) invocation() *whisk.Invocation {
	m := g.message
	return &whisk.Invocation{
		Activation:  m.Activation,
		Key:         m.Key,
		Limits:      whisk.ActionLimits{Timeout: m.Timeout, Logs: m.Logs},
		Received:    time.Now(),
		ResultLimit: m.ResultLimit,
		Sentinels:   m.Sentinels,
		RunBody:     func(time.Time) []byte { return m.Run },
	}
}

// reply sends one message. It fails if the other controller does not take it in
// time.
func (g *guest) reply(ctx context.Context, message whisk.ForwardReply) error {
	ctx, cancel := context.WithTimeoutCause(ctx, g.b.config.HandOver, whisk.Errorf(whisk.Timeout, "it takes no messages"))
	defer cancel()
	return g.stream.Send(ctx, message)
}
