// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// formerLayout is that of programs before there were blocks.
var formerLayout = layout{migrations: []string{recordsSchema}, synchronous: "NORMAL", cache: whisk.MB}

// makeFormer writes n records as such a program did.
func makeFormer(t *testing.T, path string, n int) {
	t.Helper()
	db, err := openDatabase(t.Context(), path, formerLayout)
	if err != nil {
		t.Fatal(err)
	}
	defer db.close()
	err = db.write(t.Context(), 0, func(c *connection) error {
		for i := range n {
			err := c.prepare(`INSERT INTO activations (id, namespace, name, package, version, publish, subject, start, "end", duration, cause, status, annotations, size, logs, result)
				VALUES (?, ?, 'hello', ?, '1.2.3', 1, 'alice', ?, ?, 3000001, ?, 2, ?, 9, ?, ?)`).
				text(fmt.Sprintf("%032x", i)).text(fmt.Sprint("ns", i%3)).text([]string{"", "p"}[i%2]).
				integer(int64(1000 + i)).integer(int64(1005 + i)).text(fmt.Sprintf("%032x", i+7)).
				json([]byte(`[{"key":"kind","value":"nodejs:20"},{"key":"secret","value":"x","encryption":"aes"}]`)).
				blob([]byte("\x03one\x00")).json([]byte(`{"é":1.0}`)).run()
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func formerWant(i int) whisk.Activation {
	return whisk.Activation{
		ID: whisk.ActivationID(fmt.Sprintf("%032x", i)), Namespace: fmt.Sprint("ns", i%3), Name: "hello", Package: []string{"", "p"}[i%2],
		Version: whisk.Version{Major: 1, Minor: 2, Patch: 3}, Publish: true, Subject: "alice",
		Start: time.UnixMilli(int64(1000 + i)).UTC(), End: time.UnixMilli(int64(1005 + i)).UTC(), Duration: 3000001,
		Cause:       whisk.ActivationID(fmt.Sprintf("%032x", i+7)),
		Response:    whisk.Response{Status: whisk.DeveloperError, Result: []byte(`{"é":1.0}`), Size: 9},
		Annotations: whisk.Parameters{{Key: "kind", Value: []byte(`"nodejs:20"`)}, {Key: "secret", Value: []byte(`"x"`), Encryption: "aes"}},
		Logs:        []string{"one", ""},
	}
}

// What the former schema holds is there in the newest, and goes like any other.
func TestActivationsOfTheFormerSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "activations.db")
	const n = 2*formerBatch + 30
	makeFormer(t, path, n)
	for range 2 { // the second time there is nothing to do
		s, err := OpenActivations(t.Context(), path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{0, 1, formerBatch - 1, formerBatch, n - 1} {
			want := formerWant(i)
			if got, err := s.Activation(t.Context(), want.Namespace, want.ID); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, want)
			}
		}
		count := 0
		for r, err := range s.AllActivations(t.Context()) {
			if count++; err != nil || r.ID == "" {
				t.Fatal(err)
			}
		}
		if count != n {
			t.Errorf("%d records are left of %d", count, n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := OpenActivations(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	again := formerWant(5)
	again.Name = "changed"
	if err := s.PutActivations(t.Context(), []whisk.Activation{again, formerWant(n)}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Activation(t.Context(), again.Namespace, again.ID); err != nil || got.Name != "hello" {
		t.Errorf("stored again: %+v, %v", got, err)
	}
	if gone, err := s.ExpireActivations(t.Context(), time.UnixMilli(5000), 1<<30); err != nil || gone != n+1 {
		t.Errorf("expired %d, want %d; %v", gone, n+1, err)
	}
}

// newestLayout is that of this program, before it takes over anything.
var newestLayout = layout{migrations: []string{recordsSchema, blocksSchema, groupsSchema, damagedSchema}, synchronous: "NORMAL", cache: whisk.MB}

// A take-over that was interrupted goes on where it ended, in one process or two.
func TestInterruptedTakeOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "activations.db")
	const atOnce, n = 60, 480 // few, since who waits for the other's transaction does so for seconds only
	makeFormer(t, path, n)
	db, err := openDatabase(t.Context(), path, newestLayout)
	if err != nil {
		t.Fatal(err)
	}
	s := &Activations{db, slog.New(slog.DiscardHandler)}
	defer s.Close()
	if err := db.write(t.Context(), 0, func(c *connection) error { _, err := takeFormer(c, atOnce); return err }); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.takeOver(atOnce).run(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("take-over for nobody: %v", err)
	}
	other, err := openDatabase(t.Context(), path, newestLayout)
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	var both sync.WaitGroup
	for _, each := range []*Activations{s, {other, s.log}} {
		both.Go(func() {
			if err := each.takeOver(atOnce).run(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	for namespace := range 3 {
		if got, err := s.CountActivations(t.Context(), whisk.ActivationQuery{Namespace: fmt.Sprint("ns", namespace)}); err != nil || got != n/3 {
			t.Errorf("%d records, want %d; %v", got, n/3, err)
		}
	}
}

// Who starts while another process takes over much at once waits for it.
func TestTakeOverBehindAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "activations.db")
		makeFormer(t, path, 9)
		db, err := openDatabase(t.Context(), path, newestLayout)
		if err != nil {
			t.Fatal(err)
		}
		s := &Activations{db, slog.New(slog.DiscardHandler)}
		defer s.Close()
		other, err := openConnection(path, "BEGIN IMMEDIATE")
		if err != nil {
			t.Fatal(err)
		}
		defer other.close()
		taken := make(chan error, 1)
		go func() { taken <- s.takeOver(formerBatch).run(t.Context()) }()
		time.Sleep(busyTimeout + time.Second)
		if err := other.Exec("ROLLBACK"); err != nil {
			t.Fatal(err)
		}
		if err := <-taken; err != nil {
			t.Error(err)
		}
		if got, err := s.CountActivations(t.Context(), whisk.ActivationQuery{Namespace: "ns0"}); err != nil || got != 3 {
			t.Errorf("%d records, want 3; %v", got, err)
		}
	})
}

// Of long records one transaction takes over a few: all of them are in memory.
func TestTakeOverOfLongRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "activations.db")
	const n, length = 10, whisk.MB
	makeFormer(t, path, n)
	db, err := openDatabase(t.Context(), path, newestLayout)
	if err != nil {
		t.Fatal(err)
	}
	s := &Activations{db, slog.New(slog.DiscardHandler)}
	defer s.Close()
	result := []byte(`"` + strings.Repeat("x", int(length)-2) + `"`)
	left := int64(n)
	err = db.write(t.Context(), 0, func(c *connection) error {
		if err := c.prepare("UPDATE former SET result = ?").json(result).run(); err != nil {
			return err
		}
		if _, err := takeFormer(c, formerBatch); err != nil {
			return err
		}
		left, err = c.number("SELECT count(*) FROM former")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(n - formerBytes/length); left != want {
		t.Errorf("one transaction leaves %d of %d, want %d", left, n, want)
	}
	if err := s.takeOver(formerBatch).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		want := formerWant(i)
		if got, err := s.Activation(t.Context(), want.Namespace, want.ID); err != nil || !bytes.Equal(got.Response.Result, result) {
			t.Errorf("record %d is gone, or another: %v", i, err)
		}
	}
}

// slowLog is a logger that takes long by a test's clock.
type slowLog struct {
	slog.Handler
	takes time.Duration
}

func (l slowLog) Handle(ctx context.Context, r slog.Record) error {
	time.Sleep(l.takes)
	return l.Handler.Handle(ctx, r)
}

func (l slowLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return slowLog{l.Handler.WithAttrs(attrs), l.takes}
}

// The operator, who waits for the start, is told what it waits for. Records that
// cannot be read do not keep the others, or the start, from coming.
func TestTakeOverIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "activations.db")
		const n = 9
		makeFormer(t, path, n)
		conn, err := openConnection(path, `UPDATE activations SET annotations = '[{' WHERE position = 3;
			UPDATE activations SET logs = x'ff' WHERE position = 4;
			UPDATE activations SET id = 'none' WHERE position = 9`)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.close(); err != nil {
			t.Fatal(err)
		}
		db, err := openDatabase(t.Context(), path, newestLayout)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		s := &Activations{db, slog.New(slowLog{slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}), sayEvery/3 + 1})}
		defer s.Close()
		if err := s.takeOver(2).run(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.wantNumber(t, "SELECT sum(count) FROM blocks", n-3)
		s.wantNumber(t, "SELECT count(*) FROM damaged WHERE json_extract(CAST(heads AS TEXT), '$.name') = 'hello'", 3)
		var told []string
		for line := range strings.Lines(log.String()) {
			_, line, _ = strings.Cut(strings.TrimSpace(line), " msg=")
			told = append(told, line)
		}
		const aside = `"records cannot be read, and are set aside in table damaged until they expire: look for them in a backup" table=former row=`
		want := []string{
			`"records of a former form are taken over before the start" records=9`,
			aside + "3 ", aside + "4 ",
			`"records being taken over" records=2 of=9`,
			aside + "9 ",
			`"records taken over" records=6 took=`,
		}
		if !slices.EqualFunc(told, want, strings.HasPrefix) {
			t.Errorf("told\n%s\nwant\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
		}
		log.Reset()
		if err := s.takeOver(2).run(t.Context()); err != nil || log.Len() > 0 {
			t.Errorf("with nothing to take over: %v, %s", err, &log)
		}
	})
}
