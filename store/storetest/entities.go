// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

// EntityStore is what the suite of [Entities] tests.
type EntityStore interface {
	whisk.EntityStore
	io.Closer
}

// Entities tests a [whisk.EntityStore].
func Entities[S EntityStore](t *testing.T, opener func(t *testing.T, place string) S) {
	open := Opener[S](opener)
	t.Run("round trip", func(t *testing.T) { testEntityRoundTrip(t, open.fresh(t)) })
	t.Run("revisions", func(t *testing.T) { testRevisions(t, open.fresh(t)) })
	t.Run("collections", func(t *testing.T) { testCollections(t, open.fresh(t)) })
	t.Run("one writer wins", func(t *testing.T) { testOneWriterWins(t, open.fresh(t)) })
	t.Run("lists", func(t *testing.T) { testEntityLists(t, open.fresh(t)) })
	t.Run("changes", func(t *testing.T) { testChanges(t, open.fresh(t)) })
	t.Run("digests", func(t *testing.T) { testDigests(t, open.fresh(t)) })
	t.Run("transactions", func(t *testing.T) { testTransactions(t, open.fresh(t)) })
	t.Run("transactions conflict", func(t *testing.T) { testTransactionConflicts(t, open.fresh(t)) })
	t.Run("one transaction wins", func(t *testing.T) { testOneTransactionWins(t, open.fresh(t)) })
	t.Run("ended context", func(t *testing.T) { testEntityContext(t, open.fresh(t)) })
	t.Run("reopen", func(t *testing.T) { testEntityReopen(t, open) })
	t.Run("model", func(t *testing.T) { testEntityModel(t, open) })
}

func name(ns, pkg, n string) whisk.FullName {
	return whisk.FullName{Namespace: ns, Package: pkg, Name: n}
}

// action is a document with something in every field.
func action(name whisk.FullName, milli int) whisk.Document {
	return whisk.Document{
		Collection: whisk.Actions,
		Name:       name,
		Updated:    atMilli(milli),
		Code:       digest(milli),
		Public:     milli%2 == 1,
		Summary:    json.RawMessage(fmt.Sprintf(`{"summary":%d}`, milli)),
		Body:       json.RawMessage(fmt.Sprintf(`{"body":%d,"text":"é\u0000\n"}`, milli)),
	}
}

func digest(n int) whisk.Digest { return whisk.Digest(fmt.Sprintf("sha256-%064x", n)) }

func put(t *testing.T, s whisk.EntityStore, doc whisk.Document) whisk.Revision {
	t.Helper()
	revision, err := s.Put(t.Context(), doc)
	must(t, err)
	return revision
}

