// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"fmt"
	"slices"

	"github.com/whirl-faas/whirl/whisk"
)

// checkBooks recomputes from the containers alone what the state keeps in sums
// and indexes, and returns the first difference.
func (s *state) checkBooks() error {
	if err := s.checkOrder(); err != nil {
		return err
	}
	var used, total whisk.Bytes
	for _, n := range s.order {
		if err := s.checkNode(n); err != nil {
			return fmt.Errorf("node %s: %w", n.id, err)
		}
		if n.awaited {
			return fmt.Errorf("node %s is kept for a turn while none is taken", n.id)
		}
		used += n.used
		total += n.memory
	}
	if used != s.used || total != s.memory {
		return fmt.Errorf("cluster uses %s of %s, booked %s of %s", used, total, s.used, s.memory)
	}
	for _, c := range s.containers {
		if err := s.checkContainer(c); err != nil {
			return fmt.Errorf("container %s, %s: %w", c.ID, c.condition, err)
		}
	}
	if err := s.checkClaims(); err != nil {
		return err
	}
	if err := s.checkQuotas(); err != nil {
		return err
	}
	if err := s.checkTenants(); err != nil {
		return err
	}
	return s.checkDemand()
}

// checkTenants counts what tenants have anew, and looks at the order of the lines.
func (s *state) checkTenants() error {
	sums := map[*tenant]*tenant{}
	for _, t := range s.tenants {
		sums[t] = &tenant{name: t.name}
	}
	for _, a := range s.actions {
		sum := sums[a.tenant]
		if sum == nil || a.tenant.name != a.key.Namespace {
			return fmt.Errorf("action %s of %s: its tenant is not in the books", a.key.Action, a.key.Namespace)
		}
		sum.actions++
		sum.atWork += a.atWork
		sum.coming += whisk.Bytes(a.pending) * a.spec.Memory
	}
	for _, ctl := range s.controllers {
		for _, r := range ctl.requisitions {
			sums[r.action.tenant].requisitions++
		}
	}
	for _, c := range s.containers {
		if c.byRest.in == &c.node.sheltered && c.action != nil {
			sum := sums[c.action.tenant]
			sum.sheltering += c.Spec.Memory
			sum.sheltered.count++
		}
	}
	for t, sum := range sums {
		if sum.sheltering != t.sheltering || sum.sheltered.count != t.sheltered.count {
			return fmt.Errorf("tenant %s shelters %d containers of %s, booked %d of %s", t.name, sum.sheltered.count, sum.sheltering, t.sheltered.count, t.sheltering)
		}
		if sum.actions != t.actions || sum.requisitions != t.requisitions || sum.atWork != t.atWork || sum.coming != t.coming || t.actions == 0 {
			return fmt.Errorf("tenant %s is %+v, booked %+v", t.name, *sum, *t)
		}
		if (t.atWork > 0) != (t.rank > 0) || (len(t.working) > 0) != (t.rank > 0) {
			return fmt.Errorf("tenant %s: at work %s in %d actions, rank %d", t.name, t.atWork, len(t.working), t.rank)
		}
		if err := isHeap(t.working); err != nil {
			return fmt.Errorf("actions at work of %s: %w", t.name, err)
		}
	}
	if err := isHeap(s.workers); err != nil {
		return fmt.Errorf("tenants at work: %w", err)
	}
	for _, size := range s.sizes {
		if err := inOrder(s.lines[size]); err != nil {
			return err
		}
	}
	for _, p := range s.pools {
		if err := inOrder(&p.waiting); err != nil {
			return err
		}
	}
	return inOrder(&s.impatient)
}

// isHeap looks at the places in a heap.
func isHeap[T ranked[T]](h ranking[T]) error {
	for i, e := range h {
		if *e.place() != i+1 || i > 0 && e.before(h[(i-1)/2]) {
			return fmt.Errorf("the one in place %d of %d has place %d, or belongs further up", i+1, len(h), *e.place())
		}
	}
	return nil
}

