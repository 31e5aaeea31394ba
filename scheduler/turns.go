// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"iter"
	"time"

	"github.com/whirl-faas/whirl/scheduler/policy"
	"github.com/whirl-faas/whirl/whisk"
)

// insistLooks bounds how many busy containers one insistence looks at. It comes
// again, and the longest busy ones are first.
const insistLooks = 64

// insist is for a requisition that has waited for long. So that hot actions
// cannot keep another out for ever, one busy container of another action is
// drained for it, when its turn comes. Nor can a controller keep another one from
// an action that both want.
func (s *state) insist(r *requisition) {
	s.replan(r)
	if r.missing() <= 0 && r.plans.count == 0 {
		return // set again when it waits again
	}
	s.alarms.set(&r.patience, s.now.Add(s.cfg.FairAfter))
	if r.missing() <= 0 || !s.settled {
		return
	}
	s.share(r)
	s.askClaimant(r)
	if r.inImpatient.in == nil {
		r.insisted = s.nextTurn()
		s.impatient.join(r.action.tenant, &r.inImpatient, insistedOf)
	}
	s.yielded = true
}

// replan moves plans that may wait for the end of a long activation to where there
// is free room by now. Whoever waits for room in turn has had theirs before: see allot.
func (s *state) replan(r *requisition) {
	for p := range r.plans.all() {
		if p.node.draining == 0 {
			continue
		}
		if i := s.choose(s.view, s.wish(r)); i != policy.None && s.order[i].draining == 0 {
			s.cancel(p)
			s.promise(s.order[i], r, false)
		}
	}
}

// relent undoes insist.
func (s *state) relent(r *requisition) {
	if r.inImpatient.in != nil {
		s.impatient.part(r.action.tenant, &r.inImpatient)
	}
}

func insistedOf(r *requisition) uint64 { return r.insisted }

// takeTurns drains for those that insist, for the tenant that has least first, and
// for its own in the order in which they began to. A node makes room for one at a time.
//
// The first one may have to wait for the end of a long activation. That is no reason
// for others to wait who can have their turns elsewhere. So it goes on to them, but only
// once in FairAfter, since it looks at all that insist. Those that it passes keep their
// places, and the nodes where they only wait for a container to pay off.
func (s *state) takeTurns() {
	s.yielded = false
	thorough := !s.thoroughAt.After(s.now)
	var unripe []*requisition
	var next time.Time
	for r := s.impatient.first(); r != nil; r = s.impatient.first() {
		n, ripe := s.yielding(r)
		if n == nil && !ripe.IsZero() {
			if len(unripe) == 0 || ripe.Before(next) {
				next = ripe
			}
			unripe = append(unripe, r)
			if !thorough {
				break
			}
			s.await()
		}
		s.relent(r)
		if n != nil {
			s.promise(n, r, true)
		}
	}
	if len(unripe) > 0 {
		s.lookAgain(unripe, next, thorough)
	}
}

// await keeps the nodes where yielding has just found that a requisition may have its
// turn a little later from those that come after it.
func (s *state) await() {
	for _, n := range s.ripening {
		if !n.awaited {
			n.awaited = true
			s.awaited = append(s.awaited, n)
		}
	}
}

// lookAgain puts those that cannot have their turns yet back into their places, and sets
// the alarm for when one of them may be ripe, or all are looked at again.
func (s *state) lookAgain(unripe []*requisition, ripe time.Time, thorough bool) {
	for _, n := range s.awaited {
		n.awaited = false
	}
	s.awaited = s.awaited[:0]
	if thorough {
		s.thoroughAt = s.now.Add(s.cfg.FairAfter)
		for _, r := range unripe {
			s.impatient.join(r.action.tenant, &r.inImpatient, insistedOf)
		}
	}
	if s.thoroughAt.Before(ripe) {
		ripe = s.thoroughAt
	}
	s.alarms.set(&s.turnAlarm, ripe)
}

// yielding finds a node where a busy container can be drained for a requisition.
// If there is none, ripe is when there may be one; zero for never.
func (s *state) yielding(r *requisition) (at *node, ripe time.Time) {
	s.ripening = s.ripening[:0]
	if r.missing() <= 0 || r.plans.count > 0 || s.full(r.action) {
		return nil, ripe
	}
	for hot := range s.debtors(r) {
		if at, ripe = s.yieldingOf(hot, r); at != nil || !ripe.IsZero() {
			break
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
		if n.promised > 0 || n.awaited || hot.tenant == r.action.tenant && n.soon(size) { // others' turn; its end is noticed
			due = s.now.Add(s.cfg.FairAfter)
		}
		if !due.After(s.now) {
			return n, due
		}
		if n.promised == 0 {
			s.ripening = append(s.ripening, n)
		}
		if ripe.IsZero() || due.Before(ripe) {
			ripe = due
		}
	}
	return nil, ripe
}

// debtorLooks bounds how many actions one insistence looks at.
const debtorLooks = 16

// debtors yields the actions that may give up a busy container for a requisition: first
// the one that is to do so, and then others, which are for when all of that one's are on
// nodes where that makes no room. Those with more at work come first as a rule.
func (s *state) debtors(r *requisition) iter.Seq[*action] {
	return func(yield func(*action) bool) {
		first := s.debtor(r)
		if first == nil || !yield(first) {
			return
		}
		looks := debtorLooks
		for _, t := range s.workers {
			for _, a := range t.working {
				if looks--; looks < 0 {
					return
				}
				if a != first && a != r.action && r.isOwedBy(a) && !yield(a) {
					return
				}
			}
		}
	}
}

// debtor returns the action that is to give up a busy container for a requisition:
// the one with the most memory at work of the tenant with the most, or else of the
// requisition's own tenant. It returns nil if neither owes it one.
func (s *state) debtor(r *requisition) *action {
	t := r.action.tenant
	if other := s.workers.top(t); other != nil && r.isOwedBy(other.working.top(nil)) {
		return other.working.top(nil)
	}
	if hot := t.working.top(r.action); hot != nil && r.isOwedBy(hot) {
		return hot
	}
	return nil
}

// isOwedBy reports whether another action is to give up a container if the requisition
// waits for long: another tenant's if that tenant has more at work than its due beside
// the requisition's, and one of the same tenant if it has more than its due beside the
// requisition's action. Who has nothing at all is owed something by everybody. It is
// false if a change would only turn the tables.
func (r *requisition) isOwedBy(a *action) bool {
	most, stake := a.tenant.atWork, r.action.tenant.stake()
	if a.tenant == r.action.tenant {
		most, stake = a.atWork, r.action.stake()
	}
	return stake == 0 || policy.Owes(most, a.spec.Memory, stake, r.action.spec.Memory)
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
