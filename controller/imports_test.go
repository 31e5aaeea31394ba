// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

func importsInto(store *controllertest.Store) *controller.Imports {
	return &controller.Imports{Entities: store, Subjects: store, Blobs: store.Blobs(), Activations: store}
}

func in(namespace, pkg, name string) whisk.FullName {
	return whisk.FullName{Namespace: namespace, Package: pkg, Name: name}
}

var written = time.UnixMilli(1700000000000)

func packaged(name string) whisk.Action {
	return whisk.Action{
		Name: in("lab", "tools", name), Version: whisk.Version{Minor: 3}, Exec: whisk.Exec{Kind: "cobol:85"},
		Parameters: whisk.Parameters{{Key: "k", Value: []byte(`{"a": [ 1 ]}`), Encryption: "aes-256"}}, Limits: whisk.DefaultActionLimits, Updated: written,
	}
}

// entities import one entity of each collection, which a test may change before.
func entities(m *controller.Imports, code string, updated time.Time) []func(context.Context) (controller.Effect, error) {
	return []func(context.Context) (controller.Effect, error){
		func(ctx context.Context) (controller.Effect, error) {
			return m.Package(ctx, whisk.Package{Name: in("lab", "", "tools"), Version: whisk.FirstVersion, Updated: updated})
		},
		func(ctx context.Context) (controller.Effect, error) {
			action := packaged("a")
			action.Updated = updated
			return m.Action(ctx, action, strings.NewReader(code))
		},
		func(ctx context.Context) (controller.Effect, error) {
			return m.Trigger(ctx, whisk.Trigger{Name: in("lab", "", "t"), Version: whisk.FirstVersion, Updated: updated,
				Rules: map[whisk.FullName]whisk.RuleLink{in("lab", "", "r"): {Action: in("lab", "tools", "a"), Status: whisk.Inactive}}})
		},
		func(ctx context.Context) (controller.Effect, error) {
			return m.Rule(ctx, whisk.Rule{Name: in("lab", "", "r"), Version: whisk.FirstVersion, Updated: updated,
				Trigger: in("lab", "", "t"), Action: in("lab", "tools", "a")})
		},
	}
}

func wantEffects(t *testing.T, imports []func(context.Context) (controller.Effect, error), want controller.Effect) {
	t.Helper()
	for n, one := range imports {
		if effect, err := one(t.Context()); err != nil || effect != want {
			t.Errorf("entity %d: %q, %v, want %q", n, effect, err, want)
		}
	}
}

func TestImportsOfEntities(t *testing.T) {
	store := controllertest.NewStore()
	dry, m := importsInto(store), importsInto(store)
	dry.DryRun = true
	later := written.Add(time.Hour)

	wantEffects(t, entities(dry, "let a", written), controller.Created)
	if n := store.Calls("Commit") + store.Calls("Put"); n != 0 {
		t.Errorf("a dry run wrote %d times", n)
	}
	wantEffects(t, entities(m, "let a", written), controller.Created)
	wantEffects(t, entities(m, "let a", written), controller.Same)
	wantEffects(t, entities(dry, "let a", written), controller.Same)
	wantEffects(t, entities(m, "let b", later), controller.Kept)
	dry.Overwrite, m.Overwrite = true, true
	wantEffects(t, entities(dry, "let b", later), controller.Replaced)
	wantEffects(t, entities(m, "let a", written), controller.Same)
	wantEffects(t, entities(m, "let b", later), controller.Replaced)
	wantEffects(t, entities(dry, "let b", later), controller.Same)

	// A change of the code alone is one, too.
	if effect, err := entities(m, "let c", later)[1](t.Context()); err != nil || effect != controller.Replaced {
		t.Errorf("with other code: %q, %v", effect, err)
	}
}

func TestImportedActionIsAsItWas(t *testing.T) {
	store := controllertest.NewStore()
	m := importsInto(store)
	wantEffects(t, entities(m, "DISPLAY 'A'.", written), controller.Created)
	c := newController(t, "c", store, &controllertest.Balancer{})
	owner := &controller.Caller{Identity: whisk.Identity{Subject: "alice", Namespace: "lab", UUID: "u"}}
	view, err := c.Action(t.Context(), owner, in("lab", "tools", "a"), true)
	want := packaged("a")
	want.Parameters[0].Value = []byte(`{"a":[1]}`)
	want.Annotations = whisk.Parameters{}
	want.Exec.Code, want.Exec.Size = view.Exec.Code, 12
	if err != nil || string(view.Code) != "DISPLAY 'A'." || !reflect.DeepEqual(view.Action, want) {
		t.Errorf("got  %+v %q, %v\nwant %+v", view.Action, view.Code, err, want)
	}
	rule, err := c.Rule(t.Context(), owner, in("lab", "", "r"))
	if err != nil || rule.Status != whisk.Inactive || !rule.Updated.Equal(written) {
		t.Errorf("rule %+v, %v", rule, err)
	}
}

