// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

// TestGroup commits groups by hand, since which writes meet in one is a matter of
// luck from outside: refusals and failures must stay with their own write.
func TestGroup(t *testing.T) {
	broken := errors.New("broken")
	insert := func(c *connection) error { return c.prepare("INSERT INTO t (n) VALUES (1)").run() }
	halfway := func(c *connection) error { return errors.Join(insert(c), broken) }
	refuse := func(*connection) error { return whisk.Errorf(whisk.Conflict, "no") }
	full := func(c *connection) error {
		return errors.Join(insert(c), whisk.Errorf(whisk.Unavailable, "the disk is full"))
	}
	type apply = func(*connection) error
	for _, test := range []struct {
		what  string
		group []apply
		kinds []any // nil, or the kind of each write's error
		rows  int64
	}{
		{"none", nil, nil, 0},
		{"all well", []apply{insert, insert}, []any{nil, nil}, 2},
		{"one refused", []apply{insert, refuse, insert}, []any{nil, whisk.Conflict, nil}, 2},
		{"one broken", []apply{insert, halfway, insert}, []any{nil, whisk.Internal, nil}, 2},
		{"broken alone", []apply{halfway}, []any{whisk.Internal}, 0},
		{"disk full", []apply{insert, full, refuse}, []any{whisk.Unavailable, whisk.Unavailable, whisk.Unavailable}, 0},
	} {
		t.Run(test.what, func(t *testing.T) {
			conn, err := openWriting(filepath.Join(t.TempDir(), "test.db"),
				layout{migrations: []string{"CREATE TABLE t (n INTEGER)"}, synchronous: "NORMAL", cache: whisk.MB})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.close()
			var group []*write
			for _, apply := range test.group {
				group = append(group, &write{apply: apply, answer: make(chan error, 1)})
			}
			(&writer{conn: conn}).commitOnce(group)
			for i, op := range group {
				var got any
				if err := <-op.answer; err != nil {
					got = whisk.KindOf(err)
				}
				if got != test.kinds[i] {
					t.Errorf("write %d ended in %v, want %v", i, got, test.kinds[i])
				}
			}
			rows, err := conn.number("SELECT count(*) FROM t")
			if err != nil || rows != test.rows {
				t.Errorf("%d rows are there, want %d; %v", rows, test.rows, err)
			}
		})
	}
}

// TestMigrate brings a database of an older program forward, with its data.
func TestMigrate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	steps := []string{"CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (7)", "ALTER TABLE t ADD COLUMN m INTEGER DEFAULT 8", "CREATE TABLE broken ("}
	for _, test := range []struct {
		version int
		sum     string
		want    int64
	}{{1, "n", 7}, {2, "n + m", 15}} {
		conn, err := openWriting(path, layout{migrations: steps[:test.version], synchronous: "NORMAL", cache: whisk.MB})
		if err != nil {
			t.Fatal(err)
		}
		got, err := conn.number("SELECT " + test.sum + " FROM t")
		if err != nil || got != test.want {
			t.Errorf("version %d holds %d, want %d; %v", test.version, got, test.want, err)
		}
		if err := conn.close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := openWriting(path, layout{migrations: steps, synchronous: "NORMAL", cache: whisk.MB}); err == nil {
		t.Error("a broken migration passed")
	}
	conn, err := openWriting(path, layout{migrations: steps[:2], synchronous: "NORMAL", cache: whisk.MB})
	if err != nil {
		t.Fatalf("after a broken migration: %v", err)
	}
	defer conn.close()
}

// TestDurability looks at the one promise that no kill can test: what a commit
// waits for.
func TestDurability(t *testing.T) {
	const normal, full = 1, 2
	entities, err := OpenEntities(t.Context(), filepath.Join(t.TempDir(), "entities.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer entities.Close()
	activations, err := OpenActivations(t.Context(), filepath.Join(t.TempDir(), "activations.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer activations.Close()
	for _, test := range []struct {
		db   *database
		want int64
	}{{entities.db, full}, {activations.db, normal}} {
		var got int64
		err := test.db.write(t.Context(), 0, func(c *connection) (err error) {
			got, err = c.number("PRAGMA synchronous")
			return err
		})
		if err != nil || got != test.want {
			t.Errorf("%s has synchronous = %d, want %d; %v", test.db.path, got, test.want, err)
		}
	}
}
