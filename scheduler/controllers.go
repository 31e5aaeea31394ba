// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"maps"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/scheduler/policy"
	"github.com/whirl-faas/whirl/whisk"
)

// controller is a controller that has a session, or still holds containers.
type controller struct {
	id           whisk.ControllerID
	peers        string    // where others reach it; "" if it takes no part in forwarding
	session      sessionID // 0 while it is silent
	newest       sessionID // that it had: what an earlier one still has to say is out of date
	leased       list[*container]
	requisitions map[whisk.RequisitionID]*requisition
	claims       map[whisk.ContainerID]*claim
}

func (s *state) controllerFor(id whisk.ControllerID) *controller {
	ctl := s.controllers[id]
	if ctl == nil {
		ctl = &controller{
			id:           id,
			requisitions: make(map[whisk.RequisitionID]*requisition),
			claims:       make(map[whisk.ContainerID]*claim),
		}
		s.controllers[id] = ctl
		s.stale = true
	}
	return ctl
}

// dropController forgets a silent controller that holds nothing.
func (s *state) dropController(ctl *controller) {
	if ctl != nil && ctl.session == 0 && ctl.leased.count == 0 {
		delete(s.controllers, ctl.id)
		s.stale = true
	}
}

// controllerSaid handles what a controller says.
func (s *state) controllerSaid(id sessionID, m whisk.FactoryRequest) {
	if m, ok := m.(whisk.Register); ok {
		s.register(id, m)
		return
	}
	ctl := s.callers[id]
	if ctl == nil {
		s.hangUp(id, whisk.Errorf(whisk.Invalid, "a controller's first message must be its registration"))
		return
	}
	switch m := m.(type) {
	case whisk.Requisition:
		s.requisition(ctl, m)
	case whisk.Withdraw:
		s.withdraw(ctl, m)
	case whisk.StateReport:
		for _, use := range m.States {
			if c := s.containers[use.Container]; c != nil && c.lessee == ctl.id && c.condition.leased() {
				s.reported(c, use)
			} else if told := ctl.claims[use.Container]; told != nil {
				told.State = use.State
			}
		}
	case whisk.Release:
		if c := s.containers[m.Container]; c != nil && c.lessee == ctl.id && c.condition.leased() {
			s.released(c, m.Reason)
		} else {
			s.disclaim(ctl.claims[m.Container])
		}
	case whisk.KeepAlive:
		s.lead(m.Epoch)
	}
}

// register begins a controller's session: its requisitions start anew, and what
// it holds is compared with the books.
func (s *state) register(id sessionID, m whisk.Register) {
	if !s.lead(m.Epoch) {
		return
	}
	if s.callers[id] != nil || m.Controller == "" {
		s.hangUp(id, whisk.Errorf(whisk.Invalid, "a controller registers once in a session, with its name"))
		return
	}
	ctl := s.controllerFor(m.Controller)
	if id < ctl.newest {
		s.hangUp(id, whisk.Errorf(whisk.Conflict, "a later session registered controller %s", ctl.id))
		return
	}
	if ctl.session != 0 {
		replaced := whisk.Errorf(whisk.Conflict, "another session registered controller %s", ctl.id)
		s.hangUp(ctl.session, replaced)
		s.controllerSilent(ctl, replaced)
		ctl = s.controllerFor(m.Controller)
	}
	ctl.session, ctl.newest, ctl.peers = id, id, m.Peers
	s.callers[id] = ctl
	s.introduce(ctl)
	s.log.Info("controller registered", "controller", ctl.id, "containers", len(m.Held))
	s.compare(ctl, m)
}

// compare brings the books and what a controller says it holds together.
func (s *state) compare(ctl *controller, m whisk.Register) {
	listed := make(map[whisk.ContainerID]bool, len(m.Held))
	for _, h := range m.Held {
		listed[h.Container] = true
		c := s.containers[h.Container]
		switch {
		case c == nil && s.nodes[h.Node] != nil && s.nodes[h.Node].session != 0:
			// Its agent has reported, without it.
			s.tell(ctl, whisk.Lost{Container: h.Container, Reason: "its agent does not have it any more"})
		case c == nil:
			s.claim(ctl, h)
		case c.lessee == ctl.id && c.condition.leased():
			s.held(ctl, c, h)
		case c.heir != ctl.id || c.condition != granting:
			s.tell(ctl, whisk.Lost{Container: c.ID, Reason: "it is not leased to this controller"})
		}
	}
	for c := range ctl.leased.all() {
		if !listed[c.ID] {
			// An allocation or a release was lost with the last session.
			s.released(c, whisk.ReleaseFailed)
		}
	}
}

// held notes what a controller says of a container that it does hold.
func (s *state) held(ctl *controller, c *container, h whisk.HeldContainer) {
	s.relink(c, func() {
		if h.Key != (whisk.ActionKey{}) {
			s.setAction(c, s.actionFor(h.Key, c.Spec))
		}
		c.concurrency = max(1, h.Concurrency)
	})
	if c.action != nil && h.Instances > 0 {
		s.limit(c.action.quota, h.Instances)
	}
	s.reported(c, whisk.ContainerUse{Container: c.ID, State: h.State, Since: s.now})
	s.touch(c.node)
}

