// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
)

// TestInstances holds that an action runs in no more containers than it may, and
// that all calls are served nevertheless: in one process, and among roles.
func TestInstances(t *testing.T) {
	need(t, "node")
	t.Run("standalone", func(t *testing.T) { start(t).testInstances(t) })
	t.Run("roles", func(t *testing.T) { startCluster(t, 2).controller.testInstances(t) })
}

// tagged names the container that it runs in, and takes a while.
const tagged = `const me = String(Math.random())
function main() { return new Promise(done => setTimeout(() => done({me}), 200)) }`

func (p *platform) testInstances(t *testing.T) {
	const instances, calls = 2, 12
	p.create(t, "tagged", client.ActionSpec{
		Exec: &client.Exec{Kind: "nodejs:default", Code: tagged}, Limits: &client.LimitsSpec{Memory: 128, Instances: new(instances)},
	})
	if action, err := p.Action(t.Context(), "tagged"); err != nil || action.Limits.Instances == nil || *action.Limits.Instances != instances {
		t.Fatalf("%+v %v", action.Limits, err)
	}
	var mu sync.Mutex
	runs := map[string]int{}
	var running sync.WaitGroup
	for range calls {
		running.Go(func() {
			result, err := p.Result(t.Context(), "tagged", nil, time.Minute)
			var got struct{ Me string }
			if err == nil {
				err = json.Unmarshal(result, &got)
			}
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			runs[got.Me]++
		})
	}
	running.Wait()
	if len(runs) != instances {
		t.Errorf("%d calls ran in %d containers, want %d: %v", calls, len(runs), instances, runs)
	}
}
