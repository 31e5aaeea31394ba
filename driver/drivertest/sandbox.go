// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// frozenFor is how long a frozen sandbox must keep silent to pass for frozen.
const frozenFor = 300 * time.Millisecond

func testServes(t *testing.T, b *bench) {
	s := b.create(t)
	s.init(t, b.Code.Echo)
	for i := range 3 {
		params := map[string]any{"n": float64(i), "text": "grüße\n\"x\""}
		got := s.mustRun(t, params)
		var result map[string]any
		if err := json.Unmarshal([]byte(got.body), &result); err != nil || !reflect.DeepEqual(result, params) {
			t.Errorf("/run %d answered %q (%v)", i, got.body, err)
		}
	}
}

func testIdentity(t *testing.T, b *bench) {
	req := b.request()
	s, err := b.tryCreate(t, t.Context(), req)
	if err != nil {
		t.Fatalf("Create = %v", err)
	}
	if s.ID() != req.ID || s.Spec() != req.Spec {
		t.Errorf("made %s %+v, asked for %s %+v", s.ID(), s.Spec(), req.ID, req.Spec)
	}
	if a := s.Address(); a.Network == "" || a.Address == "" || a != s.Address() {
		t.Errorf("Address = %+v", a)
	}
	out1, err1 := s.Output()
	if out2, err2 := s.Output(); out1 != out2 || err1 != err2 {
		t.Error("Output returned another pair at the second call")
	}
	caps := b.driver.Capabilities()
	if caps.Name == "" || !reflect.DeepEqual(caps, b.driver.Capabilities()) {
		t.Errorf("Capabilities = %+v", caps)
	}
	if caps.Kinds != nil && b.Spec.Image == "" && !slices.Contains(caps.Kinds, b.Spec.Kind) {
		t.Errorf("Kinds %q lack %q", caps.Kinds, b.Spec.Kind)
	}
}

// testEnvironment holds that Create takes extra variables; what they do is the
// runtime's business.
func testEnvironment(t *testing.T, b *bench) {
	req := b.request()
	req.Env = map[string]string{"WHIRL_SUITE": "a=b \"c\""}
	s, err := b.tryCreate(t, t.Context(), req)
	if err != nil {
		t.Fatalf("Create = %v", err)
	}
	s.init(t, b.Code.Echo)
	s.mustRun(t, map[string]any{})
}

func testOutput(t *testing.T, b *bench) {
	s := b.create(t)
	s.init(t, b.Code.Print)
	const perRun = 300
	var want [2][]string
	for range 3 {
		s.mustRun(t, map[string]any{"lines": perRun})
		for i := range perRun {
			want[0] = append(want[0], fmt.Sprintf("out %d", i))
			want[1] = append(want[1], fmt.Sprintf("err %d", i))
		}
	}
	for i, prefix := range []string{"out ", "err "} {
		ours := func(lines []string) []string {
			return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return !strings.HasPrefix(line, prefix) })
		}
		lines := s.out[i].await(t, b.Patience, func(lines []string, ended bool) bool {
			return ended || len(ours(lines)) >= len(want[i]) && (b.Unsentinelled || sentinels(lines) >= 3)
		})
		if got := ours(lines); !slices.Equal(got, want[i]) {
			t.Errorf("stream %d has %d lines, want %d in order", i, len(got), len(want[i]))
		}
		if other := []string{"err ", "out "}[i]; slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, other) }) {
			t.Errorf("stream %d has lines of the other", i)
		}
		if got := sentinels(lines); !b.Unsentinelled && got != 3 {
			t.Errorf("stream %d has %d sentinels after 3 runs", i, got)
		}
	}
}

func sentinels(lines []string) (n int) {
	for _, line := range lines {
		if strings.Contains(line, whisk.LogSentinel) {
			n++
		}
	}
	return n
}

func testOutputEnds(t *testing.T, b *bench) {
	s := b.create(t)
	s.init(t, b.Code.Print)
	s.mustRun(t, map[string]any{"lines": 5})
	s.destroy(t)
	for i, transcript := range s.out {
		lines := transcript.await(t, b.Patience, func(_ []string, ended bool) bool { return ended })
		// What was written before the answer must not get lost by Destroy.
		if want := []string{"out 4", "err 4"}[i]; !slices.Contains(lines, want) {
			t.Errorf("stream %d lost %q: %q", i, want, lines)
		}
	}
}

func testUnreadOutput(t *testing.T, b *bench) {
	sandbox, err := b.driver.Create(t.Context(), b.request())
	if err != nil {
		t.Fatalf("Create = %v", err)
	}
	s := b.bare(t, sandbox)
	s.init(t, b.Code.Print)
	answers := s.runLater(t, map[string]any{"lines": 200_000}) // more than any pipe holds
	select {
	case <-answers: // a runtime may buffer it all
	case <-time.After(frozenFor):
	}
	s.destroy(t)
	stdout, stderr := s.Output()
	if err := stdout.Close(); err != nil {
		t.Errorf("close stdout: %v", err)
	}
	if err := stderr.Close(); err != nil {
		t.Errorf("close stderr: %v", err)
	}
}

