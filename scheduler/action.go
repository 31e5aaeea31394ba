// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"container/heap"
	"slices"

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
	turn    uint64 // its place among all waiting actions

	inLine link[*action] // in line.waiting
	inPool link[*action] // in pool.waiting
	rank   int           // in holders, from 1; 0 while it is not there
}

// line is the actions that wait for room for containers of one size, by turn.
type line struct {
	memory  whisk.Bytes
	waiting list[*action]
}

// actionFor returns the record of an action, made if need be.
func (s *state) actionFor(key whisk.ActionKey, spec whisk.ContainerSpec) *action {
	w := work{key, spec}
	a := s.actions[w]
	if a == nil {
		a = &action{work: w, hash: policy.Hash(key), pool: s.poolFor(spec), quota: s.quotaFor(key)}
		a.quota.actions = append(a.quota.actions, a)
		a.inLine.value, a.inPool.value = a, a
		a.pool.members++
		s.actions[w] = a
	}
	return a
}

// dropAction forgets an action that nothing refers to any more.
func (s *state) dropAction(a *action) {
	if a.members > 0 {
		return
	}
	delete(s.actions, a.work)
	a.quota.actions = slices.DeleteFunc(a.quota.actions, func(other *action) bool { return other == a })
	s.dropQuota(a.quota)
	a.pool.members--
	s.dropPool(a.pool)
}

// queue puts an action that has waiting requisitions and may have another
// container into the lines, and takes others out of them.
func (s *state) queue(a *action) {
	if a.waiting.count == 0 || s.full(a) {
		if l := s.lines[a.spec.Memory]; l != nil && a.inLine.in != nil {
			a.inLine.leave()
			a.inPool.leave()
			s.dropLine(l)
			s.restock = true
		}
		return
	}
	if a.inLine.in == nil {
		s.enqueue(a)
	}
}

// enqueue inserts an action by its turn.
func (s *state) enqueue(a *action) {
	later := func(other *action) bool { return other.turn > a.turn }
	s.lineFor(a.spec.Memory).waiting.pushOrdered(&a.inLine, later)
	a.pool.waiting.pushOrdered(&a.inPool, later)
	s.roomier = true
}

// rotate sends an action that was served behind all that wait, so that none
// takes everything.
func (s *state) rotate(a *action) {
	a.turn = s.nextTurn()
	if a.inLine.in != nil {
		s.enqueue(a)
	}
}

func (s *state) nextTurn() uint64 {
	s.turns++
	return s.turns
}

// holders is a heap of the actions that have busy containers which could be
// asked for, the one with the most memory first, and among equals the one with
// the container that has been at work for longest.
type holders []*action

// fix restores a's place after its memory at work changed.
func (h *holders) fix(a *action) {
	switch {
	case a.atWork > 0 && a.rank == 0:
		heap.Push(h, a)
	case a.atWork > 0:
		heap.Fix(h, a.rank-1)
	case a.rank > 0:
		heap.Remove(h, a.rank-1)
	}
}

// top returns the action with the most memory at work that is not a, or nil.
func (h holders) top(a *action) *action {
	var best *action
	for i := range min(3, len(h)) { // if a is the first, the next is one of its two children
		if h[i] != a && (best == nil || h[i].atWork > best.atWork) {
			best = h[i]
		}
	}
	return best
}

// Len, Less, Swap, Push and Pop are for package heap.

func (h holders) Len() int { return len(h) }

func (h holders) Less(i, j int) bool {
	if h[i].atWork != h[j].atWork {
		return h[i].atWork > h[j].atWork
	}
	return h[i].busy.first().since.Before(h[j].busy.first().since)
}

func (h holders) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].rank, h[j].rank = i+1, j+1
}

func (h *holders) Push(x any) {
	a := x.(*action)
	*h = append(*h, a)
	a.rank = len(*h)
}

func (h *holders) Pop() any {
	old := *h
	a := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	a.rank = 0
	return a
}