func inOrder[T any](l *line[T]) error {
	count := 0
	for i, q := range l.shares {
		count += q.waiting.count
		if q.rank != i+1 || q.waiting.count == 0 || i > 0 && q.before(l.shares[(i-1)/2]) {
			return fmt.Errorf("%s's %d have rank %d of %d in a line, and are in %d", q.tenant.name, q.waiting.count, q.rank, len(l.shares), i+1)
		}
	}
	if count != l.count {
		return fmt.Errorf("%d in a line, booked %d", count, l.count)
	}
	return nil
}

// checkOrder looks at the places of the nodes, and at what is known of all together.
func (s *state) checkOrder() error {
	if len(s.order) != len(s.nodes) || len(s.view) != len(s.nodes) {
		return fmt.Errorf("%d nodes, %d in order, %d in view", len(s.nodes), len(s.order), len(s.view))
	}
	open, largest := 0, whisk.Bytes(0)
	for i, n := range s.order {
		if s.nodes[n.id] != n || n.place != i || s.view[i].ID != n.id || i > 0 && s.order[i-1].id >= n.id {
			return fmt.Errorf("node %s has place %d, and is in %d", n.id, n.place, i)
		}
		largest = max(largest, n.memory)
		if n.open() {
			open++
		}
	}
	if open != s.open || largest != s.largest {
		return fmt.Errorf("%d nodes are open, the largest has %s; booked are %d and %s", open, largest, s.open, s.largest)
	}
	return nil
}

func (s *state) checkNode(n *node) error {
	var used, leaving, promised, atRest whisk.Bytes
	var tally [conditions]int
	for c := range n.containers.all() {
		tally[c.condition]++
		used += c.Spec.Memory
		if c.condition == removing || c.condition == evicting || c.condition == draining {
			leaving += c.Spec.Memory
		}
		if c.byRest.in != nil && c.byRest.in != &n.sheltered {
			atRest += c.Spec.Memory
		}
	}
	for p := range n.plans.all() {
		promised += p.purpose.action.spec.Memory
	}
	switch {
	case used != n.used || leaving != n.leaving || promised != n.promised || atRest != n.spare+n.idle:
		return fmt.Errorf("used %s leaving %s promised %s at rest %s, booked %s %s %s %s", used, leaving, promised, atRest, n.used, n.leaving, n.promised, n.spare+n.idle)
	case used > n.memory:
		return fmt.Errorf("oversold: %s of %s", used, n.memory)
	case tally != n.tally || tally[creating] != n.creating || tally[draining] != n.draining:
		return fmt.Errorf("tally %v, booked %v", tally, n.tally)
	case n.creating > s.cfg.CreationsPerNode:
		return fmt.Errorf("%d creations at once", n.creating)
	case n.state != whisk.NodeUp && n.plans.count > 0:
		return fmt.Errorf("plans while %s", n.state)
	case n.state == whisk.NodeDown && n.containers.count > 0:
		return fmt.Errorf("%d containers while down", n.containers.count)
	case n.short() > 0 && n.draining == 0:
		return fmt.Errorf("promised %s too much", n.short())
	}
	for class := range n.resting {
		var last *container
		for c := range n.resting[class].all() {
			if last != nil && c.since.Before(last.since) {
				return fmt.Errorf("resting containers are out of order")
			}
			last = c
		}
	}
	// The facts must have been drawn their conclusion from.
	if to, _ := stand(n.state, n.sign()); to != n.state {
		return fmt.Errorf("is %s, but %s", n.state, n.sign())
	}
	if n.closed && n.session != 0 {
		if left := tally[prewarmed] + tally[kept] + tally[stray]; left > 0 && s.settled {
			return fmt.Errorf("to be emptied, but hosts %d that nobody holds", left)
		}
	}
	trials := 0
	for c := range n.containers.all() {
		if c.trial {
			trials++
		}
	}
	if trials > 1 || (trials == 1) != n.trying {
		return fmt.Errorf("%d trials, trying %t", trials, n.trying)
	}
	shown := s.view[n.place]
	n.show(s)
	if shown != s.view[n.place] {
		return fmt.Errorf("shown %+v, is %+v", shown, s.view[n.place])
	}
	return nil
}

