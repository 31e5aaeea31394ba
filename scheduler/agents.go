// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"github.com/whirl-faas/whirl/whisk"
)

// agentSaid handles what an agent reports. Reports about containers that we do
// not know, or no longer, are of no interest.
func (s *state) agentSaid(id sessionID, m whisk.AgentReport) {
	switch m := m.(type) {
	case whisk.NodeReport:
		s.nodeReport(id, m)
		return
	case whisk.KeepAlive:
		s.lead(m.Epoch)
		return
	}
	n := s.agents[id]
	if n == nil {
		s.hangUp(id, whisk.Errorf(whisk.Invalid, "an agent's first message must be its node report"))
		return
	}
	switch m := m.(type) {
	case whisk.ContainerCreated:
		if m.Container.Spec.Memory <= 0 {
			s.hangUp(id, whisk.Errorf(whisk.Invalid, "container %s of %s", m.Container.ID, m.Container.Spec.Memory))
			return
		}
		s.containerCreated(n, m)
	case whisk.CreationFailed:
		if c := s.hosted(n, m.Container); c != nil {
			s.creationFailed(c, m)
		}
	case whisk.LeaseGranted:
		if c := s.hosted(n, m.Container); c != nil && c.condition == granting && c.order == m.Order {
			s.granted(c)
		}
	case whisk.LeaseRefused:
		if c := s.hosted(n, m.Container); c != nil {
			s.refused(c, m)
		}
	case whisk.ContainerGone:
		if c := s.hosted(n, m.Container); c != nil {
			s.lost(c, m.Reason)
		}
	}
}

// hosted returns a container of a node, or nil.
func (s *state) hosted(n *node, id whisk.ContainerID) *container {
	if c := s.containers[id]; c != nil && c.node == n {
		return c
	}
	return nil
}

// containerCreated is for an agent's word that it made a container.
func (s *state) containerCreated(n *node, m whisk.ContainerCreated) {
	c := s.hosted(n, m.Container.ID)
	switch {
	case c == nil && s.containers[m.Container.ID] == nil:
		// A former leader ordered it. It takes memory, and nobody waits for it.
		c = s.adopt(n, m.Container)
		s.move(c, abandoned)
		if s.settled {
			s.remove(c)
		}
	case c != nil && c.condition == creating:
		s.log.Debug("container created", "container", c.ID, "node", n.id, "took", m.Took)
		c.made, c.creation = s.now, max(0, m.Took)
		s.created(c, m.Container.Address)
	}
}

// created is for a container that now runs. Who it was made for may have given
// up meanwhile, or another may have taken its place. What a former leader ordered
// we hand out only when its agent has confirmed an order of ours: it might
// register with that leader again, and we must not both hand it out.
func (s *state) created(c *container, at whisk.Address) {
	c.Address = at
	c.took = s.now.Sub(c.since)
	s.proved(c.node)
	r := c.purpose
	switch {
	case r == nil && c.lessee == "":
		s.shelve(c)
	case r == nil:
		s.rehome(c)
	case r.caller.id == c.lessee && !c.inherited:
		s.deliver(c, r)
	default:
		s.grant(c, r)
	}
}

// shelve makes a container that nobody holds, and that holds no code, prewarmed.
func (s *state) shelve(c *container) {
	c.lessee = ""
	c.stocked = true
	others := c.pool.stock()
	if c.byPool.in == &c.pool.coming || c.condition == granting && c.heir == "" && c.action == nil {
		others-- // it was expected
	}
	c.surplus = others >= c.pool.wanted
	s.move(c, shelved)
	s.offer(c)
}

