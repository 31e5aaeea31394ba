// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

func TestSubjects(t *testing.T) {
	ctx := t.Context()
	store := controllertest.NewStore()
	subjects := controller.Subjects{Store: store}
	c := newController(t, "us", store, &controllertest.Balancer{})
	works := func(key whisk.AuthKey) bool {
		_, err := c.Authenticate(ctx, "Basic "+base64.StdEncoding.EncodeToString([]byte(key.String())))
		return err == nil
	}
	create := func(user controller.NewUser) whisk.AuthKey {
		t.Helper()
		key, err := subjects.Create(ctx, user)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}

	first := create(controller.NewUser{Subject: "alice"})
	if len(first.UUID) != 36 || len(first.Key) != whisk.KeyLength || !works(first) {
		t.Errorf("made %v", first)
	}
	forced := create(controller.NewUser{Subject: "bobby", Force: true})
	if again := create(controller.NewUser{Subject: "bobby", Force: true}); again.UUID == forced.UUID || again.Key == forced.Key || !works(again) {
		t.Errorf("forced %v after %v", again, forced)
	}
	if key, err := subjects.Generate(ctx, controller.NewUser{Subject: "carol"}); err != nil || works(key) {
		t.Errorf("generated %v, %v", key, err)
	}
	given := whisk.AuthKey{UUID: "789c46b1-71f6-4ed5-8c54-816aa4f8c502", Key: strings.Repeat("x", 64)}
	if second := create(controller.NewUser{Subject: "alice", Namespace: "space", Key: &given}); second != given || !works(given) {
		t.Errorf("made %v", second)
	}
	subject, err := subjects.Get(ctx, "alice")
	if err != nil || len(subject.Namespaces) != 2 || subject.Namespaces[0].Name != "alice" || strings.Contains(string(subject.Namespaces[1].Key), "xxx") {
		t.Errorf("subject %+v %v", subject, err)
	}
	revoked := create(controller.NewUser{Subject: "alice", Revoke: true})
	if revoked.UUID != first.UUID || revoked.Key == first.Key || !works(revoked) {
		t.Errorf("revoked %v for %v", revoked, first)
	}
	if fresh := newController(t, "other", store, &controllertest.Balancer{}); true {
		_, err := fresh.Authenticate(ctx, "Basic "+base64.StdEncoding.EncodeToString([]byte(first.String())))
		if err != controller.ErrCredentials {
			t.Errorf("the revoked key: %v", err)
		}
	}
	if holder, err := subjects.WhoIs(ctx, given); err != nil || holder.Subject != "alice" || holder.Namespace.Name != "space" {
		t.Errorf("who is: %v %v", holder, err)
	}
	if holders, err := subjects.List(ctx, "space"); err != nil || len(holders) != 1 || holders[0].Namespace.UUID != given.UUID {
		t.Errorf("list: %v %v", holders, err)
	}

	line, err := subjects.Block(ctx, "alice", true)
	if err != nil || line != `"alice" blocked successfully` {
		t.Errorf("block: %q %v", line, err)
	}
	if _, err := subjects.Create(ctx, controller.NewUser{Subject: "alice", Namespace: "third"}); whisk.KindOf(err) != whisk.Denied {
		t.Errorf("edit of a blocked subject: %v", err)
	}
	if line, err = subjects.Block(ctx, "alice", false); err != nil || line != `"alice" unblocked successfully` {
		t.Errorf("unblock: %q %v", line, err)
	}
	if line, err = subjects.Delete(ctx, "alice", "space"); err != nil || line != "Namespace deleted" {
		t.Errorf("delete namespace: %q %v", line, err)
	}
	if line, err = subjects.Delete(ctx, "alice", ""); err != nil || line != "Subject deleted" {
		t.Errorf("delete: %q %v", line, err)
	}
}

func TestSubjectRefusals(t *testing.T) {
	ctx := t.Context()
	subjects := controller.Subjects{Store: controllertest.NewStore()}
	if _, err := subjects.Create(ctx, controller.NewUser{Subject: "alice"}); err != nil {
		t.Fatal(err)
	}
	key := func(uuid, key string) *whisk.AuthKey { return &whisk.AuthKey{UUID: uuid, Key: key} }
	long := strings.Repeat("x", 64)
	for text, user := range map[string]controller.NewUser{
		"Subject name must be at least 5 characters":            {Subject: "bob"},
		"The namespace contains illegal characters.":            {Subject: "alice", Namespace: "a/b"},
		"authorization id is not a valid UUID":                  {Subject: "carol", Key: key("789c46b1-71f6-1ed5-8c54-816aa4f8c502", long)},
		"authorization key must be at least 64 characters long": {Subject: "carol", Key: key("789c46b1-71f6-4ed5-8c54-816aa4f8c502", "short")},
		"authorization key must be 64 characters long":          {Subject: "carol", Key: key("789c46b1-71f6-4ed5-8c54-816aa4f8c502", long+"x")},
		"Namespace already exists":                              {Subject: "alice"},
		"put subject carol: namespace alice belongs to alice":   {Subject: "carol", Namespace: "alice"},
	} {
		if _, err := subjects.Create(ctx, user); err == nil || err.Error() != text {
			t.Errorf("%+v: %v, want %q", user, err, text)
		}
	}
	if _, err := subjects.Get(ctx, "nobody"); whisk.KindOf(err) != whisk.NotFound {
		t.Error(err)
	}
	if _, err := subjects.Delete(ctx, "nobody", ""); whisk.KindOf(err) != whisk.NotFound {
		t.Error(err)
	}
	if _, err := subjects.Delete(ctx, "alice", "nothing"); whisk.KindOf(err) != whisk.NotFound {
		t.Error(err)
	}
	if holders, err := subjects.List(ctx, "nothing"); err != nil || len(holders) > 0 {
		t.Error(holders, err)
	}
	if _, err := subjects.WhoIs(ctx, *key("u", long)); whisk.KindOf(err) != whisk.NotFound {
		t.Error(err)
	}
}

func TestEnsure(t *testing.T) {
	ctx := t.Context()
	store := controllertest.NewStore()
	subjects := controller.Subjects{Store: store}
	key := whisk.AuthKey{UUID: "not-a-uuid-even", Key: strings.Repeat("x", 64)}
	for range 3 {
		if err := subjects.Ensure(ctx, "guest", "guest", key); err != nil {
			t.Fatal(err)
		}
	}
	if n := store.Calls("PutSubject"); n != 1 {
		t.Errorf("%d writes, want 1", n)
	}
	if _, err := subjects.Block(ctx, "guest", true); err != nil {
		t.Fatal(err)
	}
	key.Key = strings.Repeat("y", 64)
	if err := subjects.Ensure(ctx, "guest", "guest", key); err != nil {
		t.Fatal(err)
	}
	subject, err := subjects.Get(ctx, "guest")
	if err != nil || !subject.Blocked || len(subject.Namespaces) != 1 || !subject.Namespaces[0].Key.Matches(key.Key) {
		t.Errorf("subject %+v %v", subject, err)
	}
}
