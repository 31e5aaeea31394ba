// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

var (
	guest   = &controller.Caller{Identity: whisk.Identity{Subject: "guest-user", Namespace: "guest", UUID: "u"}, Key: whisk.AuthKey{UUID: "u", Key: "secret"}}
	hello   = whisk.FullName{Namespace: "guest", Name: "hello"}
	nodejs  = whisk.Manifest{Families: []whisk.RuntimeFamily{{Name: "nodejs", Runtimes: []whisk.Runtime{{Kind: "nodejs:20", Default: true}}}}}
	helloJS = `{"exec":{"kind":"nodejs:20","code":"x"},"annotations":[{"key":"provide-api-key","value":true}]}`
)

var errKilled = whisk.Errorf(whisk.Unavailable, "the process was killed")

// A process is killed before or after the effect of each write on the way of an
// accepted activation. Whatever the moment, a promise that was made ends in
// exactly one record, the code runs at most once, and nothing stays queued.
func TestKilledAtEachStep(t *testing.T) {
	for _, step := range []string{"Accept", "Claim", "PutActivations", "Complete"} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s done=%v", step, after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { killedAt(t, step, after) })
			})
		}
	}
}

func killedAt(t *testing.T, step string, after bool) {
	store := controllertest.NewStore()
	var runs atomic.Int32
	balancer := &controllertest.Balancer{Run: func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
		runs.Add(1)
		return controllertest.Outcome(inv, whisk.Response{Result: run.Value})
	}}
	first := newController(t, "first", store, balancer)
	putHello(t, first)
	stop := running(first)
	synctest.Wait()
	var killed atomic.Bool // from then on nothing of this process reaches the store
	store.SetFault(func(op string, done bool) error {
		if killed.Load() || op == step && done == after {
			killed.Store(true)
			return errKilled
		}
		return nil
	})
	id, err := first.Submit(t.Context(), controller.Call{Caller: guest, Action: hello, Payload: []byte(`{"n":1.50}`), Transaction: "tid"})
	promised := err == nil
	time.Sleep(time.Second)
	stop() // its error is that of a process that cannot store anything

	store.SetFault(nil)
	ranBefore := runs.Load()
	second := newController(t, "second", store, balancer)
	stop = running(second)
	time.Sleep(time.Second)
	records := store.Records()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if promised && len(records) != 1 {
		t.Fatalf("the activation was accepted and has %d records, want 1", len(records))
	}
	if n := runs.Load(); n > 1 {
		t.Errorf("the code ran %d times", n)
	}
	if queued := store.Queued(); len(queued) != 0 {
		t.Errorf("still queued: %v", queued)
	}
	record, found := records[id]
	if !found {
		return
	}
	switch {
	case ranBefore == 1 && (step == "Complete" || step == "PutActivations" && after), ranBefore == 0 && runs.Load() == 1:
		if string(record.Response.Result) != `{"n":1.50}` || record.Response.Status != whisk.Success {
			t.Errorf("record %v, want the true result", record.Response)
		}
	default:
		if record.Response.Status != whisk.WhiskError || !strings.Contains(string(record.Response.Result), "lost") {
			t.Errorf("record %v %s, want that it was lost", record.Response.Status, record.Response.Result)
		}
		if record.Name != "hello" || record.Version.String() != "0.0.1" || record.Subject != "guest-user" || string(record.Annotations.Get("kind")) != `"nodejs:20"` || string(record.Annotations.Get("path")) != `"guest/hello"` {
			t.Errorf("the record of a lost activation: %+v", record)
		}
	}
}

func TestRecoveryRunsWhatWasAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore()
		first := newController(t, "first", store, &full{})
		putHello(t, first)
		stop := running(first)
		const n = 300
		for i := range n {
			if _, err := first.Submit(t.Context(), controller.Call{Caller: guest, Action: hello, Payload: fmt.Appendf(nil, `{"i":%d}`, i)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := stop(); err != nil { // none has a container yet, so all stay in the queue
			t.Fatal(err)
		}
		if queued := len(store.Queued()); queued != n || len(store.Records()) != 0 {
			t.Fatalf("%d queued and %d recorded after the stop, want %d and 0", queued, len(store.Records()), n)
		}

		var order []int
		var at, most atomic.Int32
		refused := 0
		second := newController(t, "second", store, &controllertest.Balancer{
			Refuse: func(*whisk.Invocation) error {
				if refused++; refused%50 == 1 {
					return whisk.Errorf(whisk.Throttled, "full")
				}
				return nil
			},
			Run: func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
				most.Store(max(most.Load(), at.Add(1)))
				defer at.Add(-1)
				if run.APIKey == nil || *run.APIKey != "u:secret" {
					t.Errorf("api key %v", run.APIKey)
				}
				var value struct{ I int }
				if err := json.Unmarshal(run.Value, &value); err != nil {
					t.Error(err)
				}
				order = append(order, value.I)
				time.Sleep(time.Millisecond)
				return controllertest.Outcome(inv, whisk.Response{Result: run.Value})
			},
		}, func(c *controller.Config) { c.Recovery = 1 })
		stop = running(second)
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if queued := len(store.Queued()); queued != 0 || len(store.Records()) != n {
			t.Errorf("%d queued and %d recorded in the end, want 0 and %d", queued, len(store.Records()), n)
		}
		if most.Load() != 1 {
			t.Errorf("%d ran at once, want 1", most.Load())
		}
		if len(order) != n || !slices.IsSorted(order) {
			t.Errorf("ran in the order %v, want %d as they came", order, n)
		}
	})
}

// full is a balancer without containers: invocations wait until the process ends.
type full struct{ controllertest.Balancer }

func (b *full) Admit(inv *whisk.Invocation) (controller.Admission, error) {
	return waiting{inv}, nil
}

type waiting struct{ inv *whisk.Invocation }

func (w waiting) Cancel() {}
func (w waiting) Invoke(ctx context.Context) whisk.Outcome {
	<-ctx.Done()
	return controllertest.Outcome(w.inv, whisk.ErrorResponse(whisk.WhiskError, "stopped"))
}

func TestRecoveryWithoutTheAction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore()
		c := newController(t, "first", store, &controllertest.Balancer{})
		putHello(t, c) // which wants the key, and did not when this was accepted
		keyless := `{"origin":{"subject":"guest-user","uuid":"u","name":"hello","version":"0.0.1","kind":"nodejs:20","limits":{}},"payload":{"n":1}}`
		body := `{"origin":{"subject":"guest-user","name":"gone","version":"0.0.3","kind":"nodejs:20","limits":{"timeout":1,"memory":2,"logs":3,"concurrency":4}},"payload":{}}`
		for id, text := range map[whisk.ActivationID]string{"deleted": body, "broken": "garbage", "keyless": keyless} {
			if err := store.Accept(t.Context(), whisk.Accepted{Activation: id, Namespace: "guest", At: time.Now(), Body: []byte(text)}); err != nil {
				t.Fatal(err)
			}
		}
		stop := running(newController(t, "second", store, &controllertest.Balancer{
			Run: func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
				if run.APIKey != nil {
					t.Errorf("the action got a key that nobody knows: %s", *run.APIKey)
				}
				return controllertest.Outcome(inv, whisk.Response{Result: run.Value})
			},
		}))
		time.Sleep(time.Second)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if record := store.Records()["keyless"]; string(record.Response.Result) != `{"n":1}` {
			t.Errorf("record %s", record.Response.Result)
		}
		deleted, broken := store.Records()["deleted"], store.Records()["broken"]
		if deleted.Response.Status != whisk.ApplicationError || string(deleted.Response.Result) != `{"error":"Action could not be found or may have been deleted."}` || deleted.Version.Patch != 3 {
			t.Errorf("record %+v %s", deleted, deleted.Response.Result)
		}
		if broken.Response.Status != whisk.WhiskError {
			t.Errorf("record %+v", broken)
		}
		if queued := store.Queued(); len(queued) != 0 {
			t.Errorf("still queued: %v", queued)
		}
	})
}

// Another controller may take an entry first: it makes the record, not we.
func TestLostClaimMakesNoRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore()
		c := newController(t, "us", store, &controllertest.Balancer{})
		putHello(t, c)
		stop := running(c)
		synctest.Wait() // recovery is through: it would take their claim for a dead process's
		stolen := false
		store.SetFault(func(op string, done bool) error {
			if op == "Claim" && !stolen {
				stolen = true
				return store.Claim(context.Background(), store.Queued()[0].Activation, "them")
			}
			return nil
		})
		if _, err := c.Submit(t.Context(), controller.Call{Caller: guest, Action: hello}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if records, queued := store.Records(), store.Queued(); len(records) != 0 || len(queued) != 1 || queued[0].ClaimedBy != "them" {
			t.Errorf("records %v, queue %v", records, queued)
		}
	})
}

func TestStoreOutageHoldsRecordsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore()
		c := newController(t, "us", store, &controllertest.Balancer{}, func(c *controller.Config) { c.Records.Records, c.Sequences = 5, 1 })
		putHello(t, c)
		stop := running(c)
		synctest.Wait()
		var down atomic.Bool
		down.Store(true)
		store.SetFault(func(op string, _ bool) error {
			if down.Load() && op == "PutActivations" {
				return whisk.Errorf(whisk.Unavailable, "disk full")
			}
			return nil
		})
		invoke := func() error {
			_, err := c.Invoke(t.Context(), controller.Call{Caller: guest, Action: hello}, time.Minute)
			return err
		}
		for range 5 {
			if err := invoke(); err != nil {
				t.Fatal(err)
			}
		}
		begin := time.Now()
		if err := invoke(); whisk.KindOf(err) != whisk.Unavailable || time.Since(begin) != 20*time.Millisecond {
			t.Errorf("with all places taken: %v after %v, want a refusal at once", err, time.Since(begin))
		}
		down.Store(false)
		time.Sleep(5 * time.Second)
		if err := invoke(); err != nil {
			t.Errorf("after the outage: %v", err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if n := len(store.Records()); n != 6 {
			t.Errorf("%d records, want all 6", n)
		}
	})
}

func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore()
		c := newController(t, "us", store, &controllertest.Balancer{}, func(c *controller.Config) {
			c.Retention, c.RetentionInterval, c.BlobGrace = time.Hour, time.Minute, 10*time.Minute
		})
		putHello(t, c)
		orphan, err := store.Blobs().Put(t.Context(), strings.NewReader("nobody's"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 1200 {
			id := whisk.ActivationID(fmt.Sprint(i))
			if err := store.PutActivations(t.Context(), []whisk.Activation{{ID: id, Start: time.Now()}}); err != nil {
				t.Fatal(err)
			}
			if err := store.AppendLogs(t.Context(), []whisk.LogEntry{{Activation: id, Made: time.Now()}}); err != nil {
				t.Fatal(err)
			}
		}
		stop := running(c)
		time.Sleep(30 * time.Minute)
		if n := len(store.Records()); n != 1200 {
			t.Errorf("%d records after half the retention", n)
		}
		if _, err := store.Blobs().Get(t.Context(), orphan); whisk.KindOf(err) != whisk.NotFound {
			t.Errorf("code that nobody refers to: %v", err)
		}
		if action, err := c.Action(t.Context(), guest, hello, true); err != nil || string(action.Code) != "x" {
			t.Errorf("code in use: %q %v", action.Code, err)
		}
		time.Sleep(32 * time.Minute)
		if n := len(store.Records()); n != 0 {
			t.Errorf("%d records after the retention", n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestConfigValidates(t *testing.T) {
	for name, spoil := range map[string]func(*controller.Config){
		"no id":         func(c *controller.Config) { c.ID = "" },
		"no start":      func(c *controller.Config) { c.StartWithin = 0 },
		"negative":      func(c *controller.Config) { c.Retention = -1 },
		"no cache":      func(c *controller.Config) { c.CachedActions = 0 },
		"no interval":   func(c *controller.Config) { c.FeedInterval = 0 },
		"no look":       func(c *controller.Config) { c.RecoveryInterval = 0 },
		"no list":       func(c *controller.Config) { c.Limits.ListMax = 0 },
		"no records":    func(c *controller.Config) { c.Records.Records = 0 },
		"negative wait": func(c *controller.Config) { c.Records.Linger = -1 },
	} {
		config := controller.Default()
		config.ID = "x"
		if err := config.Validate(); err != nil {
			t.Fatal(err)
		}
		spoil(&config)
		if err := config.Validate(); whisk.KindOf(err) != whisk.Invalid || err == nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := controller.New(config, controller.Deps{}); err == nil {
			t.Errorf("%s: New takes it", name)
		}
	}
	if errors.Is(controller.ErrCredentials, controller.ErrNoCredentials) {
		t.Error("the two refusals are one")
	}
}