// creationFailed gives the requisition another try, unless it is the user's
// fault or has failed too often.
func (s *state) creationFailed(c *container, m whisk.CreationFailed) {
	r, n := c.purpose, c.node
	ill := m.Fault != whisk.UserFault || c.trial // no user had a part in a trial
	if r == nil && c.lessee == "" && c.condition == creating && !c.trial {
		c.pool.failed(s.now)
		s.alarms.set(&c.pool.retry, c.pool.retryAt)
	}
	s.log.Warn("container not created", "container", c.ID, "node", n.id, "err", m.Message)
	if m.Fault == whisk.UserFault {
		s.figures.failures[whisk.UserFault]++
	} else {
		s.figures.failures[whisk.NodeFault]++
	}
	s.lost(c, m.Message)
	if ill {
		s.faulted(n, m.Message)
	}
	if r == nil || r.ended {
		return
	}
	if m.Fault == whisk.UserFault {
		s.reject(r, whisk.BadImage, m.Message, 0)
		return
	}
	r.avoid = append(r.avoid, n.id)
	if len(r.avoid) >= s.cfg.Attempts {
		s.reject(r, whisk.StartFailed, provisionFailed, 0)
	}
}

// granted is for a container whose lease went where we ordered.
func (s *state) granted(c *container) {
	c.lessee, c.inherited = c.heir, false
	r := c.purpose
	switch {
	case r != nil && r.caller.id == c.lessee:
		s.deliver(c, r)
	case c.lessee == "" && c.action != nil:
		s.move(c, stored)
		s.offer(c)
	case c.lessee == "":
		s.shelve(c)
	case r != nil:
		s.grant(c, r)
	default:
		s.rehome(c)
	}
}

// rehome finds somebody for a container that is leased to a controller which
// does not know of it, because the need for it went away meanwhile.
func (s *state) rehome(c *container) {
	if c.node.closed {
		s.remove(c)
		return
	}
	var r *requisition
	if c.action != nil {
		r = s.wanting(c.action, "")
	} else {
		r = s.wantingFresh(c.pool)
	}
	switch {
	case r == nil:
		s.giveBack(c)
	case r.caller.id == c.lessee && !c.inherited:
		s.deliver(c, r)
	default:
		s.grant(c, r)
	}
}

// refused is for an order that named the wrong lessee, or that came from a
// leader of the past. The agent's word counts.
func (s *state) refused(c *container, m whisk.LeaseRefused) {
	s.log.Warn("lease refused", "container", c.ID, "node", c.node.id, "lessee", m.Lessee, "reason", m.Reason)
	switch c.condition {
	case granting:
		if m.Order != c.order {
			return // an answer to a former order
		}
		if m.Lessee == c.heir && m.Lessee != "" && c.heir != c.lessee {
			s.granted(c)
			return
		}
		r := c.purpose
		s.unbind(c)
		if m.Lessee != "" && m.Lessee != c.lessee {
			s.believe(c, m.Lessee, true)
		} else {
			// It is not the lessee that was wrong: the container ends, or we
			// do. To try the same again would be an endless loop. Nor is
			// nobody as the lessee a success where nobody was to have it.
			c.lessee = m.Lessee
			s.remove(c)
		}
		if r != nil && !r.ended {
			s.serve(r)
		}
	case removing:
		if m.Order != 0 || m.Lessee == c.lessee {
			return // an answer to a former order; or it is not the lessee that is wrong, but we; asking again is no use
		}
		if m.Lessee == "" {
			c.lessee = ""
			s.command(c.node, whisk.RemoveContainer{Epoch: s.cfg.Epoch, Container: c.ID})
			return
		}
		s.believe(c, m.Lessee, true)
	}
}

// lost is for a container that is no more.
func (s *state) lost(c *container, reason string) {
	r, n := c.purpose, c.node
	if c.condition.leased() {
		s.tell(s.controllers[c.lessee], whisk.Lost{Container: c.ID, Reason: reason})
	}
	if c.condition != creating && c.condition != removing {
		s.figures.lost++
	}
	s.move(c, vanished)
	s.touch(n)
	if r != nil && !r.ended {
		s.serve(r)
	}
}
