// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

func named(name string) whisk.FullName { return whisk.FullName{Namespace: "guest", Name: name} }

// counted runs actions for a while and counts how often each did, and a conductor
// with the same input.
type counted struct {
	controllertest.Balancer
	mu   sync.Mutex
	runs map[string]int
}

func newCounted() *counted {
	c := &counted{runs: map[string]int{}}
	c.Run = func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
		name := inv.Key.Action.Name
		if name == "c" {
			name += " " + string(run.Value)
		}
		c.mu.Lock()
		c.runs[name]++
		c.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
		return controllertest.Outcome(inv, whisk.Response{Result: run.Value, Size: len(run.Value)})
	}
	return c
}

// most returns the greatest number of runs of an action.
func (c *counted) most() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for runs := range maps.Values(c.runs) {
		n = max(n, runs)
	}
	return n
}

// putComposed makes actions a and b, a sequence s of both, a conductor c that does
// not ask for the caller's key, and a trigger t with a rule for a and for b.
func putComposed(t *testing.T, c *controller.Controller) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b"} {
		_, _, err := c.PutAction(ctx, guest, named(name), []byte(helloJS), true)
		must(err)
	}
	_, _, err := c.PutAction(ctx, guest, named("s"), []byte(`{"exec":{"kind":"sequence","components":["/_/a","/_/b"]}}`), true)
	must(err)
	_, _, err = c.PutAction(ctx, guest, named("c"), []byte(`{"exec":{"kind":"nodejs:20","code":"x"},"annotations":[{"key":"conductor","value":true}]}`), true)
	must(err)
	_, err = c.PutTrigger(ctx, guest, named("t"), []byte("{}"), true)
	must(err)
	for _, name := range []string{"a", "b"} {
		_, err = c.PutRule(ctx, guest, named("rule-"+name), []byte(`{"trigger":"/_/t","action":"/_/`+name+`"}`), true)
		must(err)
	}
}

// killedDuring lets a process be killed before or after the n-th effect of an
// operation of the store, while act is under way, and starts another one. It
// returns what act returned, the records and whether act's promise was made.
func killedDuring(t *testing.T, step string, nth int, after bool, act func(*controller.Controller) (whisk.ActivationID, error)) (id whisk.ActivationID, promised bool, store *controllertest.Store, balancer *counted) {
	t.Helper()
	store, balancer = controllertest.NewStore(), newCounted()
	first := newController(t, "first", store, balancer)
	putComposed(t, first)
	stop := running(first)
	synctest.Wait()
	var mu sync.Mutex
	killed, seen := false, 0
	store.SetFault(func(op string, done bool) error {
		mu.Lock()
		defer mu.Unlock()
		if op == step && done == after {
			seen++
		}
		if killed || seen == nth {
			killed = true
			return errKilled
		}
		return nil
	})
	id, err := act(first)
	time.Sleep(time.Second)
	stop() // its error is that of a process that cannot store anything

	store.SetFault(nil)
	stop = running(newController(t, "second", store, balancer))
	time.Sleep(time.Second)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if queued := store.Queued(); len(queued) != 0 {
		t.Errorf("still queued: %v", queued)
	}
	if most := balancer.most(); most > 1 {
		t.Errorf("an action ran %d times", most)
	}
	return id, err == nil, store, balancer
}

// eachMoment calls test for the moments at which a process may be killed.
func eachMoment(t *testing.T, most int, test func(t *testing.T, step string, nth int, after bool)) {
	for _, step := range []string{"Accept", "Claim", "PutActivations", "Complete"} {
		for nth := 1; nth <= most; nth++ {
			for _, after := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %d done=%v", step, nth, after), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { test(t, step, nth, after) })
				})
			}
		}
	}
}

