// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

const never = math.MaxInt64

// rejectionGrace is how long after a requisition's deadline its rejection may
// be late before it is taken as given.
const rejectionGrace = 5 * time.Second

// sweeper looks after whatever is due: pauses, idle containers, ended leases,
// late logs, requisitions to be tried again. One pass visits all containers and
// finds when the next is needed; what becomes idle after it cannot be due
// earlier than one horizon later, so the warm path never touches a timer.
type sweeper struct {
	b       *Balancer
	horizon int64         // the shortest of the delays that begin on the warm path
	wake    chan struct{} // holds a token when next was moved forward; never closed

	mu   sync.Mutex
	next int64 // of the next pass, on the balancer's clock
}

func newSweeper(b *Balancer) *sweeper {
	horizon := min(b.config.IdleTimeout, b.config.LogPatience, whisk.LeaseTTL)
	if b.config.PauseGrace > 0 {
		horizon = min(horizon, b.config.PauseGrace)
	}
	return &sweeper{b: b, horizon: int64(horizon), wake: make(chan struct{}, 1), next: never}
}

// by has a pass made at the given time at the latest.
func (s *sweeper) by(at int64) {
	s.mu.Lock()
	sooner := at < s.next
	s.next = min(s.next, at)
	s.mu.Unlock()
	if !sooner {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// soon has a pass made within a horizon.
func (s *sweeper) soon() { s.by(s.b.now() + s.horizon) }

func (s *sweeper) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
		timer.Reset(s.turn())
	}
}

// turn makes a pass if one is due and returns the time until the next.
func (s *sweeper) turn() time.Duration {
	now := s.b.now()
	s.mu.Lock()
	due := now >= s.next
	if due {
		s.next = never
	}
	s.mu.Unlock()
	if due {
		// Passes that come too close together would visit all containers for one.
		s.by(max(s.sweepOnce(now), now+s.horizon/100))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(time.Duration(s.next-now), time.Hour)
}

// sweepOnce makes one pass and returns when the next is due.
func (s *sweeper) sweepOnce(now int64) (due int64) {
	due = s.b.registry.retireAgents(now)
	for _, c := range s.b.registry.all() {
		c.action.mu.Lock()
		due = min(due, c.sweepLocked(now))
		c.action.mu.Unlock()
		c.wire.prune(time.Now())
	}
	for _, a := range s.b.allActions() {
		due = min(due, now+s.horizon)
		a.mu.Lock()
		due = min(due, a.sweepLocked(now))
		empty := a.emptyLocked()
		a.mu.Unlock()
		if empty {
			s.b.removeIfEmpty(a)
		}
	}
	return due
}

// sweepLocked does what is due for a container and returns when more will be.
func (c *container) sweepLocked(now int64) (due int64) {
	config := &c.action.b.config
	if c.state == released {
		late := c.returned + int64(config.LogPatience)
		if c.returned != 0 && now >= late {
			c.sendReleaseLocked()
		}
		return late
	}
	due = c.agent.leaseEnd.Load()
	if now >= due {
		c.giveBackLocked(spoiled, whisk.ReleaseFailed)
		return never
	}
	if c.state != free && c.state != paused {
		return due
	}
	if c.action.stale && c.action.waiting.len() == 0 {
		c.giveBackLocked(unwanted, whisk.ReleaseStale)
		return never
	}
	idleEnd, pauseAt := c.since+int64(config.IdleTimeout), c.since+int64(config.PauseGrace)
	if now >= idleEnd {
		c.giveBackLocked(unwanted, whisk.ReleaseIdle)
		return never
	}
	due = min(due, idleEnd)
	if c.state == paused || config.PauseGrace == 0 || c.unpaused || !c.agent.up.Load() {
		return due
	}
	if now < pauseAt {
		return min(due, pauseAt)
	}
	c.applyLocked(pauseDue)
	return due
}

// sweepLocked does what is due for an action and returns when more will be.
func (a *action) sweepLocked(now int64) (due int64) {
	due = never
	if now < a.quietUntil {
		due = a.quietUntil
	} else {
		a.needLocked()
	}
	a.overdueLocked(a.b.at(now).Add(-rejectionGrace))
	if len(a.requisitions) > 0 {
		due = min(due, int64(a.requisitions[0].deadline.Add(rejectionGrace).Sub(a.b.started)))
	}
	return due
}
