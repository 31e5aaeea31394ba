// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/scheduler/policy"
	"github.com/whirl-faas/whirl/whisk"
)

// The classes of resting containers, in the order in which they go when a
// node's memory is needed. All but the last need nobody's consent.
const (
	restSurplus = iota
	restKept
	restPrewarmed
	restFree
	restClasses
)

// node is a node as its agent's proxy sees it. Its memory is never oversold:
// used, which counts every container until it is gone, never exceeds memory
// unless the node itself reports so. Plans promise memory to creations that
// wait until it is free, or until it is their turn.
type node struct {
	id      whisk.NodeID
	address string    // of its agent, for controllers
	session sessionID // 0 while its agent is silent
	latest  sessionID // that its agent had: what an earlier one still has to say is out of date
	place   int       // in state.order
	memory  whisk.Bytes
	state   whisk.NodeState // only judge changes it
	closed  bool            // an operator has it emptied

	used     whisk.Bytes // of all containers
	leaving  whisk.Bytes // the part of used that is on its way out
	spare    whisk.Bytes // the part that can be removed without asking
	idle     whisk.Bytes // the part that controllers may be asked for
	promised whisk.Bytes // to plans
	creating int
	draining int
	tally    [conditions]int

	containers list[*container]
	resting    [restClasses]list[*container]
	sheltered  list[*container] // idle, and not to be asked for yet
	plans      list[*plan]
	touched    bool // it is in state.touched
	awaited    bool // it is in state.awaited

	// What judge draws its conclusion from, and what a trial needs.
	since     time.Time     // when it entered the state
	problem   string        // why nothing should be placed here, by its agent
	ailment   string        // likewise, by its health route
	fault     string        // of the last creation that failed by its fault
	faults    int           // such creations in a row
	misses    int           // questions in a row that its health route did not answer
	suspect   bool          // it erred, and made no container since
	abandoned bool          // its agent was silent for the whole grace
	trying    bool          // a container is made to see whether it can
	pause     time.Duration // before that is tried again
	tryAt     time.Time     // not before
	grace     alarm         // gives the silent node up, and later forgets it
	trial     alarm         // tries the unhealthy node
	checkup   alarm         // asks its health route
	probes    string        // where its health route is; "" if it cannot be asked
}

// plan is a creation that waits on its node.
type plan struct {
	node    *node
	purpose *requisition
	drains  bool // busy containers may be drained for it
	round   int  // on its node: one of each tenant in each

	byNode    link[*plan]
	byAction  link[*plan]
	byPool    link[*plan]
	byPurpose link[*plan]
}

// nodeFor returns the node of an agent, taken into the books if it is new.
func (s *state) nodeFor(id whisk.NodeID) *node {
	n := s.nodes[id]
	if n == nil {
		n = &node{id: id, since: s.now}
		n.grace.ring = func() { s.graceOver(n) }
		n.trial.ring = func() { s.try(n) }
		n.checkup.ring = func() { s.checkUp(n) }
		s.nodes[id] = n
		s.enrol(n)
	}
	return n
}

// enrol gives a node, without memory so far, its place among the others.
func (s *state) enrol(n *node) {
	at, _ := slices.BinarySearchFunc(s.order, n.id, func(n *node, id whisk.NodeID) int { return cmp.Compare(n.id, id) })
	s.order = slices.Insert(s.order, at, n)
	s.view = slices.Insert(s.view, at, policy.Node{})
	for i := at; i < len(s.order); i++ {
		s.order[i].place = i
	}
	n.show(s)
}

// strike takes a node that is down from its place.
func (s *state) strike(n *node) {
	s.order = slices.Delete(s.order, n.place, n.place+1)
	s.view = slices.Delete(s.view, n.place, n.place+1)
	for i := n.place; i < len(s.order); i++ {
		s.order[i].place = i
	}
}

