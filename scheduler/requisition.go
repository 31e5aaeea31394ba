// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"time"

	"github.com/whirl-faas/whirl/scheduler/policy"
	"github.com/whirl-faas/whirl/whisk"
)

// The texts of rejections are OpenWhisk's where it has one.
const (
	provisionFailed = "Failed to provision resources to run the action."
	tooManyWaiting  = "The platform has too many actions waiting for a container."
)

// mostSlots is the most that a requisition, or a container, may have.
const mostSlots = 1 << 20

// requisition is one that stands: slots are outstanding, and it was not
// rejected. Containers that are under way for it are bound to it; if they and
// the plans do not cover what is outstanding, it waits.
type requisition struct {
	id          whisk.RequisitionID
	caller      *controller
	action      *action
	label       string
	concurrency int
	own         bool           // not to be redirected
	outstanding int            // slots
	pending     int            // containers bound or planned, of concurrency slots each
	avoid       []whisk.NodeID // where a creation failed by the node's fault, once for each
	arrival     uint64
	arrived     time.Time

	bound       list[*container]
	plans       list[*plan]
	inWaiting   link[*requisition] // in action.waiting
	inImpatient link[*requisition] // in state.impatient
	insisted    uint64             // its turn there
	deadline    alarm
	patience    alarm      // it has waited long enough for others to be asked
	shared      *container // of the action, drained elsewhere for this one; nil if none was
	ended       bool
}

// missing returns how many slots nothing is under way for.
func (r *requisition) missing() int { return r.outstanding - r.pending*r.concurrency }

// expect notes that so many more containers are under way.
func (r *requisition) expect(containers int) {
	a := r.action
	r.pending += containers
	a.pending += containers
	a.tenant.coming += whisk.Bytes(containers) * a.spec.Memory
	a.tenant.shift()
}

// requisition takes one in, serves it from what is there, and lets it wait for the rest.
func (s *state) requisition(ctl *controller, m whisk.Requisition) {
	reject := func(reason whisk.RejectReason, text string, retry time.Duration) {
		s.figures.rejections[reason]++
		s.tell(ctl, whisk.Rejection{Requisition: m.ID, Reason: reason, Message: text, RetryAfter: retry})
	}
	switch {
	case m.Count < 1:
		s.log.Warn("requisition for nothing ignored", "controller", ctl.id, "requisition", m.ID)
		return
	case ctl.requisitions[m.ID] != nil:
		s.log.Warn("requisition sent twice ignored", "controller", ctl.id, "requisition", m.ID)
		return
	case m.Count > mostSlots || m.Concurrency > mostSlots || m.Instances < 0:
		s.hangUp(ctl.session, whisk.Errorf(whisk.Invalid, "requisition %d for %d slots, %d in each container, of %d at most", m.ID, m.Count, m.Concurrency, m.Instances))
		return
	case m.Spec.Memory <= 0:
		reject(whisk.StartFailed, provisionFailed, 0)
		return
	case s.misfit(m.Spec.Memory):
		reject(whisk.NeverFits, provisionFailed, 0)
		return
	case !s.admits(m.Key.Namespace):
		reject(whisk.Overloaded, tooManyWaiting, s.cfg.RetryAfter)
		return
	}
	s.take(ctl, m)
}

// admits reports whether one more requisition of a namespace may stand.
func (s *state) admits(namespace string) bool {
	own := 0
	if t := s.tenants[namespace]; t != nil {
		own = t.requisitions
	}
	return policy.Admits(own, s.requisitions, s.cfg.MaxWaiting)
}

// take puts a requisition into the books and serves what can be served.
func (s *state) take(ctl *controller, m whisk.Requisition) {
	s.arrivals++
	r := &requisition{
		id: m.ID, caller: ctl, action: s.actionFor(m.Key, m.Spec), label: m.Label,
		concurrency: max(1, m.Concurrency), own: m.Own, outstanding: m.Count, arrival: s.arrivals, arrived: s.now,
	}
	r.inWaiting.value, r.inImpatient.value = r, r
	r.deadline.ring = func() { s.reject(r, whisk.NoCapacity, provisionFailed, s.cfg.RetryAfter) }
	r.patience.ring = func() { s.insist(r) }
	r.action.members++
	s.limit(r.action.quota, m.Instances)
	r.action.tenant.requisitions++
	ctl.requisitions[m.ID] = r
	s.requisitions++
	s.alarms.set(&r.deadline, m.Deadline)
	if a := r.action; a.waiting.count == 0 && a.plans.count == 0 {
		a.turn = s.nextTurn() // an old turn would let it pass those who wait
	}
	s.reline(r)
	s.serve(r)
}

