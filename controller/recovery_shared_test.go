// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

// living knows which controllers are not taken for dead.
type living struct {
	mu  sync.Mutex
	ids map[whisk.ControllerID]bool
}

func (l *living) alive(id whisk.ControllerID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ids[id]
}

func (l *living) set(id whisk.ControllerID, alive bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ids == nil {
		l.ids = map[whisk.ControllerID]bool{}
	}
	l.ids[id] = alive
}

// newOneOfSeveral is newController for one that lives beside others.
func newOneOfSeveral(t testing.TB, id whisk.ControllerID, store *controllertest.Store, balancer controller.Balancer, others *living) *controller.Controller {
	t.Helper()
	config := controller.Default()
	config.ID = id
	config.DrainTimeout = time.Second
	config.Records.FlushTimeout = time.Second
	c, err := controller.New(config, controller.Deps{
		Entities: store, Subjects: store, APIs: store, Blobs: store.Blobs(), Activations: store, Logs: store, Queue: store,
		Balancer: balancer, Manifest: nodejs, Alive: others.alive,
	})
	if err != nil {
		t.Fatal(err)
	}
	others.set(id, true)
	return c
}

// left are entries of a controller "x": one that it accepted, one that it claimed,
// one whose action is gone, and a trigger's.
func left(t *testing.T, store *controllertest.Store) {
	t.Helper()
	const origin = `{"origin":{"subject":"guest-user","uuid":"u","name":"%s","version":"0.0.1","kind":"nodejs:20","limits":{}},"payload":{"n":1}}`
	for id, body := range map[whisk.ActivationID]string{
		"accepted": fmt.Sprintf(origin, "hello"), "claimed": fmt.Sprintf(origin, "hello"), "deleted": fmt.Sprintf(origin, "gone"),
		"fired": `{"firing":{"subject":"guest-user","name":"t","version":"0.0.1","logs":[]},"payload":{}}`,
	} {
		if err := store.Accept(t.Context(), whisk.Accepted{Activation: id, Namespace: "guest", At: time.Now(), AcceptedBy: "x", Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Claim(t.Context(), "claimed", "x"); err != nil {
		t.Fatal(err)
	}
}

// What a living controller is at is its own, and is taken up when it is no more,
// by one of those that go on.
func TestRecoveryBesideTheLiving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, others, balancer := controllertest.NewStore(), &living{}, newCounted()
		others.set("x", true)
		left(t, store)
		var stops []func() error
		for _, id := range []whisk.ControllerID{"one", "two"} {
			c := newOneOfSeveral(t, id, store.Another(), balancer, others)
			putHello(t, c)
			stops = append(stops, running(c))
		}
		time.Sleep(time.Hour)
		if queued, records := store.Queued(), store.Records(); len(queued) != 4 || len(records) != 0 || balancer.most() != 0 {
			t.Errorf("while it lives %d are queued and there are the records %v and %d runs", len(queued), records, balancer.most())
		}
		others.set("x", false)
		time.Sleep(time.Minute)
		for _, stop := range stops {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
		records := store.Records()
		for id, want := range map[whisk.ActivationID]string{"accepted": `{"n":1}`, "claimed": "lost", "deleted": "deleted", "fired": "{}"} {
			if got := string(records[id].Response.Result); !strings.Contains(got, want) {
				t.Errorf("the record of %s says %q, want %q", id, got, want)
			}
		}
		if queued := store.Queued(); len(queued) != 0 || len(records) != 4 || balancer.most() != 1 {
			t.Errorf("%d records, %d runs, and still queued %v", len(records), balancer.most(), queued)
		}
	})
}

// An entry that another recovers, too, is left to it when it was first.
func TestRecoveryLosesToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, others, balancer := controllertest.NewStore(), &living{}, newCounted()
		others.set("y", true)
		left(t, store)
		own := store.Another()
		own.SetFault(func(op string, done bool) error {
			if op == "Claim" && !done {
				for _, id := range []whisk.ActivationID{"accepted", "deleted"} {
					_ = store.Claim(context.Background(), id, "y") // the second time it is claimed
				}
			}
			return nil
		})
		c := newOneOfSeveral(t, "one", own, balancer, others)
		putHello(t, c)
		stop := running(c)
		time.Sleep(time.Minute)
		if records := store.Records(); len(records) != 2 || len(store.Queued()) != 2 || balancer.most() != 0 {
			t.Errorf("%d runs, and the records %v, of which two are another's", balancer.most(), records)
		}
		others.set("y", false)
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		for _, id := range []whisk.ActivationID{"accepted", "deleted"} {
			if got := string(store.Records()[id].Response.Result); !strings.Contains(got, "lost") {
				t.Errorf("the record of %s says %q, though it was claimed by one that is no more", id, got)
			}
		}
	})
}

// A store that does not answer Claim is asked again at the next look, whether it
// claimed or not; what may have been claimed is not run.
func TestRecoveryOutlastsClaims(t *testing.T) {
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprint("done=", after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, others, balancer := controllertest.NewStore(), &living{}, newCounted()
				left(t, store)
				own, sick := store.Another(), time.Now().Add(5*time.Second)
				own.SetFault(func(op string, done bool) error {
					if op == "Claim" && done == after && time.Now().Before(sick) {
						return whisk.Errorf(whisk.Unavailable, "the database is away")
					}
					return nil
				})
				c := newOneOfSeveral(t, "one", own, balancer, others)
				putHello(t, c)
				stop := running(c)
				time.Sleep(time.Minute)
				if err := stop(); err != nil {
					t.Error(err)
				}
				want := map[whisk.ActivationID]string{"accepted": `{"n":1}`, "deleted": "deleted"}
				if after {
					want = map[whisk.ActivationID]string{"accepted": "see it through", "deleted": "see it through"}
				}
				for id, want := range want {
					if got := string(store.Records()[id].Response.Result); !strings.Contains(got, want) {
						t.Errorf("the record of %s says %q, want %q", id, got, want)
					}
				}
				if n := len(store.Records()); n != 4 || len(store.Queued()) != 0 || after != (balancer.most() == 0) {
					t.Errorf("%d records, %d runs, and still queued %v", n, balancer.most(), store.Queued())
				}
			})
		})
	}
}

// What was refused and could not be taken back does not stay for as long as its
// controller lives.
func TestRefusedEntriesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, others, balancer := controllertest.NewStore(), &living{}, newCounted()
		c := newOneOfSeveral(t, "one", store, balancer, others)
		putHello(t, c)
		stop := running(c)
		synctest.Wait()
		store.SetFault(func(op string, done bool) error {
			if op == "Accept" && done || op == "Complete" && !done {
				return whisk.Errorf(whisk.Unavailable, "the database is away")
			}
			return nil
		})
		if _, err := c.Submit(t.Context(), controller.Call{Caller: guest, Action: hello}); err == nil {
			t.Fatal("accepted by a store that did not answer")
		}
		if n := len(store.Queued()); n != 1 {
			t.Fatalf("%d are left in the queue, want 1", n)
		}
		store.SetFault(nil)
		time.Sleep(time.Minute)
		if n := len(store.Records()); n != 1 || len(store.Queued()) != 0 || balancer.most() != 0 {
			t.Errorf("%d records, %d runs, and still queued %v", n, balancer.most(), store.Queued())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
