// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"log/slog"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// A new container that comes for activations which a crowd keeps out has no use before
// they are let in: somebody else may have it.
func TestCrowdKeepsNoNewContainer(t *testing.T) {
	config := Default()
	config.Controller = "c1"
	b, err := New(config, Deps{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	inv := &whisk.Invocation{Limits: whisk.ActionLimits{Concurrency: 1}, Received: time.Now()}
	a := b.lockAction(inv)
	defer a.mu.Unlock()
	g := newAgent(b, "n1", "")
	g.dispatchUntil.Store(b.now() + int64(time.Hour))
	hold := func(id whisk.ContainerID, s state) *container {
		c := &container{Container: whisk.Container{ID: id}, action: a, agent: g, wire: newWire(nil, whisk.Address{}, 0), state: s}
		b.registry.add(c)
		a.containers = append(a.containers, c)
		a.coming += a.comingSlots(s)
		a.offerLocked(c)
		return c
	}
	warm := hold("warm", free)
	a.pressure.bound = 1
	if got := a.takeLocked(b.now()); got != warm {
		t.Fatalf("took %v", got)
	}
	w := a.waitLocked(inv, false, b.now())
	fresh := hold("fresh", cold)
	a.pumpLocked(b.now())
	if fresh.state != released || fresh.reason != whisk.ReleaseUnused || a.coming != 0 {
		t.Errorf("it is %v, given back as %v", fresh.state, fresh.reason)
	}
	a.leaveLocked(warm, b.now())
	if v := <-w.verdict; v.container != warm {
		t.Errorf("who waited got %+v", v)
	}
}
