// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"sync/atomic"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// container is one container that this controller holds.
type container struct {
	whisk.Container
	action *action // whose key it serves, for ever
	agent  *agent  // that hosts it
	wire   *wire

	way way // how it came here; not changed once activations can have it

	coded  atomic.Bool // it holds the action's code
	frozen atomic.Bool // what was sent lately was never read: it stays frozen, by its agent's word

	// The rest is guarded by action.mu.

	state  state
	reason whisk.ReleaseReason // why it will be or was given back
	slots  int                 // in use
	since  int64               // of the last change between busy and idle, on the balancer's clock
	last   int64               // when an activation last left it; 0 if none did
	listed bool                // in the action's list of containers with a slot to give
	runs   uint64              // that reached the container and ended
	logs   int                 // collections that were not answered
	woken  int64               // when its last resume was asked for; 0 for never
	thawed int64               // when that was answered; 0 if it was not

	reported whisk.UseState // what the scheduler believes
	edge     bool           // it waits in the factory's list of changes
	answer   bool           // the scheduler asked and shall hear that it is busy
	returned int64          // when it was given back; its Release still waits for logs; 0 if not
	unpaused bool           // a suspend failed: not again before the next use
}

// way is how a container came to this controller, on the balancer's clock.
type way struct {
	asked    int64         // when the scheduler was asked for it
	creation time.Duration // of the time since then
	arrived  int64
}

// within returns how much of the time since some moment passed while the scheduler
// was asked for the container, and while that was made.
func (w way) within(since int64) (asking, creation time.Duration) {
	both := max(0, time.Duration(w.arrived-max(w.asked, since)))
	creation = min(w.creation, both)
	return both - creation, creation
}

// frozenLocked returns how much of the time since start passed before the container
// was resumed.
func (c *container) frozenLocked(start, now int64) time.Duration {
	until := c.thawed
	if until == 0 && c.woken != 0 {
		until = now
	}
	return time.Duration(max(0, until-start))
}

// applyLocked makes one transition and carries out its effect.
func (c *container) applyLocked(e event) {
	from := c.state
	to, do := transition(from, e)
	c.state = to
	c.action.coming += c.action.comingSlots(to) - c.action.comingSlots(from)
	if to == released && from != released {
		c.action.dropLocked(c)
		c.wire.close()
		if do == none {
			c.action.b.registry.forget(c.ID)
		}
	}
	switch do {
	case suspend:
		c.agent.ask(&call{container: c, op: whisk.Suspend})
	case resume:
		c.woken, c.thawed = c.action.b.now(), 0
		c.agent.ask(&call{container: c, op: whisk.Resume})
	case release:
		c.releaseLocked()
	case sayBusy:
		c.answer = true
		c.reportLocked()
	case cut:
		c.wire.cut()
	}
	c.action.offerLocked(c)
}

// occupyLocked takes one of the container's slots, of which it must have one to give.
func (c *container) occupyLocked(now int64) {
	c.slots++
	c.action.pressure.enter()
	c.unpaused = false
	if c.slots == 1 {
		c.since = now
	}
	c.applyLocked(taken)
	c.reportLocked()
}

// giveBackLocked gives the container back, at once if it is idle and else when
// it is. Of several reasons the one that distrusts it most counts, else the
// first, also while a container that was given back still waits for its logs.
func (c *container) giveBackLocked(e event, reason whisk.ReleaseReason) {
	decided := c.state == draining || c.state == released
	if !decided || reason == whisk.ReleaseFailed {
		c.reason = reason
	}
	if c.state == cold && e != spoiled {
		c.reason = whisk.ReleaseUnused
	}
	c.applyLocked(e)
}

// releaseLocked tells the scheduler, but not before the container's logs are
// collected: the scheduler may have it destroyed before the agent has read a
// request that came by another way.
func (c *container) releaseLocked() {
	c.returned = c.action.b.now()
	if c.logs == 0 {
		c.sendReleaseLocked()
		return
	}
	c.agent.notify() // somebody wants the container now
}

func (c *container) sendReleaseLocked() {
	c.returned = 0
	b := c.action.b
	b.registry.part(c.ID, func() { b.factory.release(whisk.Release{Container: c.ID, Reason: c.reason}) })
}

// collectedLocked notes that one collection of logs was answered.
func (c *container) collectedLocked() {
	c.logs--
	if c.logs == 0 && c.returned != 0 {
		c.sendReleaseLocked()
	}
}

// useLocked is what the scheduler should believe.
func (c *container) useLocked() whisk.UseState {
	switch c.state {
	case free, pausing, paused:
		return whisk.Free
	}
	return whisk.Busy
}

// reportLocked has the container's use told to the scheduler if it differs from
// what was told before.
func (c *container) reportLocked() {
	if !c.answer && (c.edge || c.useLocked() == c.reported) {
		return
	}
	c.action.b.factory.edge(c)
}

// usableLocked reports whether an activation may get a slot now, the lease apart.
func (c *container) usableLocked() bool {
	switch c.state {
	case cold, free, paused:
		return true
	case busy:
		return c.slots < c.action.concurrency
	}
	return false
}

// heldLocked is the container's line in a Register.
func (c *container) heldLocked() whisk.HeldContainer {
	return whisk.HeldContainer{
		Container:   c.ID,
		Node:        c.Node,
		Key:         c.action.key,
		Concurrency: c.action.concurrency,
		Instances:   c.action.instances,
		State:       c.useLocked(),
	}
}
