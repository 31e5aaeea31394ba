// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/store/sqlite"
	"github.com/whirl-faas/whirl/whisk"
)

const peerWrites = 60

// writeAsPeer is another process that works on the same entities.
func writeAsPeer(dir string) error {
	ctx := context.Background()
	s, err := sqlite.OpenEntities(ctx, filepath.Join(dir, "entities.db"))
	if err != nil {
		return err
	}
	fmt.Println("open")
	for n := range peerWrites {
		if err := s.PutSubject(ctx, whisk.Subject{Name: fmt.Sprint("peer", n)}); err != nil {
			return err
		}
	}
	return s.Close()
}

// TestTwoProcesses has two processes make, open and write one file at the same
// time. Each must see what the other did.
func TestTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	peer := startChild(t, "peer", dir)
	s := openEntities(t, dir)
	defer s.Close()
	if !peer.lines.Scan() {
		t.Fatal("the other process did not open the store")
	}
	for n := range peerWrites {
		_, err := s.Put(t.Context(), benchDocument(int64(n)))
		must(t, err)
	}
	must(t, peer.cmd.Wait())
	changes, err := s.Changes(t.Context(), 0, 1000)
	must(t, err)
	theirs := 0
	for _, change := range changes {
		if strings.HasPrefix(change.Subject, "peer") {
			theirs++
		}
	}
	if theirs != peerWrites || len(changes) != 2*peerWrites {
		t.Errorf("of %d changes %d are the other's, want %d and %d", len(changes), theirs, 2*peerWrites, peerWrites)
	}
}

// TestLocked lets somebody else hold the lock for writing. Time is the bubble's,
// so that nobody really waits.
func TestLocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := openEntities(t, dir)
		defer s.Close()
		doc := benchDocument(1)
		other := openRaw(t, filepath.Join(dir, "entities.db"))
		defer other.Close()
		must(t, other.Exec("BEGIN IMMEDIATE"))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var stuck, queued error
		var wg sync.WaitGroup
		wg.Go(func() { _, stuck = s.Put(t.Context(), doc) })
		synctest.Wait()
		wg.Go(func() { _, queued = s.Put(ctx, benchDocument(2)) })
		wg.Wait()
		if stuck == nil || whisk.KindOf(stuck) != whisk.Unavailable {
			t.Errorf("put while locked: %v, want one of kind unavailable", stuck)
		}
		if queued == nil || whisk.KindOf(queued) != whisk.Timeout || !errors.Is(queued, context.DeadlineExceeded) {
			t.Errorf("put whose turn did not come in time: %v, want one of kind timeout", queued)
		}
		if _, err := s.Get(t.Context(), doc.Name); whisk.KindOf(err) != whisk.NotFound {
			t.Errorf("get while locked: %v", err)
		}
		must(t, other.Exec("ROLLBACK"))
		_, err := s.Put(t.Context(), doc)
		must(t, err)
		if _, err := s.Get(t.Context(), benchDocument(2).Name); whisk.KindOf(err) != whisk.NotFound {
			t.Errorf("the put that ended in time-out was made after all: %v", err)
		}
	})
}

// TestChangesAreTrimmed lets hours pass between changes.
func TestChangesAreTrimmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openEntities(t, t.TempDir())
		defer s.Close()
		for n := range int64(10) {
			_, err := s.Put(t.Context(), benchDocument(n))
			must(t, err)
		}
		time.Sleep(time.Hour)
		must(t, s.PutSubject(t.Context(), whisk.Subject{Name: "after an hour"}))
		if changes, err := s.Changes(t.Context(), 0, 100); err != nil || len(changes) != 11 {
			t.Fatalf("after an hour %d changes are left, want 11; %v", len(changes), err)
		}
		time.Sleep(4 * time.Hour)
		var last int64
		for n := range int64(10) {
			revision, err := s.Put(t.Context(), benchDocument(100+n))
			must(t, err)
			last = int64(revision)
		}
		changes, err := s.Changes(t.Context(), 0, 100)
		must(t, err)
		if len(changes) != 10 || changes[0].Position != 12 {
			t.Errorf("%d changes are left from %d on, want 10 from 12 on", len(changes), changes[0].Position)
		}
		if got, err := s.LastChange(t.Context()); err != nil || got != last {
			t.Errorf("last change is %d, want %d; %v", got, last, err)
		}
	})
}

