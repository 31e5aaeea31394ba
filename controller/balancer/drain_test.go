// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/whisk"
)

func TestRetire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = slowRuns
		w.start()
		one, two := w.background(), w.background()
		<-one
		<-two
		busy := w.background()
		w.b.Retire(whisk.FullName{Namespace: "guest", Name: "else"}, 0)
		w.b.Retire(key.Action, key.Revision)
		w.b.Retire(key.Action, key.Revision-1)
		w.expectReleases()
		w.b.Retire(key.Action, key.Revision+1)
		w.expectReleases(whisk.ReleaseStale)
		w.expect(<-busy, whisk.Success, `{}`)
		w.expectReleases(whisk.ReleaseStale, whisk.ReleaseStale)
		// What was accepted for the old revision still runs, in a container that goes at once.
		w.expect(w.invoke(), whisk.Success, `{}`)
		w.expectReleases(whisk.ReleaseStale, whisk.ReleaseStale, whisk.ReleaseStale)
		// Deletion retires every revision.
		w.invoke(func(inv *whisk.Invocation) { inv.Key.Revision = 99 })
		w.b.Retire(key.Action, 0)
		w.expectReleases(whisk.ReleaseStale, whisk.ReleaseStale, whisk.ReleaseStale, whisk.ReleaseStale)
	})
}

// Bindings have an action run in several namespaces: a change of it is one of all.
func TestRetireInAllNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(func(c *balancer.Config) { c.IdleTimeout, c.PauseGrace = time.Minute, 0 })
		in := func(namespace string) func(*whisk.Invocation) {
			return func(inv *whisk.Invocation) { inv.Key.Namespace = namespace }
		}
		w.invoke(in("one"))
		time.Sleep(40 * time.Second)
		w.invoke(in("two"))
		w.invoke(in("three"))
		time.Sleep(40 * time.Second)
		w.expectReleases(whisk.ReleaseIdle)
		if s := w.b.Snapshot(); len(s.Actions) != 2 {
			t.Errorf("%d actions are known", len(s.Actions))
		}
		w.b.Retire(key.Action, key.Revision+1)
		w.expectReleases(whisk.ReleaseIdle, whisk.ReleaseStale, whisk.ReleaseStale)
		time.Sleep(2 * time.Minute)
		if s := w.b.Snapshot(); len(s.Actions) != 0 {
			t.Errorf("%d actions are known without containers", len(s.Actions))
		}
		w.invoke(in("one"))
		w.b.Retire(key.Action, 0)
		w.expectReleases(whisk.ReleaseIdle, whisk.ReleaseStale, whisk.ReleaseStale, whisk.ReleaseStale)
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = slowRuns
		w.start()
		w.invoke(func(inv *whisk.Invocation) { inv.Key.Action.Name = "idle" })
		running := w.background()
		admission, err := w.b.Admit(invocation())
		if err != nil {
			t.Fatal(err)
		}
		drained := make(chan error, 1)
		go func() { drained <- w.b.Drain(context.Background()) }()
		synctest.Wait()
		if _, err := w.b.Invoke(t.Context(), invocation()); whisk.KindOf(err) != whisk.Unavailable {
			t.Errorf("Invoke: %v", err)
		}
		if _, err := w.b.Admit(invocation()); whisk.KindOf(err) != whisk.Unavailable {
			t.Errorf("Admit: %v", err)
		}
		w.expect(admission.Invoke(t.Context()), whisk.Success, `{}`)
		w.expect(<-running, whisk.Success, `{}`)
		if err := <-drained; err != nil {
			t.Error(err)
		}
		w.expectReleases(whisk.ReleaseLeaving, whisk.ReleaseLeaving, whisk.ReleaseLeaving)
	})
}

func TestDrainRunsOutOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.capacity = 1
		w.handle = func(_ *box, path string, _ []byte) answer {
			if path == "/init" {
				return ok("")
			}
			return answer{hang: true}
		}
		w.start()
		running, waiting := w.background(), w.background()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		if err := w.b.Drain(ctx); whisk.KindOf(err) != whisk.Timeout {
			t.Errorf("Drain: %v", err)
		}
		if took := time.Since(begin); took > 6*time.Second {
			t.Errorf("took %v", took)
		}
		text := `{"error":"The platform is shutting down and ended the activation."}`
		w.expect(<-running, whisk.WhiskError, text)
		w.expect(<-waiting, whisk.WhiskError, text)
		w.expectReleases(whisk.ReleaseFailed)
	})
}

// The end of Run ends everything by itself.
func TestRunEndsWithWorkLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.manual = true
		w.start()
		waiting := w.background()
		w.stop()
		w.expect(<-waiting, whisk.WhiskError, `{"error":"The platform is shutting down and ended the activation."}`)
		if _, err := w.b.Invoke(t.Context(), invocation()); whisk.KindOf(err) != whisk.Unavailable {
			t.Errorf("Invoke after the end: %v", err)
		}
	})
}
