// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// How long a failing thing is left alone, doubled with each failure.
const (
	firstPause = time.Second
	lastPause  = time.Minute
)

// A node that erred gets new containers again only when it has made one, as
// OpenWhisk has an unhealthy invoker run a test action. The one that is tried
// is a stem cell, or else of the manifest's first default runtime: never what a
// user chose, or a bad image could keep a good node away from everybody. It is
// as good as any other prewarmed container if it comes about.

// trialMemory is that of a trial's container where the manifest has no stem cell.
const trialMemory = 128 * whisk.MB

// trialSpec returns what a trial makes; false if the manifest has nothing.
func trialSpec(m whisk.Manifest) (whisk.ContainerSpec, bool) {
	var specs []whisk.ContainerSpec
	for _, family := range m.Families {
		for _, runtime := range family.Runtimes {
			for _, cell := range runtime.StemCells {
				specs = append(specs, whisk.ContainerSpec{Kind: runtime.Kind, Memory: cell.Memory})
			}
		}
	}
	if len(specs) > 0 {
		return slices.MinFunc(specs, func(a, b whisk.ContainerSpec) int {
			return cmp.Or(cmp.Compare(a.Memory, b.Memory), cmp.Compare(a.Kind, b.Kind))
		}), true
	}
	for _, family := range m.Families {
		for _, runtime := range family.Runtimes {
			if runtime.Default {
				return whisk.ContainerSpec{Kind: runtime.Kind, Memory: trialMemory}, true
			}
		}
	}
	return whisk.ContainerSpec{}, false
}

// try has an unhealthy node make a container, if nobody says any more that
// something is wrong. With nothing to try that fits there, the pause must do.
func (s *state) try(n *node) {
	if n.state != whisk.NodeUnhealthy || n.trouble() != "" || n.trying {
		return
	}
	if n.tryAt.After(s.now) {
		s.alarms.set(&n.trial, n.tryAt)
		return
	}
	if s.trialSpec.Memory == 0 || s.trialSpec.Memory > n.memory {
		n.suspect = false
		s.judge(n)
		return
	}
	if n.creating >= s.cfg.CreationsPerNode { // what a former leader ordered
		s.alarms.set(&n.trial, s.now.Add(firstPause))
		return
	}
	if short := n.used + s.trialSpec.Memory - n.memory; short > 0 {
		// What nobody holds makes way. Controllers are asked only if somebody waits.
		room := n.removable(s)
		if len(s.sizes) == 0 {
			room = min(room, n.spare)
		}
		s.evictFor(n, min(short-n.leaving, room))
		s.alarms.set(&n.trial, s.now.Add(firstPause))
		return
	}
	n.trying = true
	s.figures.trials++
	label := clean("trial_" + s.trialSpec.Kind)
	c := s.adopt(n, whisk.Container{ID: s.ids.next(label), Spec: s.trialSpec})
	c.trial = true
	s.launch(c, label)
}

// tried notes that a trial ended, one way or the other.
func (c *container) tried() {
	if c.trial {
		c.trial, c.node.trying = false, false
	}
}

// Health asks the health route of a node's agent, at a host:port. It returns nil if all is
// well; an error of kind Timeout or Unavailable if the agent did not answer;
// and any other error if it answered that its engine errs. It is called for
// each connected node that has one now and then, for several at once, and must return when
// ctx ends.
type Health func(ctx context.Context, node whisk.NodeID, at string) error

// checkUp orders that a node's health route be asked.
func (s *state) checkUp(n *node) {
	if s.checks && n.session != 0 && n.probes != "" {
		s.out = append(s.out, effect{session: n.session, check: n})
	}
}

// checked is for a health route's answer. It is of no interest if the agent's
// session is another by now: that one asks for itself.
func (s *state) checked(e checkedUp) {
	n := s.agents[e.session]
	if n == nil {
		return
	}
	switch {
	case e.wrong == nil:
		n.misses, n.ailment = 0, ""
	case e.wrong.Kind == whisk.Timeout || e.wrong.Kind == whisk.Unavailable:
		n.misses++
	default:
		n.misses, n.ailment, n.suspect = 0, e.wrong.Text, true
	}
	s.alarms.set(&n.checkup, s.now.Add(s.cfg.HealthEvery))
	s.judge(n)
}
