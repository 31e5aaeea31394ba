// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/whisk"
)

// takes has each run take so long.
func takes(run time.Duration) func(*box, string, []byte) answer {
	return func(_ *box, path string, _ []byte) answer {
		if path == "/init" {
			return ok("")
		}
		return answer{raw: ok("{}").raw, after: run}
	}
}

// ofNamespace is the same action in another namespace.
func ofNamespace(namespace string) func(*whisk.Invocation) {
	return func(inv *whisk.Invocation) { inv.Key.Namespace = namespace }
}

func patient(patience time.Duration) func(*whisk.Invocation) {
	return func(inv *whisk.Invocation) { inv.Patience = patience }
}

// flood is an open loop: calls that come at their own times.
type flood struct {
	w       *world
	running sync.WaitGroup

	mu       sync.Mutex
	served   int
	refused  []error
	foretold int           // of those, by Check
	slowest  time.Duration // wait of those that were served
	late     time.Duration // longest time to a refusal
}

// call makes a call in the background, when all else of this instant has happened:
// what is foretold holds until something changes.
func (f *flood) call(adjust ...func(*whisk.Invocation)) {
	synctest.Wait()
	inv := invocation(adjust...)
	f.running.Go(func() {
		foretold := f.w.b.Check(inv.Key, inv.Patience)
		outcome, err := f.w.b.Invoke(f.w.t.Context(), inv)
		f.mu.Lock()
		defer f.mu.Unlock()
		if foretold != nil && (err == nil || whisk.KindOf(foretold) != whisk.KindOf(err)) {
			f.w.t.Errorf("%v was foretold, and it was %v", foretold, err)
		}
		if foretold != nil {
			f.foretold++
		}
		switch {
		case err != nil:
			f.refused = append(f.refused, err)
			f.late = max(f.late, time.Since(inv.Received))
		case outcome.Response.Status == whisk.Success:
			f.served++
			f.slowest = max(f.slowest, outcome.Wait)
		default:
			f.w.t.Errorf("%+v", outcome.Response)
		}
	})
}

// Of three times as much as its containers can do, an action does as much as they
// can, turns the rest away at once, and when that is over nothing is left of it.
func TestOverload(t *testing.T) {
	const run, containers, lasts, patience = 100 * time.Millisecond, 8, time.Minute, 2 * time.Second
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle, w.manual = takes(run), true
		w.start()
		f := &flood{w: w}
		for range containers {
			f.call(patient(patience))
		}
		synctest.Wait()
		for _, r := range sent[whisk.Requisition](w) {
			for range r.Count {
				w.allocate(r.ID, whisk.Created, r.Spec)
			}
		}
		f.running.Wait()
		f.served = 0

		capacity := int(lasts/run) * containers
		for range 3 * capacity {
			f.call(patient(patience))
			time.Sleep(lasts / time.Duration(3*capacity))
		}
		f.mu.Lock()
		if f.served < capacity*99/100 {
			t.Errorf("%d of %d were served", f.served, capacity)
		}
		if f.late != 0 || f.slowest > patience*11/10 {
			t.Errorf("refusals took %v, and who was served waited for up to %v", f.late, f.slowest)
		}
		f.mu.Unlock()
		f.running.Wait()
		if len(f.refused) == 0 {
			t.Fatal("nothing was refused")
		}
		if f.foretold != len(f.refused) {
			t.Errorf("of %d refusals %d were foretold", len(f.refused), f.foretold)
		}
		if err := f.refused[0].(*whisk.Error); err.Kind != whisk.Unavailable || err.RetryAfter <= 0 {
			t.Errorf("refused with %+v", err)
		}

		// After the storm all is as before.
		refusals := len(f.refused)
		f.slowest = 0
		for range capacity / 2 {
			f.call(patient(patience))
			time.Sleep(lasts / time.Duration(capacity/2))
		}
		f.running.Wait()
		if len(f.refused) != refusals || f.slowest != 0 {
			t.Errorf("after the storm %d were refused, and waited for up to %v", len(f.refused)-refusals, f.slowest)
		}
	})
}

