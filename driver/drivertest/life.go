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

func testDestroyRunning(t *testing.T, b *bench) {
	s := b.create(t)
	s.init(t, b.Code.Echo)
	s.mustRun(t, map[string]any{})
	s.destroy(t)
}

func testDestroyBusy(t *testing.T, b *bench) {
	s := b.create(t)
	s.init(t, b.Code.Sleep)
	answers := s.runLater(t, map[string]any{"ms": 600_000})
	select {
	case got := <-answers:
		t.Fatalf("a ten-minute run ended at once: %+v", got)
	case <-time.After(frozenFor):
	}
	s.destroy(t)
	select {
	case got := <-answers:
		if got.err == nil && got.status == 200 {
			t.Errorf("the run of a destroyed sandbox was answered: %+v", got)
		}
	case <-time.After(b.Patience):
		t.Error("the connection outlives the sandbox")
	}
}

func testDestroyFrozen(t *testing.T, b *bench) {
	s := suspendable(t, b)
	if err := s.Suspend(t.Context()); err != nil {
		t.Fatalf("Suspend = %v", err)
	}
	s.destroy(t)
}

// testDestroyUnread holds that a frozen sandbox dies without reading what was sent
// to it: its controller may have given that to another.
func testDestroyUnread(t *testing.T, b *bench) {
	if !b.driver.Capabilities().Suspend {
		t.Skip("the driver cannot suspend")
	}
	for range 5 { // it would be a matter of microseconds
		s := b.create(t)
		s.init(t, b.Code.Print)
		s.mustRun(t, map[string]any{"lines": 0})
		if err := s.Suspend(t.Context()); err != nil {
			t.Fatalf("Suspend = %v", err)
		}
		answers := s.runLater(t, map[string]any{"lines": 1})
		select {
		case got := <-answers:
			t.Fatalf("a suspended sandbox answered %+v", got)
		case <-time.After(frozenFor / 3):
		}
		s.destroy(t)
		if got := <-answers; got.err == nil {
			t.Errorf("a sandbox that was destroyed frozen answered %+v", got)
		}
		lines := s.out[0].await(t, b.Patience, func(_ []string, ended bool) bool { return ended })
		if slices.Contains(lines, "out 0") {
			t.Error("a sandbox that was destroyed frozen ran on")
		}
	}
}

func testDestroyTwice(t *testing.T, b *bench) {
	s := b.create(t)
	s.destroy(t)
	s.destroy(t)
}

func testDestroyConcurrently(t *testing.T, b *bench) {
	s := b.create(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { s.destroy(t) })
		wg.Go(func() {
			_ = s.Suspend(t.Context()) // any answer will do, if it comes
			_ = s.Resume(t.Context())
			_, _ = s.Stats(t.Context())
		})
	}
	wg.Wait()
}

func testAfterTheEnd(t *testing.T, b *bench) {
	s := b.create(t)
	address := s.Address()
	s.destroy(t)
	ctx, cancel := context.WithTimeout(t.Context(), b.Patience)
	defer cancel()
	_ = s.Suspend(ctx)
	_ = s.Resume(ctx)
	_, _ = s.Stats(ctx)
	if ctx.Err() != nil {
		t.Error("a method blocks after the end")
	}
	if s.ID() == "" || s.Spec() != b.Spec || s.Address() != address {
		t.Error("a sandbox forgets what it was")
	}
}

// testCreateCancelled cancels at many moments, so that each step of Create is
// hit on some machine. Whatever the outcome, nothing may be left, and the same
// id must be usable again.
func testCreateCancelled(t *testing.T, b *bench) {
	req := b.request()
	began := time.Now()
	s, err := b.tryCreate(t, t.Context(), req)
	if err != nil {
		t.Fatalf("Create = %v", err)
	}
	whole := max(time.Since(began), time.Millisecond)
	s.destroy(t)

	const moments = 8
	for i := range moments {
		ctx, cancel := context.WithTimeout(t.Context(), whole*time.Duration(i)/moments)
		again, err := b.tryCreate(t, ctx, req)
		cancel()
		if err != nil {
			if _, ok := errors.AsType[*whisk.CreateError](err); ok {
				t.Errorf("a cancelled Create blames the user: %v", err)
			}
			continue
		}
		again.destroy(t)
	}
	last, err := b.tryCreate(t, t.Context(), req)
	if err != nil {
		t.Fatalf("Create after cancelled ones = %v", err)
	}
	last.init(t, b.Code.Echo)
	last.mustRun(t, map[string]any{})
}

func testCreateCtx(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := b.tryCreate(t, ctx, b.request())
	if err != nil {
		t.Fatalf("Create = %v", err)
	}
	cancel()
	s.init(t, b.Code.Echo)
	s.mustRun(t, map[string]any{})
}

func testUserFault(t *testing.T, b *bench) {
	if b.UserFault == nil {
		t.Skip("the harness has no such request")
	}
	driver, req := b.UserFault(t)
	b = benchOf(t, b.Harness, driver)
	_, err := b.tryCreate(t, t.Context(), req)
	fault, ok := errors.AsType[*whisk.CreateError](err)
	if !ok || fault.Text == "" {
		t.Errorf("Create = %v, want a CreateError that says what is wrong", err)
	}
}

func testNodeFault(t *testing.T, b *bench) {
	if b.NodeFault == nil {
		t.Skip("the harness has no such request")
	}
	driver, req := b.NodeFault(t)
	b = benchOf(t, b.Harness, driver)
	_, err := b.tryCreate(t, t.Context(), req)
	if _, user := errors.AsType[*whisk.CreateError](err); err == nil || user {
		t.Errorf("Create = %v, want an error that does not blame the user", err)
	}
}

func testMany(t *testing.T, b *bench) {
	if b.Code.Echo == "" {
		t.Skip("the harness has no code for this")
	}
	var wg sync.WaitGroup
	for i := range b.Sandboxes {
		wg.Go(func() {
			s, err := b.tryCreate(t, t.Context(), b.request())
			if err != nil {
				t.Errorf("Create %d = %v", i, err)
				return
			}
			if err := initAndRun(t, s, i); err != nil {
				t.Errorf("sandbox %d: %v", i, err)
			}
			s.destroy(t)
		})
	}
	wg.Wait()
}

// initAndRun works in any goroutine: it does not end the test.
func initAndRun(t *testing.T, s *specimen, i int) error {
	if err := s.tryInit(t.Context(), s.b.Code.Echo); err != nil {
		return err
	}
	want := fmt.Sprintf("sandbox %d", i)
	if got := s.run(t, map[string]any{"i": want}); got.err != nil || !strings.Contains(got.body, `"`+want+`"`) {
		return fmt.Errorf("/run = %+v, want %q in it", got, want)
	}
	return nil
}

func testClose(t *testing.T, b *bench) {
	b.create(t).destroy(t)
	for range 2 {
		if err := b.driver.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
}