func testEntityRoundTrip(t *testing.T, s whisk.EntityStore) {
	for _, n := range []whisk.FullName{
		name("guest", "", "hello"),
		name("guest", "pkg", "hello"),
		name("guest", "", "a b.c@d&e-f_g"),
		name("Guest", "", "hello"),
	} {
		want := action(n, 7)
		want.Revision = put(t, s, want)
		got, err := s.Get(t.Context(), n)
		must(t, err)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	bare := whisk.Document{Collection: whisk.Rules, Name: name("guest", "", "bare"), Updated: atMilli(0)}
	bare.Revision = put(t, s, bare)
	got, err := s.Get(t.Context(), bare.Name)
	must(t, err)
	if !reflect.DeepEqual(got, bare) {
		t.Errorf("got %+v, want %+v", got, bare)
	}
	for _, n := range []whisk.FullName{name("guest", "", "hell"), name("guest", "pkg", "a"), name("other", "", "hello"), name("guest", "hello", "")} {
		_, err := s.Get(t.Context(), n)
		mustBe(t, err, whisk.NotFound)
	}
}

func testRevisions(t *testing.T, s whisk.EntityStore) {
	ctx := t.Context()
	doc := action(name("guest", "", "a"), 1)

	doc.Revision = 17
	_, err := s.Put(ctx, doc)
	mustBe(t, err, whisk.Conflict) // there is none to replace
	mustBe(t, s.Delete(ctx, doc.Name, 17), whisk.NotFound)

	doc.Revision = 0
	first := put(t, s, doc)
	if first <= 0 {
		t.Fatalf("first revision is %d", first)
	}
	_, err = s.Put(ctx, doc)
	mustBe(t, err, whisk.Conflict) // there is one already

	doc.Revision = first
	second := put(t, s, doc)
	if second <= first {
		t.Fatalf("revision %d after %d", second, first)
	}
	_, err = s.Put(ctx, doc)
	mustBe(t, err, whisk.Conflict) // the revision is outdated
	mustBe(t, s.Delete(ctx, doc.Name, first), whisk.Conflict)
	mustBe(t, s.Delete(ctx, doc.Name, 0), whisk.Conflict)

	must(t, s.Delete(ctx, doc.Name, second))
	_, err = s.Get(ctx, doc.Name)
	mustBe(t, err, whisk.NotFound)
	mustBe(t, s.Delete(ctx, doc.Name, second), whisk.NotFound)

	doc.Revision = 0
	if third := put(t, s, doc); third <= second {
		t.Fatalf("revision %d came back after a deletion; the last was %d", third, second)
	}
	if other := put(t, s, action(name("other", "", "b"), 1)); other <= second {
		t.Fatalf("revision %d of another document after %d", other, second)
	}
}

func testCollections(t *testing.T, s whisk.EntityStore) {
	doc := action(name("guest", "", "a"), 1)
	doc.Revision = put(t, s, doc)
	for _, revision := range []whisk.Revision{0, doc.Revision} {
		taken := doc
		taken.Collection, taken.Revision = whisk.Triggers, revision
		_, err := s.Put(t.Context(), taken)
		mustBe(t, err, whisk.Conflict)
	}
	got, err := s.Get(t.Context(), doc.Name)
	must(t, err)
	if got.Collection != whisk.Actions {
		t.Errorf("it became one of the %s", got.Collection)
	}
	packaged := doc
	packaged.Name.Package, packaged.Revision, packaged.Collection = "pkg", 0, whisk.Triggers
	put(t, s, packaged) // another name, so any collection will do
	must(t, s.Delete(t.Context(), doc.Name, doc.Revision))
	doc.Collection, doc.Revision = whisk.Triggers, 0
	put(t, s, doc)
}

func testOneWriterWins(t *testing.T, s whisk.EntityStore) {
	doc := action(name("guest", "", "a"), 1)
	for round := range 5 {
		if won := race(t, 8, func(i int) error {
			mine := doc
			mine.Body = json.RawMessage(fmt.Sprint(i))
			_, err := s.Put(t.Context(), mine)
			return err
		}); won != 1 {
			t.Fatalf("round %d: %d of 8 writers won", round, won)
		}
		got, err := s.Get(t.Context(), doc.Name)
		must(t, err)
		doc.Revision = got.Revision
	}
	if won := race(t, 8, func(i int) error {
		if i%2 == 0 {
			err := s.Delete(t.Context(), doc.Name, doc.Revision)
			if whisk.KindOf(err) == whisk.NotFound && err != nil {
				return whisk.Errorf(whisk.Conflict, "another one deleted it")
			}
			return err
		}
		_, err := s.Put(t.Context(), doc)
		return err
	}); won != 1 {
		t.Fatalf("%d of 8 writers and deleters won", won)
	}
}

func testEntityLists(t *testing.T, s whisk.EntityStore) {
	// The millisecond is the second part; equal ones are sorted by path.
	for _, doc := range []struct {
		name  whisk.FullName
		milli int
	}{
		{name("guest", "", "old"), 1},
		{name("guest", "pkg", "b"), 5},
		{name("guest", "", "pkg-a"), 5}, // "-" sorts before "/"
		{name("guest", "", "pkg0"), 5},  // "0" sorts after "/"
		{name("guest", "other", "new"), 9},
		{name("other", "", "x"), 7},
	} {
		put(t, s, action(doc.name, doc.milli))
	}
	rule := action(name("guest", "", "rule"), 6)
	rule.Collection = whisk.Rules
	put(t, s, rule)

	none, pkg, missing := "", "pkg", "missing"
	query := whisk.EntityQuery{Collection: whisk.Actions, Namespace: "guest", Limit: 100}
	with := func(change func(*whisk.EntityQuery)) whisk.EntityQuery {
		q := query
		change(&q)
		return q
	}
	for _, test := range []struct {
		what  string
		query whisk.EntityQuery
		want  []string
		count int
	}{
		{"all", query, []string{"other/new", "pkg-a", "pkg/b", "pkg0", "old"}, 5},
		{"full", with(func(q *whisk.EntityQuery) { q.Full = true }), []string{"other/new", "pkg-a", "pkg/b", "pkg0", "old"}, 5},
		{"default package", with(func(q *whisk.EntityQuery) { q.Package = &none }), []string{"pkg-a", "pkg0", "old"}, 3},
		{"a package", with(func(q *whisk.EntityQuery) { q.Package = &pkg }), []string{"pkg/b"}, 1},
		{"no such package", with(func(q *whisk.EntityQuery) { q.Package = &missing }), nil, 0},
		{"first page", with(func(q *whisk.EntityQuery) { q.Limit = 2 }), []string{"other/new", "pkg-a"}, 5},
		{"second page", with(func(q *whisk.EntityQuery) { q.Skip, q.Limit = 2, 2 }), []string{"pkg/b", "pkg0"}, 5},
		{"behind the end", with(func(q *whisk.EntityQuery) { q.Skip = 9 }), nil, 5},
		{"public ones", with(func(q *whisk.EntityQuery) { q.Public = true }), []string{"other/new", "pkg-a", "pkg/b", "pkg0", "old"}, 5},
		{"public rules", with(func(q *whisk.EntityQuery) { q.Public, q.Collection = true, whisk.Rules }), nil, 0},
		{"public ones of a package", with(func(q *whisk.EntityQuery) { q.Public, q.Package, q.Full = true, &pkg, true }), []string{"pkg/b"}, 1},
		{"second page of public ones", with(func(q *whisk.EntityQuery) { q.Public, q.Skip, q.Limit = true, 3, 1 }), []string{"pkg0"}, 5},
		{"rules", with(func(q *whisk.EntityQuery) { q.Collection = whisk.Rules }), []string{"rule"}, 1},
		{"another namespace", with(func(q *whisk.EntityQuery) { q.Namespace = "other" }), []string{"x"}, 1},
		{"no such namespace", with(func(q *whisk.EntityQuery) { q.Namespace = "none" }), nil, 0},
	} {
		t.Run(test.what, func(t *testing.T) {
			docs, err := s.List(t.Context(), test.query)
			must(t, err)
			var got []string
			for _, doc := range docs {
				got = append(got, doc.Name.InNamespace())
				if doc.Name.Namespace != test.query.Namespace || doc.Collection != test.query.Collection || len(doc.Summary) == 0 || doc.Revision == 0 {
					t.Errorf("listed %+v", doc)
				}
				if (doc.Body != nil) != test.query.Full {
					t.Errorf("body of %s is %q", doc.Name, doc.Body)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("listed %q, want %q", got, test.want)
			}
			count, err := s.Count(t.Context(), test.query)
			must(t, err)
			if count != test.count {
				t.Errorf("counted %d, want %d", count, test.count)
			}
		})
	}
}

func testChanges(t *testing.T, s whisk.EntityStore) {
	ctx := t.Context()
	last, err := s.LastChange(ctx)
	must(t, err)
	if last != 0 {
		t.Errorf("last change of an empty store is %d", last)
	}
	a, b := action(name("guest", "", "a"), 1), action(name("guest", "pkg", "b"), 1)
	a.Revision = put(t, s, a)
	b.Revision = put(t, s, b)
	if _, err := s.Put(ctx, whisk.Document{Collection: whisk.Actions, Name: a.Name}); err == nil {
		t.Error("put over an existing document")
	}
	a.Revision = put(t, s, a)
	must(t, s.Delete(ctx, b.Name, b.Revision))

	changes, err := s.Changes(ctx, 0, 100)
	must(t, err)
	var names []whisk.FullName
	for i, change := range changes {
		names = append(names, change.Entity)
		if i > 0 && change.Position <= changes[i-1].Position || change.Position <= 0 || change.Subject != "" {
			t.Errorf("change %d is %+v", i, change)
		}
	}
	if want := []whisk.FullName{a.Name, b.Name, a.Name, b.Name}; !slices.Equal(names, want) {
		t.Fatalf("changes are of %q, want %q", names, want)
	}
	if changes[2].Position != int64(a.Revision) || changes[3].Position <= int64(b.Revision) {
		t.Errorf("changes are at %+v, the revisions were %d and %d", changes, a.Revision, b.Revision)
	}
	last, err = s.LastChange(ctx)
	must(t, err)
	if last != changes[3].Position {
		t.Errorf("last change is %d, want %d", last, changes[3].Position)
	}
	some, err := s.Changes(ctx, changes[0].Position, 2)
	must(t, err)
	if !slices.Equal(some, changes[1:3]) {
		t.Errorf("two changes after the first are %+v, want %+v", some, changes[1:3])
	}
	rest, err := s.Changes(ctx, last, 100)
	must(t, err)
	if len(rest) != 0 {
		t.Errorf("changes after the last: %+v", rest)
	}
}

func testDigests(t *testing.T, s whisk.EntityStore) {
	want := make(map[whisk.Digest]bool)
	for i := range 30 {
		doc := action(name("guest", "", fmt.Sprint("a", i)), i%20)
		put(t, s, doc)
		want[doc.Code] = true
	}
	codeless := action(name("guest", "", "codeless"), 1)
	codeless.Code = ""
	put(t, s, codeless)
	gone := action(name("guest", "", "gone"), 99)
	must(t, s.Delete(t.Context(), gone.Name, put(t, s, gone)))

	got := make(map[whisk.Digest]bool)
	for digest, err := range s.Digests(t.Context()) {
		must(t, err)
		got[digest] = true
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("digests are %v, want %v", got, want)
	}
	for range s.Digests(t.Context()) {
		break // must not disturb what follows
	}
	put(t, s, action(name("guest", "", "after"), 1))
}

func testEntityContext(t *testing.T, s whisk.EntityStore) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	doc := action(name("guest", "", "a"), 1)
	if _, err := s.Put(ctx, doc); err == nil {
		t.Error("put with an ended context")
	}
	if _, err := s.Get(ctx, doc.Name); err == nil || whisk.KindOf(err) == whisk.NotFound {
		t.Errorf("get with an ended context: %v", err)
	}
	_, err := s.Get(t.Context(), doc.Name)
	mustBe(t, err, whisk.NotFound)
}

func testEntityReopen[S EntityStore](t *testing.T, open Opener[S]) {
	place := t.TempDir()
	doc, gone := action(name("guest", "", "a"), 1), action(name("guest", "", "gone"), 1)
	s := open(t, place)
	doc.Revision = put(t, s, doc)
	last := put(t, s, gone)
	must(t, s.Delete(t.Context(), gone.Name, last))
	must(t, s.Close())

	s = open.at(t, place)
	got, err := s.Get(t.Context(), doc.Name)
	must(t, err)
	if !reflect.DeepEqual(got, doc) {
		t.Errorf("got %+v, want %+v", got, doc)
	}
	if revision := put(t, s, gone); revision <= last {
		t.Errorf("revision %d after %d was used", revision, last)
	}
}
