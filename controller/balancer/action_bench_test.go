// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"fmt"
	"log/slog"
	"math"
	"testing"

	"github.com/whirl-faas/whirl/bench/cputime"
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
	for _, row := range []struct{ containers, concurrency int }{{1, 1}, {100, 1}, {10_000, 1}, {1, 64}, {100, 64}} {
		b.Run(fmt.Sprintf("containers=%d/concurrency=%d", row.containers, row.concurrency), func(b *testing.B) {
			a := benchAction(b, row.containers, row.concurrency)
			end := cputime.Report(b)
			for b.Loop() {
				now := a.b.now()
				a.mu.Lock()
				c := a.takeLocked(now)
				a.mu.Unlock()
				a.mu.Lock()
				a.leaveLocked(c, now)
				a.mu.Unlock()
			}
			end()
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
	end := cputime.Report(b)
	for b.Loop() {
		enter()
		a.waiting.next(verdict{})
		a.room.release(inv.Size)
	}
	end()
}
