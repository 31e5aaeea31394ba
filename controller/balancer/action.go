// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"slices"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// action is what the balancer knows of one action key: the containers that
// serve it, the activations that wait, and what was asked of the scheduler.
type action struct {
	b           *Balancer
	tenant      *tenant
	key         whisk.ActionKey
	spec        whisk.ContainerSpec
	label       string
	concurrency int
	instances   int // containers that the cluster may have at once; 0 for no bound

	mu           sync.Mutex
	gone         bool         // it was forgotten: look it up again
	stale        bool         // there is a newer revision
	containers   []*container // all that are held
	free         []*container // those with a slot to give; the most recently used last
	waiting      queue
	room         room
	handed       pace          // at which those who wait get slots
	bare         bool          // it is counted in tenant.waiting
	startBy      time.Time     // the latest of all that waited
	coming       int           // see comingSlots, summed over the containers
	requisitions []requisition // with slots left, oldest first
	asked        int           // slots left in all of them
	needy        bool          // it waits in the factory's list of needs
	quietUntil   int64         // nothing is requisitioned before
	ownUntil     int64         // until then requisitions want no redirect: others had no room
	away         int           // activations that other controllers have
	pressure     pressure
	invocations  uint64
	colds        uint64
}

// requisition is what is left of one that the scheduler got.
type requisition struct {
	id       whisk.RequisitionID
	sent     int64 // when, on the balancer's clock
	left     int   // slots, at least 1
	deadline time.Time
}

func newAction(b *Balancer, inv *whisk.Invocation, t *tenant) *action {
	t.actions++
	return &action{
		b:           b,
		tenant:      t,
		key:         inv.Key,
		spec:        inv.Spec,
		label:       inv.Label,
		concurrency: max(inv.Limits.Concurrency, 1),
		instances:   instancesOf(inv),
		room:        room{shared: &b.overflow, tenant: t},
	}
}

// mostInstances stands for all bounds that nobody would notice.
const mostInstances = 1 << 20

// instancesOf returns how many containers may run inv's action; 0 for no bound.
func instancesOf(inv *whisk.Invocation) int {
	if inv.Limits.Instances == nil {
		return 0
	}
	return min(*inv.Limits.Instances, mostInstances)
}

// forbidden reports whether there may be no container for an activation.
func forbidden(inv *whisk.Invocation) bool {
	return inv.Limits.Instances != nil && *inv.Limits.Instances <= 0
}

// takeLocked takes a slot of the most recently used container that has one, so
// that the others can go idle. It returns nil if there is none.
func (a *action) takeLocked(now int64) *container {
	if a.pressure.full() {
		return nil
	}
	for _, c := range slices.Backward(a.free) {
		if !c.agent.leased(now) {
			continue
		}
		c.occupyLocked(now)
		return c
	}
	return nil
}

// lendLocked takes a slot for an activation that does not wait here: of a container
// that has the code, and if nobody waits. It returns nil if there is none.
func (a *action) lendLocked(now int64) *container {
	if a.gone || a.waiting.len() > 0 || a.pressure.full() {
		return nil
	}
	for _, c := range slices.Backward(a.free) {
		if c.state == cold {
			break // those are the first
		}
		if c.agent.leased(now) {
			c.occupyLocked(now)
			return c
		}
	}
	return nil
}

// leaveLocked returns a slot of c, after what happened there, and hands what
// came free to those who wait.
func (a *action) leaveLocked(c *container, now int64) {
	c.slots--
	a.pressure.leave()
	if c.state != cold {
		c.last = now
	}
	if c.listed {
		a.unlistLocked(c) // its place is another now
	}
	if c.slots > 0 {
		a.offerLocked(c)
	} else {
		c.since = now
		c.applyLocked(emptied)
		c.reportLocked()
		if a.stale && a.waiting.len() == 0 {
			c.giveBackLocked(unwanted, whisk.ReleaseStale)
		}
	}
	a.pumpLocked(now)
}

// pumpLocked hands free slots to the activations that wait, the oldest first,
// and has the difference between need and requisitions settled.
func (a *action) pumpLocked(now int64) {
	for a.waiting.len() > 0 {
		c := a.takeLocked(now)
		if c == nil {
			break
		}
		a.waiting.next(verdict{container: c})
		a.handed.step(now)
	}
	if a.waiting.len() == 0 || a.pressure.full() {
		for _, c := range slices.Clone(a.idleColdLocked()) {
			c.giveBackLocked(unwanted, whisk.ReleaseUnused)
		}
	}
	a.needLocked()
}

// idleColdLocked is the containers without code that nobody uses: the list begins
// with them.
func (a *action) idleColdLocked() []*container {
	n := 0
	for n < len(a.free) && a.free[n].state == cold {
		n++
	}
	return a.free[:n]
}

// giveAllBackLocked gives all containers back, as they become idle.
func (a *action) giveAllBackLocked(e event, reason whisk.ReleaseReason) {
	for _, c := range slices.Clone(a.containers) {
		c.giveBackLocked(e, reason)
	}
}

// offerLocked keeps c in the list of containers with a slot to give, or out of
// it, as its state wants. The list is ordered by last use, behind those without
// code: another's container that came with code was not used here either.
func (a *action) offerLocked(c *container) {
	switch usable := c.usableLocked(); {
	case usable == c.listed:
	case usable:
		i := len(a.free)
		for i > 0 && (c.state == cold || a.free[i-1].last > c.last) {
			i--
		}
		a.free = slices.Insert(a.free, i, c)
		c.listed = true
	default:
		a.unlistLocked(c)
	}
}

