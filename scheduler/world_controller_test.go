// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"maps"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

type worldController struct {
	w       *world
	id      whisk.ControllerID
	session sessionID
	dead    bool
	nextID  whisk.RequisitionID
	open    map[whisk.RequisitionID]*asked
	holds   map[whisk.ContainerID]*holding
}

type asked struct {
	whisk.Requisition
	left int // slots that have not ended
}

type holding struct {
	whisk.Container
	key   whisk.ActionKey
	busy  bool
	drain bool
}

func (w *world) addController(id whisk.ControllerID) *worldController {
	c := &worldController{w: w, id: id, open: make(map[whisk.RequisitionID]*asked), holds: make(map[whisk.ContainerID]*holding)}
	w.ctls[id] = c
	c.connect()
	return c
}

func (c *worldController) connect() {
	if c.dead {
		return
	}
	c.session = c.w.dial(c.hear)
	m := whisk.Register{Controller: c.id}
	if c.w.forwarding {
		m.Peers = string(c.id)
	}
	for _, id := range slices.Sorted(maps.Keys(c.holds)) {
		h := c.holds[id]
		use := whisk.Free
		if h.busy {
			use = whisk.Busy
		}
		m.Held = append(m.Held, whisk.HeldContainer{Container: id, Node: h.Node, Key: h.key, Concurrency: 1, Instances: instances(h.key), State: use})
	}
	c.tell(m)
	for _, id := range slices.Sorted(maps.Keys(c.open)) {
		r := c.open[id]
		delete(c.open, id)
		c.ask(r.Key, r.Spec, r.left, r.Concurrency, r.Deadline)
	}
}

func (c *worldController) tell(m whisk.FactoryRequest) {
	if c.session != 0 {
		c.w.say(c.session, controllerSaid{c.session, m})
	}
}

func (c *worldController) disconnect(away time.Duration) {
	if c.session == 0 {
		return
	}
	c.w.hangUp(c.session)
	c.session = 0
	c.w.at(c.w.now.Add(60*time.Millisecond+c.w.delay(away)), c.connect)
}

// die ends the controller for good; agents end its leases.
func (c *worldController) die() {
	c.w.hangUp(c.session)
	c.session, c.dead = 0, true
	clear(c.holds)
	clear(c.open)
	// Grants to it that were under way when it died arrive, and end, later.
	for i := range 6 {
		c.w.at(c.w.now.Add(whisk.LeaseTTL*time.Duration(i+1)), func() {
			for _, id := range slices.Sorted(maps.Keys(c.w.agents)) {
				c.w.agents[id].expire(c.id)
			}
		})
	}
}

func (c *worldController) ask(key whisk.ActionKey, spec whisk.ContainerSpec, count, concurrency int, deadline time.Time) {
	c.nextID++
	r := &asked{left: count, Requisition: whisk.Requisition{
		ID: c.nextID, Key: key, Spec: spec, Count: count, Concurrency: concurrency, Instances: instances(key), Deadline: deadline, Label: "x",
	}}
	c.open[r.ID] = r
	c.tell(r.Requisition)
}

// instances is how many containers with a key there may be, 0 without a bound.
func instances(key whisk.ActionKey) int {
	return map[string]int{"action1": 1, "action2": 2, "action5": 1}[key.Action.Name]
}

func (c *worldController) hear(e effect) {
	switch m := e.event.(type) {
	case whisk.Allocation:
		c.allocated(m)
	case whisk.Rejection:
		if c.open[m.Requisition] == nil {
			return // withdrawn meanwhile
		}
		c.w.stats["rejected "+m.Reason.String()]++
		delete(c.open, m.Requisition)
	case whisk.Redirect:
		c.ended(m.Requisition, 1)
		c.w.stats["redirected"]++
	case whisk.Reclaim:
		h := c.holds[m.Container]
		switch {
		case h == nil:
		case !h.busy:
			c.release(h, whisk.ReleaseReclaimed)
		case m.Drain:
			h.drain = true
		default:
			c.state(h)
		}
	case whisk.Lost:
		delete(c.holds, m.Container)
	}
}

func (c *worldController) allocated(m whisk.Allocation) {
	w := c.w
	if c.holds[m.Container.ID] != nil {
		w.fail("%s allocated to %s twice", m.Container.ID, c.id)
	}
	for _, other := range w.ctls {
		if other != c && other.holds[m.Container.ID] != nil {
			w.fail("%s allocated to %s while %s uses it", m.Container.ID, c.id, other.id)
		}
	}
	if h := w.agents[m.Container.Node].hosts[m.Container.ID]; h != nil && h.Lessee != c.id {
		w.fail("%s allocated to %s but leased to %q", m.Container.ID, c.id, h.Lessee)
	}
	w.stats["allocated "+m.Origin.String()]++
	h := &holding{Container: m.Container, busy: true}
	c.holds[h.ID] = h
	r := c.open[m.Requisition]
	if r == nil { // it was withdrawn meanwhile
		if m.Origin == whisk.Transferred {
			c.release(h, whisk.ReleaseReclaimed)
		} else {
			c.release(h, whisk.ReleaseUnused)
		}
		return
	}
	if r.Spec != h.Spec {
		w.fail("%s of %+v allocated for %+v", h.ID, h.Spec, r.Spec)
	}
	h.key = r.Key
	c.ended(m.Requisition, r.Concurrency)
	c.work(h)
}

func (c *worldController) ended(id whisk.RequisitionID, slots int) {
	if r := c.open[id]; r != nil {
		if r.left -= slots; r.left <= 0 {
			delete(c.open, id)
		}
	}
}

// work keeps a container busy for a while, then lets it rest, and so on.
func (c *worldController) work(h *holding) {
	h.busy = true
	c.w.after(400*time.Millisecond, func() {
		if c.holds[h.ID] != h {
			return
		}
		switch {
		case h.drain:
			c.release(h, whisk.ReleaseReclaimed)
		case !c.w.calm && c.w.rng.IntN(20) == 0:
			c.release(h, whisk.ReleaseFailed)
		default:
			h.busy = false
			c.state(h)
			c.w.after(2*time.Second, func() { c.rested(h) })
		}
	})
}

func (c *worldController) rested(h *holding) {
	if c.holds[h.ID] != h {
		return
	}
	switch c.w.rng.IntN(6) {
	case 0:
		c.release(h, whisk.ReleaseIdle)
	case 1:
		c.release(h, whisk.ReleaseLeaving)
	default:
		if !c.w.calm {
			c.state(&holding{Container: h.Container, busy: true})
			c.work(h)
		}
	}
}

func (c *worldController) state(h *holding) {
	use := whisk.Free
	if h.busy {
		use = whisk.Busy
	}
	c.tell(whisk.StateReport{States: []whisk.ContainerUse{{Container: h.ID, State: use, Since: c.w.now}}})
}

// release gives back. Without a session it stays the agent's matter: the next
// registration does not list it.
func (c *worldController) release(h *holding, reason whisk.ReleaseReason) {
	delete(c.holds, h.ID)
	c.tell(whisk.Release{Container: h.ID, Reason: reason})
}
