// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// BenchmarkPaused calls containers that were suspended because nobody called them for a
// while, and each once more at once. *Added* is the difference of the two, so that a busy
// machine is in both. Each turn waits as long as an idle container is left running.
func BenchmarkPaused(b *testing.B) {
	const actions = 20
	bed := newColdBed(b)
	names := bed.deploy(b, actions, "native:default", nativeNoop)
	for _, name := range names {
		bed.invoke(b, name)
	}
	timed := func(name string) time.Duration {
		start := time.Now()
		bed.invoke(b, name)
		return time.Since(start)
	}
	var paused, warm, added sample
	for b.Loop() {
		bed.clock.await(func() bool { return bed.clock.asleep == actions })
		bed.settle()
		for _, name := range names {
			first := timed(name)
			second := timed(name)
			paused.add(first)
			warm.add(second)
			added.add(first - second)
		}
		bed.clock.await(func() bool { return bed.clock.asleep == 0 }) // none was warm by mistake
	}
	paused.report(b, "paused")
	warm.report(b, "warm")
	added.report(b, "added")
}

// sleeper is a sandbox whose clock counts those that are suspended.
type sleeper struct {
	whisk.Sandbox
	clock *clock
}

func (s sleeper) Suspend(ctx context.Context) error {
	return s.count(s.Sandbox.Suspend(ctx), 1)
}

func (s sleeper) Resume(ctx context.Context) error {
	return s.count(s.Sandbox.Resume(ctx), -1)
}

func (s sleeper) count(err error, change int) error {
	if err == nil {
		s.clock.mu.Lock()
		defer s.clock.mu.Unlock()
		s.clock.asleep += change
		s.clock.tellLocked()
	}
	return err
}
