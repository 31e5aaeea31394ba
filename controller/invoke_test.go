// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

// A server outlives the panic of a call that ran on its request's goroutine. Then
// what the call took is there for others, and a drain does not wait for it.
func TestPanicOfACallGivesBackWhatItTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		breaks := true
		balancer := &controllertest.Balancer{Run: func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
			if breaks {
				panic("broken invariant")
			}
			return controllertest.Outcome(inv, whisk.Response{Result: run.Value})
		}}
		c := newController(t, "us", controllertest.NewStore(), balancer, func(config *controller.Config) {
			config.Limits.ConcurrentActions, config.Sequences = 1, 1
			config.Records.Records, config.Records.Memory = 2, config.Limits.Result
		})
		stop := running(c)
		putHello(t, c)
		for range 3 {
			func() {
				defer func() {
					if cause := recover(); cause != "broken invariant" {
						t.Errorf("the caller learns of %v", cause)
					}
				}()
				_, err := c.Invoke(t.Context(), controller.Call{Caller: guest, Action: hello}, time.Minute)
				t.Error(err)
			}()
		}
		breaks = false
		if got := versionRun(t, c); got != "0.0.1" {
			t.Errorf("version %s ran afterwards", got)
		}
		begun := time.Now()
		if err := stop(); err != nil || time.Since(begun) >= time.Second {
			t.Errorf("stopped after %v: %v", time.Since(begun), err)
		}
	})
}