// A queue whose containers went to others lets in no more than it can hope to
// serve, though it was fast before.
func TestQueueThatStops(t *testing.T) {
	const run, patience = 10 * time.Millisecond, 2 * time.Second
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle, w.manual = takes(run), true
		w.start()
		f := &flood{w: w}
		flood := func(calls int) {
			for range calls {
				f.call(patient(patience))
				time.Sleep(time.Millisecond)
			}
		}
		flood(1)
		synctest.Wait()
		need := sent[whisk.Requisition](w)[0]
		box := w.allocate(need.ID, whisk.Created, need.Spec)
		flood(1000) // 100 of which it serves meanwhile
		f.running.Wait()
		if len(f.refused) < 500 {
			t.Fatalf("of ten times as much as can be done %d in 1000 were refused", len(f.refused))
		}
		w.send(whisk.Reclaim{Container: box.ID})
		synctest.Wait()
		f.refused = nil
		flood(200)
		f.mu.Lock()
		if len(f.refused) < 50 {
			t.Errorf("with no container, of 200 calls %d were refused", len(f.refused))
		}
		f.mu.Unlock()
		needs := sent[whisk.Requisition](w)
		w.allocate(needs[len(needs)-1].ID, whisk.Created, need.Spec)
		f.running.Wait()
	})
}

// A queue that another controller serves goes on like one that is served here: nobody is
// turned away from it as if it stood.
func TestQueueThatAnotherControllerServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = takes(10 * time.Millisecond)
		n := newNeighbour(w)
		w.start()
		f := &flood{w: w}
		late := func(inv *whisk.Invocation) { inv.StartBy = inv.Received.Add(time.Hour) }
		for range 100 {
			f.call(late)
		}
		_, r := n.requisitions()
		box := w.allocate(r.ID, whisk.Created, r.Spec)
		f.running.Wait()
		w.send(whisk.Reclaim{Container: box.ID})

		for range 100 {
			f.call(late)
		}
		n.redirect()
		session := <-n.sessions
		go func() {
			for m, err := session.Recv(t.Context()); err == nil; m, err = session.Recv(t.Context()) {
				err = session.Send(t.Context(), whisk.ForwardTaken{Seq: m.Seq, Container: "far"})
				if err == nil {
					err = session.Send(t.Context(), whisk.ForwardEnded{Seq: m.Seq, Response: whisk.Response{Result: []byte("{}")}, Start: time.Now()})
				}
				if err != nil {
					t.Error(err)
				}
			}
		}()
		for range 1000 { // each of which waits for a second
			f.call(late, patient(2*time.Second))
			time.Sleep(10 * time.Millisecond)
			n.redirect()
		}
		if len(f.refused) > 0 {
			t.Errorf("%d of 1000 were refused: %v", len(f.refused), f.refused[0])
		}
		_, r = n.requisitions()
		w.allocate(r.ID, whisk.Created, r.Spec)
		f.running.Wait()
	})
}

// Who is turned away from a long queue that stands is not sent away for hours: when it
// goes on it may be as quick as before.
func TestRetryAfterOfAQueueThatStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle, w.manual = takes(10*time.Millisecond), true
		w.start()
		allocate := func() *box {
			synctest.Wait()
			needs := sent[whisk.Requisition](w)
			return w.allocate(needs[len(needs)-1].ID, whisk.Created, needs[len(needs)-1].Spec)
		}
		f := &flood{w: w}
		late := func(inv *whisk.Invocation) { inv.StartBy = inv.Received.Add(time.Hour) }
		for range 100 {
			f.call(late)
		}
		box := allocate()
		f.running.Wait()
		w.send(whisk.Reclaim{Container: box.ID})
		for range 1000 {
			f.call(late)
		}
		time.Sleep(2 * time.Minute)
		f.call(patient(2 * time.Second))
		synctest.Wait()
		f.mu.Lock()
		if len(f.refused) != 1 {
			t.Fatalf("%d were refused", len(f.refused))
		}
		if after := f.refused[0].(*whisk.Error).RetryAfter; after <= 0 || after > time.Minute {
			t.Errorf("%v: told to come back after %v", f.refused[0], after)
		}
		f.mu.Unlock()
		allocate()
		f.running.Wait()
	})
}

