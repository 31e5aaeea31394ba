// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"fmt"
	"log/slog"
	"math"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

// benchAction is an action with n warm containers.
func benchAction(b *testing.B, n, concurrency int) *action {
	config := Default()
	config.Controller = "c1"
	lb, err := New(config, Deps{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	inv := &whisk.Invocation{Limits: whisk.ActionLimits{Concurrency: concurrency}}
	a := lb.lockAction(inv)
	defer a.mu.Unlock()
	g := newAgent(lb, "n1", "")
	g.dispatchUntil.Store(math.MaxInt64)
	for i := range n {
		c := &container{Container: whisk.Container{ID: whisk.ContainerID(fmt.Sprint(i))}, action: a, agent: g, state: free}
		c.coded.Store(true)
		a.containers = append(a.containers, c)
		a.offerLocked(c)
	}
	return a
}

// BenchmarkTakeAndLeave is what the balancer's books cost an activation.
func BenchmarkTakeAndLeave(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			a := benchAction(b, n, 1)
			b.ReportAllocs()
			for b.Loop() {
				now := a.b.now()
				a.mu.Lock()
				c := a.takeLocked(now)
				a.mu.Unlock()
				a.mu.Lock()
				a.leaveLocked(c, now)
				a.mu.Unlock()
			}
		})
	}
}

// BenchmarkOverflow is one activation into the queue and out of it, with a
// thousand waiting.
func BenchmarkOverflow(b *testing.B) {
	a := benchAction(b, 0, 1)
	inv := &whisk.Invocation{Size: 100}
	enter := func() {
		if err := a.room.reserve(&a.b.config, inv.Size); err != nil {
			b.Fatal(err)
		}
		a.waiting.add(inv, false)
	}
	for range 1000 {
		enter()
	}
	b.ReportAllocs()
	for b.Loop() {
		enter()
		a.waiting.next(verdict{})
		a.room.release(inv.Size)
	}
}
