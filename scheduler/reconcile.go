// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"github.com/whirl-faas/whirl/whisk"
)

// What agents report of their nodes is compared with the books here. On what
// exists and who holds it, the agent's word counts.

// nodeReport registers an agent, or tells news of a registered one.
func (s *state) nodeReport(id sessionID, m whisk.NodeReport) {
	if err := implausible(m); err != nil {
		s.hangUp(id, err)
		return
	}
	if !s.lead(m.Epoch) {
		return
	}
	n := s.agents[id]
	if n != nil && n.id != m.Node {
		s.hangUp(id, whisk.Errorf(whisk.Invalid, "an agent cannot change its node"))
		return
	}
	first := n == nil
	if first {
		if n = s.meet(id, m); n == nil {
			return
		}
	}
	n.problem = m.Problem
	n.suspect = n.suspect || m.Problem != ""
	s.reach(n, id)
	n.address, n.probes = m.Address, m.Probes
	s.resize(n, m.Memory)
	s.reconcile(n, m.Containers, first)
	if first {
		s.refute(n)
		s.checkUp(n)
		if n.closed != m.Draining {
			s.command(n, whisk.DrainNode{Epoch: s.cfg.Epoch, Drain: n.closed})
		}
	}
	s.judge(n)
	for c := range n.containers.all() {
		s.offer(c)
	}
	s.touch(n)
	s.rejectMisfits()
}

// implausible returns why a report cannot be true, or nil.
func implausible(m whisk.NodeReport) error {
	if m.Node == "" || m.Memory < 0 {
		return whisk.Errorf(whisk.Invalid, "a report of node %q with %s of memory", m.Node, m.Memory)
	}
	for _, h := range m.Containers {
		if h.Container.ID == "" || h.Container.Spec.Memory <= 0 {
			return whisk.Errorf(whisk.Invalid, "node %s reports container %q of %s", m.Node, h.Container.ID, h.Container.Spec.Memory)
		}
	}
	return nil
}

// meet begins an agent's session. Of a node that is new here its agent knows
// whether it is to be empty; of others we know it better, for the agent may have
// started anew or missed the order. It returns nil if the agent has begun a later one.
func (s *state) meet(id sessionID, m whisk.NodeReport) *node {
	known := s.nodes[m.Node] != nil
	n := s.nodeFor(m.Node)
	if id < n.latest {
		s.hangUp(id, whisk.Errorf(whisk.Conflict, "a later session registered node %s", n.id))
		return nil
	}
	n.latest = id
	if !known {
		n.closed = m.Draining
	}
	if n.session != 0 {
		replaced := whisk.Errorf(whisk.Conflict, "another session registered node %s", n.id)
		s.hangUp(n.session, replaced)
		s.agentSilent(n, replaced)
	}
	s.alarms.stop(&n.grace)
	n.abandoned = false
	s.agents[id] = n
	s.log.Info("agent registered", "node", n.id, "memory", m.Memory.String(), "containers", len(m.Containers))
	return n
}

// reach notes the node's session, 0 for none, and relists what it hosts.
func (s *state) reach(n *node, id sessionID) {
	if n.session == id {
		return
	}
	for c := range n.containers.all() {
		s.unlink(c)
	}
	n.session = id
	for c := range n.containers.all() {
		s.link(c)
	}
	n.show(s)
}

// reconcile compares the books with an agent's list. In a session's first
// report what is missing is gone, and orders that are not carried out never
// arrived; later, orders and answers may have crossed the report.
func (s *state) reconcile(n *node, listed []whisk.HostedContainer, first bool) {
	seen := make(map[whisk.ContainerID]bool, len(listed))
	for _, h := range listed {
		seen[h.Container.ID] = true
		c := s.containers[h.Container.ID]
		switch {
		case c == nil:
			c = s.adopt(n, h.Container)
			if h.Making { // it will be welcome
				c.lessee, c.inherited = h.Lessee, true
				s.move(c, ordered)
				continue
			}
			s.believe(c, h.Lessee, h.Used)
		case c.node != n:
			s.log.Error("two nodes report one container", "container", c.ID, "node", n.id, "other", c.node.id)
		case first:
			s.recover(c, h)
		case c.condition != creating && c.condition != granting && c.condition != removing && c.lessee != h.Lessee:
			s.believe(c, h.Lessee, h.Used)
		}
	}
	if !first {
		return
	}
	for c := range n.containers.all() {
		switch {
		case seen[c.ID]:
		case c.condition == creating:
			// It may be under way still. We rather make another than wait.
			s.remove(c)
		default:
			s.lost(c, "its agent does not have it any more")
		}
	}
}

