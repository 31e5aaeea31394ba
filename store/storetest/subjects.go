// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"io"
	"reflect"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

// SubjectStore is what the suite of [Subjects] tests: a store of subjects and
// the entity store beside it, which has the change feed.
type SubjectStore interface {
	whisk.SubjectStore
	whisk.EntityStore
	io.Closer
}

// Subjects tests a [whisk.SubjectStore].
func Subjects[S SubjectStore](t *testing.T, opener func(t *testing.T, place string) S) {
	open := Opener[S](opener)
	t.Run("round trip", func(t *testing.T) { testSubjectRoundTrip(t, open.fresh(t)) })
	t.Run("ownership", func(t *testing.T) { testOwnership(t, open.fresh(t)) })
	t.Run("one owner wins", func(t *testing.T) { testOneOwnerWins(t, open.fresh(t)) })
	t.Run("changes", func(t *testing.T) { testSubjectChanges(t, open.fresh(t)) })
	t.Run("limits", func(t *testing.T) { testNamespaceLimits(t, open.fresh(t)) })
	t.Run("reopen", func(t *testing.T) {
		place := t.TempDir()
		s := open(t, place)
		want := subject("alice", "alice", "lab")
		must(t, s.PutSubject(t.Context(), want))
		must(t, s.PutNamespaceLimits(t.Context(), "lab", whisk.NamespaceLimits{FiresPerMinute: new(7)}))
		must(t, s.Close())
		s = open.at(t, place)
		got, err := s.Lookup(t.Context(), "uuid-lab")
		must(t, err)
		limits, err := s.NamespaceLimits(t.Context(), "lab")
		must(t, err)
		if limits.FiresPerMinute == nil || *limits.FiresPerMinute != 7 {
			t.Errorf("got %+v", limits)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

func subject(name string, namespaces ...string) whisk.Subject {
	s := whisk.Subject{Name: name}
	for _, ns := range namespaces {
		s.Namespaces = append(s.Namespaces, whisk.SubjectNamespace{Name: ns, UUID: "uuid-" + ns, Key: whisk.HashKey(name + ns)})
	}
	return s
}

func testSubjectRoundTrip(t *testing.T, s whisk.SubjectStore) {
	ctx := t.Context()
	bob, alice := subject("bobby", "bobby"), subject("alice", "zoo", "alice")
	bob.Blocked = true
	for _, want := range []whisk.Subject{bob, alice} {
		must(t, s.PutSubject(ctx, want))
		must(t, s.PutSubject(ctx, want)) // replaces itself
		got, err := s.Subject(ctx, want.Name)
		must(t, err)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		for _, ns := range want.Namespaces {
			got, err := s.Lookup(ctx, ns.UUID)
			must(t, err)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("looked up %+v, want %+v", got, want)
			}
			got, err = s.Owner(ctx, ns.Name)
			must(t, err)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("owner of %s is %+v, want %+v", ns.Name, got, want)
			}
		}
	}
	list, err := s.Subjects(ctx)
	must(t, err)
	if want := []whisk.Subject{alice, bob}; !reflect.DeepEqual(list, want) {
		t.Errorf("all are %+v, want %+v", list, want)
	}
	_, err = s.Subject(ctx, "nobody")
	mustBe(t, err, whisk.NotFound)
	_, err = s.Lookup(ctx, "alice")
	mustBe(t, err, whisk.NotFound)
	_, err = s.Owner(ctx, "uuid-zoo")
	mustBe(t, err, whisk.NotFound)
	mustBe(t, s.DeleteSubject(ctx, "nobody"), whisk.NotFound)

	must(t, s.DeleteSubject(ctx, "alice"))
	_, err = s.Subject(ctx, "alice")
	mustBe(t, err, whisk.NotFound)
	_, err = s.Lookup(ctx, "uuid-zoo")
	mustBe(t, err, whisk.NotFound)
	_, err = s.Owner(ctx, "zoo")
	mustBe(t, err, whisk.NotFound)
}

func testOwnership(t *testing.T, s whisk.SubjectStore) {
	ctx := t.Context()
	must(t, s.PutSubject(ctx, subject("alice", "alice", "lab")))
	mustBe(t, s.PutSubject(ctx, subject("mallory", "lab")), whisk.Conflict)
	thief := subject("mallory", "mallory")
	thief.Namespaces[0].UUID = "uuid-lab"
	mustBe(t, s.PutSubject(ctx, thief), whisk.Conflict)
	_, err := s.Subject(ctx, "mallory")
	mustBe(t, err, whisk.NotFound)

	must(t, s.PutSubject(ctx, subject("alice", "alice"))) // gives lab away
	_, err = s.Lookup(ctx, "uuid-lab")
	mustBe(t, err, whisk.NotFound)
	_, err = s.Owner(ctx, "lab")
	mustBe(t, err, whisk.NotFound)
	must(t, s.PutSubject(ctx, subject("mallory", "lab")))
	must(t, s.DeleteSubject(ctx, "mallory"))
	must(t, s.PutSubject(ctx, subject("alice", "alice", "lab")))
}

func testOneOwnerWins(t *testing.T, s whisk.SubjectStore) {
	if won := race(t, 8, func(i int) error {
		return s.PutSubject(t.Context(), subject(fmt.Sprint("subject", i), "lab"))
	}); won != 1 {
		t.Fatalf("%d of 8 subjects own the namespace", won)
	}
	list, err := s.Subjects(t.Context())
	must(t, err)
	if len(list) != 1 {
		t.Errorf("%d subjects are there, want 1", len(list))
	}
}

func testSubjectChanges[S SubjectStore](t *testing.T, s S) {
	ctx := t.Context()
	must(t, s.PutSubject(ctx, subject("alice", "alice")))
	put(t, s, action(name("alice", "", "a"), 1))
	must(t, s.DeleteSubject(ctx, "alice"))
	mustBe(t, s.DeleteSubject(ctx, "alice"), whisk.NotFound)
	changes, err := s.Changes(ctx, 0, 10)
	must(t, err)
	if len(changes) != 3 {
		t.Fatalf("%d changes, want 3: %+v", len(changes), changes)
	}
	for i, want := range []whisk.Change{{Subject: "alice"}, {Entity: name("alice", "", "a")}, {Subject: "alice"}} {
		want.Position = changes[i].Position
		if changes[i] != want {
			t.Errorf("change %d is %+v, want %+v", i, changes[i], want)
		}
	}
}
