// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

// TestGrownDataIsWhatItSays looks at what is put into a platform before it begins.
func TestGrownDataIsWhatItSays(t *testing.T) {
	dir := t.TempDir()
	err := seedData(t.Context(), dir, func(ctx context.Context, d *data) error {
		for _, seed := range []func() error{
			func() error { return seedNamespaces(ctx, d, 4) },
			func() error { return seedActions(ctx, d, 501) },  // a batch and one
			func() error { return seedRecords(ctx, d, 1050) }, // likewise
		} {
			if err := seed(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	d, err := openDirectory(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	// The platform's own namespace is the first.
	if subjects, err := d.entities.Subjects(t.Context()); err != nil || len(subjects) != 3 {
		t.Errorf("%d subjects, %v", len(subjects), err)
	}
	key := grownKey(3)
	if owner, err := d.entities.Lookup(t.Context(), key.UUID); err != nil || owner.Name != "growth-3" || !owner.Namespaces[0].Key.Matches(key.Key) {
		t.Errorf("got %+v, %v", owner, err)
	}
	if n, err := d.entities.Count(t.Context(), whisk.EntityQuery{Collection: whisk.Actions, Namespace: "guest", Limit: 1}); err != nil || n != 501 {
		t.Errorf("%d actions, %v", n, err)
	}
	if n, err := d.activations.CountActivations(t.Context(), whisk.ActivationQuery{Namespace: "growth-7"}); err != nil || n != 1050/50 {
		t.Errorf("%d records in one of 50 namespaces, %v", n, err)
	}
}
