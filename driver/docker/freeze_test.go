// SPDX-License-Identifier: Apache-2.0

//go:build docker

package docker_test

import (
	"testing"
	"time"

	"github.com/whirl-faas/whirl/driver/docker"
	"github.com/whirl-faas/whirl/driver/internal/cgroup"
	"github.com/whirl-faas/whirl/runtimes/runtimetest"
	"github.com/whirl-faas/whirl/whisk"
)

// TestFrozenByTheRuntime has the OCI runtime freeze, by order, and because the
// cgroup is out of reach.
func TestFrozenByTheRuntime(t *testing.T) {
	t.Parallel()
	for _, way := range []docker.Freezer{docker.FreezeRuntime, docker.FreezeAuto} {
		t.Run(string(way), func(t *testing.T) {
			config := testConfig(t)
			config.Freezer = way
			b := newBox(t, openDriver(t, config), whisk.CreateSandbox{Spec: nodejsSpec})
			b.MustInit(t, runtimetest.Code{Code: printing}, nil)
			if way == docker.FreezeAuto {
				docker.Blind(b.Sandbox)
			}
			state := inspect(t, config, b)
			group, err := cgroup.Of(state.State.Pid, state.ID)
			if err != nil {
				t.Fatal(err)
			}
			wantFrozen := func(want bool) {
				t.Helper()
				stats, err := b.Stats(t.Context())
				if err != nil || stats.Suspended != want || group.Frozen() != want {
					t.Errorf("Stats = %+v, %v, the cgroup is frozen: %t; want %t", stats, err, group.Frozen(), want)
				}
				if inspect(t, config, b).State.Paused {
					t.Error("the engine knows of it")
				}
			}
			for range 2 {
				if err := b.Suspend(t.Context()); err != nil {
					t.Fatalf("Suspend = %v", err)
				}
				wantFrozen(true)
				answered := make(chan runtimetest.Reply, 1)
				go func() { answered <- b.Run(t, map[string]int{"lines": 1}, nil) }()
				select {
				case reply := <-answered:
					t.Fatalf("frozen, it answered %+v", reply)
				case <-time.After(200 * time.Millisecond):
				}
				if err := b.Resume(t.Context()); err != nil {
					t.Fatalf("Resume = %v", err)
				}
				wantFrozen(false)
				if reply := <-answered; reply.Status != 200 {
					t.Errorf("thawed, it answered %+v", reply)
				}
			}
			if err := b.Suspend(t.Context()); err != nil {
				t.Fatalf("Suspend = %v", err)
			}
			last := make(chan runtimetest.Reply, 1)
			go func() { last <- b.Run(t, map[string]int{"lines": 1}, nil) }()
			time.Sleep(100 * time.Millisecond) // it is on its way, which nothing tells
			if err := b.Destroy(t.Context()); err != nil {
				t.Errorf("Destroy = %v", err)
			}
			if reply := <-last; reply.Err == nil {
				t.Errorf("destroyed while frozen, it answered %+v", reply)
			}
			wantContainers(t, newEngine(t), config.Instance, 0)
		})
	}
}
