// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

// A builtin action that was accepted runs once at most, and ends in one record,
// when the process is killed before or after the claim, or before the record is stored.
func TestBuiltinActionsAreRecovered(t *testing.T) {
	for _, step := range []string{"Claim", "PutActivations"} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s done=%v", step, after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { builtinKilledAt(t, step, after) })
			})
		}
	}
}

func builtinKilledAt(t *testing.T, step string, after bool) {
	store := controllertest.NewStore()
	var runs atomic.Int32
	builtin := whisk.FullName{Namespace: "guest", Name: "builtin"}
	start := func(id whisk.ControllerID) (*controller.Controller, func() error) {
		config := controller.Default()
		config.ID, config.DrainTimeout = id, time.Second
		config.Records.FlushTimeout = time.Second
		c, err := controller.New(config, controller.Deps{
			Entities: store, Subjects: store, APIs: store, Blobs: store.Blobs(), Activations: store, Logs: store, Queue: store,
			Balancer: &controllertest.Balancer{}, Manifest: nodejs,
			Builtins: map[whisk.FullName]controller.Builtin{builtin: func(_ context.Context, call controller.BuiltinCall) whisk.Response {
				runs.Add(1)
				return whisk.Response{Result: call.Arguments}
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return c, running(c)
	}
	first, stop := start("first")
	if _, _, err := first.PutAction(t.Context(), controller.Itself("guest"), builtin, []byte(`{"exec":{"kind":"builtin"}}`), false); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	var killed atomic.Bool
	store.SetFault(func(op string, done bool) error {
		if killed.Load() || op == step && done == after {
			killed.Store(true)
			return errKilled
		}
		return nil
	})
	id, err := first.Submit(t.Context(), controller.Call{Caller: guest, Action: builtin, Payload: []byte(`{"n":1}`), Transaction: "tid"})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	stop() // its error is that of a process that cannot store anything

	store.SetFault(nil)
	_, stop = start("second")
	time.Sleep(time.Second)
	if err := stop(); err != nil {
		t.Error(err)
	}
	record, found := store.Records()[id]
	ranOnce := step == "PutActivations" || !after // a claim of which the answer was lost counts as made
	if runs.Load() > 1 || ranOnce != (runs.Load() == 1) || !found || len(store.Queued()) != 0 {
		t.Errorf("it ran %d times, has a record: %v, left in the queue: %v", runs.Load(), found, store.Queued())
	}
	if lost := record.Response.Status == whisk.WhiskError; lost != (step == "Claim" && after || step == "PutActivations" && !after) {
		t.Errorf("its record is %v %s", record.Response.Status, record.Response.Result)
	}
}
