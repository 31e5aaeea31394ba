// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// slowRuns lets /run take a second.
func slowRuns(_ *box, path string, _ []byte) answer {
	if path == "/init" {
		return ok("")
	}
	return answer{raw: ok(`{}`).raw, after: time.Second}
}

// A busy container is not reported between two activations; an idle one is,
// once, and busy again.
func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = slowRuns
		w.start()
		for range 5 {
			w.invoke()
			time.Sleep(50 * time.Millisecond)
		}
		if reports := sent[whisk.StateReport](w); len(reports) != 0 {
			t.Errorf("reports of a busy container: %+v", reports)
		}
		idle := time.Now().Add(-50 * time.Millisecond)
		time.Sleep(time.Second)
		begin := time.Now()
		result := w.background()
		<-result
		synctest.Wait()
		want := []whisk.StateReport{
			{States: []whisk.ContainerUse{{Container: "box1", State: whisk.Free, Since: idle}}},
			{States: []whisk.ContainerUse{{Container: "box1", State: whisk.Busy, Since: begin}}},
		}
		got := sent[whisk.StateReport](w)
		if !slices.EqualFunc(got, want, func(a, b whisk.StateReport) bool {
			return slices.EqualFunc(a.States, b.States, func(a, b whisk.ContainerUse) bool {
				return a.Container == b.Container && a.State == b.State && a.Since.Sub(b.Since).Abs() < time.Millisecond
			})
		}) {
			t.Errorf("reports %+v, want %+v", got, want)
		}
	})
}

// While the scheduler owes us a container, it hears at once of one that it
// could evict.
func TestIdleIsReportedAtOnceWhenInNeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = slowRuns
		w.start()
		result := w.background()
		w.mu.Lock()
		w.manual = true
		w.mu.Unlock()
		other := w.background(func(inv *whisk.Invocation) { inv.Key.Action.Name = "other" })
		<-result
		synctest.Wait()
		if reports := sent[whisk.StateReport](w); len(reports) != 1 || reports[0].States[0].State != whisk.Free {
			t.Errorf("reports %+v", reports)
		}
		r := sent[whisk.Requisition](w)[1]
		w.allocate(r.ID, whisk.Created, r.Spec)
		w.expect(<-other, whisk.Success, `{}`)
	})
}

func TestReclaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = slowRuns
		w.start()
		result := w.background()
		w.send(whisk.Reclaim{Container: "box1"})
		synctest.Wait()
		if r := sent[whisk.StateReport](w); len(r) != 1 || r[0].States[0].State != whisk.Busy || len(w.releases()) != 0 {
			t.Errorf("busy: reports %+v, releases %v", r, w.releases())
		}
		<-result
		w.send(whisk.Reclaim{Container: "box1"})
		w.expectReleases(whisk.ReleaseReclaimed)
		// Crossed messages about what is gone change nothing.
		w.send(whisk.Reclaim{Container: "box1", Drain: true})
		w.send(whisk.Lost{Container: "box1"})
		w.expectReleases(whisk.ReleaseReclaimed)
		if outcome := w.invoke(); outcome.Container != "box2" {
			t.Errorf("%+v", outcome)
		}
	})
}

func TestReclaimDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = slowRuns
		w.start()
		running := w.background()
		w.send(whisk.Reclaim{Container: "box1", Drain: true})
		synctest.Wait()
		next := w.background()
		w.expect(<-running, whisk.Success, `{}`)
		w.expectReleases(whisk.ReleaseReclaimed)
		if outcome := <-next; outcome.Container != "box2" {
			t.Errorf("%+v", outcome)
		}
	})
}

func TestReclaimPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.invoke()
		time.Sleep(15 * time.Second)
		w.send(whisk.Reclaim{Container: "box1"})
		w.expectReleases(whisk.ReleaseReclaimed)
	})
}

