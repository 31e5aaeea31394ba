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