// Who waits at an action's own bound is told that it is the action's.
func TestOverloadOfBoundedAction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = takes(time.Second)
		w.start()
		bounded := func(inv *whisk.Invocation) { inv.Limits.Instances = new(1) }
		f := &flood{w: w}
		for range 100 {
			f.call(bounded, patient(2*time.Second))
			time.Sleep(300 * time.Millisecond)
		}
		f.running.Wait()
		if len(f.refused) == 0 || f.late != 0 {
			t.Fatalf("%d were refused, after up to %v", len(f.refused), f.late)
		}
		for _, err := range f.refused {
			if whisk.KindOf(err) != whisk.Throttled {
				t.Fatalf("refused with %v", err)
			}
		}
	})
}

// Few callers that each wait for their answers are never turned away, however slow
// their action is.
func TestFewMayWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle, w.manual = takes(10*time.Second), true
		w.start()
		f := &flood{w: w}
		late := func(inv *whisk.Invocation) { inv.StartBy = inv.Received.Add(time.Hour) }
		for range 16 {
			f.call(patient(2*time.Second), late)
		}
		synctest.Wait()
		r := sent[whisk.Requisition](w)[0]
		w.allocate(r.ID, whisk.Created, r.Spec)
		for range 50 {
			time.Sleep(10 * time.Second)
			f.call(patient(2*time.Second), late)
		}
		f.running.Wait()
		if len(f.refused) > 0 {
			t.Errorf("%d were refused: %v", len(f.refused), f.refused[0])
		}
	})
}

// A namespace that fills the overflow leaves room for others, as much for each as
// it has itself.
func TestNamespacesShareTheOverflow(t *testing.T) {
	for name, adjust := range map[string]func(*balancer.Config){
		"entries": func(c *balancer.Config) { c.Waiting = 300 },
		"bytes":   func(c *balancer.Config) { c.WaitingBytes = 300 * 100 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.manual = true
				w.start(adjust)
				waiting := map[string]int{}
				push := func(namespace string) bool {
					_, err := w.b.Admit(invocation(ofNamespace(namespace)))
					if err == nil {
						waiting[namespace]++
					} else if whisk.KindOf(err) != whisk.Unavailable {
						t.Fatal(err)
					}
					return err == nil
				}
				for push("noisy") {
				}
				if waiting["noisy"] != 150 {
					t.Errorf("alone it has %d of 300 places", waiting["noisy"])
				}
				for push("meek") {
				}
				if !push("third") || waiting["meek"] < 75 {
					t.Errorf("places: %v", waiting)
				}
			})
		})
	}
}

// When a namespace calls new actions faster than containers can be had for it,
// those that would wait for long are turned away, and another namespace's are not.
func TestColdOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.manual = true
		w.start()
		other := func(namespace string, n int) func(*whisk.Invocation) {
			return func(inv *whisk.Invocation) {
				inv.Key.Namespace, inv.Key.Action.Name = namespace, fmt.Sprint("action", n)
				inv.StartBy = inv.Received.Add(time.Hour)
			}
		}
		f := &flood{w: w}
		handed := 0
		for n := range 2000 { // 30 a second come, and 10 can be served
			f.call(other("noisy", n), patient(2*time.Second))
			time.Sleep(time.Second / 30)
			if all := sent[whisk.Requisition](w); n%3 == 0 && handed < len(all) {
				w.allocate(all[handed].ID, whisk.Created, all[handed].Spec)
				handed++
			}
		}
		f.mu.Lock()
		refused, served, late, slowest := len(f.refused), f.served, f.late, f.slowest
		f.mu.Unlock()
		if refused < 1000 || served < 600 || late != 0 || slowest > 15*time.Second {
			t.Errorf("%d refused, after up to %v, %d served, after up to %v", refused, late, served, slowest)
		}
		f.call(other("meek", 1), patient(2*time.Second))
		synctest.Wait()
		for all := sent[whisk.Requisition](w); handed < len(all); handed++ {
			w.allocate(all[handed].ID, whisk.Created, all[handed].Spec)
		}
		f.running.Wait()
		if len(f.refused) != refused {
			t.Errorf("another namespace was refused: %v", f.refused[refused:])
		}
	})
}
