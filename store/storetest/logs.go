// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

// LogStore is what the suite of [Logs] tests.
type LogStore interface {
	whisk.LogStore
	io.Closer
}

// Logs tests a [whisk.LogStore].
func Logs[S LogStore](t *testing.T, opener func(t *testing.T, place string) S) {
	open := Opener[S](opener)
	t.Run("round trip", func(t *testing.T) { testLogRoundTrip(t, open.fresh(t)) })
	t.Run("expiry", func(t *testing.T) { testLogExpiry(t, open.fresh(t)) })
	t.Run("reopen", func(t *testing.T) {
		place := t.TempDir()
		s := open(t, place)
		must(t, s.AppendLogs(t.Context(), []whisk.LogEntry{logEntry(1)}))
		must(t, s.Close())
		wantLines(t, open.at(t, place), 1, logEntry(1).Lines...)
	})
}

func logEntry(n int) whisk.LogEntry {
	return whisk.LogEntry{
		Activation: activationID(n),
		Namespace:  "guest",
		Made:       atMilli(n),
		Lines:      []string{fmt.Sprintf("2026-03-01T12:00:00.000Z stdout: line %d", n), "", "é <&> \"quoted\"\twith\na break", "bytes \x00\xff\xfe that are no text"},
	}
}

func wantLines(t *testing.T, s whisk.LogStore, n int, want ...string) {
	t.Helper()
	got, err := s.Logs(t.Context(), "guest", activationID(n))
	must(t, err)
	if !slices.Equal(got, want) {
		t.Errorf("lines of %d are %q, want %q", n, got, want)
	}
}

func testLogRoundTrip(t *testing.T, s whisk.LogStore) {
	ctx := t.Context()
	one, silent, long := logEntry(1), logEntry(2), logEntry(3)
	silent.Lines = nil
	long.Lines = slices.Repeat([]string{strings.Repeat("x", 1000)}, 3000)
	must(t, s.AppendLogs(ctx, []whisk.LogEntry{one, silent, long}))
	wantLines(t, s, 1, one.Lines...)
	wantLines(t, s, 2)
	wantLines(t, s, 3, long.Lines...)
	wantLines(t, s, 4)

	changed, fresh := one, logEntry(5)
	changed.Lines = []string{"changed"}
	must(t, s.AppendLogs(ctx, []whisk.LogEntry{changed, fresh, fresh}))
	wantLines(t, s, 1, one.Lines...)
	wantLines(t, s, 5, fresh.Lines...)
	must(t, s.AppendLogs(ctx, nil))

	foreign, err := s.Logs(ctx, "other", activationID(1))
	must(t, err)
	if len(foreign) != 0 {
		t.Errorf("another namespace reads %q", foreign)
	}
}

func testLogExpiry(t *testing.T, s whisk.LogStore) {
	var entries []whisk.LogEntry
	for i := range 300 {
		entries = append(entries, logEntry((i*37)%300))
	}
	must(t, s.AppendLogs(t.Context(), entries))
	for _, step := range []struct{ before, limit, want int }{{0, 1000, 0}, {250, 30, 30}, {250, 1000, 220}, {250, 1000, 0}} {
		n, err := s.ExpireLogs(t.Context(), atMilli(step.before), step.limit)
		must(t, err)
		if n != step.want {
			t.Fatalf("expired %d entries, want %d", n, step.want)
		}
	}
	wantLines(t, s, 249)
	wantLines(t, s, 250, logEntry(250).Lines...)
}
