// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"time"

	"github.com/whirl-faas/whirl/scheduler/policy"
	"github.com/whirl-faas/whirl/whisk"
)

// A container is left at work for worth times as long as it took to make before
// it is drained for another action, so that the making takes a bounded part of
// a machine, also of a slow one. But not for longer than enough times FairAfter:
// the making may have been the download of an image.
const (
	worth  = 20
	enough = 5
)

// paidOff returns when a container has been there, since some moment, for as long
// as it is worth the making.
func (s *state) paidOff(c *container, since time.Time) time.Time {
	return since.Add(min(worth*c.took, enough*s.cfg.FairAfter))
}

// shelters returns until when a container that has become idle may stay; zero if
// whoever waits may have its place.
func (s *state) shelters(c *container) time.Time {
	until := s.paysOff(c)
	if s.spares(c) {
		if pause := s.now.Add(s.respite()); pause.After(until) {
			until = pause
		}
	}
	return until
}

// paysOff returns until when an idle container may stay to pay off. It may where there
// is something better to do than to make another in its place: the action that has most
// at work, or has been at it for longest, asks for more. Else a few calls to each of many
// actions would have a machine make containers and do little else.
func (s *state) paysOff(c *container) (until time.Time) {
	if c.made.IsZero() {
		return until
	}
	if until = s.paidOff(c, c.made); !until.After(s.now) {
		return time.Time{}
	}
	t := s.workers.top(nil)
	if t == nil {
		return time.Time{}
	}
	if hot := t.working.top(c.action); hot == nil || hot.waiting.count == 0 {
		return time.Time{}
	}
	return until
}

// spares reports whether an idle container may stay for a short pause: its tenant has no
// more with it than another has at work that asks for more, and that one would soon have to
// give the place back. Else who has short activations would lose its containers between them.
func (s *state) spares(c *container) bool {
	if c.action == nil {
		return false
	}
	t := c.action.tenant
	rich := s.workers.top(t)
	return rich != nil && rich.requisitions > 0 && rich.atWork >= t.atWork+t.sheltering
}

// shelter lists an idle container that may stay for now.
func (s *state) shelter(c *container) {
	c.node.sheltered.push(&c.byRest)
	if c.action != nil {
		t := c.action.tenant
		t.sheltered.push(&c.byTenant)
		t.sheltering += c.Spec.Memory
	}
}

// unshelter undoes shelter, except for what unlink does.
func (s *state) unshelter(c *container) {
	if c.byTenant.in != nil {
		c.byTenant.leave()
		c.action.tenant.sheltering -= c.Spec.Memory
	}
}

// expose lets others have the place of an idle container.
func (s *state) expose(c *container) {
	s.alarms.stop(&c.timer)
	s.relink(c, func() { c.sheltered = time.Time{} })
	s.touch(c.node)
}

// levy has a place that is kept for an idle container given up for a requisition: of its
// own tenant's containers for one that is only spared in a pause, or else for one of the
// tenant with the most at work, if that has more than its due beside the other, with all
// that it has sheltered. It reports whether there is one.
func (s *state) levy(r *requisition) bool {
	t, size := r.action.tenant, r.action.spec.Memory
	if s.levyOn(t, size, func(c *container) bool { return s.paysOff(c).IsZero() }) {
		return true
	}
	rich := s.workers.top(t)
	return rich != nil && s.levyOn(rich, size, func(c *container) bool {
		return policy.Owes(rich.atWork+rich.sheltering, c.Spec.Memory, t.stake(), size)
	})
}

// levyOn is levy on one tenant, for containers that may be asked for.
func (s *state) levyOn(t *tenant, size whisk.Bytes, may func(*container) bool) bool {
	looks := insistLooks
	for c := range t.sheltered.all() {
		if looks--; looks < 0 {
			break
		}
		if c.node.open() && c.Spec.Memory >= size && may(c) {
			s.expose(c)
			return true
		}
	}
	return false
}

// soon reports whether an idle container of at least that size can be asked for soon.
func (n *node) soon(size whisk.Bytes) bool {
	c := n.sheltered.first()
	return c != nil && c.Spec.Memory >= size
}
