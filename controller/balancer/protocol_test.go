// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
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

// While the scheduler owes us a container, it hears soon of one that it could
// evict, but not of one that may be between two activations.
func TestIdleIsReportedSoonWhenInNeed(t *testing.T) {
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
		time.Sleep(49 * time.Millisecond)
		if reports := sent[whisk.StateReport](w); len(reports) != 0 {
			t.Errorf("reports after 49 ms: %+v", reports)
		}
		time.Sleep(2 * time.Millisecond)
		if reports := sent[whisk.StateReport](w); len(reports) != 1 || reports[0].States[0].State != whisk.Free {
			t.Errorf("reports after 51 ms: %+v", reports)
		}
		r := sent[whisk.Requisition](w)[1]
		w.allocate(r.ID, whisk.Created, r.Spec)
		w.expect(<-other, whisk.Success, `{}`)
	})
}

// A caller that asks again soon keeps its container, whoever waits for its memory.
func TestABusyCallersContainerIsNotOffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = slowRuns
		w.start()
		w.invoke()
		w.mu.Lock()
		w.manual = true
		w.mu.Unlock()
		other := w.background(func(inv *whisk.Invocation) { inv.Key.Action.Name = "other" })
		for range 20 {
			w.invoke()
			time.Sleep(15 * time.Millisecond)
		}
		if reports := sent[whisk.StateReport](w); len(reports) != 0 {
			t.Errorf("reports %+v", reports)
		}
		r := sent[whisk.Requisition](w)[1]
		w.allocate(r.ID, whisk.Created, r.Spec)
		w.expect(<-other, whisk.Success, `{}`)
	})
}

// The answer to a reclaim waits for no report.
func TestAReclaimIsAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = slowRuns
		w.start()
		w.invoke()
		time.Sleep(time.Second) // it is reported free
		running := w.background()
		w.send(whisk.Reclaim{Container: "box1"})
		synctest.Wait()
		if reports := sent[whisk.StateReport](w); len(reports) != 2 || reports[1].States[0].State != whisk.Busy {
			t.Errorf("reports %+v", reports)
		}
		w.expect(<-running, whisk.Success, `{}`)
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
		w.hand(r.ID, x, whisk.Transferred)
		outcome := <-result
		w.expect(outcome, whisk.Success, `{"done":true}`)
		if outcome.Cold || x.inits.Load() != 0 {
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
		// One without code goes back, though the other was not used here either.
		w.allocate(r.ID, whisk.Created, r.Spec)
		w.expectReleases(whisk.ReleaseUnused)
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
		w.expect(<-running, whisk.WhiskError, `{"error":"The platform lost the container that ran the activation."}`)
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
		if w.sessions.Load() != 1 || len(sent[whisk.KeepAlive](w)) != 12 {
			t.Errorf("%d sessions, %d keep-alives", w.sessions.Load(), len(sent[whisk.KeepAlive](w)))
		}
		w.mu.Lock()
		w.silent = true
		w.mu.Unlock()
		time.Sleep(13 * time.Second)
		if w.sessions.Load() != 1 {
			t.Error("given up too soon")
		}
		time.Sleep(10 * time.Second)
		if w.sessions.Load() != 2 {
			t.Errorf("%d sessions, want a second", w.sessions.Load())
		}
	})
}

// A session that breaks while it is written to loses no release and no need.
func TestSessionBreaksInTheMiddle(t *testing.T) {
	for sends := range 6 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.handle = slowRuns
			w.breakAfter = sends + 1
			w.start()
			first := w.background()
			second := w.background(func(inv *whisk.Invocation) { inv.Key.Action.Name = "other" })
			w.expect(<-first, whisk.Success, `{}`)
			w.expect(<-second, whisk.Success, `{}`)
			w.b.Retire(key.Action, 0)
			time.Sleep(5 * time.Second)
			w.expectReleases(whisk.ReleaseStale)
			if w.sessions.Load() != 2 && sends < 3 {
				t.Errorf("%d sends: %d sessions", sends, w.sessions.Load())
			}
		})
	}
}

// A redirect uses up a slot of its requisition; another is asked for later.
func TestRedirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.manual = true
		w.start()
		result := w.background()
		w.send(whisk.Redirect{Requisition: sent[whisk.Requisition](w)[0].ID, Controller: "c2"})
		w.send(whisk.Redirect{Requisition: 999, Controller: "c2"})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		r := sent[whisk.Requisition](w)
		if len(r) != 2 {
			t.Fatalf("requisitions %+v", r)
		}
		w.allocate(r[1].ID, whisk.Created, r[1].Spec)
		w.expect(<-result, whisk.Success, `{"done":true}`)
	})
}

func TestRoster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		if got := w.b.Invokers(); got != nil {
			t.Errorf("%+v before anybody told", got)
		}
		for _, state := range []whisk.NodeState{whisk.NodeUp, whisk.NodeUnhealthy} {
			want := []whisk.NodeStanding{{Node: "n1", State: state}}
			w.send(whisk.Roster{Nodes: want, Controllers: 1 + int(state)})
			synctest.Wait()
			if got := w.b.Invokers(); !slices.Equal(got, want) {
				t.Errorf("%+v, want %+v", got, want)
			}
			if got, want := w.b.Controllers(), 1+int(state); got != want {
				t.Errorf("%d controllers, want %d", got, want)
			}
		}
		// A scheduler that has just begun may not know of all.
		for _, told := range []struct {
			roster whisk.Roster
			want   int
		}{
			{whisk.Roster{Controllers: 4}, 4},
			{whisk.Roster{Controllers: 1, Partial: true}, 4},
			{whisk.Roster{Controllers: 5, Partial: true}, 5},
			{whisk.Roster{Controllers: 2, Partial: true}, 5},
			{whisk.Roster{Controllers: 2}, 2},
		} {
			w.send(told.roster)
			synctest.Wait()
			if got := w.b.Controllers(); got != told.want {
				t.Errorf("%d controllers after %+v, want %d", got, told.roster, told.want)
			}
		}
		w.send(whisk.Roster{})
		synctest.Wait()
		if got := w.b.Controllers(); got != 1 {
			t.Errorf("%d controllers where the scheduler does not know", got)
		}
	})
}
