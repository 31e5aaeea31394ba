// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// ActivationStore is what the suite of [Activations] tests.
type ActivationStore interface {
	whisk.ActivationStore
	io.Closer
}

// Activations tests a [whisk.ActivationStore].
func Activations[S ActivationStore](t *testing.T, opener func(t *testing.T, place string) S) {
	open := Opener[S](opener)
	t.Run("round trip", func(t *testing.T) { testActivationRoundTrip(t, open.fresh(t)) })
	t.Run("batches may be repeated", func(t *testing.T) { testActivationBatches(t, open.fresh(t)) })
	t.Run("lists", func(t *testing.T) { testActivationLists(t, open.fresh(t)) })
	t.Run("expiry", func(t *testing.T) { testActivationExpiry(t, open.fresh(t)) })
	t.Run("many at once", func(t *testing.T) {
		s := open.fresh(t)
		all(t, 20, func(i int) error {
			return s.PutActivations(t.Context(), []whisk.Activation{record(i), record(i + 10)})
		})
		wantCount(t, s, whisk.ActivationQuery{Namespace: "guest"}, 30)
	})
	t.Run("reopen", func(t *testing.T) {
		place := t.TempDir()
		s := open(t, place)
		must(t, s.PutActivations(t.Context(), []whisk.Activation{record(1)}))
		must(t, s.Close())
		wantRecord(t, open.at(t, place), record(1))
	})
	t.Run("model", func(t *testing.T) { testActivationModel(t, open.fresh(t)) })
}

// record is the n-th of a series of records with something in every field.
func record(n int) whisk.Activation {
	return whisk.Activation{
		ID:          activationID(n),
		Namespace:   "guest",
		Subject:     "alice",
		Name:        "hello",
		Package:     "pkg",
		Version:     whisk.Version{Major: 1, Minor: 2, Patch: n},
		Publish:     true,
		Start:       atMilli(n),
		End:         atMilli(n + 3),
		Duration:    3 * time.Millisecond,
		Cause:       activationID(n + 1000),
		Response:    whisk.Response{Status: whisk.DeveloperError, Result: json.RawMessage(`{"é":1.0}`), Size: 9},
		Annotations: whisk.Parameters{{Key: "limits", Value: json.RawMessage(`{"timeout":1}`)}, {Key: "init", Value: json.RawMessage(`1`), Init: true}},
		Logs:        []string{"one", "", "two\n<é>"},
	}
}

