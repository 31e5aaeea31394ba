// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/whisk"
)

func named(id string) func(*whisk.Invocation) {
	return func(inv *whisk.Invocation) {
		inv.Activation = whisk.ActivationID(id)
		inv.RunBody = func(time.Time) []byte { return []byte(id) }
	}
}

// echo answers after a second with the body in the order of arrival.
func echo(order *[]string) func(*box, string, []byte) answer {
	return func(x *box, path string, body []byte) answer {
		if path == "/init" {
			return ok("")
		}
		x.w.mu.Lock()
		*order = append(*order, string(body))
		x.w.mu.Unlock()
		return answer{raw: ok("{}").raw, after: time.Second}
	}
}

// A burst becomes one requisition; what warm containers serve meanwhile is
// withdrawn; everybody starts in the order of arrival.
func TestBurstIsServedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var order []string
		w.handle = echo(&order)
		w.start()
		w.invoke() // one warm container
		w.mu.Lock()
		w.manual, order = true, nil
		w.mu.Unlock()

		var results []<-chan whisk.Outcome
		var want []string
		busy := w.background(named("first"))
		for i := range 5 {
			id := fmt.Sprint("waiting", i)
			want = append(want, id)
			inv := invocation(named(id))
			result := make(chan whisk.Outcome, 1)
			results = append(results, result)
			// Without a pause in between: one burst.
			go func() {
				outcome, _ := w.b.Invoke(context.Background(), inv)
				result <- outcome
			}()
			synctest.Wait()
		}
		total := 0
		for _, r := range sent[whisk.Requisition](w)[1:] {
			total += r.Count
		}
		if total != 5 {
			t.Errorf("%d slots requisitioned, want 5", total)
		}
		<-busy
		for _, result := range results {
			w.expect(<-result, whisk.Success, `{}`)
		}
		synctest.Wait()
		withdrawn := 0
		for _, m := range sent[whisk.Withdraw](w) {
			withdrawn += m.Count
		}
		if withdrawn != 5 || w.b.Snapshot().Requisitions != 0 {
			t.Errorf("%d slots withdrawn, %d left; want 5 and 0", withdrawn, w.b.Snapshot().Requisitions)
		}
		if !slices.Equal(order, append([]string{"first"}, want...)) {
			t.Errorf("order %v", order)
		}
	})
}

// While there is no scheduler to hear it, a burst is one note.
func TestBurstIsOneRequisition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.schedulerDown = true
		w.start()
		var results []<-chan whisk.Outcome
		for range 20 {
			results = append(results, w.background())
		}
		w.mu.Lock()
		w.schedulerDown = false
		w.mu.Unlock()
		for _, result := range results {
			w.expect(<-result, whisk.Success, `{"done":true}`)
		}
		if r := sent[whisk.Requisition](w); len(r) != 1 || r[0].Count != 20 {
			t.Errorf("requisitions %+v, want one of 20", r)
		}
	})
}

func TestStartByPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.manual = true
		w.start()
		inv := func(inv *whisk.Invocation) { inv.StartBy = inv.Received.Add(1500 * time.Millisecond) }
		outcome := w.invoke(inv)
		w.expect(outcome, whisk.WhiskError, `{"error":"Activation processing is not initiated for 1500 ms"}`)
		if outcome.Wait != 1500*time.Millisecond || outcome.Container != "" || outcome.AfterLogs != nil {
			t.Errorf("%+v", outcome)
		}
		synctest.Wait()
		r := sent[whisk.Requisition](w)
		if len(r) != 1 || time.Until(r[0].Deadline) != 0 {
			t.Errorf("requisitions %+v", r)
		}
		if m := sent[whisk.Withdraw](w); len(m) != 1 || m[0] != (whisk.Withdraw{ID: r[0].ID, Count: 1}) {
			t.Errorf("withdrawals %+v", m)
		}
		// The container that comes all the same goes back unused.
		w.allocate(r[0].ID, whisk.Created, r[0].Spec)
		w.expectReleases(whisk.ReleaseUnused)
		if s := w.b.Snapshot(); s.Waiting != 0 || s.WaitingBytes != 0 || s.Containers != 0 {
			t.Errorf("left over: %+v", s)
		}
	})
}

