// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"reflect"
	"slices"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

func commit(t *testing.T, s whisk.EntityStore, tx whisk.Transaction) []whisk.Revision {
	t.Helper()
	revisions, err := s.Commit(t.Context(), tx)
	must(t, err)
	return revisions
}

func testTransactions(t *testing.T, s whisk.EntityStore) {
	ctx := t.Context()
	if revisions := commit(t, s, whisk.Transaction{}); len(revisions) != 0 {
		t.Errorf("a transaction of nothing has the revisions %v", revisions)
	}
	rule, trigger := action(name("guest", "", "rule"), 1), action(name("guest", "", "trigger"), 2)
	rule.Collection, trigger.Collection = whisk.Rules, whisk.Triggers
	revisions := commit(t, s, whisk.Transaction{Puts: []whisk.Document{rule, trigger}, Needs: []whisk.FullName{rule.Name}})
	if len(revisions) != 2 || revisions[0] <= 0 || revisions[1] <= revisions[0] {
		t.Fatalf("revisions of two new documents are %v", revisions)
	}
	rule.Revision, trigger.Revision = revisions[0], revisions[1]
	for _, want := range []whisk.Document{rule, trigger} {
		got, err := s.Get(ctx, want.Name)
		must(t, err)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	trigger.Updated = atMilli(9)
	revisions = commit(t, s, whisk.Transaction{
		Puts:    []whisk.Document{trigger},
		Deletes: []whisk.Stored{{Name: rule.Name, Revision: rule.Revision}},
		Needs:   []whisk.FullName{trigger.Name},
		Vacant:  []whisk.FullName{rule.Name},
	})
	if len(revisions) != 1 || revisions[0] <= trigger.Revision {
		t.Fatalf("revisions %v after %d", revisions, trigger.Revision)
	}
	_, err := s.Get(ctx, rule.Name)
	mustBe(t, err, whisk.NotFound)

	changes, err := s.Changes(ctx, 0, 10)
	must(t, err)
	var names []whisk.FullName
	for _, change := range changes {
		names = append(names, change.Entity)
	}
	if want := []whisk.FullName{rule.Name, trigger.Name, trigger.Name, rule.Name}; !slices.Equal(names, want) {
		t.Errorf("changes are of %v, want %v", names, want)
	}
}

// testTransactionConflicts has transactions of which one part is right and
// another is not: nothing of them may be done.
func testTransactionConflicts(t *testing.T, s whisk.EntityStore) {
	pkg, inside := action(name("guest", "", "pkg"), 1), action(name("guest", "pkg", "a"), 2)
	pkg.Collection = whisk.Packages
	pkg.Revision = put(t, s, pkg)
	inside.Revision = put(t, s, inside)
	similar := action(name("guest", "pkg0", "a"), 3)
	similar.Revision = put(t, s, similar)
	fresh := action(name("guest", "", "fresh"), 4)
	last, err := s.LastChange(t.Context())
	must(t, err)

	gone := func(doc whisk.Document) []whisk.Stored {
		return []whisk.Stored{{Name: doc.Name, Revision: doc.Revision}}
	}
	outdated, taken := pkg, pkg
	outdated.Revision--
	taken.Collection = whisk.Rules
	for what, tx := range map[string]whisk.Transaction{
		"put of what is there":           {Puts: []whisk.Document{fresh, {Collection: whisk.Actions, Name: inside.Name}}},
		"put over another revision":      {Puts: []whisk.Document{fresh, outdated}},
		"put over another collection":    {Puts: []whisk.Document{fresh, taken}},
		"delete of another revision":     {Puts: []whisk.Document{fresh}, Deletes: gone(outdated)},
		"delete of what is not there":    {Deletes: append(gone(inside), whisk.Stored{Name: fresh.Name, Revision: 1})},
		"delete of nothing":              {Deletes: append(gone(inside), whisk.Stored{Name: fresh.Name})},
		"need of what is not there":      {Puts: []whisk.Document{fresh}, Needs: []whisk.FullName{pkg.Name, name("guest", "", "none")}},
		"need of what goes":              {Deletes: gone(pkg), Needs: []whisk.FullName{pkg.Name}},
		"package that is not vacant":     {Deletes: gone(pkg), Vacant: []whisk.FullName{pkg.Name}},
		"package that does not stay so":  {Puts: []whisk.Document{action(name("guest", "pkg", "b"), 1)}, Deletes: gone(inside), Vacant: []whisk.FullName{pkg.Name}},
		"package of which only one goes": {Deletes: append(gone(similar), gone(pkg)...), Vacant: []whisk.FullName{pkg.Name}},
	} {
		if _, err := s.Commit(t.Context(), tx); err == nil || whisk.KindOf(err) != whisk.Conflict {
			t.Errorf("%s: %v, want a conflict", what, err)
		}
	}
	twice := whisk.Transaction{Puts: []whisk.Document{fresh, fresh}}
	_, err = s.Commit(t.Context(), twice)
	mustBe(t, err, whisk.Invalid)
	_, err = s.Commit(t.Context(), whisk.Transaction{Puts: []whisk.Document{pkg}, Deletes: gone(pkg)})
	mustBe(t, err, whisk.Invalid)

	now, err := s.LastChange(t.Context())
	must(t, err)
	_, missing := s.Get(t.Context(), fresh.Name)
	mustBe(t, missing, whisk.NotFound)
	if now != last {
		t.Errorf("transactions that were refused made changes: the last is %d and was %d", now, last)
	}
	commit(t, s, whisk.Transaction{Deletes: append(gone(inside), gone(pkg)...), Vacant: []whisk.FullName{pkg.Name}, Needs: []whisk.FullName{similar.Name}})
}

// testOneTransactionWins has a package deleted while it must be vacant, and put
// into: never both.
func testOneTransactionWins(t *testing.T, s whisk.EntityStore) {
	for round := range 5 {
		pkg := action(name("guest", "", "pkg"), round)
		pkg.Collection = whisk.Packages
		pkg.Revision = put(t, s, pkg)
		inside := action(name("guest", "pkg", "a"), round)
		if won := race(t, 8, func(i int) error {
			tx := whisk.Transaction{Puts: []whisk.Document{inside}, Needs: []whisk.FullName{pkg.Name}}
			if i%2 == 0 {
				tx = whisk.Transaction{Deletes: []whisk.Stored{{Name: pkg.Name, Revision: pkg.Revision}}, Vacant: []whisk.FullName{pkg.Name}}
			}
			_, err := s.Commit(t.Context(), tx)
			return err
		}); won != 1 {
			t.Fatalf("round %d: %d of 8 won", round, won)
		}
		for _, doc := range []whisk.FullName{pkg.Name, inside.Name} {
			if stored, err := s.Get(t.Context(), doc); err == nil {
				must(t, s.Delete(t.Context(), doc, stored.Revision))
			}
		}
	}
}