func TestOpenRefusals(t *testing.T) {
	t.Run("newer schema", func(t *testing.T) {
		dir := t.TempDir()
		must(t, openLogs(t, dir).Close())
		conn := openRaw(t, filepath.Join(dir, "logs.db"))
		must(t, conn.Exec("PRAGMA user_version = 99"))
		must(t, conn.Close())
		_, err := sqlite.OpenLogs(t.Context(), filepath.Join(dir, "logs.db"))
		if err == nil || whisk.KindOf(err) != whisk.Conflict || !strings.Contains(err.Error(), "99") || !strings.Contains(err.Error(), dir) {
			t.Errorf("got %v, want a conflict that names the file and the version", err)
		}
	})
	t.Run("not a database", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "logs.db")
		must(t, os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o600))
		if _, err := sqlite.OpenLogs(t.Context(), path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v, want an error that names the file", err)
		}
	})
	t.Run("no directory", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "missing", "logs.db")
		if _, err := sqlite.OpenLogs(t.Context(), path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v, want an error that names the file", err)
		}
	})
	t.Run("ended context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := sqlite.OpenLogs(ctx, filepath.Join(t.TempDir(), "logs.db")); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestFilesArePrivate(t *testing.T) {
	dir := t.TempDir()
	s := openEntities(t, dir)
	defer s.Close()
	for _, file := range []string{"entities.db", "entities.db-wal", "entities.db-shm"} {
		info, err := os.Stat(filepath.Join(dir, file))
		must(t, err)
		if info.Mode().Perm()&^fs.FileMode(0o600) != 0 {
			t.Errorf("%s has mode %v", file, info.Mode())
		}
	}
}

// TestClose closes a store under its callers. Each call must have done its work
// or say that it did not.
func TestClose(t *testing.T) {
	dir := t.TempDir()
	s := openEntities(t, dir)
	errs := make([]error, 200)
	var wg sync.WaitGroup
	for n := range errs {
		wg.Go(func() { _, errs[n] = s.Put(t.Context(), benchDocument(int64(n))) })
	}
	must(t, s.Close())
	wg.Wait()
	must(t, s.Close())
	if _, err := s.Get(t.Context(), benchDocument(0).Name); err == nil || whisk.KindOf(err) != whisk.Unavailable {
		t.Errorf("get of a closed store: %v", err)
	}
	s = openEntities(t, dir)
	defer s.Close()
	for n, putErr := range errs {
		_, err := s.Get(t.Context(), benchDocument(int64(n)).Name)
		switch {
		case putErr == nil:
			must(t, err)
		case whisk.KindOf(putErr) != whisk.Unavailable || whisk.KindOf(err) != whisk.NotFound:
			t.Errorf("put %d returned %v, and then get: %v", n, putErr, err)
		}
	}
}

// TestLargeValues stores logs as long as the platform's limits allow, of the worst
// characters, and one that is too long for the store.
func TestLargeValues(t *testing.T) {
	logs := openLogs(t, t.TempDir())
	defer logs.Close()
	entry := func(n int64, size int) whisk.LogEntry {
		return whisk.LogEntry{Activation: id(n), Namespace: "guest", Lines: []string{strings.Repeat("\x00", size)}}
	}
	must(t, logs.AppendLogs(t.Context(), []whisk.LogEntry{entry(1, 11_000_000), entry(2, 11_000_000)}))
	for n := range int64(2) {
		lines, err := logs.Logs(t.Context(), "guest", id(n+1))
		must(t, err)
		if len(lines) != 1 || len(lines[0]) != 11_000_000 {
			t.Errorf("entry %d came back with %d lines", n, len(lines))
		}
	}
	err := logs.AppendLogs(t.Context(), []whisk.LogEntry{entry(3, 1), entry(4, 34_000_000)})
	if err == nil || whisk.KindOf(err) != whisk.TooLarge {
		t.Errorf("got %v, want an error of kind too large", err)
	}
	if lines, err := logs.Logs(t.Context(), "guest", id(3)); err != nil || len(lines) != 0 {
		t.Errorf("half of a batch is there: %d lines; %v", len(lines), err)
	}
}

// TestSpaceIsGivenBack expires most of a large file.
func TestSpaceIsGivenBack(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "logs.db")
	s := openLogs(t, dir)
	line := strings.Repeat("x", 100_000)
	var entries []whisk.LogEntry
	for n := range int64(200) {
		entries = append(entries, whisk.LogEntry{Activation: id(n), Namespace: "guest", Made: time.UnixMilli(n), Lines: []string{line}})
	}
	must(t, s.AppendLogs(t.Context(), entries))
	n, err := s.ExpireLogs(t.Context(), time.UnixMilli(190), 1000)
	if err != nil || n != 190 {
		t.Fatalf("expired %d entries, want 190; %v", n, err)
	}
	must(t, s.Close())
	info, err := os.Stat(path)
	must(t, err)
	if info.Size() > 10_000_000 {
		t.Errorf("the file has %d bytes, most of them free", info.Size())
	}
	mustBeSound(t, path)
}
