// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"slices"

	"github.com/whirl-faas/whirl/whisk"
)

// A node's record is the proxy of its agent. What is known of the node comes
// from its session, from what the agent reports, from its health route where
// one is asked, from how creations end there, and from operators. Each of these
// changes a fact and then has [state.judge] draw the conclusion, so that no
// order of them can lead astray.
//
// Only new containers are kept away from a node that is not up. What runs there
// runs on: its lessees use it, and others get it if its agent has a session.

// missesBorne is how many questions in a row a health route may leave
// unanswered before its agent counts as unresponsive.
const missesBorne = 2

// sign sums up what is known of the node.
func (n *node) sign() sign {
	switch {
	case n.session == 0 && n.abandoned:
		return missing
	case n.session == 0 || n.misses >= missesBorne:
		return silent
	case n.closed && n.containers.count == 0 && (n.state == whisk.NodeDraining || n.state == whisk.NodeDrained):
		return emptied
	case n.closed:
		return closing
	case n.trouble() != "" || n.suspect:
		return ailing
	}
	return well
}

// trouble says what is wrong with the node now, "" if nothing is known to be.
func (n *node) trouble() string {
	if n.problem != "" {
		return n.problem
	}
	return n.ailment
}

// open reports whether new containers may be placed on the node.
func (n *node) open() bool { return n.state == whisk.NodeUp && n.session != 0 && n.memory > 0 }

// usable reports whether the node's containers may be given to somebody.
func (n *node) usable() bool { return n.session != 0 && !n.closed }

// judge brings the node into the state that the facts call for, and does what
// follows. It is called after each change of a fact.
func (s *state) judge(n *node) {
	for {
		to, do := stand(n.state, n.sign())
		if to == n.state {
			break
		}
		s.log.Info("node state changed", "node", n.id, "from", n.state.String(), "to", to.String(), "problem", n.reason())
		n.state, n.since = to, s.now
		s.stale = true
		n.show(s)
		s.touch(n)
		switch do {
		case enlist:
			n.faults, n.pause = 0, 0
			s.recount()
		case withdraw:
			for p := range n.plans.all() {
				s.cancel(p)
			}
			s.recount()
		case bury:
			s.bury(n)
		}
	}
	s.try(n)
}

// reason says why the node is not up, for operators.
func (n *node) reason() string {
	if trouble := n.trouble(); trouble != "" || !n.suspect {
		return trouble
	}
	return n.fault
}

// faulted notes a creation that failed by the node's fault.
func (s *state) faulted(n *node, why string) {
	n.faults++
	n.fault = why
	if n.faults >= s.cfg.Faults || n.state == whisk.NodeUnhealthy {
		n.suspect = true
		n.pause = min(max(2*n.pause, firstPause), lastPause)
		n.tryAt = s.now.Add(n.pause)
	}
	s.judge(n)
}

// proved notes a creation that worked: whatever was wrong is so no more, unless
// somebody says that it is.
func (s *state) proved(n *node) {
	n.faults = 0
	if n.suspect && n.trouble() == "" {
		n.suspect = false
		s.judge(n)
	}
}

// bury gives up what a node hosts whose agent did not come back. A lease is
// between its holder and the agent, though, who may well hear each other: what
// a controller holds it goes on to hold, and it is a mere claim here until
// the agent reports.
func (s *state) bury(n *node) {
	s.log.Warn("node given up", "node", n.id, "containers", n.containers.count)
	for c := range n.containers.all() {
		ctl := s.controllers[c.lessee]
		if c.condition.leased() && ctl != nil && ctl.session != 0 {
			s.claim(ctl, c.listing())
			s.move(c, vanished)
			continue
		}
		s.lost(c, "its node is gone")
	}
	s.resize(n, 0)
	s.rejectMisfits()
}

// graceOver is for a node that has been silent for a while: it is given up, and
// in the end forgotten. Until then it keeps its place among the nodes, so that
// the others' actions keep their homes.
func (s *state) graceOver(n *node) {
	if n.state != whisk.NodeDown {
		n.abandoned = true
		s.alarms.set(&n.grace, s.now.Add(s.cfg.ForgetAfter))
		s.judge(n)
		return
	}
	s.log.Info("node forgotten", "node", n.id)
	s.alarms.stop(&n.trial)
	delete(s.nodes, n.id)
	s.touched = slices.DeleteFunc(s.touched, func(other *node) bool { return other == n })
	s.strike(n)
	s.stale = true
}
