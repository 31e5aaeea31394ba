// SPDX-License-Identifier: Apache-2.0

package controllertest

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"

	"github.com/whirl-faas/whirl/whisk"
)

// Documents implements [whisk.EntityArchive].
func (s *Store) Documents(ctx context.Context) iter.Seq2[whisk.Document, error] {
	return everything(ctx, s, "Documents", func() []whisk.Document {
		return slices.SortedFunc(maps.Values(s.documents), func(a, b whisk.Document) int {
			return cmp.Or(cmp.Compare(a.Name.Namespace, b.Name.Namespace), cmp.Compare(a.Name.InNamespace(), b.Name.InNamespace()))
		})
	})
}

// LimitedNamespaces implements [whisk.EntityArchive].
func (s *Store) LimitedNamespaces(ctx context.Context) iter.Seq2[string, error] {
	return everything(ctx, s, "LimitedNamespaces", func() []string { return slices.Sorted(maps.Keys(s.limits)) })
}

// AllActivations implements [whisk.ActivationArchive].
func (s *Store) AllActivations(ctx context.Context) iter.Seq2[whisk.Activation, error] {
	return everything(ctx, s, "AllActivations", func() []whisk.Activation {
		return slices.SortedFunc(maps.Values(s.activations), func(a, b whisk.Activation) int {
			return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID))
		})
	})
}

// everything yields what list returns between the faults of an operation.
func everything[E any](ctx context.Context, s *Store, op string, list func() []E) iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		var all []E
		if err := s.do(ctx, op, func() error { all = list(); return nil }); err != nil {
			var none E
			yield(none, err)
			return
		}
		for _, each := range all {
			if !yield(each, nil) {
				return
			}
		}
	}
}