func wantRecord(t *testing.T, s whisk.ActivationStore, want whisk.Activation) {
	t.Helper()
	got, err := s.Activation(t.Context(), want.Namespace, want.ID)
	must(t, err)
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

func wantCount(t *testing.T, s whisk.ActivationStore, query whisk.ActivationQuery, want int) {
	t.Helper()
	query.Skip, query.Limit = 1, 1 // do not count
	got, err := s.CountActivations(t.Context(), query)
	must(t, err)
	if got != want {
		t.Errorf("count of %+v is %d, want %d", query, got, want)
	}
}

func testActivationRoundTrip(t *testing.T, s whisk.ActivationStore) {
	full := record(1)
	bare := whisk.Activation{ID: activationID(2), Namespace: "guest", Name: "x", Start: atMilli(0)}
	empty := record(3)
	empty.Logs, empty.Response.Result = []string{}, json.RawMessage(`{}`)
	large := record(4)
	large.Response.Result = json.RawMessage(`{"text":"` + strings.Repeat("x", 1<<20) + `"}`)
	large.Response.Size = len(large.Response.Result)
	for _, want := range []whisk.Activation{full, bare, empty, large} {
		must(t, s.PutActivations(t.Context(), []whisk.Activation{want}))
		wantRecord(t, s, want)
		_, err := s.Activation(t.Context(), "other", want.ID)
		mustBe(t, err, whisk.NotFound)
	}
	_, err := s.Activation(t.Context(), "guest", activationID(9))
	mustBe(t, err, whisk.NotFound)
	must(t, s.PutActivations(t.Context(), nil))
}

func testActivationBatches(t *testing.T, s whisk.ActivationStore) {
	var batch []whisk.Activation
	for i := range 50 {
		batch = append(batch, record(i))
	}
	must(t, s.PutActivations(t.Context(), batch[:20]))
	for i := range batch[:10] {
		batch[i].Name = "changed"
	}
	must(t, s.PutActivations(t.Context(), batch))
	must(t, s.PutActivations(t.Context(), []whisk.Activation{batch[49], batch[49]}))
	wantCount(t, s, whisk.ActivationQuery{Namespace: "guest"}, 50)
	wantRecord(t, s, record(0))
	wantRecord(t, s, record(49))
	elsewhere := [2]whisk.Activation{record(50), record(50)} // one id in two namespaces
	elsewhere[1].Namespace = "other"
	must(t, s.PutActivations(t.Context(), elsewhere[:]))
	wantRecord(t, s, elsewhere[0])
	wantRecord(t, s, elsewhere[1])
}

func testActivationLists(t *testing.T, s whisk.ActivationStore) {
	// Ids in order of the list; 3, 4 and 5 start together.
	var batch []whisk.Activation
	for _, r := range []struct {
		id, milli          int
		namespace, pkg, of string
	}{
		{9, 10, "guest", "", "a"},
		{1, 20, "guest", "p", "a"},
		{3, 30, "guest", "", "b"},
		{5, 30, "guest", "q", "a"},
		{4, 30, "guest", "", "a"},
		{2, 40, "guest", "", "b"},
		{8, 25, "other", "", "a"},
	} {
		a := record(r.id)
		a.Namespace, a.Package, a.Name, a.Start = r.namespace, r.pkg, r.of, atMilli(r.milli)
		batch = append(batch, a)
	}
	must(t, s.PutActivations(t.Context(), batch))

	type query = whisk.ActivationQuery
	none, p := "", "p"
	for _, test := range []struct {
		what  string
		query query
		want  []int
		count int
	}{
		{"all", query{}, []int{2, 5, 4, 3, 1, 9}, 6},
		{"full", query{Full: true}, []int{2, 5, 4, 3, 1, 9}, 6},
		{"by name", query{Name: "a"}, []int{5, 4, 1, 9}, 4},
		{"by name in the default package", query{Name: "a", Package: &none}, []int{4, 9}, 2},
		{"by name in a package", query{Name: "a", Package: &p, Full: true}, []int{1}, 1},
		{"package without a name", query{Package: &p}, []int{2, 5, 4, 3, 1, 9}, 6},
		{"no such name", query{Name: "c"}, nil, 0},
		{"since is inclusive", query{Since: atMilli(30)}, []int{2, 5, 4, 3}, 4},
		{"upto is inclusive", query{Upto: atMilli(30)}, []int{5, 4, 3, 1, 9}, 5},
		{"between", query{Since: atMilli(20), Upto: atMilli(30), Name: "a"}, []int{5, 4, 1}, 3},
		{"since within a millisecond", query{Since: atMilli(20).Add(time.Microsecond)}, []int{2, 5, 4, 3}, 4},
		{"upto within a millisecond", query{Upto: atMilli(20).Add(-time.Microsecond)}, []int{9}, 1},
		{"empty span", query{Since: atMilli(31), Upto: atMilli(39)}, nil, 0},
		{"page", query{Skip: 1, Limit: 3}, []int{5, 4, 3}, 6},
		{"behind the end", query{Skip: 6}, nil, 6},
		{"another namespace", query{Namespace: "other"}, []int{8}, 1},
	} {
		t.Run(test.what, func(t *testing.T) {
			q := test.query
			q.Namespace, q.Limit = cmp.Or(q.Namespace, "guest"), cmp.Or(q.Limit, 100)
			var want []whisk.Activation
			for _, id := range test.want {
				i := slices.IndexFunc(batch, func(a whisk.Activation) bool { return a.ID == activationID(id) })
				want = append(want, listed(batch[i], q.Full))
			}
			got, err := s.ListActivations(t.Context(), q)
			must(t, err)
			if !slices.EqualFunc(got, want, func(a, b whisk.Activation) bool { return reflect.DeepEqual(a, b) }) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			wantCount(t, s, q, test.count)
		})
	}
}

// listed is how a list shows a record.
func listed(a whisk.Activation, full bool) whisk.Activation {
	if !full {
		a.Response = whisk.Response{Status: a.Response.Status}
		a.Logs = nil
	}
	return a
}

func testActivationExpiry(t *testing.T, s whisk.ActivationStore) {
	ctx := t.Context()
	var batch []whisk.Activation
	for i := range 300 {
		batch = append(batch, record((i*37)%300)) // stored in any order
	}
	must(t, s.PutActivations(ctx, batch))
	expire := func(before time.Time, limit, want int) {
		t.Helper()
		n, err := s.ExpireActivations(ctx, before, limit)
		must(t, err)
		if n != want {
			t.Fatalf("expired %d records, want %d", n, want)
		}
	}
	expire(atMilli(0), 1000, 0)
	expire(atMilli(250), 30, 30)
	wantCount(t, s, whisk.ActivationQuery{Namespace: "guest"}, 270)
	expire(atMilli(250), 1000, 220)
	expire(atMilli(250), 1000, 0)
	wantCount(t, s, whisk.ActivationQuery{Namespace: "guest"}, 50)
	wantRecord(t, s, record(250)) // started at the time itself
	_, err := s.Activation(ctx, "guest", activationID(249))
	mustBe(t, err, whisk.NotFound)
}

type (
	activationModel map[modelKey]whisk.Activation
	modelKey        struct {
		namespace string
		id        whisk.ActivationID
	}
)

// testActivationModel stores and expires at random and compares lists.
func testActivationModel(t *testing.T, s whisk.ActivationStore) {
	random := seeded(t)
	model := make(activationModel)
	for range 60 {
		var batch []whisk.Activation
		for range random.IntN(20) {
			a := record(random.IntN(1000))
			a.Namespace, a.Name, a.Package = pick(random, modelNamespaces), pick(random, modelNames), pick(random, modelPackages)
			a.Start = atMilli(random.IntN(50))
			batch = append(batch, a)
			if _, stored := model[modelKey{a.Namespace, a.ID}]; !stored {
				model[modelKey{a.Namespace, a.ID}] = a
			}
		}
		must(t, s.PutActivations(t.Context(), batch))
		if random.IntN(10) == 0 {
			expireModel(t, s, model, atMilli(random.IntN(20)))
		}
		compareActivations(t, s, model, random)
	}
}

func expireModel(t *testing.T, s whisk.ActivationStore, model activationModel, before time.Time) {
	t.Helper()
	want := 0
	for id, a := range model {
		if a.Start.Before(before) {
			delete(model, id)
			want++
		}
	}
	n, err := s.ExpireActivations(t.Context(), before, 10000)
	must(t, err)
	if n != want {
		t.Fatalf("expired %d records, want %d", n, want)
	}
}

func compareActivations(t *testing.T, s whisk.ActivationStore, model activationModel, random *rand.Rand) {
	t.Helper()
	query := whisk.ActivationQuery{Namespace: pick(random, modelNamespaces), Skip: random.IntN(5), Limit: 1 + random.IntN(30), Full: random.IntN(2) == 0}
	if random.IntN(2) == 0 {
		query.Name = pick(random, modelNames)
	}
	if random.IntN(2) == 0 {
		query.Package = new(pick(random, modelPackages))
	}
	if random.IntN(2) == 0 {
		query.Since = atMilli(random.IntN(50))
	}
	if random.IntN(2) == 0 {
		query.Upto = atMilli(random.IntN(50))
	}
	var want []whisk.Activation
	for _, a := range model {
		if a.Namespace == query.Namespace &&
			(query.Name == "" || a.Name == query.Name && (query.Package == nil || a.Package == *query.Package)) &&
			!a.Start.Before(query.Since) && (query.Upto.IsZero() || !a.Start.After(query.Upto)) {
			want = append(want, listed(a, query.Full))
		}
	}
	wantCount(t, s, query, len(want))
	slices.SortFunc(want, func(a, b whisk.Activation) int {
		return cmp.Or(b.Start.Compare(a.Start), cmp.Compare(b.ID, a.ID))
	})
	from := min(query.Skip, len(want))
	want = want[from:min(from+query.Limit, len(want))]
	got, err := s.ListActivations(t.Context(), query)
	must(t, err)
	if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Fatalf("list %s\n got %+v\nwant %+v", fmt.Sprintf("%+v", query), got, want)
	}
}
