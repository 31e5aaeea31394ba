// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"slices"
	"time"

	"github.com/whirl-faas/whirl/scheduler/policy"
	"github.com/whirl-faas/whirl/whisk"
)

// work is what a container does: whose code it runs, in what kind of container.
type work struct {
	key  whisk.ActionKey
	spec whisk.ContainerSpec
}

// action is what the scheduler knows of an action in a namespace, for as long
// as it has a container or a requisition.
type action struct {
	work
	hash    uint32
	tenant  *tenant
	pool    *pool
	members int         // containers that hold its code, and requisitions
	held    whisk.Bytes // of leased containers
	leases  int
	idle    int         // of the leases
	atWork  whisk.Bytes // of the containers in busy
	pending int         // containers under way for its requisitions

	quota     *quota
	instances int // containers that count for its quota, and plans of them
	removing  int // of the instances
	asked     int // of the instances, evicting or draining

	kept list[*container] // the least recently used first
	free list[*container] // of controllers that can be asked
	busy list[*container] // of controllers that can be asked

	waiting list[*requisition] // that need more than is under way, in order of arrival
	plans   list[*plan]
	turn    uint64    // its place among all waiting actions
	hungry  time.Time // since when it waits for another container, or did last
	sated   time.Time // when that wait ended, for a pause at least

	inLine link[*action] // in one of state.lines
	inPool link[*action] // in pool.waiting
	rank   int           // in tenant.working, from 1; 0 while it is not there
}

// actionFor returns the record of an action, made if need be.
func (s *state) actionFor(key whisk.ActionKey, spec whisk.ContainerSpec) *action {
	w := work{key, spec}
	a := s.actions[w]
	if a == nil {
		a = &action{work: w, hash: policy.Hash(key), tenant: s.tenantFor(key.Namespace), pool: s.poolFor(spec), quota: s.quotaFor(key)}
		a.tenant.actions++
		a.quota.actions = append(a.quota.actions, a)
		a.inLine.value, a.inPool.value = a, a
		a.pool.members++
		s.actions[w] = a
	}
	return a
}

// stake returns how much memory the action has, or is about to have.
func (a *action) stake() whisk.Bytes { return a.held + whisk.Bytes(a.pending)*a.spec.Memory }

// dropAction forgets an action that nothing refers to any more.
func (s *state) dropAction(a *action) {
	if a.members > 0 {
		return
	}
	delete(s.actions, a.work)
	a.tenant.actions--
	s.dropTenant(a.tenant)
	a.quota.actions = slices.DeleteFunc(a.quota.actions, func(other *action) bool { return other == a })
	s.dropQuota(a.quota)
	a.pool.members--
	s.dropPool(a.pool)
}

// queue puts an action that has waiting requisitions and may have another
// container into the lines, and takes others out of them.
func (s *state) queue(a *action) {
	switch stays, waits := a.inLine.in != nil, a.waiting.count > 0 && !s.full(a); {
	case waits && !stays:
		s.enqueue(a)
	case stays && !waits:
		s.dequeue(a)
		s.dropLine(s.lines[a.spec.Memory])
		s.restock = true
	}
}

// enqueue puts an action into the lines by its turn.
func (s *state) enqueue(a *action) {
	s.lineFor(a.spec.Memory).join(a.tenant, &a.inLine, turnOf)
	a.pool.waiting.join(a.tenant, &a.inPool, turnOf)
	s.roomier = true
}

func (s *state) dequeue(a *action) {
	s.lines[a.spec.Memory].part(a.tenant, &a.inLine)
	a.pool.waiting.part(a.tenant, &a.inPool)
}

func turnOf(a *action) uint64 { return a.turn }

// respite is how long a pause may be that changes nothing: an action counts as waiting all
// the same, and an idle container as one that is needed. Where activations are short a few
// callers have an action wait nearly always, but not always: none of its requisitions stands
// for as long as it waits.
func (s *state) respite() time.Duration { return s.cfg.FairAfter / 4 }

// hunger notes that the action is about to wait.
func (s *state) hunger(a *action) {
	if a.waiting.count == 0 && s.now.Sub(a.sated) > s.respite() {
		a.hungry = s.now
	}
}

// rotate sends an action that was served behind all of its tenant that wait, so
// that none takes everything.
func (s *state) rotate(a *action) {
	stays := a.inLine.in != nil
	if stays {
		s.dequeue(a)
	}
	a.turn = s.nextTurn()
	if stays {
		s.enqueue(a)
	}
}

func (s *state) nextTurn() uint64 {
	s.turns++
	return s.turns
}

// before orders actions by what they have at work: the most memory first, and among
// equals the one with the container that has been at work for longest.
func (a *action) before(b *action) bool {
	if a.atWork != b.atWork {
		return a.atWork > b.atWork
	}
	return a.busy.first().since.Before(b.busy.first().since)
}

func (a *action) place() *int { return &a.rank }
