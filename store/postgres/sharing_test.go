// SPDX-License-Identifier: Apache-2.0

//go:build database

package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/whirl-faas/whirl/store/postgres"
	"github.com/whirl-faas/whirl/store/postgres/postgrestest"
	"github.com/whirl-faas/whirl/whisk"
)

func id(n int) whisk.ActivationID { return whisk.ActivationID(fmt.Sprintf("%032x", n)) }

// entry is the n-th of a series, with a line that says who wrote it.
func entry(n int, writer string) whisk.LogEntry {
	return whisk.LogEntry{Activation: id(n), Namespace: "guest", Made: time.UnixMilli(int64(n)), Lines: []string{writer, "\x00\xff"}}
}

// TestManyWriters has agents append overlapping batches in different orders by
// connections of their own. Each entry must be there once, as one of them wrote it.
func TestManyWriters(t *testing.T) {
	url := postgrestest.Schema(t, t.Name())
	const writers, rounds, entries = 8, 20, 200
	var group errgroup.Group
	for w := range writers {
		s := openAt(t, url)
		defer s.Close()
		group.Go(func() error {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for range rounds {
				var batch []whisk.LogEntry
				for _, n := range rng.Perm(entries)[:50] {
					batch = append(batch, entry(n, fmt.Sprint("writer ", w)))
				}
				if err := appendUntilDone(t.Context(), s, batch); err != nil {
					return err
				}
			}
			return nil
		})
	}
	must(t, group.Wait())
	if got := postgrestest.Query(t, url, "SELECT count(*) || ' ' || count(DISTINCT activation) FROM logs"); got != "200 200" {
		t.Errorf("rows and activations: %s, want 200 of each", got)
	}
	s := openAt(t, url)
	defer s.Close()
	for n := range entries {
		lines, err := s.Logs(t.Context(), "guest", id(n))
		must(t, err)
		if len(lines) != 2 || !strings.HasPrefix(lines[0], "writer ") || lines[1] != "\x00\xff" {
			t.Errorf("entry %d is %q", n, lines)
		}
	}
}

// appendUntilDone tries again while the store is unavailable, as agents do: two
// batches that wait for each other are one reason.
func appendUntilDone(ctx context.Context, s *postgres.Logs, batch []whisk.LogEntry) error {
	for {
		err := s.AppendLogs(ctx, batch)
		if err == nil || whisk.KindOf(err) != whisk.Unavailable || ctx.Err() != nil {
			return err
		}
	}
}

// TestOpenersMakeOneSchema lets eight stores meet an empty schema at once.
func TestOpenersMakeOneSchema(t *testing.T) {
	for round := range 5 {
		url := postgrestest.Schema(t, fmt.Sprint(t.Name(), round))
		var group errgroup.Group
		for i := range 8 {
			s := openAt(t, url)
			defer s.Close()
			group.Go(func() error { return s.AppendLogs(t.Context(), []whisk.LogEntry{entry(i, "x")}) })
		}
		must(t, group.Wait())
		got := postgrestest.Query(t, url, "SELECT part, version, usable FROM whirl_schema; SELECT count(*) FROM logs")
		if got != "logs|1|1\n8" {
			t.Errorf("round %d: %q", round, got)
		}
	}
}

// TestNewerSchemas opens what a later program made: with it, and then without it,
// older ones can work.
func TestNewerSchemas(t *testing.T) {
	url := postgrestest.Schema(t, t.Name())
	s := openAt(t, url)
	must(t, s.Ping(t.Context()))
	must(t, s.Close())
	postgrestest.Query(t, url, "UPDATE whirl_schema SET version = 99")
	s = openAt(t, url)
	must(t, s.AppendLogs(t.Context(), []whisk.LogEntry{entry(1, "x")}))
	must(t, s.Close())
	postgrestest.Query(t, url, "UPDATE whirl_schema SET usable = 98")
	s = openAt(t, url)
	defer s.Close()
	err := s.Ping(t.Context())
	if err == nil || whisk.KindOf(err) != whisk.Conflict || !strings.Contains(err.Error(), "98") || !strings.Contains(err.Error(), "postgres://") {
		t.Errorf("got %v, want a conflict that names the place and the version", err)
	}
}

// TestTablesComeBack drops the tables under a store that is connected.
func TestTablesComeBack(t *testing.T) {
	url := postgrestest.Schema(t, t.Name())
	s := openAt(t, url)
	defer s.Close()
	must(t, s.AppendLogs(t.Context(), []whisk.LogEntry{entry(1, "x")}))
	postgrestest.Query(t, url, "DROP TABLE logs, whirl_schema")
	err := s.AppendLogs(t.Context(), []whisk.LogEntry{entry(2, "x")})
	if err == nil || whisk.KindOf(err) != whisk.Unavailable {
		t.Errorf("without a table: %v, want one of kind unavailable", err)
	}
	must(t, s.AppendLogs(t.Context(), []whisk.LogEntry{entry(2, "x")}))
}

// TestControllersExpireTogether has several stores delete the same old entries at once.
func TestControllersExpireTogether(t *testing.T) {
	url := postgrestest.Schema(t, t.Name())
	s := openAt(t, url)
	defer s.Close()
	const entries, old = 3000, 2500
	var batch []whisk.LogEntry
	for n := range entries {
		batch = append(batch, entry(n, "x"))
	}
	must(t, s.AppendLogs(t.Context(), batch))
	var mu sync.Mutex
	var group errgroup.Group
	total := 0
	for range 4 {
		group.Go(func() error {
			for {
				n, err := s.ExpireLogs(t.Context(), time.UnixMilli(old), 100)
				mu.Lock()
				total += n
				mu.Unlock()
				if n == 0 || err != nil {
					return err
				}
			}
		})
	}
	must(t, group.Wait())
	if left := postgrestest.Query(t, url, "SELECT count(*), min(made) = to_timestamp(2.5) FROM logs"); total != old || left != "500|t" {
		t.Errorf("%d were deleted, want %d; left are %s", total, old, left)
	}
}

// TestLargeValues stores logs as long as the platform's limits allow, of the worst
// characters, and one that is too long for the store.
func TestLargeValues(t *testing.T) {
	s := openAt(t, postgrestest.Schema(t, t.Name()))
	defer s.Close()
	of := func(n, size int) whisk.LogEntry {
		e := entry(n, "")
		e.Lines = []string{strings.Repeat("\x00", size)}
		return e
	}
	must(t, s.AppendLogs(t.Context(), []whisk.LogEntry{of(1, 11_000_000), of(2, 11_000_000)}))
	for n := 1; n <= 2; n++ {
		lines, err := s.Logs(t.Context(), "guest", id(n))
		must(t, err)
		if len(lines) != 1 || len(lines[0]) != 11_000_000 {
			t.Errorf("entry %d came back with %d lines", n, len(lines))
		}
	}
	err := s.AppendLogs(t.Context(), []whisk.LogEntry{of(3, 1), of(4, 34_000_000)})
	if err == nil || whisk.KindOf(err) != whisk.TooLarge {
		t.Errorf("got %v, want an error of kind too large", err)
	}
	if lines, err := s.Logs(t.Context(), "guest", id(3)); err != nil || len(lines) != 0 {
		t.Errorf("half of a batch is there: %d lines; %v", len(lines), err)
	}
	odd := entry(5, "x")
	odd.Namespace = "\x00"
	if err := s.AppendLogs(t.Context(), []whisk.LogEntry{entry(6, "x"), odd}); err == nil || whisk.KindOf(err) != whisk.Internal {
		t.Errorf("a namespace that is no text: %v, want one of kind internal, so that it fails alone", err)
	}
}
