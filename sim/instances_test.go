// SPDX-License-Identifier: Apache-2.0

package sim_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/sim"
	"github.com/whirl-faas/whirl/whisk"
)

// TestControllersShareAnInstance has controllers call an action that may have one
// container, for a minute, with what it can do and with several times as much. Each
// must have its part, and without an overload all calls must be served soon.
func TestControllersShareAnInstance(t *testing.T) {
	for _, row := range []struct {
		name        string
		controllers int
		concurrency int
		every       time.Duration // between two calls on each controller
		overload    bool
	}{
		{"two", 2, 1, 700 * time.Millisecond, false},
		{"three", 3, 1, time.Second, false},
		{"two, with room inside", 2, 3, 250 * time.Millisecond, false},
		{"two, and too much", 2, 1, 100 * time.Millisecond, true},
		{"three, and too much", 3, 1, 100 * time.Millisecond, true},
		{"two, with room inside, and too much", 2, 3, 30 * time.Millisecond, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				run := func(*rand.Rand, fake.Call) fake.Answer { return fake.Answer{Delay: 300 * time.Millisecond} }
				cluster, err := sim.Start(t.Context(), sim.Config{
					Seed: 1, Nodes: 2, NodeMemory: whisk.GB, Controllers: row.controllers, Concurrency: row.concurrency, Script: fake.Script{Run: run},
				})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second) // all know each other
				action := sim.Action{Name: "a", Revision: 1, Memory: 256 * whisk.MB, Concurrency: row.concurrency, Instances: 1, Timeout: time.Second}
				for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(row.every) {
					for _, ctl := range cluster.Controllers() {
						cluster.Invoke(ctl, action, 10*time.Second)
					}
				}
				cluster.Wait()
				drain, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := cluster.Stop(drain); err != nil {
					t.Error(err)
				}
				history := cluster.History()
				for _, finding := range sim.Check(history) {
					t.Error(finding.Text)
				}
				shared(t, history, row.controllers, row.overload)
			})
		})
	}
}

// shared checks what each controller had of the container.
func shared(t *testing.T, history sim.History, controllers int, overload bool) {
	served, all := map[whisk.ControllerID]int{}, 0
	var slowest time.Duration
	for _, call := range history.Calls {
		if call.Refused == nil && call.Outcome.Response.Status == whisk.Success {
			served[call.Controller]++
			all++
			slowest = max(slowest, call.Outcome.Wait)
		} else if !overload {
			t.Errorf("%s on %s: %v %s", call.ID, call.Controller, call.Refused, call.Outcome.Response.Result)
		}
	}
	t.Logf("%d of %d calls were served, by %v, after %v at most", all, len(history.Calls), served, slowest)
	for i := range controllers {
		id := whisk.ControllerID(fmt.Sprint("ctl", i+1))
		if least := all / controllers / 2; served[id] < least {
			t.Errorf("%s had %d of %d, want %d at least", id, served[id], all, least)
		}
	}
	if !overload && slowest > 5*time.Second {
		t.Errorf("a call waited for %v", slowest)
	}
}
