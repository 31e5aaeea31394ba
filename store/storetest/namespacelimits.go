// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"reflect"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

func testNamespaceLimits[S SubjectStore](t *testing.T, s S) {
	ctx := t.Context()
	must(t, s.PutSubject(ctx, subject("alice", "alice", "lab")))
	must(t, s.PutSubject(ctx, subject("bobby", "bobby")))
	before, err := s.LastChange(ctx)
	must(t, err)

	got, err := s.NamespaceLimits(ctx, "lab")
	must(t, err)
	if !reflect.DeepEqual(got, whisk.NamespaceLimits{}) {
		t.Errorf("without any: %+v", got)
	}
	mustBe(t, s.DeleteNamespaceLimits(ctx, "lab"), whisk.NotFound)

	for _, want := range []whisk.NamespaceLimits{
		{InvocationsPerMinute: new(0), MaxActionMemory: new(int64(512)), StoreActivations: new(false)},
		{AllowedKinds: []string{"nodejs:20"}, MaxParameterSize: "2 MB"}, // replaces, does not add
	} {
		must(t, s.PutNamespaceLimits(ctx, "lab", want))
		got, err := s.NamespaceLimits(ctx, "lab")
		must(t, err)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if got, err := s.NamespaceLimits(ctx, "alice"); err != nil || !reflect.DeepEqual(got, whisk.NamespaceLimits{}) {
		t.Errorf("another namespace of the subject has %+v, %v", got, err)
	}
	must(t, s.DeleteNamespaceLimits(ctx, "lab"))
	mustBe(t, s.DeleteNamespaceLimits(ctx, "lab"), whisk.NotFound)
	must(t, s.PutNamespaceLimits(ctx, "nobody", whisk.NamespaceLimits{FiresPerMinute: new(1)}))

	changes, err := s.Changes(ctx, before, 10)
	must(t, err)
	if len(changes) != 3 {
		t.Fatalf("%d changes, want one for each write: %+v", len(changes), changes)
	}
	for _, change := range changes {
		if change.Subject != "alice" {
			t.Errorf("change of %+v, want the owner's", change)
		}
	}
}