// recover picks up a container of which the agent may have missed an order, or
// we the answer.
func (s *state) recover(c *container, h whisk.HostedContainer) {
	c.Address = h.Container.Address
	switch c.condition {
	case creating:
		if h.Making {
			return
		}
		c.lessee = h.Lessee
		s.created(c, h.Container.Address)
	case granting:
		if h.Lessee == c.heir && c.heir != c.lessee {
			s.granted(c)
			return
		}
		if h.Lessee != "" && h.Lessee != c.lessee {
			s.unbind(c)
			s.believe(c, h.Lessee, h.Used)
			return
		}
		// The order was lost, or it was to confirm the lessee, and nothing shows
		// whether it was obeyed. Whoever it goes from has given it up.
		c.lessee = h.Lessee
		s.orderGrant(c)
	case removing:
		if h.Lessee != "" && h.Lessee != c.lessee {
			s.believe(c, h.Lessee, h.Used)
			return
		}
		c.lessee = h.Lessee
		s.command(c.node, whisk.RemoveContainer{Epoch: s.cfg.Epoch, Container: c.ID, Lessee: c.lessee})
	default:
		switch {
		case c.lessee != h.Lessee:
			s.believe(c, h.Lessee, h.Used)
		case c.condition == stray && s.settled:
			s.remove(c) // it was due while the agent was silent
		}
	}
}

// agentSilent is for a node whose session ended. What it hosts is unknown, not
// lost: warm containers serve on. Nothing is placed there, and whoever waits
// for something from there is served elsewhere. The error is nil if the agent
// closed the session.
func (s *state) agentSilent(n *node, err error) {
	s.departed("agent", string(n.id), n.containers.count, err)
	delete(s.agents, n.session)
	n.misses, n.ailment = 0, ""
	s.alarms.stop(&n.checkup)
	s.reach(n, 0)
	s.judge(n)
	for c := range n.containers.all() {
		r := c.purpose
		s.unbind(c)
		if r != nil && !r.ended {
			s.serve(r)
		}
	}
	s.alarms.set(&n.grace, s.now.Add(s.cfg.AgentGrace))
}

// departed tells of a session's end: it worries nobody if the peer meant it, or
// left nothing behind.
func (s *state) departed(role, id string, containers int, err error) {
	if err == nil || containers == 0 {
		s.log.Info("session ended", "role", role, "id", id, "containers", containers)
		return
	}
	s.log.Warn("session lost", "role", role, "id", id, "containers", containers, "err", err)
}

// believe takes over an agent's word on who holds a container.
func (s *state) believe(c *container, lessee whisk.ControllerID, used bool) {
	if c.condition.leased() {
		if c.lessee == lessee {
			return
		}
		// The lease ran out while the container was idle. Its lessee stopped
		// using it before that; but it may like to know.
		s.tell(s.controllers[c.lessee], whisk.Lost{Container: c.ID, Reason: "its lease ran out"})
		s.unbind(c)
	}
	old := s.controllers[c.lessee]
	if lessee != "" {
		s.controllerFor(lessee)
	}
	s.relink(c, func() { c.lessee, c.heir = lessee, "" })
	defer s.dropController(old)
	switch {
	case lessee != "":
		s.lease(c)
	case c.action != nil && used:
		s.move(c, stored)
		s.offer(c)
	case !used:
		s.shelve(c)
	default:
		s.move(c, abandoned)
		if s.settled {
			s.remove(c)
		}
	}
}

// lease notes that c.lessee holds the container. If that controller has a
// session and never told us so, it does not know of the container, or was told
// that it is lost: then nobody would ever give it back.
func (s *state) lease(c *container) {
	if c.condition.leased() {
		return
	}
	ctl := s.controllerFor(c.lessee)
	s.move(c, leased)
	told := ctl.claims[c.ID]
	switch {
	case told != nil:
		s.disclaim(told)
		s.held(ctl, c, told.HeldContainer)
	case ctl.session != 0:
		s.remove(c)
	}
}