// resize notes how much memory a node has. All nodes are looked at only when the
// largest one shrinks.
func (s *state) resize(n *node, memory whisk.Bytes) {
	before := n.memory
	n.memory = memory
	s.memory += memory - before
	if s.largest = max(s.largest, memory); before == s.largest && memory < before {
		s.largest = 0
		for _, other := range s.order {
			s.largest = max(s.largest, other.memory)
		}
	}
	n.show(s)
	s.recount()
	s.roomier = true
}

// short returns by how much the promises exceed what is free or will come free
// by itself; negative if there is more.
func (n *node) short() whisk.Bytes { return n.promised + n.used - n.memory - n.leaving }

// show updates what placement sees of the node.
func (n *node) show(s *state) {
	// What is on its way out fulfils promises first; what is left of it is as
	// good as spare. Shortage eats into spare, and then into idle memory.
	spare := whisk.Bytes(0)
	if s.settled {
		spare = n.spare
	}
	free := max(0, n.memory-n.used-max(0, n.promised-n.leaving))
	v := policy.Node{
		ID: n.id, Open: n.open(), Memory: n.memory,
		Free:     free,
		Spare:    max(0, spare-n.short()-free),
		Creating: n.creating + n.plans.count,
	}
	v.Idle = max(0, spare+n.idle-n.short()-free-v.Spare)
	if oldest := n.resting[restFree].first(); oldest != nil {
		v.Oldest = oldest.since.UnixNano()
	}
	if was := s.view[n.place].Open; was && !v.Open {
		s.open--
	} else if v.Open && !was {
		s.open++
	}
	s.view[n.place] = v
}

// promise plans a creation for r on the node, and makes room for it.
func (s *state) promise(n *node, r *requisition, drains bool) {
	p := &plan{node: n, purpose: r, drains: drains}
	p.byNode.value, p.byAction.value, p.byPool.value, p.byPurpose.value = p, p, p, p
	p.round = n.roundFor(r.action.tenant)
	n.plans.pushOrdered(&p.byNode, func(other *plan) bool { return other.round > p.round })
	r.action.plans.push(&p.byAction)
	r.action.pool.plans.push(&p.byPool)
	r.plans.push(&p.byPurpose)
	r.expect(1)
	s.reckon(nil, r.action)
	n.promised += r.action.spec.Memory
	s.plans++
	s.reline(r)
	n.show(s)
	s.pump(n)
}

// roundFor returns the round in which a tenant's next plan is carried out: the one
// after that of its last, or the present one. So creations go round among those
// who wait for them, however many each of them planned before the others came.
func (n *node) roundFor(t *tenant) int {
	for e := n.plans.tail; e != nil; e = e.prev {
		if e.value.purpose.action.tenant == t {
			return e.value.round + 1
		}
	}
	if p := n.plans.first(); p != nil {
		return p.round
	}
	return 0
}

// cancel takes a plan back; its requisition waits again unless it is served otherwise.
func (s *state) cancel(p *plan) {
	n, r := p.node, p.purpose
	p.byNode.leave()
	p.byAction.leave()
	p.byPool.leave()
	p.byPurpose.leave()
	r.expect(-1)
	s.reckon(r.action, nil)
	n.promised -= r.action.spec.Memory
	s.plans--
	s.yielded = true
	s.roomier = true
	s.restock = true
	s.reline(r)
	n.show(s)
}

// pump carries the node's plans on: it makes room where promises exceed it, and
// starts the creations whose memory is free and whose turn it is.
func (s *state) pump(n *node) {
	if n.plans.count == 0 {
		return
	}
	s.makeRoom(n)
	free := n.memory - n.used
	for p := range n.plans.all() {
		size := p.purpose.action.spec.Memory
		if n.creating >= s.cfg.CreationsPerNode || free <= 0 {
			break
		}
		if free >= size {
			s.start(p)
		}
		// A plan that waits keeps what is free for itself: it came first.
		free -= size
	}
	n.show(s)
}

