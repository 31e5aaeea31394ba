// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"slices"

	"github.com/whirl-faas/whirl/scheduler/policy"
	"github.com/whirl-faas/whirl/whisk"
)

// tenant is a namespace that has actions in the books. Where room is short
// tenants share it alike, whatever number of actions each wants it for:
// docs/adr/0025-fair-between-namespaces.md has the reasons.
type tenant struct {
	name         string
	actions      int              // in the books
	requisitions int              // that stand
	atWork       whisk.Bytes      // of its actions
	coming       whisk.Bytes      // of what is under way for its requisitions
	working      ranking[*action] // its actions with busy containers that could be asked for
	sheltered    list[*container] // of its actions, idle, and not to be asked for yet
	sheltering   whisk.Bytes      // of those
	rank         int              // in state.workers, from 1; 0 while it is not there
	queues       []queue          // its parts of lines
}

// queue is a share of any line.
type queue interface{ shift() }

// stake returns how much of the cluster works for the tenant, or is about to. What
// it holds and does not use is not in it: that makes room for whoever wants it.
func (t *tenant) stake() whisk.Bytes { return t.atWork + t.coming }

// tenantFor returns the record of a namespace, made if need be.
func (s *state) tenantFor(name string) *tenant {
	t := s.tenants[name]
	if t == nil {
		t = &tenant{name: name}
		s.tenants[name] = t
	}
	return t
}

// dropTenant forgets a tenant without actions.
func (s *state) dropTenant(t *tenant) {
	if t.actions == 0 {
		delete(s.tenants, t.name)
	}
}

// shift notes that a tenant's stake changed.
func (t *tenant) shift() {
	for _, q := range t.queues {
		q.shift()
	}
}

// line is what waits for the same thing, in the order in which it is to have it:
// first comes the tenant with the smallest stake, and of its own by turn.
type line[T any] struct {
	memory whisk.Bytes // room for a container of this size, where that is waited for
	count  int
	shares ranking[*share[T]]
}

// share is what one tenant has in a line, at least one.
type share[T any] struct {
	line    *line[T]
	tenant  *tenant
	turn    func(T) uint64
	waiting list[T]
	rank    int // in line.shares, from 1
}

// first returns what is served next, or the zero T.
func (l *line[T]) first() (none T) {
	if len(l.shares) == 0 {
		return none
	}
	return l.shares[0].waiting.first()
}

// head returns what the first in the line has to say for itself. There must be one.
func (l *line[T]) head() policy.Claim { return l.shares[0].claim() }

// join puts e, which is t's and in no line, behind what has its turn before.
func (l *line[T]) join(t *tenant, e *link[T], turn func(T) uint64) {
	q := l.shareOf(t)
	if q == nil {
		q = &share[T]{line: l, tenant: t, turn: turn}
		t.queues = append(t.queues, q)
	}
	q.waiting.pushOrdered(e, func(other T) bool { return turn(other) > turn(e.value) })
	l.count++
	l.shares.fix(q, true)
}

// part takes e, which is t's, out of the line.
func (l *line[T]) part(t *tenant, e *link[T]) {
	q := l.shareOf(t)
	e.leave()
	l.count--
	l.shares.fix(q, q.waiting.count > 0)
	if q.waiting.count == 0 {
		t.queues = slices.DeleteFunc(t.queues, func(other queue) bool { return other == queue(q) })
	}
}

func (l *line[T]) shareOf(t *tenant) *share[T] {
	for _, other := range t.queues {
		if q, ok := other.(*share[T]); ok && q.line == l {
			return q
		}
	}
	return nil
}

// all yields what is in the line, in no order.
func (l *line[T]) all(yield func(T) bool) {
	for _, q := range l.shares {
		for e := range q.waiting.all() {
			if !yield(e) {
				return
			}
		}
	}
}

func (q *share[T]) shift() { q.line.shares.fix(q, true) }

func (q *share[T]) claim() policy.Claim {
	return policy.Claim{Stake: q.tenant.stake(), Turn: q.turn(q.waiting.first())}
}

func (q *share[T]) before(other *share[T]) bool { return q.claim().Before(other.claim()) }

func (q *share[T]) place() *int { return &q.rank }

// employ notes that so much more memory of an action is at work.
func (s *state) employ(a *action, more whisk.Bytes) {
	t := a.tenant
	a.atWork += more
	t.atWork += more
	t.working.fix(a, a.atWork > 0)
	s.workers.fix(t, t.atWork > 0)
	t.shift()
}

// before orders tenants as their first actions are ordered: by memory at work.
func (t *tenant) before(other *tenant) bool {
	if t.atWork != other.atWork {
		return t.atWork > other.atWork
	}
	return t.working[0].busy.first().since.Before(other.working[0].busy.first().since)
}

func (t *tenant) place() *int { return &t.rank }
