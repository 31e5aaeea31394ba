// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/whirl-faas/whirl/whisk"
)

// Whoever stops waiting just when all was read leaves no transaction behind: the
// connection would show others what there was then, or refuse them.
func TestReadsWhoseContextEndsLast(t *testing.T) {
	s, err := OpenActivations(t.Context(), filepath.Join(t.TempDir(), "activations.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range readConnections {
		ctx, cancel := context.WithCancel(t.Context())
		err := s.db.readAll(ctx, func(c *connection) error {
			_, err := c.number("SELECT count(*) FROM recent")
			cancel()
			return err
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if err := s.PutActivations(t.Context(), []whisk.Activation{groupedRecord(1)}); err != nil {
		t.Fatal(err)
	}
	for range readConnections {
		if n, err := s.CountActivations(t.Context(), whisk.ActivationQuery{Namespace: "guest"}); n != 1 || err != nil {
			t.Errorf("counted %d, want 1; %v", n, err)
		}
	}
}

// A list holds what it shows, and not all that it skips.
func TestSkippingTakesNoMemory(t *testing.T) {
	s, err := OpenActivations(t.Context(), filepath.Join(t.TempDir(), "activations.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const n = 20_000
	for i := 0; i < n; i += 1000 {
		records := make([]whisk.Activation, 1000)
		for k := range records {
			records[k] = groupedRecord(i + k)
		}
		if err := s.PutActivations(t.Context(), records); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"", "action3"} {
		query := whisk.ActivationQuery{Namespace: "guest", Name: name, Limit: 30}
		if query.Skip, err = s.CountActivations(t.Context(), query); err != nil {
			t.Fatal(err)
		}
		query.Skip -= 10
		l := newListing(query)
		if err := s.db.readAll(t.Context(), l.collect); err != nil {
			t.Fatal(err)
		}
		if len(l.found)-l.Skip != 10 {
			t.Errorf("%q: %d are found behind %d, want 10", name, len(l.found), l.Skip)
		}
		if cap(l.found) > 4*passLeast {
			t.Errorf("%q: memory for %d records to list 10", name, cap(l.found))
		}
	}
}

// Ids that were made at all times, as in an import, must not have each batch look
// at all blocks.
func TestBatchesOfAllTimes(t *testing.T) {
	s, err := OpenActivations(t.Context(), filepath.Join(t.TempDir(), "activations.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	records := make([]whisk.Activation, 1000)
	for i := range records {
		records[i] = groupedRecord(i)
		records[i].ID = whisk.ActivationID(fmt.Sprintf("%08x%024x", i<<20, i))
	}
	if err := s.PutActivations(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	again := []whisk.Activation{records[0], records[999]}
	again[0].Name = "changed"
	steps := 0
	b, err := newBatch(again)
	if err != nil {
		t.Fatal(err)
	}
	err = s.db.write(t.Context(), 0, func(c *connection) error {
		lookup := c.prepare(blocksOfIDs).stmt
		lookup.Status(sqlite3.STMTSTATUS_VM_STEP, true)
		_, err := b.put(c)
		steps = lookup.Status(sqlite3.STMTSTATUS_VM_STEP, false)
		return err
	})
	if err != nil || steps == 0 || steps > 100 {
		t.Errorf("%d steps to look for two records among 1000; %v", steps, err)
	}
	if n, err := s.CountActivations(t.Context(), whisk.ActivationQuery{Namespace: "guest"}); err != nil || n != 1000 {
		t.Errorf("%d records, want 1000; %v", n, err)
	}
}