// A container from another controller holds the code, and may be suspended.
func TestTransferred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.manual = true
		w.start()
		result := w.background()
		r := sent[whisk.Requisition](w)[0]
		x := w.make(r.Spec, "n1")
		x.frozen = make(chan struct{})
		w.send(whisk.Allocation{Requisition: r.ID, Container: x.Container, Origin: whisk.Transferred})
		outcome := <-result
		w.expect(outcome, whisk.Success, `{"done":true}`)
		if outcome.Cold || x.inits != 0 {
			t.Errorf("initialised again: %+v", outcome)
		}
		// One for which nobody waits any more is kept.
		second := w.background(func(inv *whisk.Invocation) { inv.StartBy = time.Now().Add(time.Second); inv.Key.Revision = 9 })
		<-second
		synctest.Wait()
		r = sent[whisk.Requisition](w)[1]
		w.allocate(r.ID, whisk.Transferred, r.Spec)
		w.expectReleases()
		if s := w.b.Snapshot(); s.Containers != 2 {
			t.Errorf("%+v", s)
		}
	})
}

func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = slowRuns
		w.start()
		running := w.background()
		w.send(whisk.Lost{Container: "box1", Reason: "node down"})
		synctest.Wait()
		next := w.background()
		w.box("box1").kill()
		w.expect(<-running, whisk.DeveloperError, `{"error":"The action did not produce a valid response and exited unexpectedly."}`)
		if outcome := <-next; outcome.Container != "box2" {
			t.Errorf("%+v", outcome)
		}
		w.expectReleases()
		if s := w.b.Snapshot(); s.Containers != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A new session begins with what is held, and what still waits is asked anew.
func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = slowRuns
		w.start()
		w.send(whisk.KeepAlive{Epoch: 41})
		w.invoke()
		running := w.background()
		w.mu.Lock()
		w.manual, w.schedulerDown = true, true
		w.mu.Unlock()
		waiting := w.background(named("waiting"))
		before := sent[whisk.Requisition](w)
		w.mu.Lock()
		w.stream.Close()
		w.mu.Unlock()
		// The scheduler's absence does not touch the warm path.
		w.expect(<-running, whisk.Success, `{}`)
		w.expect(<-waiting, whisk.Success, `{}`)
		third := w.background()
		fourth := w.background(named("fourth"))
		w.mu.Lock()
		w.schedulerDown = false
		w.mu.Unlock()
		w.expect(<-third, whisk.Success, `{}`)
		time.Sleep(100 * time.Millisecond)
		fifth := w.background(func(inv *whisk.Invocation) { inv.Key.Action.Name = "other" })
		w.expect(<-fourth, whisk.Success, `{}`)
		time.Sleep(5 * time.Second)
		synctest.Wait()

		registers := sent[whisk.Register](w)
		held := whisk.HeldContainer{Container: "box1", Node: "n1", Key: key, Concurrency: 1, State: whisk.Busy}
		if len(registers) != 2 || registers[1].Epoch != 41 || registers[1].Controller != "c1" || !slices.Equal(registers[1].Held, []whisk.HeldContainer{held}) {
			t.Errorf("registers %+v", registers)
		}
		after := sent[whisk.Requisition](w)
		if len(after) <= len(before) {
			t.Fatal("nothing requisitioned in the new session")
		}
		last := after[len(after)-1]
		w.allocate(last.ID, whisk.Created, last.Spec)
		w.expect(<-fifth, whisk.Success, `{}`)
		// One for a requisition of the old session is given back.
		w.allocate(before[len(before)-1].ID, whisk.Created, last.Spec)
		w.expectReleases(whisk.ReleaseUnused)
	})
}

// Both sides show that they live; a silent scheduler is left.
func TestSilentScheduler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		time.Sleep(62 * time.Second)
		if w.sessions != 1 || len(sent[whisk.KeepAlive](w)) != 12 {
			t.Errorf("%d sessions, %d keep-alives", w.sessions, len(sent[whisk.KeepAlive](w)))
		}
		w.mu.Lock()
		w.silent = true
		w.mu.Unlock()
		time.Sleep(13 * time.Second)
		if w.sessions != 1 {
			t.Error("given up too soon")
		}
		time.Sleep(10 * time.Second)
		if w.sessions != 2 {
			t.Errorf("%d sessions, want a second", w.sessions)
		}
	})
}

