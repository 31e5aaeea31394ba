// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

func testRecoverFresh(t *testing.T, b *bench) {
	left, err := b.driver.Recover(t.Context())
	if err != nil || len(left) != 0 {
		t.Fatalf("Recover = %d sandboxes, %v", len(left), err)
	}
	s := b.create(t)
	s.init(t, b.Code.Echo)
	s.mustRun(t, map[string]any{})
}

// testRecoverKilled holds that nothing of a killed agent stays: each sandbox is
// either handed over or gone.
func testRecoverKilled(t *testing.T, b *bench) {
	if b.Killed == nil {
		t.Skip("the harness cannot kill an agent")
	}
	var left []*specimen
	for range 3 {
		s := b.create(t)
		s.init(t, b.Code.Echo)
		left = append(left, s)
	}
	b.driver = b.Killed(t, b.driver)
	found, err := b.driver.Recover(t.Context())
	if err != nil {
		t.Fatalf("Recover = %v", err)
	}
	if !b.driver.Capabilities().Recovers && len(found) != 0 {
		t.Errorf("Recover took over %d sandboxes, which the capabilities deny", len(found))
	}
	recovered := map[whisk.ContainerID]whisk.Sandbox{}
	for _, sandbox := range found {
		recovered[sandbox.ID()] = sandbox
	}
	for _, s := range left {
		sandbox, ok := recovered[s.ID()]
		if !ok {
			if conn, err := b.Dial(t.Context(), s.Address()); err == nil {
				_ = conn.Close()
				t.Errorf("%s was not recovered and still takes connections", s.ID())
			}
			s.abandon(t)
			continue
		}
		s.abandon(t)
		if sandbox.Spec() != s.Spec() || sandbox.Address() != s.Address() {
			t.Errorf("recovered %+v at %+v, it was %+v at %+v", sandbox.Spec(), sandbox.Address(), s.Spec(), s.Address())
		}
		b.adopt(t, sandbox).mustRun(t, map[string]any{})
	}
}

// recoverable returns an initialised sandbox of a driver that takes sandboxes
// over, or skips.
func recoverable(t *testing.T, b *bench, code string) *specimen {
	t.Helper()
	if b.Killed == nil || !b.driver.Capabilities().Recovers {
		t.Skip("the driver takes no sandboxes over, or the harness cannot kill an agent")
	}
	s := b.create(t)
	s.init(t, code)
	return s
}

// restart ends the agent and has the next one recover the sandbox; meanwhile is
// what happens to it between the two. It returns nil if it was not taken over.
func (b *bench) restart(t *testing.T, s *specimen, meanwhile func()) *specimen {
	t.Helper()
	s.abandon(t)
	b.driver = b.Killed(t, b.driver)
	meanwhile()
	found, err := b.driver.Recover(t.Context())
	if err != nil {
		t.Fatalf("Recover = %v", err)
	}
	for _, sandbox := range found {
		if sandbox.ID() == s.ID() {
			return b.adopt(t, sandbox)
		}
	}
	return nil
}

// testRecoverFrozen holds that a frozen sandbox stays frozen until the next
// agent thaws it, so that what was sent to it has surely not been read.
func testRecoverFrozen(t *testing.T, b *bench) {
	s := recoverable(t, b, b.Code.Echo)
	if !b.driver.Capabilities().Suspend {
		t.Skip("the driver cannot suspend")
	}
	if err := s.Suspend(t.Context()); err != nil {
		t.Fatalf("Suspend = %v", err)
	}
	var answers <-chan answer
	again := b.restart(t, s, func() { answers = s.runLater(t, map[string]any{"n": 1}) })
	if again == nil {
		t.Fatal("a frozen sandbox was not recovered")
	}
	if err := again.Suspend(t.Context()); err != nil {
		t.Errorf("Suspend of a recovered frozen sandbox = %v", err)
	}
	select {
	case got := <-answers:
		t.Fatalf("it was answered %+v before anybody resumed it", got)
	case <-time.After(frozenFor):
	}
	if err := again.Resume(t.Context()); err != nil {
		t.Fatalf("Resume = %v", err)
	}
	if got := <-answers; got.err != nil || got.status != 200 {
		t.Errorf("the request sent to a frozen sandbox ended as %+v", got)
	}
}

