// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"fmt"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// container is one that exists, is being made, or is being removed. Each of
// them takes its memory of its node until the agent says that it is gone.
type container struct {
	whisk.Container
	node        *node
	condition   condition
	pool        *pool
	action      *action            // whose code it holds or is about to; nil for none, or not known
	lessee      whisk.ControllerID // by the agent's word; in granting, the one that it goes from
	heir        whisk.ControllerID // in granting, the one that it goes to
	order       uint64             // the last one to move its lease; answers to former ones are of no interest
	purpose     *requisition       // that it is made, moved or asked back for; nil for none
	concurrency int                // slots of it while leased
	stocked     bool               // it was prewarmed once
	trial       bool               // it is made to see whether its node can
	inherited   bool               // a former leader ordered it, and its agent has obeyed no order of ours about it
	surplus     bool               // prewarmed beyond the wanted number
	sheltered   time.Time          // while it is free, nothing else may have its place before; zero for no such time
	redirected  int                // slots pointed to since it was last reported
	since       time.Time          // when it was last used, for the order of eviction; while it is busy, when that began
	took        time.Duration      // to make it; 0 if we found it
	made        time.Time          // when its agent said so; zero if it did not
	creation    time.Duration      // by its agent's word; 0 if there was none
	timer       alarm              // its time is up: kept, surplus, or asked back in vain

	byNode    link[*container] // in node.containers
	byRest    link[*container] // in one of node.resting
	byAction  link[*container] // in one of the action's lists
	byTenant  link[*container] // in tenant.sheltered
	byPool    link[*container] // in pool.ready or pool.coming
	byHolder  link[*container] // in controller.leased
	byPurpose link[*container] // in requisition.bound
}

// adopt takes a container into the books, without a condition yet.
func (s *state) adopt(n *node, made whisk.Container) *container {
	c := &container{Container: made, node: n, pool: s.poolFor(made.Spec), since: s.now}
	c.Node = n.id
	c.byNode.value, c.byRest.value, c.byAction.value = c, c, c
	c.byTenant.value, c.byPool.value, c.byHolder.value, c.byPurpose.value = c, c, c, c
	c.timer.ring = func() { s.timeUp(c) }
	s.containers[c.ID] = c
	c.pool.members++
	n.containers.push(&c.byNode)
	return c
}

// move changes a container's condition, and with it every index and sum that
// depends on it. Nothing else does.
func (s *state) move(c *container, by change) {
	to, ok := transition(c.condition, by)
	if !ok {
		panic(fmt.Sprintf("scheduler: container %s cannot be %s while %s", c.ID, by, c.condition))
	}
	if to == gone || to == removing || c.condition == creating || c.condition == prewarmed {
		s.restock = true
	}
	if c.condition == creating {
		c.tried()
	}
	s.unlink(c)
	s.account(c, -1)
	c.condition = to
	s.account(c, 1)
	s.link(c)
	s.alarms.stop(&c.timer)
	s.arm(c)
	s.touch(c.node)
	if c.action != nil && c.action.quota.limit > 0 {
		s.note(c.action.quota)
	}
	if to == gone {
		s.forget(c)
	}
	c.node.show(s)
}

// arm sets the alarm that a condition has, if it has one.
func (s *state) arm(c *container) {
	switch {
	case c.condition == kept:
		s.alarms.set(&c.timer, s.now.Add(s.cfg.KeepWarm))
	case c.condition == prewarmed && c.surplus:
		s.alarms.set(&c.timer, s.now.Add(s.cfg.SurplusTTL))
	case c.condition == prewarmed && c.pool.ttl > 0:
		s.alarms.set(&c.timer, s.now.Add(c.pool.ttl))
	case c.condition == free && !c.sheltered.IsZero():
		s.alarms.set(&c.timer, c.sheltered)
	case c.condition == recalled || c.condition == evicting:
		s.alarms.set(&c.timer, s.now.Add(s.cfg.ReclaimTimeout))
	}
}

// timeUp does what arm set the alarm for.
func (s *state) timeUp(c *container) {
	switch c.condition {
	case kept:
		s.retire(c)
	case prewarmed:
		s.expire(c)
	case free:
		s.expose(c)
	case recalled, evicting:
		s.answeredBusy(c)
	}
}

