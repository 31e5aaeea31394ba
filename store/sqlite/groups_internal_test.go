// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// groupedRecord is one of 5 actions in 2 packages in turns, one each millisecond.
func groupedRecord(i int) whisk.Activation {
	return whisk.Activation{
		ID:        whisk.ActivationID(fmt.Sprintf("%012x7%03x8%015x", 1_700_000_000_000+i, i&0xfff, i)),
		Namespace: "guest", Name: fmt.Sprint("action", i%5), Package: []string{"", "p"}[i%2],
		Start: time.UnixMilli(int64(1_700_000_000_000 + i)).UTC(), Response: whisk.Response{Result: []byte("{}")},
	}
}

func keyedRecords(t *testing.T, from, n int) []keyed {
	records := make([]whisk.Activation, n)
	for i := range records {
		records[i] = groupedRecord(from + i)
	}
	b, err := newBatch(records)
	if err != nil {
		t.Fatal(err)
	}
	return b.records
}

// makeUngrouped makes a file as the program before groups did: with a row of names
// for each action of each block.
func makeUngrouped(t *testing.T, path string, n int) {
	t.Helper()
	db, err := openDatabase(t.Context(), path, layout{migrations: []string{recordsSchema, blocksSchema}, synchronous: "NORMAL", cache: whisk.MB})
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := newBlocks(keyedRecords(t, 0, n))
	if err != nil {
		t.Fatal(err)
	}
	err = db.write(t.Context(), 0, func(c *connection) error {
		for _, x := range blocks {
			err := c.prepare("INSERT INTO blocks (namespace, count, min_id, max_id, min_start, max_start, heads, bodies) VALUES (?, ?, ?, ?, ?, ?, ?, ?)").
				text(x.namespace).integer(int64(x.count)).blob(x.minID[:]).blob(x.maxID[:]).
				integer(x.minStart).integer(x.maxStart).blob(x.heads).blob(x.bodies).run()
			if err != nil {
				return err
			}
			position := c.LastInsertRowID()
			for _, part := range x.actions {
				err := c.prepare("INSERT INTO names (namespace, name, max_start, block, package, min_start, count) VALUES (?, ?, ?, ?, ?, ?, ?)").
					text(x.namespace).text(part.name).integer(x.maxStart).integer(position).text(part.pkg).
					integer(part.minStart).integer(int64(part.count)).run()
				if err != nil {
					return err
				}
			}
		}
		return c.forget("former")
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.close(); err != nil {
		t.Fatal(err)
	}
}

// compareNamed checks what is listed and counted of an action in a store of the
// records from one to another and of later ones.
func compareNamed(t *testing.T, s *Activations, from, upto int) {
	t.Helper()
	for _, pkg := range []*string{nil, new(""), new("p")} {
		var want []whisk.ActivationID
		for i := upto; i >= from; i-- {
			if r := groupedRecord(i); r.Name == "action3" && (pkg == nil || r.Package == *pkg) {
				want = append(want, r.ID)
			}
		}
		query := whisk.ActivationQuery{Namespace: "guest", Name: "action3", Package: pkg, Upto: groupedRecord(upto).Start, Limit: 1 << 20}
		if n, err := s.CountActivations(t.Context(), query); err != nil || n != len(want) {
			t.Errorf("counted %d, want %d; %v", n, len(want), err)
		}
		list, err := s.ListActivations(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		var got []whisk.ActivationID
		for _, r := range list {
			got = append(got, r.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("listed %v, want %v", got, want)
		}
	}
}

// Blocks from before there were groups are listed, counted and expired beside
// those that have one.
func TestBlocksBeforeGroups(t *testing.T) {
	path := filepath.Join(t.TempDir(), "activations.db")
	const old, all = 1000, 2500
	makeUngrouped(t, path, old)
	s, err := OpenActivations(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, r := range keyedRecords(t, old, all-old) {
		// One by one they would stay in recent for long.
		if err := s.PutActivations(t.Context(), []whisk.Activation{*r.Activation}); err != nil {
			t.Fatal(err)
		}
	}
	compareNamed(t, s, 0, all-1)
	compareNamed(t, s, 0, old+77)
	for _, before := range []int{333, old + 50, old + 301} {
		if _, err := s.ExpireActivations(t.Context(), groupedRecord(before).Start, all); err != nil {
			t.Fatal(err)
		}
		compareNamed(t, s, before, all-1)
	}
	if n, err := s.ExpireActivations(t.Context(), groupedRecord(all).Start, all); err != nil || n != all-old-301 {
		t.Errorf("expired %d; %v", n, err)
	}
	err = s.db.read(t.Context(), func(c *connection) error {
		left, err := c.number("SELECT count(*) FROM names")
		if left != 0 {
			t.Errorf("%d names are left of nothing", left)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
