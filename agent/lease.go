// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"maps"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// renewLocked counts a controller's leases from now.
func (a *Agent) renewLocked(controller whisk.ControllerID) { a.renewed[controller] = time.Now() }

// expiryLocked returns when the container's lease runs out. While it is made
// its lessee does not know of it and cannot renew: the lease starts afterwards.
func (a *Agent) expiryLocked(c *container) (at time.Time, leased bool) {
	if c.lessee == "" || c.state == creating || c.state == removing || c.state == gone {
		return time.Time{}, false
	}
	at = c.granted
	if renewed := a.renewed[c.lessee]; renewed.After(at) {
		at = renewed
	}
	return at.Add(whisk.LeaseTTL), true
}

// clockLoop does what time brings about: leases run out, a sick node may be
// tried again, ended containers are forgotten. Nothing that begins while it
// sleeps is due before it wakes, so nothing has to wake it.
func (a *Agent) clockLoop(ctx context.Context) {
	for sleep(ctx, time.Until(a.clockOnce())) {
	}
}

// clockOnce returns when it has to be called again.
func (a *Agent) clockOnce() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	next := now.Add(min(whisk.LeaseTTL, a.config.FaultRest))
	for id, c := range a.containers {
		if c.state == gone && now.Sub(c.over) >= a.config.Linger {
			delete(a.containers, id)
			continue
		}
		at, leased := a.expiryLocked(c)
		switch {
		case !leased:
		case at.After(now):
			next = earlier(next, at)
		default:
			a.expireLocked(c)
		}
	}
	maps.DeleteFunc(a.renewed, func(controller whisk.ControllerID, at time.Time) bool {
		over := now.Sub(at) >= whisk.LeaseTTL
		if over {
			delete(a.sources, controller)
		}
		return over
	})
	a.changeHealthLocked(func() { a.health.rested(now) })
	if a.health.fault != "" {
		next = earlier(next, a.health.until)
	}
	return next
}

// expireLocked removes a container whose lease ran out. It may still execute an
// activation of its former lessee. A frozen one may have one before it: bytes
// that the kernel keeps for it, and that the next lessee's thaw would set free.
func (a *Agent) expireLocked(c *container) {
	a.logger.Warn("lease ran out", "container", string(c.ID), "controller", string(c.lessee), "state", c.state.String())
	c.reason = "the lease of controller " + string(c.lessee) + " ran out"
	a.applyLocked(c, remove)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
