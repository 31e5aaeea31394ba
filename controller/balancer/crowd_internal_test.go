// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// A new container that comes for activations which a crowd keeps out has no use before
// they are let in: somebody else may have it.
func TestCrowdKeepsNoNewContainer(t *testing.T) {
	b := unstarted(t)
	inv := &whisk.Invocation{Limits: whisk.ActionLimits{Concurrency: 1}, Received: time.Now()}
	a := b.lockAction(inv)
	defer a.mu.Unlock()
	g := newAgent(b, "n1", "")
	g.dispatchUntil.Store(b.now() + int64(time.Hour))
	warm := holdLocked(a, "warm", g, free)
	a.pressure.bound = 1
	if got := a.takeLocked(b.now()); got != warm {
		t.Fatalf("took %v", got)
	}
	w := a.waitLocked(inv, false, b.now())
	fresh := holdLocked(a, "fresh", g, cold)
	a.pumpLocked(b.now())
	if fresh.state != released || fresh.reason != whisk.ReleaseUnused || a.coming != 0 {
		t.Errorf("it is %v, given back as %v", fresh.state, fresh.reason)
	}
	a.leaveLocked(warm, b.now())
	if v := <-w.verdict; v.container != warm {
		t.Errorf("who waited got %+v", v)
	}
}

func TestThreads(t *testing.T) {
	for load, want := range map[string]int{
		"0.20 0.18 0.12 1/80 11206\n":    0,
		"26.1 25.0 25.6 300/812 23530\n": 299,
		"0.20 0.18 0.12 0/80 11206\n":    0,
		"0.20 0.18 0.12 many 11206\n":    0,
		"":                               0,
	} {
		if got := threads([]byte(load)); got != want {
			t.Errorf("%q tells of %d threads, want %d", load, got, want)
		}
	}
}