// makeRoom evicts idle containers until the node's promises can be kept. Where
// they are not enough it takes back plans, the latest first, except those that
// may have one busy container at a time drained.
func (s *state) makeRoom(n *node) {
	for p := n.plans.tail; p != nil && n.short() > n.removable(s); {
		before := p.prev
		if !p.value.drains {
			s.cancel(p.value)
		}
		p = before
	}
	s.evictFor(n, min(n.short(), n.removable(s)))
	for p := range n.plans.all() {
		if p.drains && n.draining == 0 && n.short() > 0 && !s.drainFor(p) {
			s.cancel(p)
		}
	}
}

// removable returns how much memory eviction could free.
func (n *node) removable(s *state) whisk.Bytes {
	if s.settled {
		return n.spare + n.idle
	}
	return n.idle
}

// evictFor removes resting containers worth need, or as many as there are.
func (s *state) evictFor(n *node, need whisk.Bytes) {
	if need <= 0 {
		return
	}
	var resting []*container
	var sizes []whisk.Bytes
	var sum whisk.Bytes
	for class := range n.resting {
		if class != restFree && !s.settled {
			continue
		}
		for c := range n.resting[class].all() {
			if sum >= need {
				break
			}
			resting = append(resting, c)
			sizes = append(sizes, c.Spec.Memory)
			sum += c.Spec.Memory
		}
	}
	for _, i := range policy.Victims(sizes, need) {
		c := resting[i]
		s.figures.evictions++
		if c.condition == free {
			s.move(c, evict)
			s.tell(s.controllers[c.lessee], whisk.Reclaim{Container: c.ID})
		} else {
			s.remove(c)
		}
	}
}

// start orders the creation that was planned.
func (s *state) start(p *plan) {
	// The order keeps the requisition from waiting for an instant, and so from
	// losing its turn.
	s.create(p.node, p.purpose.action.spec, p.purpose, p.purpose.label)
	s.cancel(p)
}

// create orders a container, for a requisition or for stock.
func (s *state) create(n *node, spec whisk.ContainerSpec, r *requisition, label string) {
	c := s.adopt(n, whisk.Container{ID: s.ids.next(label), Spec: spec})
	if r != nil {
		s.bind(c, r)
		c.lessee = r.caller.id
	}
	s.launch(c, label)
}

// launch orders the creation of a container that is in the books.
func (s *state) launch(c *container, label string) {
	s.figures.creations++
	s.move(c, ordered)
	s.command(c.node, whisk.CreateContainer{Epoch: s.cfg.Epoch, Container: c.ID, Spec: c.Spec, Label: label, Lessee: c.lessee})
}

// remove orders a container's end. Its lessee, if any, has given it up.
func (s *state) remove(c *container) {
	s.move(c, doomed)
	s.unbind(c)
	s.command(c.node, whisk.RemoveContainer{Epoch: s.cfg.Epoch, Container: c.ID, Lessee: c.lessee})
}

// grant orders a container's move to a requisition's controller.
func (s *state) grant(c *container, r *requisition) {
	if c.purpose != r {
		s.bind(c, r)
	}
	s.regrant(c, r.caller.id)
}

// giveBack orders that nobody holds the container.
func (s *state) giveBack(c *container) {
	s.unbind(c)
	s.regrant(c, "")
}

func (s *state) regrant(c *container, to whisk.ControllerID) {
	if c.condition == granting {
		s.relink(c, func() { c.heir = to })
	}
	c.heir = to
	s.move(c, moved)
	s.orderGrant(c)
}

// orderGrant tells the agent where the lease goes. Each order has a number of its
// own, also among those of several leaders: an answer that comes late, or twice
// because an order was given again, is not taken for that to a later one.
func (s *state) orderGrant(c *container) {
	s.orders++
	c.order = s.cfg.Epoch<<20 + s.orders
	s.command(c.node, whisk.GrantLease{Epoch: s.cfg.Epoch, Container: c.ID, From: c.lessee, To: c.heir, Order: c.order})
}
