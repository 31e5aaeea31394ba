// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"slices"

	"github.com/whirl-faas/whirl/whisk"
)

// quota bounds the containers that may exist at once with one key, whoever holds
// them. One counts from when it is planned for the key's action, or found to hold
// its code, until its agent says that it is gone; a claim counts, too.
//
// None is planned or handed out that is one too many of those we know of. But we
// may learn of too many: when nobody told us in the settle time of what a former
// leader had handed out, or when a node comes back that was given up. Then trim
// has the surplus given back.
type quota struct {
	key     whisk.ActionKey
	limit   int          // 0 for no bound
	actions []*action    // of the key; several only if their specs differ
	claims  list[*claim] // to containers of the key
	noted   bool         // it is in state.noted
}

// quotaFor returns the quota of a key, made if need be.
func (s *state) quotaFor(key whisk.ActionKey) *quota {
	q := s.quotas[key]
	if q == nil {
		q = &quota{key: key}
		s.quotas[key] = q
	}
	return q
}

// dropQuota forgets a quota that nothing refers to any more.
func (s *state) dropQuota(q *quota) {
	if len(q.actions) == 0 && q.claims.count == 0 {
		delete(s.quotas, q.key)
	}
}

// count returns how many containers there are, or will be.
func (q *quota) count() int {
	n := q.claims.count
	for _, a := range q.actions {
		n += a.instances
	}
	return n
}

// full reports whether an action must not have another container. As long as
// others may still report what they hold, it must not.
func (s *state) full(a *action) bool {
	return a.quota.limit > 0 && (!s.settled || a.quota.count() >= a.quota.limit)
}

// overfull reports whether there are too many, also without those being removed.
func (q *quota) overfull() bool {
	n := q.count()
	for _, a := range q.actions {
		n -= a.removing
	}
	return q.limit > 0 && n > q.limit
}

// limit sets how many containers a key may have, 0 for no bound. The key names a
// revision of its action, so all who ask say the same.
func (s *state) limit(q *quota, instances int) {
	if q.limit == instances {
		return
	}
	q.limit = instances
	for _, a := range q.actions {
		s.queue(a)
	}
	s.note(q)
}

// member returns the action that the container counts for, or nil.
func (c *container) member() *action {
	switch {
	case c.action != nil:
		return c.action
	case c.purpose != nil:
		return c.purpose.action
	}
	return nil
}

// reckon counts a container, or a plan of one, for another action than before.
func (s *state) reckon(from, to *action) {
	if from == to {
		return
	}
	if from != nil {
		from.instances--
		s.review(from.quota)
	}
	if to != nil {
		to.instances++
		s.review(to.quota)
	}
}

// review takes the quota's actions out of the lines for room, or lets them back,
// after its numbers changed. What else follows waits until the present change is
// complete.
func (s *state) review(q *quota) {
	if q.limit == 0 {
		return
	}
	for _, a := range q.actions {
		s.queue(a)
	}
	s.note(q)
}

// note has a quota looked at before the present event is over.
func (s *state) note(q *quota) {
	if !q.noted {
		q.noted = true
		s.noted = append(s.noted, q)
	}
}

// keepQuotas has a surplus given back, and serves who waited for a place. It ends
// because each round uses up what exists.
func (s *state) keepQuotas() {
	for len(s.noted) > 0 {
		q := s.noted[len(s.noted)-1]
		s.noted = s.noted[:len(s.noted)-1]
		q.noted = false
		s.trim(q)
		for _, a := range slices.Clone(q.actions) {
			for r := range a.waiting.all() {
				if s.full(a) {
					break
				}
				s.serve(r)
			}
		}
	}
}

// trim has surplus containers given back: those that rest first, one that is at
// work when its work is done.
func (s *state) trim(q *quota) {
	if !s.settled || !q.overfull() {
		return
	}
	surplus := q.count() - q.limit
	for _, a := range q.actions {
		surplus -= a.removing + a.asked
	}
	for _, a := range q.actions {
		for p := range a.plans.all() {
			if surplus > 0 {
				surplus--
				s.cancel(p)
			}
		}
		for _, rank := range []*list[*container]{&a.kept, &a.free, &a.busy} {
			for c := range rank.all() {
				if surplus <= 0 {
					return
				}
				surplus--
				s.giveUp(c)
			}
		}
	}
}

// giveUp ends a container of which there are too many.
func (s *state) giveUp(c *container) {
	switch c.condition {
	case kept:
		s.remove(c)
	case free:
		s.move(c, evict)
		s.tell(s.controllers[c.lessee], whisk.Reclaim{Container: c.ID})
	case busy:
		s.move(c, drain)
		s.tell(s.controllers[c.lessee], whisk.Reclaim{Container: c.ID, Drain: true})
	}
}

// askClaimant has a controller give back a container on a node whose agent is
// silent, for a requisition that could have another one in its place. It has
// gone when the agent is back, or its lease has run out.
func (s *state) askClaimant(r *requisition) {
	q := r.action.quota
	if !s.full(r.action) || q.claims.count == 0 {
		return
	}
	for told := range q.claims.all() {
		if told.by == r.caller {
			return
		}
	}
	told := q.claims.first()
	s.tell(told.by, whisk.Reclaim{Container: told.Container, Drain: true})
}