func TestRejections(t *testing.T) {
	for _, test := range []struct {
		name      string
		rejection whisk.Rejection
		status    whisk.Status
		result    string
	}{
		{"bad image", whisk.Rejection{Reason: whisk.BadImage, Message: "Failed to pull container image 'x'."},
			whisk.DeveloperError, `{"error":"Failed to pull container image 'x'."}`},
		{"bad image without a message", whisk.Rejection{Reason: whisk.BadImage},
			whisk.DeveloperError, `{"error":"Failed to pull container image 'me/x'."}`},
		{"start failed", whisk.Rejection{Reason: whisk.StartFailed, Message: "engine"},
			whisk.WhiskError, `{"error":"Failed to provision resources to run the action."}`},
		{"no capacity", whisk.Rejection{Reason: whisk.NoCapacity}, whisk.WhiskError, `{"error":"Failed to provision resources to run the action."}`},
		{"never fits", whisk.Rejection{Reason: whisk.NeverFits}, whisk.WhiskError, `{"error":"Failed to provision resources to run the action."}`},
		{"overloaded", whisk.Rejection{Reason: whisk.Overloaded}, whisk.WhiskError, `{"error":"Failed to provision resources to run the action."}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.manual = true
				w.start()
				result := w.background(func(inv *whisk.Invocation) { inv.Spec = whisk.ContainerSpec{Kind: "blackbox", Image: "me/x"} })
				test.rejection.Requisition = sent[whisk.Requisition](w)[0].ID
				w.send(test.rejection)
				w.expect(<-result, test.status, test.result)
			})
		})
	}
}

// A rejection ends the oldest of those that it stood for, and no more.
func TestRejectionEndsTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.manual = true
		w.start()
		first := w.background(named("1"))
		second := w.background(named("2"))
		r := sent[whisk.Requisition](w)
		w.send(whisk.Rejection{Requisition: r[0].ID, Reason: whisk.StartFailed})
		w.expect(<-first, whisk.WhiskError, `{"error":"Failed to provision resources to run the action."}`)
		w.allocate(r[1].ID, whisk.Created, r[1].Spec)
		w.expect(<-second, whisk.Success, `{"done":true}`)
	})
}

// With RetryAfter, and while containers of the action are at work, a rejection
// only postpones.
func TestRejectionForNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.manual = true
		w.start()
		result := w.background()
		r := sent[whisk.Requisition](w)
		w.send(whisk.Rejection{Requisition: r[0].ID, Reason: whisk.Overloaded, RetryAfter: 3 * time.Second})
		time.Sleep(2999 * time.Millisecond)
		synctest.Wait()
		if n := len(sent[whisk.Requisition](w)); n != 1 {
			t.Fatalf("%d requisitions before the time", n)
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		r = sent[whisk.Requisition](w)
		if len(r) != 2 || r[1].ID <= r[0].ID {
			t.Fatalf("requisitions %+v", r)
		}
		w.allocate(r[1].ID, whisk.Created, r[1].Spec)
		w.expect(<-result, whisk.Success, `{"done":true}`)
	})
}

func TestOverflowLimits(t *testing.T) {
	type adjust = func(*balancer.Config)
	for _, test := range []struct {
		name   string
		adjust adjust
		kind   whisk.Kind
		text   string
	}{
		{"entries of an action", func(c *balancer.Config) { c.ActionWaiting = 2 }, whisk.Throttled,
			"Too many activations of this action are waiting: the limit of 2 is reached."},
		{"bytes of an action", func(c *balancer.Config) { c.ActionBytes = 250 }, whisk.Throttled,
			"The waiting activations of this action hold too much memory: the limit of 250 B is reached."},
		{"entries", func(c *balancer.Config) { c.Waiting = 4 }, whisk.Unavailable,
			"Too many activations are waiting for a container: 2, of which 2 are of this namespace (limit of all: 4, of a namespace: what is left of that)."},
		{"bytes", func(c *balancer.Config) { c.WaitingBytes = 350 }, whisk.Unavailable,
			"The activations that wait for a container hold too much memory: 200 B, of which 200 B are of this namespace (limit of all: 350 B, of a namespace: what is left of that)."},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.manual = true
				w.start(test.adjust)
				first := w.background()
				admission, err := w.b.Admit(invocation())
				if err != nil {
					t.Fatal(err)
				}
				_, err = w.b.Invoke(t.Context(), invocation())
				if err == nil || whisk.KindOf(err) != test.kind || err.Error() != test.text {
					t.Errorf("Invoke: %v", err)
				}
				if _, err = w.b.Admit(invocation()); err == nil || err.Error() != test.text {
					t.Errorf("Admit: %v", err)
				}
				admission.Cancel()
				admission, err = w.b.Admit(invocation())
				if err != nil {
					t.Errorf("after Cancel: %v", err)
				}
				r := sent[whisk.Requisition](w)[0]
				w.allocate(r.ID, whisk.Created, r.Spec)
				w.expect(<-first, whisk.Success, `{"done":true}`)
				w.expect(admission.Invoke(t.Context()), whisk.Success, `{"done":true}`)
				if s := w.b.Snapshot(); s.Waiting != 0 || s.WaitingBytes != 0 || s.Inflight != 0 {
					t.Errorf("left over: %+v", s)
				}
			})
		})
	}
}

// An admitted activation runs even if the overflow filled up meanwhile.
func TestAdmissionKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.manual = true
		w.start(func(c *balancer.Config) { c.ActionWaiting = 2 })
		admission, err := w.b.Admit(invocation(named("admitted")))
		if err != nil {
			t.Fatal(err)
		}
		first := w.background(named("first"))
		if _, err := w.b.Invoke(t.Context(), invocation()); whisk.KindOf(err) != whisk.Throttled {
			t.Errorf("third: %v", err)
		}
		done := make(chan whisk.Outcome, 1)
		go func() { done <- admission.Invoke(context.Background()) }()
		synctest.Wait()
		for _, r := range sent[whisk.Requisition](w) {
			w.allocate(r.ID, whisk.Created, r.Spec)
		}
		w.expect(<-first, whisk.Success, `{"done":true}`)
		w.expect(<-done, whisk.Success, `{"done":true}`)
	})
}

func TestClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		claims := 0
		var claimErr error
		w.start()
		claim := func(inv *whisk.Invocation) {
			inv.Claim = func(context.Context) error { claims++; return claimErr }
		}
		claimErr = errors.New("somebody else has it")
		w.expect(w.invoke(claim), whisk.WhiskError, `{"error":"Failed to provision resources to run the action."}`)
		w.expectReleases(whisk.ReleaseUnused)
		claimErr = nil
		w.expect(w.invoke(claim), whisk.Success, `{"done":true}`)
		claimErr = errors.New("again")
		outcome := w.invoke(claim)
		if outcome.Response.Status != whisk.WhiskError || outcome.AfterLogs != nil || outcome.Container != "" {
			t.Errorf("%+v", outcome)
		}
		if x := w.box("box2"); x.runs.Load() != 1 || claims != 3 {
			t.Errorf("%d runs, %d claims", x.runs.Load(), claims)
		}
		// The warm container is as good as before.
		claimErr = nil
		if outcome := w.invoke(claim); outcome.Cold || outcome.Container != "box2" {
			t.Errorf("%+v", outcome)
		}
	})
}

// A container that is asked back while its first activation is about to bring the
// code, and then does not, goes back as one without code.
func TestAskedBackBeforeTheCode(t *testing.T) {
	refusal := errors.New("the database is away")
	for name, spoil := range map[string]func(*whisk.Invocation){
		"not claimed": func(inv *whisk.Invocation) {
			inv.Claim = func(context.Context) error { time.Sleep(time.Second); return refusal }
		},
		"no code": func(inv *whisk.Invocation) {
			inv.InitBody = func(context.Context, time.Time) ([]byte, error) { time.Sleep(time.Second); return nil, refusal }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				done := w.background(spoil)
				time.Sleep(500 * time.Millisecond)
				w.send(whisk.Reclaim{Container: "box1", Drain: true})
				if outcome := <-done; outcome.Response.Status != whisk.WhiskError {
					t.Errorf("%+v", outcome)
				}
				w.expectReleases(whisk.ReleaseUnused)
			})
		})
	}
}

func TestCodeCannotBeFetched(t *testing.T) {
	for _, test := range []struct {
		err    error
		status whisk.Status
		result string
	}{
		{errors.New("disk"), whisk.WhiskError, `{"error":"Action could not be fetched."}`},
		{whisk.Errorf(whisk.NotFound, "gone"), whisk.ApplicationError, `{"error":"Action could not be found or may have been deleted."}`},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.start()
			outcome := w.invoke(func(inv *whisk.Invocation) {
				inv.InitBody = func(context.Context, time.Time) ([]byte, error) { return nil, test.err }
			})
			w.expect(outcome, test.status, test.result)
			w.expectReleases(whisk.ReleaseUnused)
		})
	}
}
