// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"cmp"
	"fmt"
	"io"
	"reflect"
	"slices"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

// EntityArchive is what the suite of [Archive] tests.
type EntityArchive interface {
	whisk.EntityStore
	whisk.SubjectStore
	whisk.EntityArchive
	io.Closer
}

// Archive tests a [whisk.EntityArchive].
func Archive[S EntityArchive](t *testing.T, opener func(t *testing.T, place string) S) {
	open := Opener[S](opener)
	t.Run("documents", func(t *testing.T) { testArchivedDocuments(t, open.fresh(t)) })
	t.Run("limits", func(t *testing.T) { testArchivedLimits(t, open.fresh(t)) })
}

// ActivationArchive is what the suite of [ArchivedActivations] tests.
type ActivationArchive interface {
	whisk.ActivationStore
	whisk.ActivationArchive
	io.Closer
}

// ArchivedActivations tests a [whisk.ActivationArchive].
func ArchivedActivations[S ActivationArchive](t *testing.T, opener func(t *testing.T, place string) S) {
	s := Opener[S](opener).fresh(t)
	var want []whisk.Activation
	for i := range 150 { // more than a page of any implementation
		a := record(i)
		a.Namespace, a.Start = fmt.Sprint("ns", i%3), atMilli(i*7919%40)
		want = append(want, a)
	}
	must(t, s.PutActivations(t.Context(), want))
	slices.SortFunc(want, func(a, b whisk.Activation) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID))
	})
	var got []whisk.Activation
	for a, err := range s.AllActivations(t.Context()) {
		must(t, err)
		got = append(got, a)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %d records, want %d in their order", len(got), len(want))
	}
	for range s.AllActivations(t.Context()) {
		break // must not disturb what follows
	}
	wantRecord(t, s, want[0])
}

func testArchivedDocuments(t *testing.T, s EntityArchive) {
	var want []whisk.Document
	for i := range 150 {
		doc := action(name(fmt.Sprint("ns", i%3), []string{"", "pkg", "pkg-b"}[i%5%3], fmt.Sprint("a", i*7919%150)), i)
		doc.Revision = put(t, s, doc)
		want = append(want, doc)
	}
	slices.SortFunc(want, func(a, b whisk.Document) int {
		return cmp.Or(cmp.Compare(a.Name.Namespace, b.Name.Namespace), cmp.Compare(a.Name.InNamespace(), b.Name.InNamespace()))
	})
	var got []whisk.Document
	for doc, err := range s.Documents(t.Context()) {
		must(t, err)
		got = append(got, doc)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %d documents, want %d in their order", len(got), len(want))
	}
	for doc := range s.Documents(t.Context()) {
		must(t, s.Delete(t.Context(), doc.Name, doc.Revision)) // while it is read
	}
	for doc := range s.Documents(t.Context()) {
		t.Fatalf("%s is there", doc.Name)
	}
}

func testArchivedLimits(t *testing.T, s EntityArchive) {
	var want []string
	for i := range 150 {
		namespace := fmt.Sprintf("ns%03d", i*7919%150)
		must(t, s.PutNamespaceLimits(t.Context(), namespace, whisk.NamespaceLimits{FiresPerMinute: new(i)}))
		want = append(want, namespace)
	}
	must(t, s.DeleteNamespaceLimits(t.Context(), want[7]))
	want = slices.Delete(want, 7, 8)
	slices.Sort(want)
	var got []string
	for namespace, err := range s.LimitedNamespaces(t.Context()) {
		must(t, err)
		got = append(got, namespace)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
