// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

// Whoever stops waiting just when all was read leaves no transaction behind: the
// connection would show others what there was then, or refuse them.
func TestReadsWhoseContextEndsLast(t *testing.T) {
	s, err := OpenActivations(t.Context(), filepath.Join(t.TempDir(), "activations.db"))
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
	s, err := OpenActivations(t.Context(), filepath.Join(t.TempDir(), "activations.db"))
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