func (s *state) checkContainer(c *container) error {
	reachable := c.node.usable()
	ctl := s.controllers[c.lessee]
	asked := reachable && ctl != nil && ctl.session != 0
	switch {
	case s.nodes[c.node.id] != c.node:
		return fmt.Errorf("its node is not in the books")
	case c.condition.leased() != (c.byHolder.in != nil):
		return fmt.Errorf("leased %t, in a holder's list %t", c.condition.leased(), c.byHolder.in != nil)
	case c.condition.leased() && c.lessee == "":
		return fmt.Errorf("leased to nobody")
	case (c.purpose != nil) != (c.byPurpose.in != nil):
		return fmt.Errorf("purpose and list differ")
	case c.purpose != nil && (c.purpose.ended || c.node.session == 0):
		return fmt.Errorf("bound to an ended requisition or on a silent node")
	case c.purpose != nil && c.condition != creating && c.condition != granting && c.condition != recalled:
		return fmt.Errorf("bound but not under way")
	case (c.condition == kept && reachable) != (c.action != nil && c.byAction.in == &c.action.kept):
		return fmt.Errorf("kept and list differ")
	case (c.condition == prewarmed && reachable) != (c.byPool.in == &c.pool.ready):
		return fmt.Errorf("ready and list differ")
	case (c.condition == creating && reachable && c.purpose == nil && !c.trial) != (c.byPool.in == &c.pool.coming):
		return fmt.Errorf("coming and list differ")
	case c.action != nil && (c.condition == free && asked) != (c.byAction.in == &c.action.free):
		return fmt.Errorf("free and list differ")
	case c.action != nil && (c.condition == busy && asked) != (c.byAction.in == &c.action.busy):
		return fmt.Errorf("busy and list differ")
	case c.action != nil && s.actions[c.action.work] != c.action:
		return fmt.Errorf("its action is not in the books")
	case s.pools[c.Spec] != c.pool:
		return fmt.Errorf("its pool is not in the books")
	}
	return nil
}

// checkClaims holds the controllers' claims to the nodes' lists of them.
func (s *state) checkClaims() error {
	claims := 0
	for id, here := range s.claims {
		if here.count == 0 {
			return fmt.Errorf("an empty list of claims on %s", id)
		}
		claims += here.count
		for told := range here.all() {
			if told.by.claims[told.Container] != told || told.by.session == 0 || told.Node != id {
				return fmt.Errorf("%s's claim of %s is in one book only", told.by.id, told.Container)
			}
		}
	}
	for _, ctl := range s.controllers {
		claims -= len(ctl.claims)
	}
	if claims != 0 {
		return fmt.Errorf("%d claims too many on nodes", claims)
	}
	return nil
}

// checkQuotas counts what counts for a quota anew.
func (s *state) checkQuotas() error {
	instances, removed, asked := map[*action]int{}, map[*action]int{}, map[*action]int{}
	for _, c := range s.containers {
		if a := c.member(); a != nil {
			instances[a]++
		}
		switch {
		case c.action == nil:
		case c.condition == removing:
			removed[c.action]++
		case c.condition == evicting || c.condition == draining:
			asked[c.action]++
		}
	}
	actions, claims := 0, 0
	for _, a := range s.actions {
		if count := instances[a] + a.plans.count; count != a.instances || removed[a] != a.removing || asked[a] != a.asked {
			return fmt.Errorf("action %s: %d instances, %d removing, %d asked, booked %d, %d and %d",
				a.key.Action, count, removed[a], asked[a], a.instances, a.removing, a.asked)
		}
		if !slices.Contains(a.quota.actions, a) {
			return fmt.Errorf("action %s: its quota does not know it", a.key.Action)
		}
	}
	for key, q := range s.quotas {
		actions += len(q.actions)
		claims += q.claims.count
		if q.key != key || q.noted || len(q.actions)+q.claims.count == 0 {
			return fmt.Errorf("quota of %s: %+v under %s", q.key.Action, q, key.Action)
		}
		for told := range q.claims.all() {
			if told.Key != key || told.by.claims[told.Container] != told {
				return fmt.Errorf("quota of %s: a claim of %s", key.Action, told.Key.Action)
			}
		}
	}
	for _, ctl := range s.controllers {
		claims -= len(ctl.claims)
	}
	if actions != len(s.actions) || claims != 0 {
		return fmt.Errorf("quotas of %d actions, there are %d; %d claims too many", actions, len(s.actions), claims)
	}
	return nil
}