// reported follows a controller's report of a container that it holds.
func (s *state) reported(c *container, use whisk.ContainerUse) {
	c.redirected = 0
	switch {
	case use.State == whisk.Busy && (c.condition == recalled || c.condition == evicting):
		s.answeredBusy(c)
	case use.State == whisk.Busy && c.condition == free:
		c.since = s.now
		s.move(c, worked)
	case use.State == whisk.Free && c.condition == busy:
		stamp(c, s.now, use.Since)
		c.sheltered = s.shelters(c)
		s.move(c, rested)
		s.offer(c)
	}
}

// stamp notes when a container was last used; a controller's clock may be ahead.
func stamp(c *container, now, at time.Time) {
	if at.IsZero() || at.After(now) {
		at = now
	}
	c.since = at
}

// answeredBusy is for a container that we asked back, and that is in use again.
func (s *state) answeredBusy(c *container) {
	r := c.purpose
	c.since = s.now
	s.move(c, worked)
	s.unbind(c)
	if r != nil && !r.ended {
		s.serve(r)
	}
}

// released takes a container back from its lessee.
func (s *state) released(c *container, reason whisk.ReleaseReason) {
	switch {
	case reason == whisk.ReleaseUnused && c.action != nil:
		// It was never initialised, whatever it was allocated for.
		s.relink(c, func() { s.setAction(c, nil) })
	case reason != whisk.ReleaseUnused && c.action == nil:
		reason = whisk.ReleaseFailed // it holds code, and we do not know whose
	}
	if c.action != nil && c.action.quota.overfull() {
		reason = whisk.ReleaseStale // there are too many
	}
	if reason != whisk.ReleaseFailed && reason != whisk.ReleaseStale {
		if r := s.successor(c); r != nil {
			s.grant(c, r)
			return
		}
	}
	r := c.purpose
	switch policy.Released(reason, c.action != nil, s.pressed(c)) {
	case policy.Destroy:
		s.remove(c)
	default:
		s.giveBack(c)
	}
	if r != nil && !r.ended {
		s.serve(r)
	}
}

// successor returns who gets a clean container that was given back: the
// requisition that it was asked back for, or else one that waits.
func (s *state) successor(c *container) *requisition {
	if !c.node.usable() {
		return nil
	}
	if s.owed(c) {
		// Its memory is promised. If to the same action, it may as well stay.
		if a := c.action; a != nil && a.plans.count > 0 && a.plans.first().node == c.node {
			p := a.plans.first()
			s.cancel(p)
			return p.purpose
		}
		return nil
	}
	if r := c.purpose; r != nil && (c.action == nil && r.action.spec == c.Spec || c.action == r.action) {
		return r
	}
	if c.action != nil {
		return s.wanting(c.action, "")
	}
	return s.wantingFresh(c.pool)
}

// retire decides again about a container that was kept warm in vain.
func (s *state) retire(c *container) {
	if s.settled {
		s.remove(c)
	}
}

// owed reports whether the memory of a container that comes back was promised.
func (s *state) owed(c *container) bool {
	short := c.node.short()
	if c.condition == evicting || c.condition == draining {
		short += c.Spec.Memory // it counts as on its way out
	}
	return short > 0
}

// pressed reports whether a container that comes back must make room: its
// memory was promised, or a requisition waits that could have it, or its node is
// to be emptied.
func (s *state) pressed(c *container) bool {
	return c.node.closed || s.owed(c) || len(s.sizes) > 0 && c.node.open() && s.sizes[0] <= c.node.memory
}

// controllerSilent is for a controller whose session ended. What it asked for
// is forgotten. What it holds stays leased until the agents say otherwise, and
// counts as busy. The error is nil if the controller closed the session.
func (s *state) controllerSilent(ctl *controller, err error) {
	s.departed("controller", string(ctl.id), ctl.leased.count, err)
	delete(s.callers, ctl.session)
	var orphans []*requisition // others', that waited for what it was asked to give back
	for c := range ctl.leased.all() {
		if r := c.purpose; r != nil && r.caller != ctl {
			orphans = append(orphans, r)
		}
		s.unbind(c)
		if c.condition != busy {
			s.move(c, worked)
		}
	}
	holding := slices.Collect(ctl.leased.all())
	for _, c := range holding {
		s.unlink(c)
	}
	ctl.session = 0
	for _, c := range holding {
		s.link(c)
		s.touch(c.node)
	}
	for _, id := range slices.Sorted(maps.Keys(ctl.requisitions)) {
		s.end(ctl.requisitions[id])
	}
	for _, id := range slices.Sorted(maps.Keys(ctl.claims)) {
		s.disclaim(ctl.claims[id])
	}
	for _, r := range orphans {
		if !r.ended {
			s.serve(r)
		}
	}
	s.dropController(ctl)
}