// reline puts a requisition among the waiting ones, or takes it out, as its
// numbers demand.
func (s *state) reline(r *requisition) {
	a := r.action
	waits := !r.ended && r.missing() > 0
	switch {
	case waits && r.inWaiting.in == nil:
		s.hunger(a)
		a.waiting.pushOrdered(&r.inWaiting, func(other *requisition) bool { return other.arrival > r.arrival })
		if r.patience.place == 0 {
			s.alarms.set(&r.patience, a.hungry.Add(s.cfg.FairAfter))
		}
	case !waits && r.inWaiting.in != nil:
		r.inWaiting.leave()
		if a.waiting.count == 0 {
			a.sated = s.now
		}
	}
	s.queue(a)
}

// withdraw takes back slots.
func (s *state) withdraw(ctl *controller, m whisk.Withdraw) {
	r := ctl.requisitions[m.ID]
	if r == nil || m.Count < 1 {
		return
	}
	s.settleSlots(r, min(m.Count, r.outstanding))
}

// settleSlots counts slots that need nothing any more, and frees what is under
// way for them.
func (s *state) settleSlots(r *requisition, slots int) {
	r.outstanding -= slots
	if r.outstanding <= 0 {
		s.end(r)
		return
	}
	for r.missing() <= -r.concurrency {
		// What has cost the least so far goes first.
		if p := r.plans.last(); p != nil {
			s.cancel(p)
		} else if c := r.bound.last(); c != nil {
			s.unbind(c)
			s.offer(c)
		} else {
			break
		}
	}
	s.reline(r)
}

// end forgets a requisition. What was under way for it serves others.
func (s *state) end(r *requisition) {
	r.ended = true
	r.outstanding = 0
	s.alarms.stop(&r.deadline)
	s.alarms.stop(&r.patience)
	s.relent(r)
	delete(r.caller.requisitions, r.id)
	s.requisitions--
	r.action.tenant.requisitions--
	for p := range r.plans.all() {
		s.cancel(p)
	}
	s.reline(r)
	for c := range r.bound.all() {
		s.unbind(c)
		s.offer(c)
	}
	r.action.members--
	s.dropAction(r.action)
}

// reject ends a requisition with a reason.
func (s *state) reject(r *requisition, reason whisk.RejectReason, text string, retry time.Duration) {
	s.log.Debug("requisition rejected", "controller", r.caller.id, "requisition", r.id, "reason", reason.String())
	s.figures.rejections[reason]++
	s.tell(r.caller, whisk.Rejection{Requisition: r.id, Reason: reason, Message: text, RetryAfter: retry})
	s.end(r)
}

// deliver allocates a container, whose lease its agent has just granted to the
// requisition's controller.
func (s *state) deliver(c *container, r *requisition) {
	origin := whisk.Created
	switch {
	case c.action != nil:
		origin = whisk.Transferred
	case c.stocked:
		origin = whisk.Prewarmed
	}
	s.setAction(c, r.action)
	r.action.hungry = s.now
	c.concurrency = r.concurrency
	c.since = s.now
	c.redirected = 0
	s.move(c, leased)
	s.figures.allocated(origin, s.now.Sub(r.arrived))
	s.tell(r.caller, whisk.Allocation{Requisition: r.id, Container: c.Container, Agent: c.node.address, Origin: origin, Creation: c.creationSince(r.arrived)})
	if c.purpose == r {
		s.unbindDelivered(c)
	}
	s.settleSlots(r, min(r.concurrency, r.outstanding))
}

// creationSince returns how long the container was being made after some moment.
func (c *container) creationSince(t time.Time) time.Duration {
	return max(0, min(c.creation, c.made.Sub(t)))
}

// unbindDelivered unties a container without letting its requisition wait anew.
func (s *state) unbindDelivered(c *container) {
	member := c.member()
	c.purpose.expect(-1)
	c.purpose = nil
	s.reckon(member, c.member())
	c.byPurpose.leave()
}

// misfit reports whether no node could ever hold a container of this size. We
// say so only when all nodes had time to report, and there is one.
func (s *state) misfit(memory whisk.Bytes) bool {
	return s.settled && s.largest > 0 && memory > s.largest
}

// rejectMisfits rejects what waits and has become hopeless.
func (s *state) rejectMisfits() {
	for _, size := range append([]whisk.Bytes(nil), s.sizes...) {
		l := s.lines[size]
		for s.misfit(size) && l.count > 0 {
			s.reject(l.first().waiting.first(), whisk.NeverFits, provisionFailed, 0)
		}
	}
}
