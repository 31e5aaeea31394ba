// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"github.com/whirl-faas/whirl/scheduler/policy"
	"github.com/whirl-faas/whirl/whisk"
)

// The order in which a requisition is served is told here. What exists is
// found by serve when demand arrives, and by offer when supply does, so that
// neither waits while the other is there. Room for new containers is given out
// by allot alone, in turn. What has waited for long has its own: see turns.go.

// serve meets a requisition from what exists already.
func (s *state) serve(r *requisition) {
	for !r.ended && r.missing() > 0 {
		if !s.serveWarm(r) && !s.redirect(r) && !s.serveFresh(r) {
			return
		}
	}
}

// serveWarm finds a container that holds the action's code and rests.
func (s *state) serveWarm(r *requisition) bool {
	if c := r.action.kept.last(); c != nil {
		s.grant(c, r)
		return true
	}
	for c := range r.action.free.all() {
		if c.lessee != r.caller.id {
			s.recall(c, r)
			return true
		}
	}
	return false
}

// serveFresh finds a container without code, ready or still being made for nobody.
func (s *state) serveFresh(r *requisition) bool {
	if s.full(r.action) {
		return false
	}
	pool := r.action.pool
	if c := pool.ready.first(); c != nil {
		s.grant(c, r)
		s.restock = true
		return true
	}
	if c := pool.coming.first(); c != nil {
		s.bind(c, r)
		s.restock = true
		return true
	}
	return false
}

// recall asks a controller for an idle container that another one wants.
func (s *state) recall(c *container, r *requisition) {
	s.figures.recalls++
	s.move(c, recall)
	s.bind(c, r)
	s.tell(s.controllers[c.lessee], whisk.Reclaim{Container: c.ID})
}

// redirect points to another controller's busy container with spare
// concurrency. We do not know how much it has; so each is pointed to for at
// most its other slots until it is reported again. Whoever is refused there
// asks for a container of its own.
func (s *state) redirect(r *requisition) bool {
	if r.own || r.concurrency < 2 || r.caller.peers == "" {
		return false
	}
	for c := range r.action.busy.all() {
		holder := s.controllers[c.lessee]
		if holder != r.caller && holder.peers != "" && c.redirected < c.concurrency-1 {
			c.redirected++
			s.figures.redirects++
			s.tell(r.caller, whisk.Redirect{Requisition: r.id, Controller: holder.id, Peers: holder.peers})
			s.settleSlots(r, 1)
			return true
		}
	}
	return false
}

// allot gives room to waiting actions, one container at a time: to the tenant
// that has least, and among its actions to each in turn. A size that fits nowhere, also by eviction, keeps larger ones waiting
// but not smaller ones; [state.insist] sees to it that those do not starve it.
func (s *state) allot() {
	s.roomier = false
	blocked := whisk.Bytes(-1)
	for {
		a := s.nextInLine(blocked)
		if a == nil {
			return
		}
		r := a.waiting.first()
		n := s.place(r)
		if n == nil && s.levy(r) {
			n = s.place(r)
		}
		if n == nil {
			blocked = a.spec.Memory
			continue
		}
		a.pool.coldStarts++
		s.promise(n, r, false)
		s.rotate(a)
	}
}

// nextInLine returns the waiting action whose turn it is among those smaller
// than blocked; -1 blocks none.
func (s *state) nextInLine(blocked whisk.Bytes) *action {
	var next *action
	var best policy.Claim
	for _, size := range s.sizes {
		if blocked >= 0 && size >= blocked {
			break
		}
		if l := s.lines[size]; next == nil || l.head().Before(best) {
			next, best = l.first(), l.head()
		}
	}
	return next
}

// place chooses the node for a new container: one with room, or else one where
// eviction makes room. It returns nil if there is none.
func (s *state) place(r *requisition) *node {
	q := s.wish(r)
	i := s.choose(s.view, q)
	if i == policy.None {
		i = policy.EvictionNode(s.view, q)
	}
	if i == policy.None {
		return nil
	}
	return s.order[i]
}

// wish is what a new container for a requisition needs.
func (s *state) wish(r *requisition) policy.Request {
	return policy.Request{
		Hash: r.action.hash, Memory: r.action.spec.Memory, Cap: s.cfg.CreationsPerNode,
		Avoid: r.avoid, Crowded: s.crowded(),
	}
}

// crowded is a quarter above the mean load, but not below one half: in a
// cluster with little to do, actions stay together.
func (s *state) crowded() float64 {
	if s.memory == 0 {
		return 1
	}
	return max(0.5, 1.25*float64(s.used)/float64(s.memory))
}

// offer gives a container that came free to who waits for it.
func (s *state) offer(c *container) {
	if !c.node.usable() {
		return
	}
	switch c.condition {
	case kept:
		if r := s.wanting(c.action, ""); r != nil {
			s.grant(c, r)
		}
	case free:
		if c.action == nil || c.byAction.in == nil {
			return
		}
		if r := s.wanting(c.action, c.lessee); r != nil {
			s.recall(c, r)
		}
	case prewarmed:
		if r := s.wantingFresh(c.pool); r != nil {
			s.grant(c, r)
		}
	case creating:
		if c.purpose != nil || c.trial {
			return
		}
		if a := c.pool.waiting.first(); a != nil {
			s.bind(c, a.waiting.first())
			s.rotate(a)
		}
	}
}

// wanting returns the requisition of an action that waits longest, and nil if
// none does; not one of a certain controller. One whose creation is planned but
// not begun waits too: its plan is taken back.
func (s *state) wanting(a *action, not whisk.ControllerID) *requisition {
	for r := range a.waiting.all() {
		if r.caller.id != not {
			return r
		}
	}
	for p := range a.plans.all() {
		if p.purpose.caller.id != not {
			s.cancel(p)
			return p.purpose
		}
	}
	return nil
}

// wantingFresh is wanting for a container without code, among all actions that
// can use it, in turn.
func (s *state) wantingFresh(pool *pool) *requisition {
	if a := pool.waiting.first(); a != nil {
		r := a.waiting.first()
		s.rotate(a)
		return r
	}
	if p := pool.plans.first(); p != nil {
		s.cancel(p)
		return p.purpose
	}
	return nil
}
