// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

// APIStore is what the suite of [APIs] tests: a store of APIs and the entity
// store beside it, which has the change feed.
type APIStore interface {
	whisk.APIStore
	whisk.EntityStore
	io.Closer
}

// APIs tests a [whisk.APIStore].
func APIs[S APIStore](t *testing.T, opener func(t *testing.T, place string) S) {
	open := Opener[S](opener)
	t.Run("round trip", func(t *testing.T) { testAPIRoundTrip(t, open.fresh(t)) })
	t.Run("revisions", func(t *testing.T) { testAPIRevisions(t, open.fresh(t)) })
	t.Run("one writer wins", func(t *testing.T) { testOneAPIWriterWins(t, open.fresh(t)) })
	t.Run("changes", func(t *testing.T) { testAPIChanges(t, open.fresh(t)) })
	t.Run("reopen", func(t *testing.T) {
		place := t.TempDir()
		s := open(t, place)
		want := putAPI(t, s, api("guest", "/kept", 1))
		must(t, s.Close())
		mustHaveAPIs(t, open.at(t, place), "guest", want)
	})
}

func api(namespace, basePath string, n int) whisk.API {
	return whisk.API{Namespace: namespace, BasePath: basePath, Document: json.RawMessage(fmt.Sprintf(`{"n":%d,"t":"a \u0000 ü"}`, n))}
}

// putAPI writes an API and returns it with its revision.
func putAPI(t *testing.T, s whisk.APIStore, api whisk.API) whisk.API {
	t.Helper()
	revision, err := s.PutAPI(t.Context(), api)
	must(t, err)
	if revision <= api.Revision {
		t.Fatalf("revision %d after %d", revision, api.Revision)
	}
	api.Revision = revision
	return api
}

func mustHaveAPIs(t *testing.T, s whisk.APIStore, namespace string, want ...whisk.API) {
	t.Helper()
	got, err := s.APIs(t.Context(), namespace)
	must(t, err)
	if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("APIs of %s are %+v, want %+v", namespace, got, want)
	}
}

func testAPIRoundTrip(t *testing.T, s whisk.APIStore) {
	mustHaveAPIs(t, s, "guest")
	b := putAPI(t, s, api("guest", "/b", 1))
	root := putAPI(t, s, api("guest", "/", 2))
	a := putAPI(t, s, api("guest", "/a/ü '\"", 3))
	other := putAPI(t, s, api("other", "/b", 4))
	mustHaveAPIs(t, s, "guest", root, a, b)
	mustHaveAPIs(t, s, "other", other)
	mustHaveAPIs(t, s, "gues")

	must(t, s.DeleteAPI(t.Context(), "guest", "/b", b.Revision))
	mustHaveAPIs(t, s, "guest", root, a)
	mustHaveAPIs(t, s, "other", other)
	again := putAPI(t, s, api("guest", "/b", 5))
	if again.Revision <= other.Revision {
		t.Errorf("revision %d after a deletion, and %d before", again.Revision, other.Revision)
	}
}

func testAPIRevisions(t *testing.T, s whisk.APIStore) {
	ctx := t.Context()
	first := putAPI(t, s, api("guest", "/a", 1))
	_, err := s.PutAPI(ctx, api("guest", "/a", 2))
	mustBe(t, err, whisk.Conflict)
	wrong := first
	wrong.Revision++
	_, err = s.PutAPI(ctx, wrong)
	mustBe(t, err, whisk.Conflict)
	wrong.BasePath = "/none"
	_, err = s.PutAPI(ctx, wrong)
	mustBe(t, err, whisk.Conflict)
	mustBe(t, s.DeleteAPI(ctx, "guest", "/a", wrong.Revision), whisk.Conflict)
	mustBe(t, s.DeleteAPI(ctx, "guest", "/a", 0), whisk.Conflict)
	mustBe(t, s.DeleteAPI(ctx, "guest", "/none", first.Revision), whisk.NotFound)
	mustBe(t, s.DeleteAPI(ctx, "other", "/a", first.Revision), whisk.NotFound)
	mustHaveAPIs(t, s, "guest", first)

	second := first
	second.Document = json.RawMessage(`{}`)
	second = putAPI(t, s, second)
	mustHaveAPIs(t, s, "guest", second)
	mustBe(t, s.DeleteAPI(ctx, "guest", "/a", first.Revision), whisk.Conflict)
	must(t, s.DeleteAPI(ctx, "guest", "/a", second.Revision))
}

// testOneAPIWriterWins has writers that know the same revision: none overwrites another.
func testOneAPIWriterWins(t *testing.T, s whisk.APIStore) {
	stored := api("guest", "/a", 0)
	for range 5 {
		if won := race(t, 8, func(i int) error {
			mine := stored
			mine.Document = api("", "", i).Document
			_, err := s.PutAPI(t.Context(), mine)
			return err
		}); won != 1 {
			t.Fatalf("%d of 8 won", won)
		}
		all, err := s.APIs(t.Context(), "guest")
		must(t, err)
		if len(all) != 1 {
			t.Fatalf("there are %d APIs", len(all))
		}
		stored = all[0]
	}
}

func testAPIChanges[S APIStore](t *testing.T, s S) {
	ctx := t.Context()
	before, err := s.LastChange(ctx)
	must(t, err)
	stored := putAPI(t, s, api("guest", "/a", 1))
	_, err = s.PutAPI(ctx, api("guest", "/a", 1))
	mustBe(t, err, whisk.Conflict)
	must(t, s.DeleteAPI(ctx, "guest", "/a", stored.Revision))
	putAPI(t, s, api("other", "/a", 1))

	changes, err := s.Changes(ctx, before, 10)
	must(t, err)
	var got []string
	for _, change := range changes {
		if change != (whisk.Change{Position: change.Position, APIs: change.APIs}) {
			t.Errorf("change of %+v, want one of APIs alone", change)
		}
		got = append(got, change.APIs)
	}
	if want := []string{"guest", "guest", "other"}; !reflect.DeepEqual(got, want) {
		t.Errorf("changes of the APIs of %v, want %v", got, want)
	}
}
