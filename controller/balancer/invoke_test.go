// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// TestTheLogTellsWhichContainerHadAnActivation reads the line that ties the two.
func TestTheLogTellsWhichContainerHadAnActivation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var text strings.Builder
		w.log = slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug})
		w.start()
		w.invoke(func(inv *whisk.Invocation) { inv.Activation = "0123" })
		synctest.Wait()
		if want := `msg="activation ended" component=balancer activation=0123 container=box1 action=`; !strings.Contains(text.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, text.String())
		}
	})
}

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
