// SPDX-License-Identifier: Apache-2.0

//go:build database

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/whirl-faas/whirl/store/postgres"
	"github.com/whirl-faas/whirl/store/postgres/postgrestest"
	"github.com/whirl-faas/whirl/whisk"
)

// TestCrash kills the server again and again under writers that try again, as
// agents do. What was acknowledged must be there, whole batches or nothing, and
// nothing twice.
func TestCrash(t *testing.T) {
	server := postgrestest.Start(t)
	s := openAt(t, server.URL)
	defer s.Close()
	w := &writers{t: t, store: s, acknowledged: map[int]bool{}, progress: make(chan struct{})}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for i := range 4 {
		running.Go(func() { w.appendLoop(ctx, i) })
	}
	for round := range 3 {
		w.await(20)
		server.Crash()
		w.await(0) // a write fails
		server.Restart()
		t.Logf("crash %d: %d batches were acknowledged", round, w.count())
	}
	w.await(20)
	stop()
	running.Wait()
	if got := server.Query("SELECT count(*) - count(DISTINCT activation) FROM logs"); got != "0" {
		t.Errorf("%s entries are there twice", got)
	}
	if got := server.Query("SELECT count(*) FROM (SELECT 1 FROM logs GROUP BY made HAVING count(*) <> 10) AS part"); got != "0" {
		t.Errorf("%s batches are there in part", got)
	}
	for batch := range w.acknowledged {
		for i := range 10 {
			if lines, err := s.Logs(t.Context(), "guest", id(batch*10+i)); err != nil || len(lines) != 2 || lines[0] != "first try" {
				t.Fatalf("batch %d was acknowledged, and entry %d is %q, %v", batch, i, lines, err)
			}
		}
	}
}

// writers append batches of ten and note what was acknowledged.
type writers struct {
	t     *testing.T
	store *postgres.Logs

	mu           sync.Mutex
	acknowledged map[int]bool
	failures     int
	progress     chan struct{} // closed and replaced when one of the two above changes
}

func (w *writers) appendLoop(ctx context.Context, writer int) {
	for n := 0; ctx.Err() == nil; n++ {
		batch := writer*1_000_000 + n
		var entries []whisk.LogEntry
		for i := range 10 {
			e := entry(batch*10+i, "first try")
			e.Made = time.UnixMilli(int64(batch))
			entries = append(entries, e)
		}
		for ctx.Err() == nil {
			err := w.store.AppendLogs(ctx, entries)
			w.note(batch, err)
			if err == nil {
				break
			}
			if ctx.Err() == nil && whisk.KindOf(err) != whisk.Unavailable {
				w.t.Errorf("append: %v, want one of kind unavailable", err)
			}
		}
	}
}

func (w *writers) note(batch int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.acknowledged[batch] = true
	} else {
		w.failures++
	}
	close(w.progress)
	w.progress = make(chan struct{})
}

func (w *writers) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acknowledged)
}

// await waits for more acknowledgements, or for a failure if more is 0.
func (w *writers) await(more int) {
	w.mu.Lock()
	wanted, failures := len(w.acknowledged)+more, w.failures
	for {
		if more > 0 && len(w.acknowledged) >= wanted || more == 0 && w.failures > failures {
			w.mu.Unlock()
			return
		}
		progress := w.progress
		w.mu.Unlock()
		select {
		case <-progress:
		case <-time.After(time.Minute):
			w.t.Fatal("nothing happens")
		}
		w.mu.Lock()
	}
}

// lockLogs has somebody else hold the table until release.
func lockLogs(t *testing.T, url string) (release func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	_, err = conn.Exec(t.Context(), "BEGIN; LOCK TABLE logs IN ACCESS EXCLUSIVE MODE")
	must(t, err)
	return func() {
		_, err := conn.Exec(t.Context(), "ROLLBACK")
		must(t, err)
	}
}

// TestCancel ends a caller's context while its statement waits for a lock: the
// call must end, the statement in the server too, and nothing be written.
func TestCancel(t *testing.T) {
	url := postgrestest.Schema(t, t.Name())
	name := "whirl-cancel-" + fmt.Sprint(time.Now().UnixNano())
	s := openAt(t, postgrestest.With(url, "application_name", name))
	defer s.Close()
	must(t, s.Ping(t.Context()))
	release := lockLogs(t, url)
	working := func() string {
		return postgrestest.Query(t, url, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND application_name = '"+name+"'")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() { done <- s.AppendLogs(ctx, []whisk.LogEntry{entry(1, "x")}) }()
	eventually(t, "the statement waits", func() bool { return working() == "1" })
	why := errors.New("enough")
	cancel(why)
	if err := <-done; whisk.KindOf(err) != whisk.Unavailable || !errors.Is(err, why) {
		t.Errorf("cancelled: %v, want one of kind unavailable that says why", err)
	}
	eventually(t, "the statement has ended", func() bool { return working() == "0" })
	late, cancelLate := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancelLate()
	if err := s.AppendLogs(late, []whisk.LogEntry{entry(1, "x")}); whisk.KindOf(err) != whisk.Timeout {
		t.Errorf("too late: %v, want one of kind timeout", err)
	}
	release()
	if lines, err := s.Logs(t.Context(), "guest", id(1)); err != nil || len(lines) != 0 {
		t.Errorf("what was cancelled is there: %q, %v", lines, err)
	}
}

// TestStatementTimeout gives a caller without a deadline an end.
func TestStatementTimeout(t *testing.T) {
	url := postgrestest.Schema(t, t.Name())
	config := postgres.Default()
	config.URL, config.Timeout = url, 200*time.Millisecond
	s, err := postgres.OpenLogs(config)
	must(t, err)
	defer s.Close()
	eventually(t, "the tables are there", func() bool { return s.Ping(t.Context()) == nil })
	release := lockLogs(t, url)
	if _, err := s.Logs(t.Context(), "guest", id(1)); whisk.KindOf(err) != whisk.Unavailable || !strings.Contains(err.Error(), "statement timeout") {
		t.Errorf("got %v, want one of kind unavailable by the server's time-out", err)
	}
	release()
	must(t, s.AppendLogs(t.Context(), []whisk.LogEntry{entry(1, "x")}))
}

// TestSilence has a server that takes connections and says nothing, and then none.
func TestSilence(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	config := postgres.Default()
	config.URL, config.Timeout = "postgres://whirl@"+listener.Addr().String()+"/logs", 100*time.Millisecond
	s, err := postgres.OpenLogs(config)
	must(t, err)
	defer s.Close()
	if err := s.AppendLogs(t.Context(), []whisk.LogEntry{entry(1, "x")}); err == nil || whisk.KindOf(err) != whisk.Unavailable {
		t.Errorf("a silent server: %v, want one of kind unavailable", err)
	}
	must(t, listener.Close())
	if _, err := s.Logs(t.Context(), "guest", id(1)); err == nil || whisk.KindOf(err) != whisk.Unavailable || !strings.Contains(err.Error(), "refused") {
		t.Errorf("no server: %v, want one of kind unavailable", err)
	}
	must(t, s.Close())
	must(t, s.Close())
	if err := s.Ping(t.Context()); err == nil || whisk.KindOf(err) != whisk.Unavailable || !strings.Contains(err.Error(), "closed") {
		t.Errorf("a closed store: %v", err)
	}
}

func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !yes(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 seconds: %s", what)
		}
	}
}
