// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

func TestColdThenWarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.createDelay = 300 * time.Millisecond
		w.start()
		first := w.invoke()
		w.expect(first, whisk.Success, `{"done":true}`)
		if !first.Cold || first.Wait != 300*time.Millisecond || first.Container != "box1" {
			t.Errorf("first: %+v", first)
		}
		second := w.invoke()
		w.expect(second, whisk.Success, `{"done":true}`)
		if second.Cold || second.Wait != 0 || second.Container != "box1" {
			t.Errorf("second: %+v", second)
		}
		for i, outcome := range []whisk.Outcome{first, second} {
			if logs, err := outcome.Logs(t.Context()); err != nil || logs.Lines != i+1 {
				t.Errorf("logs of run %d: %+v, %v", i+1, logs, err)
			}
		}
		if n := len(sent[whisk.Requisition](w)); n != 1 {
			t.Errorf("%d requisitions, want 1", n)
		}
	})
}