func (s *state) checkDemand() error {
	standing, plans := 0, 0
	pending := map[*action]int{}
	for _, ctl := range s.controllers {
		for _, r := range ctl.requisitions {
			standing++
			plans += r.plans.count
			pending[r.action] += r.pending
			if r.pending != r.bound.count+r.plans.count {
				return fmt.Errorf("requisition %d: pending %d, bound %d, planned %d", r.id, r.pending, r.bound.count, r.plans.count)
			}
			if (r.missing() > 0) != (r.inWaiting.in != nil) {
				return fmt.Errorf("requisition %d: missing %d, waiting %t", r.id, r.missing(), r.inWaiting.in != nil)
			}
			if r.outstanding <= 0 || r.ended {
				return fmt.Errorf("requisition %d: stands with nothing outstanding", r.id)
			}
			if s.actions[r.action.work] != r.action {
				return fmt.Errorf("requisition %d: its action is not in the books", r.id)
			}
		}
	}
	if standing != s.requisitions || plans != s.plans {
		return fmt.Errorf("%d requisitions and %d plans, booked %d and %d", standing, plans, s.requisitions, s.plans)
	}
	for _, a := range s.actions {
		if pending[a] != a.pending {
			return fmt.Errorf("action %s: %d containers under way, booked %d", a.key.Action, pending[a], a.pending)
		}
		if waits := a.waiting.count > 0 && !s.full(a); waits != (a.inLine.in != nil) || waits != (a.inPool.in != nil) {
			return fmt.Errorf("action %s: waiting %d, in line %t", a.key.Action, a.waiting.count, a.inLine.in != nil)
		}
		if a.waiting.count > 0 && a.kept.count > 0 {
			return fmt.Errorf("action %s: %d wait, and %d are kept", a.key.Action, a.waiting.count, a.kept.count)
		}
		var atWork whisk.Bytes
		for c := range a.busy.all() {
			atWork += c.Spec.Memory
		}
		if a.idle < a.free.count || a.idle > a.leases {
			return fmt.Errorf("action %s: %d idle of %d leases, %d listed", a.key.Action, a.idle, a.leases, a.free.count)
		}
		if atWork != a.atWork || (atWork > 0) != (a.rank > 0) {
			return fmt.Errorf("action %s: at work %s, booked %s, rank %d", a.key.Action, atWork, a.atWork, a.rank)
		}
	}
	if len(s.sizes) != len(s.lines) || !slices.IsSorted(s.sizes) {
		return fmt.Errorf("sizes %v of %d lines", s.sizes, len(s.lines))
	}
	return nil
}

// checkRest returns an error if a requisition waits although something that
// exists could serve it. It holds once all messages have been handled.
func (s *state) checkRest() error {
	for _, size := range s.sizes {
		for a := range s.lines[size].all {
			r := a.waiting.first()
			for c := range a.free.all() {
				if c.lessee != r.caller.id {
					return fmt.Errorf("%s waits while %s is free elsewhere", a.key.Action, c.ID)
				}
			}
			if a.kept.count > 0 || a.pool.ready.count > 0 || a.pool.coming.count > 0 {
				return fmt.Errorf("%s waits while %d are kept, %d ready, %d coming", a.key.Action, a.kept.count, a.pool.ready.count, a.pool.coming.count)
			}
			for _, n := range s.view {
				if n.Open && n.Free+n.Spare+n.Idle >= size {
					return fmt.Errorf("%s of %s waits while there is room on %+v", a.key.Action, size, n)
				}
			}
		}
	}
	return nil
}
