// SPDX-License-Identifier: Apache-2.0

package whisk_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

func TestAwaitLogs(t *testing.T) {
	lost := errors.New("lost")
	after := func(wait time.Duration, logs whisk.LogSummary, err error) func(func(whisk.LogSummary, error)) {
		return func(f func(whisk.LogSummary, error)) { time.AfterFunc(wait, func() { f(logs, err) }) }
	}
	for name, row := range map[string]struct {
		outcome whisk.Outcome
		took    time.Duration
		lines   int
		err     error
	}{
		"nothing to wait for": {},
		"there already": {
			outcome: whisk.Outcome{AfterLogs: func(f func(whisk.LogSummary, error)) { f(whisk.LogSummary{Lines: 3}, nil) }},
			lines:   3,
		},
		"later":    {outcome: whisk.Outcome{AfterLogs: after(time.Second, whisk.LogSummary{Lines: 2}, nil)}, took: time.Second, lines: 2},
		"lost":     {outcome: whisk.Outcome{AfterLogs: after(time.Second, whisk.LogSummary{}, lost)}, took: time.Second, err: lost},
		"too late": {outcome: whisk.Outcome{AfterLogs: after(time.Hour, whisk.LogSummary{Lines: 9}, nil)}, took: time.Minute, err: context.DeadlineExceeded},
		"never":    {outcome: whisk.Outcome{AfterLogs: func(func(whisk.LogSummary, error)) {}}, took: time.Minute, err: context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				logs, err := row.outcome.AwaitLogs(ctx)
				if took := time.Since(start); took != row.took || logs.Lines != row.lines || !errors.Is(err, row.err) {
					t.Errorf("after %v %d lines, %v; want after %v %d lines, %v", took, logs.Lines, err, row.took, row.lines, row.err)
				}
				if late := errors.Is(row.err, context.DeadlineExceeded); late && whisk.KindOf(err) != whisk.Timeout {
					t.Errorf("%v is %v, want a timeout", err, whisk.KindOf(err))
				}
				time.Sleep(2 * time.Hour) // what comes too late disturbs nobody
			})
		})
	}
}