// Without renewals nothing new starts two seconds before the lease ends, and
// the containers are given up when it does.
func TestLeaseFencing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.invoke()
		g := w.agent("n1")
		time.Sleep(100 * time.Millisecond)
		g.mu.Lock()
		g.mute = true // from the renewal at 2 s on; the lease is good until 10 s
		g.mu.Unlock()
		time.Sleep(7800 * time.Millisecond)
		if outcome := w.invoke(); outcome.Container != "box1" {
			t.Errorf("at 7.9 s: %+v", outcome)
		}
		time.Sleep(200 * time.Millisecond)
		w.mu.Lock()
		w.manual = true
		w.mu.Unlock()
		result := w.background()
		if n := len(sent[whisk.Requisition](w)); n != 2 || w.box("box1").runs != 2 {
			t.Errorf("at 8.1 s: %d requisitions, %d runs in box1", n, w.box("box1").runs)
		}
		// In time for the margin's end: the container is good again.
		g.mu.Lock()
		g.mute = false
		g.mu.Unlock()
		g.hangUp()
		if outcome := <-result; outcome.Container != "box1" {
			t.Errorf("after the renewal: %+v", outcome)
		}
		// Not in time: it is given up.
		g.mu.Lock()
		g.mute, g.down = true, true
		g.mu.Unlock()
		g.hangUp()
		time.Sleep(11 * time.Second)
		w.expectReleases(whisk.ReleaseFailed)
	})
}

// An allocation on a node whose agent was never heard of waits for the lease.
func TestFirstLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		g := w.agent("n1")
		g.down = true
		w.start()
		result := w.background()
		time.Sleep(3 * time.Second)
		if w.box("box1").inits != 0 {
			t.Error("initialised without a lease")
		}
		g.mu.Lock()
		g.down = false
		g.mu.Unlock()
		outcome := <-result
		w.expect(outcome, whisk.Success, `{"done":true}`)
		if outcome.Container != "box1" || len(sent[whisk.Requisition](w)) != 1 {
			t.Errorf("%+v", outcome)
		}
		if g.requests[0].Op != whisk.Renew || g.requests[0].Controller != "c1" {
			t.Errorf("first request %+v", g.requests[0])
		}
	})
}

// A lease is counted from before the renewal was sent.
func TestSlowRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.agent("n1").slow = 9 * time.Second
		w.manual = true
		w.start()
		result := w.background(func(inv *whisk.Invocation) { inv.StartBy = time.Now().Add(12 * time.Second) })
		r := sent[whisk.Requisition](w)[0]
		w.allocate(r.ID, whisk.Created, r.Spec)
		outcome := <-result
		if outcome.Response.Status != whisk.WhiskError || w.box("box1").inits != 0 {
			t.Errorf("%+v: a lease that old must not be used", outcome)
		}
	})
}

// When the agent's session breaks before a resume was answered, it is asked again.
func TestResumeSurvivesTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.invoke()
		time.Sleep(11 * time.Second)
		g := w.agent("n1")
		g.mu.Lock()
		g.slow = time.Second
		g.mu.Unlock()
		result := w.background()
		time.Sleep(100 * time.Millisecond)
		x := w.box("box1")
		x.mu.Lock()
		x.resumeErr = whisk.Errorf(whisk.Unavailable, "session gone")
		x.mu.Unlock()
		g.hangUp()
		time.Sleep(2 * time.Second)
		x.mu.Lock()
		x.resumeErr = nil
		x.mu.Unlock()
		g.mu.Lock()
		g.slow = 0
		g.mu.Unlock()
		g.hangUp()
		outcome := <-result
		if outcome.Response.Status != whisk.Success {
			t.Errorf("%+v", outcome)
		}
	})
}

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
