// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// TestTheLogTellsWhichContainerHadAnActivation reads the line that ties the two.
func TestTheLogTellsWhichContainerHadAnActivation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var text strings.Builder
		w.log = slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug})
		w.start()
		w.invoke(func(inv *whisk.Invocation) { inv.Activation = "0123" })
		synctest.Wait()
		if want := `msg="activation ended" component=balancer activation=0123 container=box1 action=`; !strings.Contains(text.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, text.String())
		}
	})
}

func TestColdThenWarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.createDelay = 300 * time.Millisecond
		w.start()
		first := w.invoke()
		w.expect(first, whisk.Success, `{"done":true}`)
		if !first.Cold || first.Wait != 300*time.Millisecond || first.Container != "box1" {
			t.Errorf("first: %+v", first)
		}
		second := w.invoke()
		w.expect(second, whisk.Success, `{"done":true}`)
		if second.Cold || second.Wait != 0 || second.Container != "box1" {
			t.Errorf("second: %+v", second)
		}
		for i, outcome := range []whisk.Outcome{first, second} {
			if logs, err := outcome.AwaitLogs(t.Context()); err != nil || logs.Lines != i+1 {
				t.Errorf("logs of run %d: %+v, %v", i+1, logs, err)
			}
		}
		if n := len(sent[whisk.Requisition](w)); n != 1 {
			t.Errorf("%d requisitions, want 1", n)
		}
	})
}

// What the first container of an action will need is prepared while that is made, and
// for nobody else.
func TestPrepare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.createDelay = 300 * time.Millisecond
		w.handle = takes(time.Second)
		w.start()
		var prepared []time.Duration
		begin := time.Now()
		prepare := func(inv *whisk.Invocation) {
			inv.Prepare = func(context.Context) {
				time.Sleep(100 * time.Millisecond)
				prepared = append(prepared, time.Since(begin))
			}
		}
		var calls sync.WaitGroup
		for range 3 {
			calls.Go(func() {
				if outcome := w.invoke(prepare); outcome.Response.Status != whisk.Success || outcome.Cold && outcome.Wait != 300*time.Millisecond {
					t.Errorf("%+v", outcome)
				}
			})
			time.Sleep(time.Millisecond)
		}
		calls.Wait()
		w.invoke(prepare)
		if want := []time.Duration{100 * time.Millisecond}; !slices.Equal(prepared, want) {
			t.Errorf("prepared at %v, want %v", prepared, want)
		}
	})
}

// TryInvoke takes what a container with the code has a slot for, and leaves the rest
// as it was.
func TestTryInvoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = func(x *box, path string, _ []byte) answer { return answer{raw: ok(`{}`).raw, after: time.Second} }
		w.start()
		try := func() (whisk.Outcome, bool) {
			outcome, rest, taken := w.b.TryInvoke(t.Context(), invocation())
			if rest != nil {
				t.Error("turned away")
			}
			return outcome, taken
		}
		if _, taken := try(); taken || len(sent[whisk.Requisition](w)) > 0 || w.b.Snapshot().Inflight != 0 {
			t.Error("taken without a container, or something was asked for")
		}
		w.invoke()
		outcome, taken := try()
		if w.expect(outcome, whisk.Success, `{}`); !taken || outcome.Container != "box1" {
			t.Errorf("%v %+v", taken, outcome)
		}
		var told []whisk.LogSummary
		outcome.AfterLogs(func(logs whisk.LogSummary, err error) {
			if told = append(told, logs); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		if synctest.Wait(); len(told) != 1 || told[0].Lines != 2 {
			t.Errorf("told %+v", told)
		}
		busy := w.background()
		if _, taken := try(); taken {
			t.Error("taken while the container is busy")
		}
		<-busy
		if s := w.b.Snapshot(); s.Inflight != 0 || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A panic goes to who called, who may live on. Its slot comes free, and the container
// goes as a failed one when what else runs there has ended well.
func TestTryInvokePanics(t *testing.T) {
	broken := func() { panic("broken invariant") }
	for what, breaks := range map[string]func(*whisk.Invocation){
		"claim":   func(inv *whisk.Invocation) { inv.Claim = func(context.Context) error { broken(); return nil } },
		"request": func(inv *whisk.Invocation) { inv.RunBody = func(time.Time) []byte { broken(); return nil } },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.handle = takes(time.Second)
				w.start()
				two := func(inv *whisk.Invocation) { inv.Limits.Concurrency = 2 }
				w.invoke(two)
				beside := w.background(two)
				func() {
					defer func() {
						if cause := recover(); cause != "broken invariant" {
							t.Errorf("the caller learns of %v", cause)
						}
					}()
					w.b.TryInvoke(t.Context(), invocation(two, breaks))
				}()
				if s := w.b.Snapshot(); s.Inflight != 1 || s.Actions[0].Slots != 1 {
					t.Errorf("while the other runs: %+v", s)
				}
				if _, _, taken := w.b.TryInvoke(t.Context(), invocation(two)); taken {
					t.Error("the container is used again")
				}
				w.expect(<-beside, whisk.Success, `{}`)
				time.Sleep(company)
				w.expectReleases(whisk.ReleaseFailed)
				if s := w.b.Snapshot(); s.Inflight != 0 || s.Containers != 0 {
					t.Errorf("afterwards: %+v", s)
				}
			})
		})
	}
}

// What a container turns away goes on as any other does, at the head of the queue.
func TestTryInvokeTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.invoke()
		w.box("box1").kill()
		claims := 0
		outcome, rest, taken := w.b.TryInvoke(t.Context(), invocation(func(inv *whisk.Invocation) {
			inv.Claim = func(context.Context) error { claims++; return nil }
		}))
		if !taken || rest == nil || outcome.Container != "" {
			t.Fatalf("%v %v %+v", taken, rest == nil, outcome)
		}
		outcome = rest()
		if w.expect(outcome, whisk.Success, `{"done":true}`); outcome.Container != "box2" || !outcome.Cold || claims != 1 {
			t.Errorf("%+v, %d claims", outcome, claims)
		}
		if s := w.b.Snapshot(); s.Inflight != 0 {
			t.Errorf("%+v", s)
		}
	})
}