// A firing that was answered ends in its record, and each activation that the
// record tells of in one of its own.
func TestKilledWhileFiring(t *testing.T) {
	eachMoment(t, 3, func(t *testing.T, step string, nth int, after bool) {
		id, promised, store, _ := killedDuring(t, step, nth, after, func(c *controller.Controller) (whisk.ActivationID, error) {
			return c.Fire(t.Context(), controller.FireCall{Caller: guest, Trigger: named("t"), Payload: []byte(`{"n":1.50}`), Headers: []byte("{}"), Transaction: "tid"})
		})
		if !promised {
			return
		}
		records := store.Records()
		record, found := records[id]
		if !found || len(records) != 3 {
			t.Fatalf("%d records, with the trigger's: %v; want 3 with it", len(records), found)
		}
		if record.Name != "t" || record.Subject != "guest-user" || record.Version != whisk.FirstVersion || !record.End.IsZero() || record.Start.IsZero() || string(record.Response.Result) != `{"n":1.50}` || len(record.Logs) != 2 {
			t.Errorf("the trigger's record: %+v", record)
		}
		for _, line := range record.Logs {
			var entry struct {
				ActivationID whisk.ActivationID
				Success      bool
			}
			if err := json.Unmarshal([]byte(line), &entry); err != nil || !entry.Success {
				t.Errorf("line %s: %v", line, err)
			}
			action, found := records[entry.ActivationID]
			if !found || !strings.Contains(line, `"action":"guest/`+action.Name+`"`) || action.Cause != "" {
				t.Errorf("the record of %s: %+v", line, action)
			}
		}
	})
}

// composing is a call of what is composed, and what comes of it.
type composing struct {
	action, payload string
	steps           int
	runs            map[string]int
}

var composings = []composing{
	{"s", `{"n":1.50}`, 2, map[string]int{"a": 1, "b": 1}},
	{"c", `{"action":"a","state":{"n":1.50}}`, 3, map[string]int{"c {\"action\":\"a\",\"state\":{\"n\":1.50}}": 1, "a": 1, "c {\"n\":1.50}": 1}},
}

func (x composing) call() controller.Call {
	return controller.Call{Caller: guest, Action: named(x.action), Payload: []byte(x.payload), Transaction: "tid"}
}

// What is composed and was accepted ends in one record, and nothing of it runs twice.
func TestKilledDuringASequence(t *testing.T)    { testKilledDuring(t, composings[0]) }
func TestKilledDuringAComposition(t *testing.T) { testKilledDuring(t, composings[1]) }

func testKilledDuring(t *testing.T, what composing) {
	eachMoment(t, 2, func(t *testing.T, step string, nth int, after bool) {
		id, promised, store, balancer := killedDuring(t, step, nth, after, func(c *controller.Controller) (whisk.ActivationID, error) {
			return c.Submit(t.Context(), what.call())
		})
		if !promised {
			return
		}
		record, found := store.Records()[id]
		if !found {
			t.Fatalf("no record; the others are %v", store.Records())
		}
		if record.Name != what.action || record.Version != whisk.FirstVersion || record.Subject != "guest-user" || string(record.Annotations.Get("kind")) != `"sequence"` ||
			string(record.Annotations.Get("path")) != `"guest/`+what.action+`"` || string(record.Annotations.Get("topmost")) != "true" || record.Annotations.Truthy("conductor") != (what.action == "c") {
			t.Errorf("record %+v", record)
		}
		switch record.Response.Status {
		case whisk.Success:
			if string(record.Response.Result) != `{"n":1.50}` || len(record.Logs) != what.steps || !maps.Equal(balancer.runs, what.runs) {
				t.Errorf("record %+v after the runs %v", record, balancer.runs)
			}
		case whisk.WhiskError:
			if !strings.Contains(string(record.Response.Result), "lost") {
				t.Errorf("record %s", record.Response.Result)
			}
		default:
			t.Errorf("record %+v %s", record.Response.Status, record.Response.Result)
		}
		for other, component := range store.Records() {
			if other != id && component.Cause != id {
				t.Errorf("a record of nobody: %+v", component)
			}
		}
	})
}

