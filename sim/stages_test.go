// SPDX-License-Identifier: Apache-2.0

package sim_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/sim"
	"github.com/whirl-faas/whirl/whisk"
)

// TestOutcomesTellTheirStages has sandboxes take known times on a node with room for
// one, and holds what activations tell of themselves against that.
func TestOutcomesTellTheirStages(t *testing.T) {
	const creation, resume, destroy = 40 * time.Millisecond, 5 * time.Millisecond, 60 * time.Millisecond
	const initialise, run = 30 * time.Millisecond, 20 * time.Millisecond
	script := fake.Script{
		Create:  func(*rand.Rand, whisk.CreateSandbox) fake.Creation { return fake.Creation{Delay: creation} },
		Init:    func(*rand.Rand, fake.Call) fake.Answer { return fake.Answer{Delay: initialise} },
		Run:     func(*rand.Rand, fake.Call) fake.Answer { return fake.Answer{Delay: run} },
		Resume:  func(*rand.Rand, whisk.ContainerID) fake.Operation { return fake.Operation{Delay: resume} },
		Destroy: func(*rand.Rand, whisk.ContainerID) fake.Operation { return fake.Operation{Delay: destroy} },
	}
	synctest.Test(t, func(t *testing.T) {
		cluster, err := sim.Start(t.Context(), sim.Config{Seed: 1, Nodes: 1, NodeMemory: 256 * whisk.MB, Controllers: 1, Concurrency: 1, Script: script})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		call := func(action string) *sim.Call {
			return cluster.Invoke(cluster.Controllers()[0], sim.Action{Name: action, Revision: 1, Memory: 256 * whisk.MB, Concurrency: 1, Timeout: time.Second}, 10*time.Second)
		}
		cold := call("a")
		synctest.Wait()
		waiting := call("a") // behind the other, for the same container
		cluster.Wait()
		warm := call("a")
		cluster.Wait()
		time.Sleep(time.Minute) // it is paused
		paused := call("a")
		cluster.Wait()
		time.Sleep(time.Minute)
		evicting := call("b")
		cluster.Wait()

		for _, row := range []struct {
			name string
			call *sim.Call
			want whisk.Outcome
		}{
			{"cold", cold, whisk.Outcome{Wait: creation, Creation: creation, Init: initialise, Run: run}},
			{"waiting", waiting, whisk.Outcome{Wait: creation + initialise + run, Creation: creation, Run: run}},
			{"warm", warm, whisk.Outcome{Run: run}},
			{"paused", paused, whisk.Outcome{Run: resume + run, Resume: resume}},
			{"evicting", evicting, whisk.Outcome{Wait: destroy + creation, Asking: destroy, Creation: creation, Init: initialise, Run: run}},
		} {
			got := row.call.Outcome
			if row.call.Refused != nil || got.Wait != row.want.Wait || got.Asking != row.want.Asking || got.Creation != row.want.Creation ||
				got.Init != row.want.Init || got.Run != row.want.Run || got.Resume != row.want.Resume {
				t.Errorf("%s: %+v, want %+v", row.name, got, row.want)
			}
		}
		drain, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := cluster.Stop(drain); err != nil {
			t.Error(err)
		}
	})
}
