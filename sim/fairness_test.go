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

// TestNamespacesShareACluster has one namespace call many actions, each far more
// often than the whole cluster could serve, and another one call a few, also more
// often than it can be served. The second must have half of what the cluster does,
// or what it asks for if that is less.
func TestNamespacesShareACluster(t *testing.T) {
	const run, lasts, slots = 200 * time.Millisecond, 80 * time.Second, 8
	for _, row := range []struct {
		name        string
		controllers int
		meek        int           // actions of the second namespace
		every       time.Duration // between two calls of one of them, on each controller
		least       float64       // of its calls in what the cluster could serve
	}{
		{"one action that wants its half", 1, 1, 40 * time.Millisecond, 0.4},
		{"as many as its half has containers", 1, 4, 150 * time.Millisecond, 0.4},
		{"more than its half has containers", 1, 8, 300 * time.Millisecond, 0.33},
		{"two controllers", 2, 4, 300 * time.Millisecond, 0.4},
		{"one that wants little", 1, 1, time.Second, 0.022}, // 0.025 is all that it wants, and some of it waits at the end
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				script := fake.Script{
					Run: func(*rand.Rand, fake.Call) fake.Answer { return fake.Answer{Delay: run} },
				}
				cluster, err := sim.Start(t.Context(), sim.Config{
					Seed: 1, Nodes: 2, NodeMemory: slots / 2 * 256 * whisk.MB, Controllers: row.controllers, Concurrency: 1, Script: script,
				})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second) // all know each other
				load := func(namespace string, actions int, every time.Duration, end time.Time) {
					for i := range actions {
						action := sim.Action{
							Namespace: namespace, Name: fmt.Sprint("a", i), Revision: 1,
							Memory: 256 * whisk.MB, Concurrency: 1, Timeout: time.Second,
						}
						for _, ctl := range cluster.Controllers() {
							go func() {
								for ; time.Now().Before(end); time.Sleep(every) {
									cluster.Invoke(ctl, action, 10*time.Second)
								}
							}()
						}
					}
				}
				end := time.Now().Add(lasts)
				load("noisy", 16, 100*time.Millisecond, end)
				time.Sleep(20 * time.Second) // it has all by now
				began := time.Now()
				load("meek", row.meek, row.every, end)
				time.Sleep(time.Until(end) + time.Second)
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
				served := map[string]int{}
				for _, call := range history.Calls {
					if call.Refused == nil && call.Outcome.Response.Status == whisk.Success && call.Received.After(began) && call.Ended.Before(end) {
						served[call.Action.Namespace]++
					}
				}
				most := float64(slots) * float64(end.Sub(began)/run)
				noisy, meek := float64(served["noisy"])/most, float64(served["meek"])/most
				t.Logf("noisy had %.3f of what the cluster can do, meek %.3f", noisy, meek)
				if meek < row.least {
					t.Errorf("the second namespace had %.3f of what the cluster can do, and the first %.3f, want %.3f at least", meek, noisy, row.least)
				}
				if noisy+meek < 0.75 { // the container of one that wants little is mostly idle
					t.Errorf("together they had %.3f of it", noisy+meek)
				}
			})
		})
	}
}