// What has no container yet when the process ends is run at the next start, as if
// nothing had been; its components get the caller's key.
func TestComposedOutliveAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore()
		first := newController(t, "first", store, &stuck{})
		putComposed(t, first)
		stop := running(first)
		var ids []whisk.ActivationID
		for i := range 6 {
			id, err := first.Submit(t.Context(), composings[i/3].call())
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		time.Sleep(time.Second)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if queued, records := len(store.Queued()), store.Records(); queued != 6 || len(records) != 0 {
			t.Fatalf("%d queued after the stop and the records %v, want 6 and none", queued, records)
		}
		balancer := newCounted()
		run := balancer.Run
		balancer.Run = func(ctx context.Context, inv *whisk.Invocation, body controllertest.RunBody) whisk.Outcome {
			if named := inv.Key.Action.Name; named != "c" && (body.APIKey == nil || *body.APIKey != "u:secret") || named == "c" && body.APIKey != nil {
				t.Errorf("api key %v", body.APIKey)
			}
			return run(ctx, inv, body)
		}
		stop = running(newController(t, "second", store, balancer))
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		for i, id := range ids {
			if record := store.Records()[id]; record.Response.Status != whisk.Success || len(record.Logs) != composings[i/3].steps {
				t.Errorf("record %+v", record)
			}
		}
		if n := len(store.Records()); n != 3*(1+2)+3*(1+3) || len(store.Queued()) != 0 {
			t.Errorf("%d records and %d queued", n, len(store.Queued()))
		}
	})
}

// stuck is a balancer whose invocations wait for a container until the process ends.
type stuck struct{ controllertest.Balancer }

func (b *stuck) Invoke(ctx context.Context, inv *whisk.Invocation) (whisk.Outcome, error) {
	<-ctx.Done()
	return controllertest.Outcome(inv, whisk.ErrorResponse(whisk.WhiskError, "stopped")), nil
}

// A stop lets what runs go on for as long as it may, with all of its steps.
func TestAStopLetsComposedEnd(t *testing.T) {
	for _, what := range composings {
		synctest.Test(t, func(t *testing.T) {
			store, balancer := controllertest.NewStore(), newCounted()
			c := newController(t, "us", store, balancer)
			putComposed(t, c)
			stop := running(c)
			synctest.Wait()
			id, err := c.Submit(t.Context(), what.call())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond) // in the first step
			if err := stop(); err != nil {
				t.Error(err)
			}
			if record := store.Records()[id]; record.Response.Status != whisk.Success || len(record.Logs) != what.steps || len(store.Records()) != 1+what.steps {
				t.Errorf("record %+v of %d", record, len(store.Records()))
			}
		})
	}
}

// What may not be run any more when its process is gone is not run by the next.
func TestRecoveryOfWhatWasWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore()
		other := &controller.Caller{Identity: whisk.Identity{Subject: "other-user", Namespace: "other", UUID: "o"}}
		pkg := whisk.FullName{Namespace: "other", Name: "pub"}
		first := newController(t, "first", store, &full{})
		if _, err := first.PutPackage(t.Context(), other, pkg, []byte(`{"publish":true}`), false); err != nil {
			t.Fatal(err)
		}
		if _, _, err := first.PutAction(t.Context(), other, whisk.FullName{Namespace: "other", Package: "pub", Name: "a"}, []byte(helloJS), false); err != nil {
			t.Fatal(err)
		}
		if _, err := first.PutPackage(t.Context(), guest, named("b"), []byte(`{"binding":{"namespace":"other","name":"pub"}}`), false); err != nil {
			t.Fatal(err)
		}
		stop := running(first)
		var ids []whisk.ActivationID
		for _, action := range []whisk.FullName{{Namespace: "other", Package: "pub", Name: "a"}, {Namespace: "guest", Package: "b", Name: "a"}} {
			id, err := first.Submit(t.Context(), controller.Call{Caller: guest, Action: action})
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if _, err := first.PutPackage(t.Context(), other, pkg, []byte(`{"publish":false}`), true); err != nil {
			t.Fatal(err)
		}
		balancer := newCounted()
		stop = running(newController(t, "second", store, balancer))
		time.Sleep(time.Second)
		if err := stop(); err != nil {
			t.Error(err)
		}
		for i, id := range ids {
			record := store.Records()[id]
			if record.Response.Status != whisk.ApplicationError || record.Namespace != "guest" || string(record.Annotations.Get("path")) != `"other/pub/a"` {
				t.Errorf("record %+v %s", record, record.Response.Result)
			}
			if binding := string(record.Annotations.Get("binding")); i == 1 && (binding != `"guest/b"` || record.Package != "b") || i == 0 && (binding != "" || record.Package != "pub") {
				t.Errorf("record %d has the binding %s and the package %s", i, binding, record.Package)
			}
		}
		if balancer.most() != 0 {
			t.Errorf("it ran: %v", balancer.runs)
		}
	})
}