// testRecoverOutput holds that what a sandbox writes while no agent reads comes
// to the next one, and that what the first one read does not come again.
func testRecoverOutput(t *testing.T, b *bench) {
	s := recoverable(t, b, b.Code.Print)
	s.mustRun(t, map[string]any{"lines": 3})
	for i, prefix := range []string{"out ", "err "} {
		s.out[i].await(t, b.Patience, func(lines []string, ended bool) bool {
			return ended || slices.Contains(lines, prefix+"2") && (b.Unsentinelled || sentinels(lines) == 1)
		})
	}
	again := b.restart(t, s, func() { s.mustRun(t, map[string]any{"lines": 20}) })
	if again == nil {
		t.Fatal("a running sandbox was not recovered")
	}
	again.mustRun(t, map[string]any{"lines": 5})
	var want [2][]string
	for _, n := range []int{20, 5} {
		for i := range n {
			want[0], want[1] = append(want[0], fmt.Sprint("out ", i)), append(want[1], fmt.Sprint("err ", i))
		}
	}
	for i, prefix := range []string{"out ", "err "} {
		ours := func(lines []string) []string {
			return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return !strings.HasPrefix(line, prefix) })
		}
		lines := again.out[i].await(t, b.Patience, func(lines []string, ended bool) bool {
			return ended || len(ours(lines)) >= len(want[i]) && (b.Unsentinelled || sentinels(lines) >= 2)
		})
		if got := ours(lines); !slices.Equal(got, want[i]) {
			t.Errorf("stream %d of the recovered sandbox has %q", i, got)
		}
		if got := sentinels(lines); !b.Unsentinelled && got != 2 {
			t.Errorf("stream %d of the recovered sandbox has %d sentinels, want 2", i, got)
		}
	}
}

// testRecoverEnded holds that a sandbox that ended while there was no agent is
// gone, or handed over as one that has ended.
func testRecoverEnded(t *testing.T, b *bench) {
	s := recoverable(t, b, b.Code.Exit)
	again := b.restart(t, s, func() {
		if got := s.run(t, map[string]any{"code": 7}); got.err == nil {
			t.Skipf("the runtime outlives its action: %+v", got)
		}
	})
	if again != nil {
		again.awaitDone(t)
		again.destroy(t)
	}
}

func testPing(t *testing.T, b *bench) {
	if err := b.driver.Ping(t.Context()); err != nil {
		t.Errorf("Ping = %v", err)
	}
	s := b.create(t)
	var pings sync.WaitGroup
	for range 4 {
		pings.Go(func() {
			if err := b.driver.Ping(t.Context()); err != nil {
				t.Errorf("Ping beside a sandbox = %v", err)
			}
		})
	}
	pings.Wait()
	s.destroy(t)
}

func testPingSilent(t *testing.T, b *bench) {
	if b.Silent == nil {
		t.Skip("the harness cannot silence the engine")
	}
	b = benchOf(t, b.Harness, b.Silent(t))
	ctx, cancel := context.WithTimeout(t.Context(), b.Patience)
	defer cancel()
	if err := b.driver.Ping(ctx); err == nil {
		t.Error("Ping of a silent engine = nil")
	}
}

// abandon closes the pipes of a killed agent, as its end would have done.
func (s *specimen) abandon(t *testing.T) {
	s.lost = true
	stdout, stderr := s.Output()
	if err := errors.Join(stdout.Close(), stderr.Close()); err != nil {
		t.Logf("close the output of %s: %v", s.ID(), err)
	}
}