func (a *action) unlistLocked(c *container) {
	i := len(a.free) - 1
	for a.free[i] != c {
		i--
	}
	a.free = slices.Delete(a.free, i, i+1)
	c.listed = false
}

func (a *action) dropLocked(c *container) {
	a.containers = slices.DeleteFunc(a.containers, func(other *container) bool { return other == c })
}

// needLocked has the factory look at the action if it needs more slots than are
// on their way, or fewer.
func (a *action) needLocked() {
	a.bareLocked(false)
	missing := a.missingLocked()
	if missing > 0 || missing < 0 && a.asked > 0 {
		a.b.factory.need(a)
	}
}

// missingLocked is how many slots more than are on their way should be asked
// for; negative if too many were. A requisition brings whole containers, whose slots
// beyond what it asks for are on their way, too. Where the action's containers are bounded, more
// than those that may still come would have is of no use, and neither is more than a
// crowd lets in. In a crowd they come one after the other.
func (a *action) missingLocked() int {
	want := a.waiting.len()
	if a.instances > 0 {
		want = min(want, a.coming+max(0, a.instances-len(a.containers))*a.concurrency)
	}
	if bound := a.pressure.bound; bound > 0 {
		want = min(want, max(0, bound-a.pressure.used))
	}
	if a.pacedLocked() {
		want = min(want, max(1, a.away))
	}
	missing := want - a.asked - a.coming
	if missing > 0 {
		missing = max(0, missing-a.spareLocked())
	}
	return missing
}

// pacedLocked reports whether a crowd has the action wait for one container before it
// asks for the next, as it does unless the action's runs are known not to suffer. Where
// other controllers take its activations it asks for as many at once as they have now.
func (a *action) pacedLocked() bool { return a.b.crowd.dense.Load() && !a.pressure.spared }

// spareLocked is how many slots the containers of all requisitions will have beyond
// what is asked for.
func (a *action) spareLocked() (spare int) {
	if a.concurrency == 1 { // then there may be many
		return 0
	}
	for _, r := range a.requisitions {
		spare += r.standsFor(a.concurrency) - r.left
	}
	return spare
}

// standsFor is the slots that a requisition brings, if it is served.
func (r requisition) standsFor(concurrency int) int {
	return (r.left + concurrency - 1) / concurrency * concurrency
}

// comingSlots is the slots that a container in state s will have in a moment
// without the scheduler's doing: it receives its code, is between running and
// suspended, or its agent has not confirmed the lease yet.
func (a *action) comingSlots(s state) int {
	switch s {
	case cold, pausing, thawing:
		return a.concurrency
	case initialising:
		return a.concurrency - 1
	}
	return 0
}

// settleLocked turns need into messages to the scheduler: a requisition for
// what is missing, or withdrawals of what is too much, the newest first because
// the oldest are nearest to being served.
func (a *action) settleLocked(now int64) (messages []whisk.FactoryRequest) {
	missing := a.missingLocked()
	if missing > 0 && now >= a.quietUntil {
		r := requisition{id: a.b.factory.nextID(a), sent: now, left: missing, deadline: a.startBy}
		a.requisitions = append(a.requisitions, r)
		a.oweLocked(missing)
		return []whisk.FactoryRequest{whisk.Requisition{
			ID: r.id, Key: a.key, Spec: a.spec, Concurrency: a.concurrency, Instances: a.instances,
			Count: missing, Deadline: r.deadline, Label: a.label, Own: now < a.ownUntil,
		}}
	}
	for missing < 0 && a.asked > 0 {
		r := a.requisitions[len(a.requisitions)-1]
		n := a.servedLocked(r.id, -missing)
		missing += n
		messages = append(messages, whisk.Withdraw{ID: r.id, Count: n})
	}
	return messages
}

// askedLocked returns when a requisition was sent, or now if nothing of it is left.
func (a *action) askedLocked(id whisk.RequisitionID, now int64) int64 {
	i := slices.IndexFunc(a.requisitions, func(r requisition) bool { return r.id == id })
	if i < 0 {
		return now
	}
	return a.requisitions[i].sent
}

// servedLocked takes up to n slots off a requisition and returns how many it
// took; that is 0 if nothing of it was left.
func (a *action) servedLocked(id whisk.RequisitionID, n int) int {
	i := slices.IndexFunc(a.requisitions, func(r requisition) bool { return r.id == id })
	if i < 0 {
		return 0
	}
	r := &a.requisitions[i]
	n = min(n, r.left)
	r.left -= n
	a.oweLocked(-n)
	if r.left == 0 {
		a.requisitions = slices.Delete(a.requisitions, i, i+1)
		a.b.factory.spend(id)
	}
	return n
}

// voidLocked forgets all requisitions: their session is over.
func (a *action) voidLocked() {
	a.oweLocked(-a.asked)
	a.requisitions = nil
}

// overdueLocked gives up requisitions whose deadline passed at before and that
// the scheduler never answered.
func (a *action) overdueLocked(before time.Time) {
	for len(a.requisitions) > 0 && a.requisitions[0].deadline.Before(before) {
		a.servedLocked(a.requisitions[0].id, a.requisitions[0].left)
	}
}

func (a *action) oweLocked(n int) {
	a.asked += n
	a.b.factory.owed.Add(int64(n))
}

// emptyLocked reports whether nothing would be lost by forgetting the action.
func (a *action) emptyLocked() bool {
	return len(a.containers) == 0 && a.waiting.len() == 0 && a.room.entries == 0 && len(a.requisitions) == 0 && a.away == 0
}
