// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"time"

	"github.com/whirl-faas/whirl/scheduler/policy"
	"github.com/whirl-faas/whirl/whisk"
)

// The order in which a requisition is served is told here. What exists is
// found by serve when demand arrives, and by offer when supply does, so that
// neither waits while the other is there. Room for new containers is given out
// by allot alone, in turn.

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
	q := policy.Request{
		Hash: r.action.hash, Memory: r.action.spec.Memory, Cap: s.cfg.CreationsPerNode,
		Avoid: r.avoid, Crowded: s.crowded(),
	}
	i := s.choose(s.view, q)
	if i == policy.None {
		i = policy.EvictionNode(s.view, q)
	}
	if i == policy.None {
		return nil
	}
	return s.order[i]
}

// crowded is a quarter above the mean load, but not below one half: in a
// cluster with little to do, actions stay together.
func (s *state) crowded() float64 {
	if s.memory == 0 {
		return 1
	}
	return max(0.5, 1.25*float64(s.used)/float64(s.memory))
}

// insistLooks bounds how many busy containers one insistence looks at. It comes
// again, and the longest busy ones are first.
const insistLooks = 64

// insist is for a requisition that has waited for long. So that hot actions
// cannot keep another out for ever, one busy container of another action is
// drained for it, when its turn comes. Nor can a controller keep another one from
// an action that both want.
func (s *state) insist(r *requisition) {
	if r.missing() <= 0 {
		return // set again when it waits again
	}
	s.alarms.set(&r.patience, s.now.Add(s.cfg.FairAfter))
	if !s.settled {
		return
	}
	s.share(r)
	s.askClaimant(r)
	if r.inImpatient.in == nil {
		r.insisted = s.nextTurn()
		s.impatient.join(r.action.tenant, &r.inImpatient, func(r *requisition) uint64 { return r.insisted })
	}
	s.yielded = true
}

// relent undoes insist.
func (s *state) relent(r *requisition) {
	if r.inImpatient.in != nil {
		s.impatient.part(r.action.tenant, &r.inImpatient)
	}
}

// takeTurns drains for those that insist, for the tenant that has least first, and
// for its own in the order in which they began to. A node makes room for one at a time.
func (s *state) takeTurns() {
	s.yielded = false
	for r := s.impatient.first(); r != nil; r = s.impatient.first() {
		n, ripe := s.yielding(r)
		if n == nil && !ripe.IsZero() {
			s.alarms.set(&s.turnAlarm, ripe)
			return
		}
		s.relent(r)
		if n != nil {
			s.promise(n, r, true)
		}
	}
}

// yielding finds a node where a busy container can be drained for a requisition.
// If there is none, ripe is when there may be one; zero for never.
func (s *state) yielding(r *requisition) (at *node, ripe time.Time) {
	if r.missing() <= 0 || r.plans.count > 0 || s.full(r.action) {
		return nil, ripe
	}
	hot := s.debtor(r)
	if hot == nil {
		return nil, ripe
	}
	if at, ripe = s.yieldingOf(hot, r); at == nil && ripe.IsZero() {
		for other := range s.debtors(r) { // what is on unhealthy or on small nodes is of no use
			if at, ripe = s.yieldingOf(other, r); at != nil || !ripe.IsZero() {
				break
			}
		}
	}
	return at, ripe
}

// yieldingOf is yielding for the containers of one action.
func (s *state) yieldingOf(hot *action, r *requisition) (at *node, ripe time.Time) {
	size := r.action.spec.Memory
	looks := insistLooks
	for c := range hot.busy.all() {
		if looks--; looks < 0 {
			break
		}
		n := c.node
		if !n.open() || n.memory < size {
			continue
		}
		due := s.paidOff(c, c.since)
		if n.promised > 0 || hot.tenant == r.action.tenant && n.soon(size) { // others' turn; its end is noticed
			due = s.now.Add(s.cfg.FairAfter)
		}
		if !due.After(s.now) {
			return n, due
		}
		if ripe.IsZero() || due.Before(ripe) {
			ripe = due
		}
	}
	return nil, ripe
}

// debtor returns the action that is to give up a busy container for a requisition:
// the one with the most memory at work of the tenant with the most, if that is more
// than its due beside the requisition's tenant. Else it is one of the same tenant,
// whose actions share among themselves likewise; but what has nothing at all gets
// something, of whomever. It returns nil if a change would only turn the tables.
func (s *state) debtor(r *requisition) *action {
	a, t, size := r.action, r.action.tenant, r.action.spec.Memory
	var rich *action
	if other := s.workers.top(t); other != nil {
		rich = other.working.top(nil)
		if policy.Owes(other.atWork, rich.spec.Memory, t.stake(), size) {
			return rich
		}
	}
	stake := a.stake()
	if hot := t.working.top(a); hot != nil && (stake == 0 || policy.Owes(hot.atWork, hot.spec.Memory, stake, size)) {
		return hot
	}
	if t.stake() == 0 {
		return rich
	}
	return nil
}

// share has a busy container of the requisition's own action drained, one at a
// time, if only other controllers have any. It goes to who waits longest.
func (s *state) share(r *requisition) {
	if c := r.shared; c != nil && c.condition == draining && c.action == r.action {
		return
	}
	var oldest *container
	looks := insistLooks
	for c := range r.action.busy.all() {
		if looks--; looks < 0 || c.lessee == r.caller.id {
			return
		}
		if oldest == nil {
			oldest = c
		}
	}
	if r.shared = oldest; oldest != nil {
		s.move(oldest, drain)
		s.tell(s.controllers[oldest.lessee], whisk.Reclaim{Container: oldest.ID, Drain: true})
	}
}

// drainFor has one more busy container of the plan's node drained: of the tenant
// that owes most of those that owe any, or else of the plan's own, of the action
// with the most memory at work. It reports whether there is one.
func (s *state) drainFor(p *plan) bool {
	var best *container
	for c := range p.node.containers.all() {
		a := c.action
		if c.condition != busy || a == nil || a == p.purpose.action || c.byAction.in != &a.busy || !p.mayDrain(a) {
			continue
		}
		if best == nil || p.drainsFirst(a, best.action) {
			best = c
		}
	}
	if best == nil {
		return false
	}
	s.move(best, drain)
	s.tell(s.controllers[best.lessee], whisk.Reclaim{Container: best.ID, Drain: true})
	return true
}

// mayDrain reports whether an action's container may be drained for the plan, which
// is part of its tenant's stake.
func (p *plan) mayDrain(a *action) bool {
	t := p.purpose.action.tenant
	return a.tenant == t || t.stake() <= p.purpose.action.spec.Memory || policy.Owes(a.tenant.atWork, a.spec.Memory, t.stake(), 0)
}

// drainsFirst reports whether a is to give up a container rather than b.
func (p *plan) drainsFirst(a, b *action) bool {
	t := p.purpose.action.tenant
	switch {
	case (a.tenant == t) != (b.tenant == t):
		return b.tenant == t
	case a.tenant.atWork != b.tenant.atWork:
		return a.tenant.atWork > b.tenant.atWork
	}
	return a.atWork > b.atWork
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