// account adds the container's share to every sum, or takes it away again.
func (s *state) account(c *container, sign int) {
	if c.condition == unknown || c.condition == gone {
		return
	}
	n, size := c.node, whisk.Bytes(sign)*c.Spec.Memory
	n.used += size
	s.used += size
	n.tally[c.condition] += sign
	switch c.condition {
	case creating:
		n.creating += sign
		c.pool.creating += sign
	case removing, evicting, draining:
		n.leaving += size
		if a := c.action; a != nil && c.condition == removing {
			a.removing += sign
		} else if a != nil {
			a.asked += sign
		}
	case granting:
		if c.heir == "" && c.action == nil {
			c.pool.returning += sign
		}
	}
	if c.action != nil && c.condition.leased() {
		c.action.held += size
		c.action.leases += sign
		if c.condition == free || c.condition == recalled || c.condition == evicting {
			c.action.idle += sign
		}
	}
	if c.condition == draining {
		n.draining += sign
	}
}

// link puts the container into the lists of its condition. What cannot be used
// because its agent or its lessee is silent, or its node is to be emptied, is in
// none from which we choose.
func (s *state) link(c *container) {
	ctl := s.controllers[c.lessee]
	if c.condition.leased() && ctl != nil {
		ctl.leased.push(&c.byHolder)
	}
	if !c.node.usable() {
		return
	}
	switch c.condition {
	case creating:
		if c.purpose == nil && !c.trial {
			c.pool.coming.push(&c.byPool)
		}
	case prewarmed:
		c.pool.ready.push(&c.byPool)
		if c.surplus {
			s.rest(c, restSurplus)
		} else {
			s.rest(c, restPrewarmed)
		}
	case kept:
		c.action.kept.push(&c.byAction)
		s.rest(c, restKept)
	case free:
		if ctl == nil || ctl.session == 0 {
			return
		}
		if !c.sheltered.IsZero() {
			s.shelter(c)
		} else {
			c.node.idle += c.Spec.Memory
			s.rest(c, restFree)
		}
		if c.action != nil {
			c.action.free.push(&c.byAction)
		}
	case busy:
		if c.action != nil && ctl != nil && ctl.session != 0 {
			c.action.busy.push(&c.byAction)
			s.employ(c.action, c.Spec.Memory)
		}
	}
}

// rest queues an idle container for eviction, the least recently used first.
func (s *state) rest(c *container, class int) {
	if class != restFree {
		c.node.spare += c.Spec.Memory
	}
	c.node.resting[class].pushOrdered(&c.byRest, func(other *container) bool { return other.since.After(c.since) })
}

// unlink undoes link.
func (s *state) unlink(c *container) {
	switch c.byRest.in {
	case nil:
	case &c.node.sheltered:
		s.unshelter(c)
	case &c.node.resting[restFree]:
		c.node.idle -= c.Spec.Memory
	default:
		c.node.spare -= c.Spec.Memory
	}
	c.byRest.leave()
	if a := c.action; a != nil && c.byAction.in == &a.busy {
		c.byAction.leave()
		s.employ(a, -c.Spec.Memory)
	}
	c.byAction.leave()
	c.byPool.leave()
	c.byHolder.leave()
}

// relink is for changes of what link depends on but the condition.
func (s *state) relink(c *container, alter func()) {
	s.unlink(c)
	s.account(c, -1)
	alter()
	s.account(c, 1)
	s.link(c)
	c.node.show(s)
}

// forget takes a container out of the books.
func (s *state) forget(c *container) {
	s.alarms.stop(&c.timer)
	s.unbind(c)
	s.setAction(c, nil)
	c.byNode.leave()
	delete(s.containers, c.ID)
	c.pool.members--
	s.dropPool(c.pool)
	s.dropController(s.controllers[c.lessee])
	s.restock = true
}

// setAction says whose code the container holds. It is called while the
// container is in no list and no sum of an action.
func (s *state) setAction(c *container, a *action) {
	old, member := c.action, c.member()
	if old == a {
		return
	}
	c.action = a
	if a != nil {
		a.members++
	}
	s.reckon(member, c.member())
	if old != nil {
		old.members--
		s.dropAction(old)
	}
}

// bind ties a container that is under way to the requisition that it is for.
func (s *state) bind(c *container, r *requisition) {
	s.unbind(c)
	member := c.member()
	c.purpose = r
	s.reckon(member, c.member())
	r.bound.push(&c.byPurpose)
	r.expect(1)
	c.byPool.leave() // not for anybody any more
	s.reline(r)
}

// unbind undoes bind; the requisition waits again if it still needs more.
func (s *state) unbind(c *container) {
	r := c.purpose
	if r == nil {
		return
	}
	member := c.member()
	c.purpose = nil
	s.reckon(member, c.member())
	c.byPurpose.leave()
	r.expect(-1)
	if c.condition == creating && c.node.usable() {
		c.pool.coming.push(&c.byPool)
		s.restock = true
	}
	s.reline(r)
}