func testSuspend(t *testing.T, b *bench) {
	s := suspendable(t, b)
	if err := s.Suspend(t.Context()); err != nil {
		t.Fatalf("Suspend = %v", err)
	}
	answers := s.runLater(t, map[string]any{"n": 1})
	select {
	case got := <-answers:
		t.Fatalf("a suspended sandbox answered %+v", got)
	case <-time.After(frozenFor):
	}
	if err := s.Resume(t.Context()); err != nil {
		t.Fatalf("Resume = %v", err)
	}
	if got := <-answers; got.err != nil || got.status != 200 {
		t.Errorf("the request sent to a suspended sandbox ended as %+v", got)
	}
}

func testSuspendTwice(t *testing.T, b *bench) {
	s := suspendable(t, b)
	if err := s.Resume(t.Context()); err != nil {
		t.Errorf("Resume of a running sandbox = %v", err)
	}
	for range 2 {
		if err := s.Suspend(t.Context()); err != nil {
			t.Fatalf("Suspend = %v", err)
		}
		s.mustBe(t, true)
	}
	for range 2 {
		if err := s.Resume(t.Context()); err != nil {
			t.Fatalf("Resume = %v", err)
		}
		s.mustBe(t, false)
	}
	s.mustRun(t, map[string]any{"n": 1})
}

// mustBe compares what Stats tells of the sandbox's state.
func (s *specimen) mustBe(t *testing.T, suspended bool) {
	t.Helper()
	if stats, err := s.Stats(t.Context()); err != nil || stats.Suspended != suspended {
		t.Errorf("Stats = %+v, %v; want suspended %t", stats, err, suspended)
	}
}

func testSuspendCycles(t *testing.T, b *bench) {
	s := suspendable(t, b)
	for i := range 10 {
		if err := s.Suspend(t.Context()); err != nil {
			t.Fatalf("Suspend %d = %v", i, err)
		}
		// Request and resume go out together, as a controller sends them.
		answers := s.runLater(t, map[string]any{"n": i})
		if err := s.Resume(t.Context()); err != nil {
			t.Fatalf("Resume %d = %v", i, err)
		}
		if got := <-answers; got.err != nil || got.status != 200 {
			t.Fatalf("run %d ended as %+v", i, got)
		}
	}
}

// suspendable returns an initialised sandbox, or skips.
func suspendable(t *testing.T, b *bench) *specimen {
	t.Helper()
	if !b.driver.Capabilities().Suspend {
		t.Skip("the driver cannot suspend")
	}
	s := b.create(t)
	s.init(t, b.Code.Echo)
	return s
}

// testSettled calls it as an agent may: after the first run, again and again, at once,
// and after the end.
func testSettled(t *testing.T, b *bench) {
	s := b.create(t)
	s.init(t, b.Code.Echo)
	for n := range 2 {
		s.mustRun(t, map[string]any{"n": n})
		s.Settled()
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(s.Settled)
	}
	if b.driver.Capabilities().Suspend {
		if err := s.Suspend(t.Context()); err != nil {
			t.Fatalf("Suspend = %v", err)
		}
		s.Settled()
		s.mustBe(t, true)
		if err := s.Resume(t.Context()); err != nil {
			t.Fatalf("Resume = %v", err)
		}
	}
	all.Wait()
	s.mustRun(t, map[string]any{})
	s.destroy(t)
	s.Settled()
}

func testExit(t *testing.T, b *bench) {
	s := b.create(t)
	s.init(t, b.Code.Exit)
	select {
	case <-s.Done():
		t.Fatal("Done is closed before the end")
	default:
	}
	// A runtime may report the death of its child; else the connection breaks.
	if got := s.run(t, map[string]any{"code": 7}); got.err == nil && got.status == 200 {
		t.Errorf("a run that exits was answered: %+v", got)
	} else if got.err == nil {
		t.Skipf("the runtime outlives its action: %+v", got)
	}
	s.awaitDone(t)
	if exit := s.Exit(); exit.Code != 7 || exit.OutOfMemory {
		t.Errorf("Exit = %+v, want code 7", exit)
	}
}

func testOutOfMemory(t *testing.T, b *bench) {
	s := b.create(t)
	s.init(t, b.Code.Allocate)
	if got := s.run(t, map[string]any{"mb": 4 * b.Spec.Memory.Megabytes()}); got.err == nil && got.status == 200 {
		t.Fatalf("it got four times its memory: %+v", got)
	}
	s.awaitDone(t)
	if exit := s.Exit(); !exit.OutOfMemory {
		t.Errorf("Exit = %+v, want out of memory", exit)
	}
}

func testStats(t *testing.T, b *bench) {
	s := b.create(t)
	s.init(t, b.Code.Echo)
	s.mustRun(t, map[string]any{})
	first, err := s.Stats(t.Context())
	if err != nil {
		t.Fatalf("Stats = %v", err)
	}
	if first.Memory <= 0 || first.Memory > b.Spec.Memory {
		t.Errorf("Memory = %v of %v", first.Memory, b.Spec.Memory)
	}
	for range 20 {
		s.mustRun(t, map[string]any{})
	}
	second, err := s.Stats(t.Context())
	if err != nil || second.CPU < first.CPU {
		t.Errorf("CPU went from %v to %v (%v)", first.CPU, second.CPU, err)
	}
}
