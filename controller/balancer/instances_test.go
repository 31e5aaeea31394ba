// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// bounded is for an action that may have n containers.
func bounded(n int) func(*whisk.Invocation) {
	return func(inv *whisk.Invocation) { inv.Limits.Instances = &n }
}

// TestBoundedInstances holds that no more slots are asked for than the containers
// that may still come would have, however many activations wait, and all are served.
func TestBoundedInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.manual = true
		w.handle = slowRuns
		w.start()
		var results []<-chan whisk.Outcome
		for range 10 {
			results = append(results, w.background(bounded(2)))
		}
		asked := 0
		for _, r := range sent[whisk.Requisition](w) {
			asked += r.Count
			if r.Instances != 2 {
				t.Errorf("the requisition says that there may be %d", r.Instances)
			}
		}
		if asked != 2 {
			t.Errorf("%d slots asked for, want 2", asked)
		}
		first := sent[whisk.Requisition](w)[0]
		for _, r := range sent[whisk.Requisition](w) {
			for range r.Count {
				w.allocate(r.ID, whisk.Created, r.Spec)
			}
		}
		for _, result := range results {
			w.expect(<-result, whisk.Success, `{}`)
		}
		if s := w.b.Snapshot(); s.Containers != 2 || len(sent[whisk.Withdraw](w)) > 0 {
			t.Errorf("%+v, withdrawn %v", s, sent[whisk.Withdraw](w))
		}

		// The scheduler takes one for another controller; when it is wanted, it is asked for.
		w.send(whisk.Reclaim{Container: "box1"})
		w.send(whisk.Reclaim{Container: "box2"})
		synctest.Wait()
		before := len(sent[whisk.Requisition](w))
		last := w.background(bounded(2))
		all := sent[whisk.Requisition](w)
		if len(all) != before+1 || all[before].Count != 1 {
			t.Fatalf("requisitions %+v", all[before:])
		}
		w.allocate(all[before].ID, whisk.Transferred, first.Spec)
		w.expect(<-last, whisk.Success, `{}`)
	})
}

// TestBoundedInstancesAreTold holds that who registers says how many there may be.
func TestBoundedInstancesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.invoke(bounded(3))
		w.stream.Close()
		time.Sleep(time.Minute)
		registers := sent[whisk.Register](w)
		if last := registers[len(registers)-1]; len(registers) < 2 || len(last.Held) != 1 || last.Held[0].Instances != 3 {
			t.Errorf("registered as %+v", registers)
		}
	})
}

// TestRejectedForAll holds that a rejection without hope ends all that a bounded
// requisition stood for.
func TestRejectedForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.manual = true
		w.start()
		var results []<-chan whisk.Outcome
		for range 5 {
			results = append(results, w.background(bounded(1)))
		}
		w.send(whisk.Rejection{Requisition: sent[whisk.Requisition](w)[0].ID, Reason: whisk.BadImage, Message: "no such image"})
		for _, result := range results {
			w.expect(<-result, whisk.DeveloperError, `{"error":"no such image"}`)
		}
		if asked := sent[whisk.Requisition](w); len(asked) != 1 {
			t.Errorf("asked %d times", len(asked))
		}
	})
}

// TestNoInstances holds that an action that may have no container runs nothing,
// and asks for none.
func TestNoInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		const text = `{"error":"The namespace limit is less than or equal to 0."}`
		w.expect(w.invoke(bounded(0)), whisk.WhiskError, text)
		admission, err := w.b.Admit(invocation(bounded(0)))
		if err != nil {
			t.Fatal(err)
		}
		w.expect(admission.Invoke(t.Context()), whisk.WhiskError, text)
		if asked := sent[whisk.Requisition](w); len(asked) > 0 {
			t.Errorf("asked for %+v", asked)
		}
	})
}
