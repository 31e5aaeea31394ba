// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"log/slog"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

// unstarted is a balancer of which nothing runs.
func unstarted(t *testing.T) *Balancer {
	t.Helper()
	config := Default()
	config.Controller = "c1"
	b, err := New(config, Deps{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// holdLocked gives an action a container.
func holdLocked(a *action, id whisk.ContainerID, g *agent, s state) *container {
	c := &container{Container: whisk.Container{ID: id}, action: a, agent: g, wire: newWire(nil, whisk.Address{}, 0), state: s}
	a.b.registry.add(c)
	a.containers = append(a.containers, c)
	a.coming += a.comingSlots(s)
	a.offerLocked(c)
	return c
}

// A renewal that is answered when the lease has ended does not give back what
// was held under it, also if the sweep has not come by yet.
func TestARenewalDoesNotRevive(t *testing.T) {
	b := unstarted(t)
	a := b.lockAction(&whisk.Invocation{Limits: whisk.ActionLimits{Concurrency: 1}})
	defer a.mu.Unlock()
	hold := func(id whisk.ContainerID, g *agent) *container { return holdLocked(a, id, g, free) }
	ended, lasting := newAgent(b, "n1", ""), newAgent(b, "n2", "")
	old, good := hold("old", ended), hold("good", lasting)
	now := b.now()
	ended.leaseEnd.Store(now)
	lasting.leaseEnd.Store(now + int64(whisk.LeaseTTL))
	a.mu.Unlock()
	ended.renewed(now, nil)
	lasting.renewed(now, nil)
	a.mu.Lock()
	if old.state != released || old.reason != whisk.ReleaseFailed || b.registry.container("old") != nil {
		t.Errorf("held under the ended lease: %v, %v", old.state, old.reason)
	}
	if good.state != free || !lasting.leased(now) {
		t.Errorf("held under the other one: %v", good.state)
	}
	if next := hold("next", ended); !ended.leased(now) || next.state != free {
		t.Error("the renewed lease does not hold for what comes later")
	}
}
