// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"cmp"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

// entityModel is what an entity store must look like from outside.
type entityModel struct {
	docs map[whisk.FullName]whisk.Document
	last whisk.Revision
}

// testEntityModel does many things at random, among them closing and opening
// the store, and compares the store with the model.
func testEntityModel[S EntityStore](t *testing.T, open Opener[S]) {
	random, place := seeded(t), t.TempDir()
	model := entityModel{docs: make(map[whisk.FullName]whisk.Document)}
	s := open(t, place)
	defer func() { must(t, s.Close()) }()
	for step := range 400 {
		switch random.IntN(10) {
		case 0, 1, 2, 3, 4:
			model.put(t, s, random, step)
		case 5, 6:
			model.remove(t, s, random)
		case 7, 8:
			model.compare(t, s, random)
		case 9:
			if random.IntN(10) == 0 {
				must(t, s.Close())
				s = open(t, place)
			}
		}
	}
	model.compare(t, s, random)
}

var (
	modelNamespaces  = []string{"guest", "other"}
	modelPackages    = []string{"", "p", "q"}
	modelNames       = []string{"a", "b", "c", "d-e"}
	modelCollections = []whisk.Collection{whisk.Actions, whisk.Triggers}
)

func pick[T any](random *rand.Rand, from []T) T { return from[random.IntN(len(from))] }

func randomName(random *rand.Rand) whisk.FullName {
	return name(pick(random, modelNamespaces), pick(random, modelPackages), pick(random, modelNames))
}

// put writes a document, sometimes with a revision that is not the stored one.
func (m *entityModel) put(t *testing.T, s whisk.EntityStore, random *rand.Rand, step int) {
	doc := action(randomName(random), random.IntN(5))
	doc.Collection = pick(random, modelCollections)
	doc.Code = digest(step)
	stored, exists := m.docs[doc.Name]
	doc.Revision = stored.Revision
	if random.IntN(5) == 0 {
		doc.Revision = whisk.Revision(random.Int64N(int64(m.last) + 2))
	}
	revision, err := putSomehow(t, s, doc, random)
	if doc.Revision != stored.Revision || exists && doc.Collection != stored.Collection {
		mustBe(t, err, whisk.Conflict)
		return
	}
	must(t, err)
	if revision <= m.last {
		t.Fatalf("revision %d after %d", revision, m.last)
	}
	doc.Revision, m.last = revision, revision
	m.docs[doc.Name] = doc
}

// putSomehow puts a document by one of two ways that must do the same.
func putSomehow(t *testing.T, s whisk.EntityStore, doc whisk.Document, random *rand.Rand) (whisk.Revision, error) {
	if random.IntN(2) == 0 {
		return s.Put(t.Context(), doc)
	}
	revisions, err := s.Commit(t.Context(), whisk.Transaction{Puts: []whisk.Document{doc}})
	if err != nil {
		return 0, err
	}
	return revisions[0], nil
}

func (m *entityModel) remove(t *testing.T, s whisk.EntityStore, random *rand.Rand) {
	n := randomName(random)
	stored, exists := m.docs[n]
	revision := stored.Revision
	if random.IntN(5) == 0 {
		revision++
	}
	err := s.Delete(t.Context(), n, revision)
	switch {
	case !exists:
		mustBe(t, err, whisk.NotFound)
	case revision != stored.Revision:
		mustBe(t, err, whisk.Conflict)
	default:
		must(t, err)
		delete(m.docs, n)
	}
}

func (m *entityModel) compare(t *testing.T, s whisk.EntityStore, random *rand.Rand) {
	t.Helper()
	query := whisk.EntityQuery{
		Collection: pick(random, modelCollections),
		Namespace:  pick(random, modelNamespaces),
		Skip:       random.IntN(4),
		Limit:      1 + random.IntN(12),
		Public:     random.IntN(3) == 0,
		Full:       random.IntN(2) == 0,
	}
	if random.IntN(2) == 0 {
		query.Package = new(pick(random, modelPackages))
	}
	want, total := m.list(query)
	got, err := s.List(t.Context(), query)
	must(t, err)
	if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Fatalf("list %+v\n got %+v\nwant %+v", query, got, want)
	}
	count, err := s.Count(t.Context(), query)
	must(t, err)
	if count != total {
		t.Fatalf("count %+v is %d, want %d", query, count, total)
	}
	for n, doc := range m.docs {
		got, err := s.Get(t.Context(), n)
		must(t, err)
		if !reflect.DeepEqual(got, doc) {
			t.Fatalf("got %+v, want %+v", got, doc)
		}
	}
	changed, err := s.LastChange(t.Context())
	must(t, err)
	if changed < int64(m.last) {
		t.Fatalf("last change is %d and the last revision %d", changed, m.last)
	}
}

// list returns a page and the number of documents on all pages.
func (m *entityModel) list(query whisk.EntityQuery) ([]whisk.Document, int) {
	var docs []whisk.Document
	for n, doc := range m.docs {
		if n.Namespace != query.Namespace || doc.Collection != query.Collection || query.Public && !doc.Public || query.Package != nil && *query.Package != n.Package {
			continue
		}
		if !query.Full {
			doc.Body = nil
		}
		docs = append(docs, doc)
	}
	slices.SortFunc(docs, func(a, b whisk.Document) int {
		return cmp.Or(b.Updated.Compare(a.Updated), strings.Compare(a.Name.Path(), b.Name.Path()))
	})
	from := min(query.Skip, len(docs))
	return docs[from:min(from+query.Limit, len(docs))], len(docs)
}
