// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/whisk"
)

func TestPauseAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		g := w.agent("n1")
		w.invoke()
		time.Sleep(9900 * time.Millisecond)
		if got := g.ops("box1"); !slices.Equal(got, []whisk.SandboxOp{whisk.CollectLogs}) {
			t.Errorf("before the grace: %v", got)
		}
		time.Sleep(300 * time.Millisecond)
		if s := w.b.Snapshot().Actions[0]; s.Paused != 1 {
			t.Errorf("not paused: %+v", s)
		}
		outcome := w.invoke()
		w.expect(outcome, whisk.Success, `{"done":true}`)
		want := []whisk.SandboxOp{whisk.CollectLogs, whisk.Suspend, whisk.Resume, whisk.CollectLogs}
		time.Sleep(company)
		synctest.Wait()
		if got := g.ops("box1"); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		// Resume and /run go out together: what the agent needs for it is no part of the wait.
		time.Sleep(11 * time.Second)
		g.mu.Lock()
		g.slow = 700 * time.Millisecond
		g.mu.Unlock()
		outcome = w.invoke()
		if outcome.Wait != 0 || outcome.Run != 700*time.Millisecond || outcome.Resume != outcome.Run || outcome.Container != "box1" {
			t.Errorf("%+v", outcome)
		}
	})
}

// A frozen process cannot have started what was sent to it: if the resume
// fails, and it stays frozen, another container gets the activation.
func TestResumeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.invoke()
		time.Sleep(11 * time.Second)
		x := w.box("box1")
		x.mu.Lock()
		x.resumeErr = fmt.Errorf("freezer: %w", whisk.ErrStaysFrozen)
		x.mu.Unlock()
		outcome := w.invoke()
		w.expect(outcome, whisk.Success, `{"done":true}`)
		if outcome.Container != "box2" || x.runs.Load() != 1 {
			t.Errorf("%+v, %d runs in box1", outcome, x.runs.Load())
		}
		w.expectReleases(whisk.ReleaseFailed)
	})
}

// A resume that failed may thaw the container all the same: then the activation
// runs there, or has run, and nowhere else.
func TestResumeFailsAndTheContainerRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.invoke()
		time.Sleep(11 * time.Second)
		x := w.box("box1")
		x.mu.Lock()
		x.resumeErr = errors.New("the engine does not answer")
		x.mu.Unlock()
		g := w.agent("n1")
		g.mu.Lock()
		g.slow = 50 * time.Millisecond // so that the call is on its way: one that was not sent may have another
		g.mu.Unlock()
		time.AfterFunc(100*time.Millisecond, x.thaw)
		outcome := w.invoke()
		w.expect(outcome, whisk.WhiskError, `{"error":"The platform lost the container that ran the activation."}`)
		if outcome.Container != "box1" || w.made.Load() != 1 {
			t.Errorf("%+v of %d containers", outcome, w.made.Load())
		}
		time.Sleep(time.Second)
		w.expectReleases(whisk.ReleaseFailed)
	})
}

// A container whose suspend is under way is waited for rather than replaced.
func TestInvokeWhilePausing(t *testing.T) {
	for _, test := range []struct {
		name    string
		suspend error
		ops     []whisk.SandboxOp
	}{
		{"suspend succeeds", nil, []whisk.SandboxOp{whisk.CollectLogs, whisk.Suspend, whisk.Resume, whisk.CollectLogs}},
		{"suspend fails", errors.New("freezer"), []whisk.SandboxOp{whisk.CollectLogs, whisk.Suspend, whisk.Resume, whisk.CollectLogs}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				g := w.agent("n1")
				w.invoke()
				time.Sleep(9 * time.Second)
				g.mu.Lock()
				g.slow = 500 * time.Millisecond
				g.mu.Unlock()
				x := w.box("box1")
				x.mu.Lock()
				x.suspendErr = test.suspend
				x.mu.Unlock()
				time.Sleep(1200 * time.Millisecond) // the suspend was asked for and is not answered
				outcome := w.invoke()
				w.expect(outcome, whisk.Success, `{"done":true}`)
				if outcome.Container != "box1" || len(sent[whisk.Requisition](w)) != 1 {
					t.Errorf("%+v", outcome)
				}
				outcome.AwaitLogs(t.Context())
				if got := g.ops("box1"); !slices.Equal(got, test.ops) {
					t.Errorf("got %v, want %v", got, test.ops)
				}
			})
		})
	}
}

func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.invoke()
		time.Sleep(9*time.Minute + 59*time.Second)
		w.expectReleases()
		time.Sleep(2 * time.Second)
		w.expectReleases(whisk.ReleaseIdle)
		time.Sleep(2 * time.Minute)
		if s := w.b.Snapshot(); len(s.Actions) != 0 || s.Containers != 0 {
			t.Errorf("not forgotten: %+v", s)
		}
	})
}

func TestPausingOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(func(c *balancer.Config) { c.PauseGrace = 0 })
		w.invoke()
		time.Sleep(5 * time.Minute)
		if got := w.agent("n1").ops("box1"); len(got) != 1 {
			t.Errorf("%v", got)
		}
	})
}
