// SPDX-License-Identifier: Apache-2.0

package scheduler

import "github.com/whirl-faas/whirl/whisk"

// claim is a container that a controller says it holds, and whose agent has not
// reported yet. When the agent reports, it becomes a lease or is refuted.
type claim struct {
	by *controller
	whisk.HeldContainer
	quota   *quota
	byNode  link[*claim] // in state.claims
	byQuota link[*claim] // in quota.claims
}

// claim takes a controller's word until the agent's comes.
func (s *state) claim(ctl *controller, h whisk.HeldContainer) {
	s.disclaim(ctl.claims[h.Container])
	told := &claim{by: ctl, HeldContainer: h, quota: s.quotaFor(h.Key)}
	told.byNode.value, told.byQuota.value = told, told
	ctl.claims[h.Container] = told
	here := s.claims[h.Node]
	if here == nil {
		here = new(list[*claim])
		s.claims[h.Node] = here
	}
	here.push(&told.byNode)
	told.quota.claims.push(&told.byQuota)
	if h.Instances > 0 {
		s.limit(told.quota, h.Instances)
	}
	s.review(told.quota)
}

// disclaim forgets a claim; nil is none.
func (s *state) disclaim(told *claim) {
	if told == nil {
		return
	}
	delete(told.by.claims, told.Container)
	told.byNode.leave()
	told.byQuota.leave()
	s.review(told.quota)
	s.dropQuota(told.quota)
	if here := s.claims[told.Node]; here.count == 0 {
		delete(s.claims, told.Node)
	}
}

// refute tells those who claim containers of a node, after its agent reported
// all there are, that they do not hold them.
func (s *state) refute(n *node) {
	here := s.claims[n.id]
	if here == nil {
		return
	}
	for told := range here.all() {
		s.tell(told.by, whisk.Lost{Container: told.Container, Reason: "its agent knows of no such lease"})
		s.disclaim(told)
	}
}

// listing returns the container as its lessee would list it.
func (c *container) listing() whisk.HeldContainer {
	h := whisk.HeldContainer{Container: c.ID, Node: c.Node, Concurrency: c.concurrency, State: whisk.Busy}
	if c.condition == free || c.condition == recalled || c.condition == evicting {
		h.State = whisk.Free
	}
	if c.action != nil {
		h.Key, h.Instances = c.action.key, c.action.quota.limit
	}
	return h
}
