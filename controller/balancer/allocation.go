// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"math"
	"net"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// retryDefault is when a requisition is sent again that was turned down for now
// by a scheduler that did not say when.
const retryDefault = time.Second

// receive carries out one message from the scheduler.
func (f *factory) receive(message whisk.FactoryEvent) {
	switch m := message.(type) {
	case whisk.Allocation:
		f.allocated(m)
	case whisk.Rejection:
		f.rejected(m)
	case whisk.Redirect:
		f.redirected(m)
	case whisk.Reclaim:
		if m.Drain {
			f.toContainer(m.Container, func(c *container) { c.giveBackLocked(unwanted, whisk.ReleaseReclaimed) })
		} else {
			f.toContainer(m.Container, func(c *container) { c.giveBackLocked(reclaimed, whisk.ReleaseReclaimed) })
		}
	case whisk.Lost:
		f.log.Debug("container lost", "container", m.Container, "reason", m.Reason)
		f.toContainer(m.Container, func(c *container) { c.applyLocked(lost) })
	case whisk.Roster:
		if former := f.b.roster.Load(); m.Partial && former != nil {
			m.Controllers = max(m.Controllers, former.Controllers) // what they may do together does not grow meanwhile
		}
		f.b.roster.Store(&m)
	case whisk.KeepAlive:
		f.mu.Lock()
		f.epoch = max(f.epoch, m.Epoch)
		f.mu.Unlock()
	}
}

// toContainer does something to a container that we hold. One that we do not
// hold was given back a moment ago.
func (f *factory) toContainer(id whisk.ContainerID, do func(*container)) {
	c := f.b.registry.container(id)
	if c == nil {
		return
	}
	c.action.mu.Lock()
	defer c.action.mu.Unlock()
	do(c)
	c.action.needLocked()
}

// allocated takes a container over: for whoever waits, or to be kept if it
// holds the action's code, or else to be given back at once.
func (f *factory) allocated(m whisk.Allocation) {
	a := f.asker(m.Requisition)
	if a == nil {
		f.decline(m)
		return
	}
	c := &container{
		Container: m.Container,
		action:    a,
		agent:     f.b.agentOf(m.Container.Node, m.Agent),
		wire:      newWire(a.dial, m.Container.Address, f.b.config.ConnectionIdle),
		state:     cold,
		reported:  whisk.Busy,
	}
	if !f.b.registry.add(c) {
		f.log.Error("container allocated twice", "container", c.ID)
		return
	}
	now := f.b.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone {
		f.b.registry.forget(c.ID)
		f.decline(m)
		return
	}
	c.way = way{asked: a.askedLocked(m.Requisition, now), creation: m.Creation, arrived: now}
	a.servedLocked(m.Requisition, a.concurrency)
	c.since = now
	a.containers = append(a.containers, c)
	a.bareLocked(true)
	a.coming += a.comingSlots(cold)
	a.offerLocked(c)
	if m.Origin == whisk.Transferred {
		c.coded.Store(true)
		c.applyLocked(adopted)
	}
	if f.b.stopping.Load() && a.waiting.len() == 0 {
		c.giveBackLocked(unwanted, whisk.ReleaseLeaving)
	}
	a.pumpLocked(now)
}

// dial connects to a container of the action.
func (a *action) dial(ctx context.Context, address whisk.Address) (net.Conn, error) {
	conn, err := a.b.deps.DialContainer(ctx, address)
	if err != nil {
		return nil, err
	}
	return a.b.deps.Lookout.Watch(conn, a.tenant.namespace), nil
}

// decline gives back a container that was asked for in an earlier session, or
// long withdrawn, so that it is not known any more what for.
func (f *factory) decline(m whisk.Allocation) {
	reason := whisk.ReleaseUnused
	if m.Origin == whisk.Transferred {
		reason = whisk.ReleaseReclaimed
	}
	f.release(whisk.Release{Container: m.Container.ID, Reason: reason})
}

// rejected ends the activations that the requisition stood for, unless the
// scheduler says that it may go better later, or containers of the action are
// at work here and will have a slot again.
//
// The oldest end first: they have waited longest and would be the next to run
// into their deadline, and what other requisitions still bring goes to the
// younger ones in order. Those that other requisitions cover do not end.
func (f *factory) rejected(m whisk.Rejection) {
	a := f.asker(m.Requisition)
	if a == nil {
		return
	}
	now := f.b.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	ended := requisition{left: a.servedLocked(m.Requisition, math.MaxInt)}
	f.log.Debug("requisition rejected", "action", a.key.Action, "reason", m.Reason, "err", m.Message)

	hopeless := m.Reason == whisk.BadImage || m.Reason == whisk.NeverFits
	if m.RetryAfter > 0 || !hopeless && len(a.containers) > 0 {
		f.askLaterLocked(a, now, m.RetryAfter)
		return
	}
	uncovered := a.waiting.len() - a.asked - a.coming - a.spareLocked()
	if a.instances == 0 { // else it stood for all that wait
		uncovered = min(ended.standsFor(a.concurrency), uncovered)
	}
	for range uncovered {
		a.waiting.next(verdict{response: rejectionResponse(m, a.spec)})
	}
	a.needLocked()
}

// askLaterLocked lets the need of a rest for a while.
func (f *factory) askLaterLocked(a *action, now int64, after time.Duration) {
	if after <= 0 {
		after = retryDefault
	}
	a.quietUntil = now + int64(after)
	f.b.sweeper.by(a.quietUntil)
}

func rejectionResponse(m whisk.Rejection, spec whisk.ContainerSpec) whisk.Response {
	if m.Reason != whisk.BadImage {
		return whisk.ErrorResponse(whisk.WhiskError, textNoContainer)
	}
	text := m.Message
	if text == "" {
		text = textBadImage(spec.Image)
	}
	return whisk.ErrorResponse(whisk.DeveloperError, text)
}

// redirected sends one activation to another controller: the oldest that waits,
// if not all are covered by what else is coming. Without a way there a container
// of our own is asked for.
func (f *factory) redirected(m whisk.Redirect) {
	a := f.asker(m.Requisition)
	if a == nil {
		return
	}
	to := f.b.peers.find(m.Controller, m.Peers)
	a.mu.Lock()
	defer a.mu.Unlock()
	now := f.b.now()
	if a.servedLocked(m.Requisition, 1) == 0 {
		return
	}
	if to == nil {
		a.insistLocked(now)
	} else if a.waiting.len() > a.asked+a.coming {
		a.away++
		a.waiting.next(verdict{peer: to})
		a.handed.step(now)
	}
	a.needLocked()
}

// insistLocked has requisitions ask for containers of our own for a while.
func (a *action) insistLocked(now int64) { a.ownUntil = now + int64(retryDefault) }
