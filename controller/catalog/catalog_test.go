// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/alarms"
	"github.com/whirl-faas/whirl/controller/apimgmt"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

var (
	withNode = whisk.Manifest{Families: []whisk.RuntimeFamily{{Name: "nodejs", Runtimes: []whisk.Runtime{{Kind: "nodejs:20", Default: true}}}}}
	operator = &controller.Caller{Identity: whisk.Identity{Subject: "whisk.system", Namespace: "whisk.system", UUID: "w"}}
	guest    = &controller.Caller{Identity: whisk.Identity{Subject: "guest-user", Namespace: "guest", UUID: "u"}}
	utils    = whisk.FullName{Namespace: Namespace, Name: "utils"}
)

func newController(t *testing.T, store *controllertest.Store, manifest whisk.Manifest) *controller.Controller {
	t.Helper()
	service, err := alarms.New(alarms.Default(), store, nil)
	must(t, err)
	builtins := service.Builtins(Alarms)
	maps.Copy(builtins, apimgmt.Builtins(APIManagement, apimgmt.Config{}))
	config := controller.Default()
	config.ID = "c"
	c, err := controller.New(config, controller.Deps{
		Entities: store, Subjects: store, APIs: store, Blobs: store.Blobs(), Activations: store, Logs: store, Queue: store,
		Balancer: &controllertest.Balancer{}, Manifest: manifest, Builtins: builtins,
		Hint: func(kind string) string { return "To get " + kind + ", install it." },
	})
	must(t, err)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// in is the name of an action of the package utils.
func in(name string) whisk.FullName {
	return whisk.FullName{Namespace: Namespace, Package: "utils", Name: name}
}

func TestThePackagesAreThere(t *testing.T) {
	store := controllertest.NewStore()
	c := newController(t, store, withNode)
	must(t, Install(t.Context(), c, nil))
	for name, want := range map[string][2]int{"utils": {9, 0}, "samples": {11, 0}, "alarms": {0, 3}} {
		pkg, err := c.Package(t.Context(), guest, whisk.FullName{Namespace: Namespace, Name: name})
		must(t, err)
		if got := [2]int{len(pkg.Actions), len(pkg.Feeds)}; got != want || !pkg.Publish || pkg.Annotations.Get("description") == nil {
			t.Errorf("%s has %v actions and feeds, want %v: %+v", name, got, want, pkg.Package)
		}
	}
	management, err := c.Package(t.Context(), operator, APIManagement)
	must(t, err)
	if len(management.Actions) != 3 || management.Publish {
		t.Errorf("apimgmt is %+v", management)
	}
	action, err := c.Action(t.Context(), guest, in("split"), true)
	must(t, err)
	if action.Exec.Kind != "nodejs:20" || !strings.Contains(string(action.Code), "function main") || action.Annotations.Get("parameters") == nil {
		t.Errorf("split is %+v", action)
	}
	last, err := store.LastChange(t.Context())
	must(t, err)
	must(t, Install(t.Context(), newController(t, store, withNode), nil))
	if again, err := store.LastChange(t.Context()); err != nil || again != last {
		t.Errorf("the second start wrote something: %d changes, before %d, %v", again, last, err)
	}
}

func TestManyControllersStartAtOnce(t *testing.T) {
	store := controllertest.NewStore()
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			if err := Install(t.Context(), newController(t, store.Another(), withNode), nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	c := newController(t, store, withNode)
	last, err := store.LastChange(t.Context())
	must(t, err)
	must(t, Install(t.Context(), c, nil))
	if again, err := store.LastChange(t.Context()); err != nil || again != last {
		t.Errorf("it was not complete: %d changes, then %d, %v", last, again, err)
	}
}

// A start that dies on the way leaves the rest to the next one.
func TestAnInterruptedStart(t *testing.T) {
	store := controllertest.NewStore()
	c := newController(t, store, withNode)
	for writes := 0; ; writes++ {
		left := writes
		store.SetFault(func(op string, done bool) error {
			if op == "Commit" && !done {
				if left--; left < 0 {
					return whisk.Errorf(whisk.Unavailable, "the process was killed")
				}
			}
			return nil
		})
		if Install(t.Context(), c, nil) == nil {
			break
		}
		if writes > 100 {
			t.Fatal("it never gets to its end")
		}
	}
	pkg, err := c.Package(t.Context(), guest, utils)
	must(t, err)
	if len(pkg.Actions) != 9 {
		t.Errorf("%d actions", len(pkg.Actions))
	}
}

// What an operator changed, deleted or made stays, also when a newer program has more to say.
func TestWhatOperatorsChangeStays(t *testing.T) {
	ctx, store := t.Context(), controllertest.NewStore()
	c := newController(t, store, withNode)
	_, err := c.PutPackage(ctx, operator, whisk.FullName{Namespace: Namespace, Name: "samples"}, []byte(`{}`), false)
	must(t, err)
	must(t, Install(ctx, c, nil))
	if pkg, err := c.Package(ctx, operator, whisk.FullName{Namespace: Namespace, Name: "samples"}); err != nil || len(pkg.Actions) != 0 {
		t.Errorf("the operator's own package: %+v, %v", pkg, err)
	}
	_, _, err = c.PutAction(ctx, operator, in("echo"), []byte(`{"exec":{"kind":"nodejs:20","code":"mine"}}`), true)
	must(t, err)
	_, _, err = c.DeleteAction(ctx, operator, in("date"))
	must(t, err)
	_, err = c.PutPackage(ctx, operator, utils, []byte(`{"parameters":[{"key":"mine","value":1}]}`), true)
	must(t, err)
	must(t, Install(ctx, c, nil))
	if _, err := c.Action(ctx, operator, in("date"), false); whisk.KindOf(err) != whisk.NotFound {
		t.Errorf("a deleted action: %v", err)
	}

	newer, err := readBundle("utils")
	must(t, err)
	item := newer.Actions["cat"]
	item.code = "newer"
	newer.Actions["cat"], newer.Actions["echo"] = item, item
	i := installer{c: c, itself: controller.Itself(Namespace), node: "nodejs:20", logger: slog.New(slog.DiscardHandler)}
	for range 2 {
		must(t, i.install(ctx, newer))
	}
	for name, want := range map[string]string{"cat": "newer 0.0.2", "echo": "mine 0.0.2"} {
		action, err := c.Action(ctx, operator, in(name), true)
		must(t, err)
		if got := fmt.Sprintf("%s %s", action.Code, action.Version); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	pkg, err := c.Package(ctx, operator, utils)
	must(t, err)
	if string(pkg.Parameters.Get("mine")) != "1" {
		t.Errorf("the package's parameters: %v", pkg.Parameters)
	}
	last, err := store.LastChange(ctx)
	must(t, err)
	must(t, i.install(ctx, newer))
	if again, err := store.LastChange(ctx); err != nil || again != last {
		t.Errorf("a package that was changed is written at each start: %d, %d, %v", last, again, err)
	}
}

func TestWithoutNodeTheActionsSayWhatIsMissing(t *testing.T) {
	store := controllertest.NewStore()
	c := newController(t, store, whisk.Manifest{})
	must(t, Install(t.Context(), c, nil))
	_, err := c.Invoke(t.Context(), controller.Call{Caller: guest, Action: in("echo")}, 1)
	want := "The specified runtime 'nodejs:default' is not supported by this platform. Valid values are: 'sequence'. To get nodejs:default, install it."
	if err == nil || err.Error() != want {
		t.Errorf("echo: %v, want %s", err, want)
	}
	c = newController(t, store, withNode)
	must(t, Install(t.Context(), c, nil))
	if action, err := c.Action(t.Context(), guest, in("echo"), false); err != nil || action.Exec.Kind != "nodejs:20" {
		t.Errorf("with node it is %+v, %v", action.Exec, err)
	}
}

func TestANameThatIsTakenIsLeftOut(t *testing.T) {
	c := newController(t, controllertest.NewStore(), withNode)
	_, err := c.PutTrigger(t.Context(), operator, utils, []byte(`{}`), false)
	must(t, err)
	must(t, Install(t.Context(), c, nil))
	if _, err := c.Trigger(t.Context(), operator, utils); err != nil {
		t.Error(err)
	}
}
