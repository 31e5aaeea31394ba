// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"context"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Drain has a node emptied: nothing new is placed there, what nobody holds is
// removed, and what controllers hold is asked back, at once if it is idle and
// else when its work is done. It returns when that is ordered; the node is
// drained when its state in a [Snapshot] says so. Both Drain and [Undrain] are
// idempotent. The error is NotFound for a node that is not known.
//
// The order outlasts the agent's sessions and restarts, and the agent carries
// it to a scheduler that starts anew. Only if both start anew at the same time
// is it lost.
func (s *Scheduler) Drain(ctx context.Context, node whisk.NodeID) error {
	return s.order(ctx, node, true)
}

// Undrain takes a node into service again.
func (s *Scheduler) Undrain(ctx context.Context, node whisk.NodeID) error {
	return s.order(ctx, node, false)
}

func (s *Scheduler) order(ctx context.Context, node whisk.NodeID, drain bool) error {
	unknown := make(chan error, 1)
	err := s.call(ctx, func(loop *ownerLoop) {
		effects, err := loop.state.operate(time.Now(), node, drain)
		loop.carryOut(effects)
		unknown <- err
	})
	if err != nil {
		return err
	}
	return <-unknown
}

// operate carries an operator's order out and returns what is to be sent because
// of it, as [state.handle] does.
func (s *state) operate(now time.Time, node whisk.NodeID, drain bool) ([]effect, error) {
	n := s.nodes[node]
	if n == nil {
		return nil, whisk.Errorf(whisk.NotFound, "no node %q is known", node)
	}
	s.begin(now)
	if n.closed != drain {
		s.log.Info("operator's order", "node", n.id, "drain", drain)
		s.close(n, drain)
		s.command(n, whisk.DrainNode{Epoch: s.cfg.Epoch, Drain: drain})
		s.judge(n)
		for c := range n.containers.all() {
			s.offer(c)
		}
	}
	return s.finish(), nil
}

// close notes whether the node is to be empty, and relists what it hosts.
func (s *state) close(n *node, closed bool) {
	for c := range n.containers.all() {
		s.unlink(c)
	}
	n.closed = closed
	for c := range n.containers.all() {
		s.link(c)
	}
	n.show(s)
	s.touch(n)
}

// evacuate carries the emptying of a node on, if it is closed. What is under way
// for somebody still arrives, and goes when it did its work.
func (s *state) evacuate(n *node) {
	if !n.closed {
		return
	}
	for c := range n.containers.all() {
		ctl := s.controllers[c.lessee]
		asked := ctl != nil && ctl.session != 0
		switch c.condition {
		case creating:
			if c.purpose == nil {
				s.remove(c)
			}
		case prewarmed, kept, stray:
			if s.settled {
				s.remove(c)
			}
		case free:
			if asked {
				s.move(c, evict)
				s.tell(ctl, whisk.Reclaim{Container: c.ID})
			}
		case busy:
			if asked {
				s.move(c, drain)
				s.tell(ctl, whisk.Reclaim{Container: c.ID, Drain: true})
			}
		}
	}
}
