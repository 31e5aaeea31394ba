// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

// TestRecoveryFollowsTheNamespace holds that what a process left behind is held to
// what its namespace is allowed, and that a store which does not tell that is asked
// again.
func TestRecoveryFollowsTheNamespace(t *testing.T) {
	for _, row := range []struct {
		name   string
		claims bool // the first process claims them, and dies
		limits whisk.NamespaceLimits
		want   int // records
	}{
		{"recorded", false, whisk.NamespaceLimits{TruncationSize: "100 B"}, 1},
		{"not recorded", false, whisk.NamespaceLimits{StoreActivations: new(false), TruncationSize: "100 B"}, 0},
		{"lost and recorded", true, whisk.NamespaceLimits{}, 1},
		{"lost and not recorded", true, whisk.NamespaceLimits{StoreActivations: new(false)}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := controllertest.NewStore()
				first := newController(t, "first", store, &full{})
				putHello(t, first)
				stop := running(first)
				id, err := first.Submit(t.Context(), controller.Call{Caller: guest, Action: hello})
				if err == nil && row.claims {
					err = store.Claim(t.Context(), id, "first")
				}
				if err := errors.Join(err, stop(), store.PutNamespaceLimits(t.Context(), "guest", row.limits)); err != nil {
					t.Fatal(err)
				}
				failures, runs := 0, 0
				store.SetFault(func(op string, done bool) error {
					if op == "NamespaceLimits" && !done && failures < 3 {
						failures++
						return whisk.Errorf(whisk.Unavailable, "the store is away")
					}
					return nil
				})
				stop = running(newController(t, "second", store, &controllertest.Balancer{
					Run: func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
						if runs++; inv.ResultLimit != 100 {
							t.Errorf("a result of %v is allowed", inv.ResultLimit)
						}
						return controllertest.Outcome(inv, whisk.Response{Result: run.Value})
					},
				}))
				time.Sleep(time.Minute)
				if err := stop(); err != nil {
					t.Error(err)
				}
				if failures != 3 || (runs == 1) == row.claims {
					t.Errorf("the limits were asked for in vain %d times, the activation ran %d times", failures, runs)
				}
				if records, queued := len(store.Records()), len(store.Queued()); records != row.want || queued != 0 {
					t.Errorf("%d records and %d queued, want %d and none", records, queued, row.want)
				}
			})
		})
	}
}
