// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/whisk"
)

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
		if n := len(sent[whisk.Requisition](w)); n != 2 || w.box("box1").runs.Load() != 2 {
			t.Errorf("at 8.1 s: %d requisitions, %d runs in box1", n, w.box("box1").runs.Load())
		}
		// In time for the margin's end: the container is good again.
		g.mu.Lock()
		g.mute = false
		g.mu.Unlock()
		g.hangUp()
		if outcome := <-result; outcome.Container != "box1" {
			t.Errorf("after the renewal: %+v", outcome)
		}
		time.Sleep(company)
		synctest.Wait()
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
		if w.box("box1").inits.Load() != 0 {
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
		g.mu.Lock()
		defer g.mu.Unlock()
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
		if outcome.Response.Status != whisk.WhiskError || w.box("box1").inits.Load() != 0 {
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

// A first resume of which nothing was heard may have succeeded: if the second
// fails the activation may have run, and does not run again.
func TestResumeInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.invoke()
		time.Sleep(11 * time.Second)
		g := w.agent("n1")
		g.mu.Lock()
		g.slow = time.Second
		g.mu.Unlock()
		x := w.box("box1")
		result := w.background()
		time.Sleep(100 * time.Millisecond)
		g.hangUp() // before the answer
		x.mu.Lock()
		x.resumeErr = whisk.Errorf(whisk.NotFound, "no such container")
		x.mu.Unlock()
		outcome := <-result
		w.expect(outcome, whisk.WhiskError, `{"error":"The platform lost the container that ran the activation."}`)
		if outcome.Container != "box1" || w.made.Load() != 1 {
			t.Errorf("%+v", outcome)
		}
	})
}

// More log requests than the bound are not collected, and say so.
func TestAgentQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(func(c *balancer.Config) { c.AgentQueue = 2 })
		w.invoke()
		g := w.agent("n1")
		g.mu.Lock()
		g.down = true
		g.mu.Unlock()
		g.hangUp()
		synctest.Wait()
		var outcomes []whisk.Outcome
		for range 3 {
			outcomes = append(outcomes, w.invoke()) // the lease is good for a while
		}
		if _, err := outcomes[2].AwaitLogs(t.Context()); whisk.KindOf(err) != whisk.Unavailable {
			t.Errorf("third: %v", err)
		}
		g.mu.Lock()
		g.down = false
		g.mu.Unlock()
		for i, outcome := range outcomes[:2] {
			if logs, err := outcome.AwaitLogs(t.Context()); err != nil || logs.Lines != i+2 {
				t.Errorf("%d: %+v, %v", i, logs, err)
			}
		}
	})
}

// An agent that came back elsewhere is found there, by what came with its newest
// container.
func TestAgentThatMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.invoke()
		g := w.agent("n1")
		g.mu.Lock()
		g.address = "n1:2"
		g.mu.Unlock()
		g.hangUp()
		result := w.background(func(inv *whisk.Invocation) { inv.Key.Action.Name = "other" })
		if outcome := <-result; outcome.Container != "box2" {
			t.Errorf("%+v", outcome)
		}
		time.Sleep(whisk.LeaseTTL)
		w.expectReleases() // the leases on both were renewed
	})
}