func TestImportsThatAreRefused(t *testing.T) {
	store := controllertest.NewStore()
	m := importsInto(store)
	for dry := range 2 {
		m.DryRun = dry == 1
		_, err := m.Action(t.Context(), packaged("a"), strings.NewReader("let a"))
		if err == nil || whisk.KindOf(err) != whisk.Conflict || !strings.Contains(err.Error(), "package /lab/tools is not there") {
			t.Errorf("without its package: %v", err)
		}
	}
	m.DryRun = false
	if _, err := m.Trigger(t.Context(), whisk.Trigger{Name: in("lab", "", "tools"), Version: whisk.FirstVersion}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Action(t.Context(), packaged("a"), nil); err == nil || whisk.KindOf(err) != whisk.Conflict {
		t.Errorf("in what is no package: %v", err)
	}
	pkg := whisk.Package{Name: in("lab", "", "tools"), Version: whisk.FirstVersion}
	if effect, err := m.Package(t.Context(), pkg); err != nil || effect != controller.Kept {
		t.Errorf("in place of a trigger: %q, %v", effect, err)
	}
	m.Overwrite = true
	if _, err := m.Package(t.Context(), pkg); err == nil || whisk.KindOf(err) != whisk.Conflict || !strings.Contains(err.Error(), "one of triggers") {
		t.Errorf("over a trigger: %v", err)
	}
	deep := whisk.Parameters{{Key: "deep", Value: []byte(strings.Repeat("[", 1001) + strings.Repeat("]", 1001))}}
	if _, err := m.Trigger(t.Context(), whisk.Trigger{Name: in("lab", "", "t"), Parameters: deep}); err == nil || whisk.KindOf(err) != whisk.Invalid {
		t.Errorf("with deep parameters: %v", err)
	}
	damaged := whisk.Errorf(whisk.Invalid, "damaged")
	action := packaged("a")
	action.Name.Package = ""
	if _, err := m.Action(t.Context(), action, io.MultiReader(strings.NewReader("let"), failing{damaged})); err == nil || whisk.KindOf(err) != whisk.Invalid {
		t.Errorf("with code that cannot be read: %v", err)
	}
	if _, err := store.Get(t.Context(), action.Name); err == nil {
		t.Error("the action without its code was written")
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestImportsOfSubjects(t *testing.T) {
	store := controllertest.NewStore()
	dry, m := importsInto(store), importsInto(store)
	dry.DryRun = true
	space := func(name string, key whisk.KeyHash) whisk.SubjectNamespace {
		return whisk.SubjectNamespace{Name: name, UUID: "u-" + name + string(key), Key: key}
	}
	alice := whisk.Subject{Name: "alice", Namespaces: []whisk.SubjectNamespace{space("alice", "1"), space("lab", "1")}}
	bob := whisk.Subject{Name: "bobby", Namespaces: []whisk.SubjectNamespace{space("lab", "2"), space("bobby", "2")}}
	turned := whisk.Subject{Name: "alice", Namespaces: []whisk.SubjectNamespace{alice.Namespaces[1], alice.Namespaces[0]}}
	blocked := alice
	blocked.Blocked = true
	for n, step := range []struct {
		m       *controller.Imports
		subject whisk.Subject
		want    controller.Effect
		foreign []string
	}{
		{dry, alice, controller.Created, nil},
		{dry, bob, controller.Created, []string{"lab"}},
		{m, alice, controller.Created, nil},
		{m, turned, controller.Same, nil},
		{m, bob, controller.Created, []string{"lab"}},
		{m, bob, controller.Same, []string{"lab"}},
		{m, blocked, controller.Kept, nil},
		{&controller.Imports{Subjects: store, Overwrite: true}, blocked, controller.Replaced, nil},
		{m, blocked, controller.Same, nil},
	} {
		effect, foreign, err := step.m.Subject(t.Context(), step.subject)
		if err != nil || effect != step.want || !slices.Equal(foreign, step.foreign) {
			t.Errorf("step %d: %q %q, %v, want %q %q", n, effect, foreign, err, step.want, step.foreign)
		}
	}
	got, err := store.Subject(t.Context(), "bobby")
	if want := []whisk.SubjectNamespace{space("bobby", "2")}; err != nil || !slices.Equal(got.Namespaces, want) {
		t.Errorf("bobby has %v, %v, want %v", got, err, want)
	}
}

func TestImportsOfLimits(t *testing.T) {
	store := controllertest.NewStore()
	dry, m := importsInto(store), importsInto(store)
	dry.DryRun = true
	few, many := whisk.NamespaceLimits{FiresPerMinute: new(1)}, whisk.NamespaceLimits{FiresPerMinute: new(2), AllowedKinds: []string{"x"}}
	for n, step := range []struct {
		m      *controller.Imports
		limits whisk.NamespaceLimits
		want   controller.Effect
	}{
		{dry, few, controller.Created}, {m, few, controller.Created}, {m, few, controller.Same}, {m, many, controller.Kept},
		{&controller.Imports{Subjects: store, Overwrite: true}, many, controller.Replaced}, {m, many, controller.Same},
	} {
		if effect, err := step.m.Limits(t.Context(), "lab", step.limits); err != nil || effect != step.want {
			t.Errorf("step %d: %q, %v, want %q", n, effect, err, step.want)
		}
	}
}

func TestImportsOfRecords(t *testing.T) {
	store := controllertest.NewStore()
	dry, m := importsInto(store), importsInto(store)
	dry.DryRun = true
	record := whisk.Activation{
		ID: "0123456789abcdef0123456789abcdef", Namespace: "lab", Name: "a", Subject: "alice", Version: whisk.FirstVersion,
		Start: written, End: written.Add(time.Second), Response: whisk.Response{Result: []byte("{}"), Size: 2}, Logs: []string{"x"},
	}
	other := record
	other.Logs = []string{"y"}
	spaced := record // as a store may give it back
	record.Annotations = whisk.Parameters{{Key: "k", Value: []byte(`{ "a": "<" }`)}}
	spaced.Annotations = whisk.Parameters{{Key: "k", Value: []byte(`{"a":"\u003c"}`)}}
	record.Response.Result, spaced.Response.Result = []byte(`{ }`), []byte(`{}`)
	another := record
	another.ID = "ffffffffffffffffffffffffffffffff"
	for n, step := range []struct {
		m       *controller.Imports
		records []whisk.Activation
		want    []controller.Effect
	}{
		{dry, []whisk.Activation{record}, []controller.Effect{controller.Created}},
		{m, []whisk.Activation{record}, []controller.Effect{controller.Created}},
		{m, []whisk.Activation{other, another, record}, []controller.Effect{controller.Kept, controller.Created, controller.Same}},
		{m, []whisk.Activation{spaced}, []controller.Effect{controller.Same}},
		{&controller.Imports{Activations: store, Overwrite: true}, []whisk.Activation{other}, []controller.Effect{controller.Kept}},
	} {
		if effects, err := step.m.Records(t.Context(), step.records); err != nil || !slices.Equal(effects, step.want) {
			t.Errorf("step %d: %q, %v, want %q", n, effects, err, step.want)
		}
	}
	if got := store.Records(); len(got) != 2 || !slices.Equal(got[record.ID].Logs, []string{"x"}) {
		t.Errorf("stored: %v", got)
	}
}

// TestImportsTellOfTheStore has each call of the store fail. That is not the
// documents' fault, and nothing else comes of it.
func TestImportsTellOfTheStore(t *testing.T) {
	away := whisk.Errorf(whisk.Unavailable, "disk full")
	for _, op := range []string{"Get", "Commit", "Subject", "Owner", "Lookup", "PutSubject", "NamespaceLimits", "PutNamespaceLimits", "Activation", "PutActivations"} {
		store := controllertest.NewStore()
		m := importsInto(store)
		met := false
		store.SetFault(func(asked string, done bool) error {
			if asked != op || done {
				return nil
			}
			met = true
			return away
		})
		_, err := m.Package(t.Context(), whisk.Package{Name: in("lab", "", "tools"), Version: whisk.FirstVersion})
		_, _, subjectErr := m.Subject(t.Context(), whisk.Subject{Name: "alice", Namespaces: []whisk.SubjectNamespace{{Name: "lab", UUID: "u"}}})
		_, limitsErr := m.Limits(t.Context(), "lab", whisk.NamespaceLimits{FiresPerMinute: new(1)})
		_, recordErr := m.Records(t.Context(), []whisk.Activation{{ID: "0123456789abcdef0123456789abcdef", Namespace: "lab", Name: "a"}})
		all := errors.Join(err, subjectErr, limitsErr, recordErr)
		if !met || all == nil || whisk.KindOf(all) != whisk.Unavailable {
			t.Errorf("%s: asked: %v, error %v", op, met, all)
		}
	}
}
