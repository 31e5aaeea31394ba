// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"encoding/base64"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

// versionRun invokes hello and returns the version that ran.
func versionRun(t *testing.T, c *controller.Controller) string {
	t.Helper()
	answer, err := c.Invoke(t.Context(), controller.Call{Caller: guest, Action: hello}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return answer.Record.Version.String()
}

// A controller's own writes are seen by its next call: nobody waits for the
// change feed, which does not even run here.
func TestOwnWritesAreSeenAtOnce(t *testing.T) {
	balancer := &controllertest.Balancer{}
	c := newController(t, "us", controllertest.NewStore(), balancer)
	putHello(t, c)
	if got := versionRun(t, c); got != "0.0.1" {
		t.Errorf("version %s ran, want the first", got)
	}
	putHello(t, c)
	if got := versionRun(t, c); got != "0.0.2" {
		t.Errorf("version %s ran after an update, want the second", got)
	}
	if _, _, err := c.DeleteAction(t.Context(), guest, hello); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Invoke(t.Context(), controller.Call{Caller: guest, Action: hello}, time.Minute); whisk.KindOf(err) != whisk.NotFound {
		t.Errorf("after its deletion: %v, want not found", err)
	}
	if got := balancer.Retirements(); len(got) != 2 || got[1] != (controllertest.Retired{Name: hello}) {
		t.Errorf("retired %v, want the former revision's containers, and then all", got)
	}
}

// An action that was read before a change and arrives after it may serve who
// waits for it, but must not be kept: it would be served until the next change.
func TestReadThatAChangeOvertookIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore()
		c := newController(t, "us", store, &controllertest.Balancer{})
		putHello(t, c)

		overtaken := make(chan struct{})
		var reads atomic.Int32
		store.SetFault(func(op string, done bool) error {
			if op == "Get" && done && reads.Add(1) == 1 {
				<-overtaken
			}
			return nil
		})
		first := make(chan string, 1)
		go func() { first <- versionRun(t, c) }()
		synctest.Wait()
		putHello(t, c)
		if got := versionRun(t, c); got != "0.0.2" {
			t.Errorf("version %s ran beside the overtaken read, want the second", got)
		}
		close(overtaken)
		if got := <-first; got != "0.0.1" {
			t.Errorf("the overtaken read ran version %s, want the first", got)
		}
		if got := versionRun(t, c); got != "0.0.2" {
			t.Errorf("version %s ran after the overtaken read, want the second", got)
		}
	})
}

// When the change feed is out of reach, a key that was taken away works for as
// long as its identity is cached and no longer; and when the feed is back after
// so long that it may lack changes, nothing that was cached before is trusted.
func TestCachesWithoutTheChangeFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore()
		key := whisk.AuthKey{UUID: "u", Key: strings.Repeat("k", whisk.KeyLength)}
		subject := whisk.Subject{Name: "somebody", Namespaces: []whisk.SubjectNamespace{{Name: "guest", UUID: key.UUID, Key: whisk.HashKey(key.Key)}}}
		if err := store.PutSubject(t.Context(), subject); err != nil {
			t.Fatal(err)
		}
		c := newController(t, "us", store, &controllertest.Balancer{})
		stop := running(c)
		defer func() {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}()
		putHello(t, c)
		synctest.Wait()
		header := "Basic " + base64.StdEncoding.EncodeToString([]byte(key.String()))
		authenticate := func() error {
			_, err := c.Authenticate(context.Background(), header)
			return err
		}
		if err := authenticate(); err != nil {
			t.Fatal(err)
		}
		if got := versionRun(t, c); got != "0.0.1" {
			t.Errorf("version %s ran, want the first", got)
		}

		store.SetFault(func(op string, _ bool) error {
			if op == "Changes" || op == "LastChange" {
				return whisk.Errorf(whisk.Unavailable, "the feed is out of reach")
			}
			return nil
		})
		time.Sleep(time.Second)
		if err := store.DeleteSubject(t.Context(), "somebody"); err != nil {
			t.Fatal(err)
		}
		if err := authenticate(); err != nil {
			t.Errorf("a cached identity asks the store: %v", err)
		}
		time.Sleep(time.Minute)
		if err := authenticate(); err != controller.ErrCredentials {
			t.Errorf("after a minute: %v, want %v", err, controller.ErrCredentials)
		}

		putHello(t, newController(t, "them", store, &controllertest.Balancer{}))
		if got := versionRun(t, c); got != "0.0.1" {
			t.Errorf("version %s ran without the feed, want the cached first", got)
		}
		time.Sleep(31 * time.Minute)
		store.SetFault(func(op string, _ bool) error {
			if op == "Changes" { // what it had is gone
				return whisk.Errorf(whisk.Unavailable, "too old a position")
			}
			return nil
		})
		time.Sleep(time.Second)
		if got := versionRun(t, c); got != "0.0.2" {
			t.Errorf("version %s ran when the feed was back, want the second", got)
		}
	})
}

// What another controller changes has its former containers given back here, also if
// the cache has given its place to another action meanwhile.
func TestChangesRetireWhatTheCacheHasNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, balancer := controllertest.NewStore(), &controllertest.Balancer{}
		us := newController(t, "us", store, balancer, func(config *controller.Config) { config.CachedActions = 1 })
		them := newController(t, "them", store, &controllertest.Balancer{})
		stop := running(us)
		defer func() {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		putHello(t, them)
		versionRun(t, us)
		putComposed(t, them)
		if _, err := us.Invoke(t.Context(), controller.Call{Caller: guest, Action: named("a")}, time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for _, change := range []func() error{
			func() error {
				_, _, err := them.PutAction(t.Context(), guest, hello, []byte(helloJS), true)
				return err
			},
			func() error { _, _, err := them.DeleteAction(t.Context(), guest, hello); return err },
		} {
			if err := change(); err != nil {
				t.Fatal(err)
			}
			last, err := store.LastChange(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if got := balancer.Retirements(); len(got) == 0 || got[len(got)-1] != (controllertest.Retired{Name: hello, Keep: whisk.Revision(last)}) {
				t.Errorf("retired %v, want at last what is before revision %d of hello", got, last)
			}
		}
	})
}

// What calls go by beside actions, packages and triggers, follows others' writes
// as well: within an interval of the change feed.
func TestPackagesAndTriggersFollowTheChangeFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore()
		us, them := newController(t, "us", store, &controllertest.Balancer{}), newController(t, "them", store, &controllertest.Balancer{})
		stop := running(us)
		defer func() {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		other := &controller.Caller{Identity: whisk.Identity{Subject: "other-user", Namespace: "other", UUID: "o"}}
		pkg := whisk.FullName{Namespace: "other", Name: "pub"}
		packaged := whisk.FullName{Namespace: "other", Package: "pub", Name: "a"}
		write := func(body string) {
			t.Helper()
			_, err := them.PutPackage(t.Context(), other, pkg, []byte(body), true)
			must(err)
			time.Sleep(time.Second)
		}
		result := func() string {
			t.Helper()
			answer, err := us.Invoke(t.Context(), controller.Call{Caller: guest, Action: packaged}, time.Minute)
			if err != nil {
				return err.Error()
			}
			return string(answer.Record.Response.Result)
		}
		write(`{"publish":true,"parameters":[{"key":"x","value":1}]}`)
		_, _, err := them.PutAction(t.Context(), other, packaged, []byte(helloJS), true)
		must(err)
		if got := result(); got != `{"x":1}` {
			t.Errorf("result %s", got)
		}
		write(`{"parameters":[{"key":"x","value":2}]}`)
		if got := result(); got != `{"x":2}` {
			t.Errorf("result after the parameters changed: %s", got)
		}
		write(`{"publish":false}`)
		if got := result(); !strings.Contains(got, "not authorized to access 'other/pub'") {
			t.Errorf("result after the package was withdrawn: %s", got)
		}

		putComposed(t, them)
		fire := func() whisk.ActivationID {
			t.Helper()
			id, err := us.Fire(t.Context(), controller.FireCall{Caller: guest, Trigger: named("t"), Headers: []byte("{}")})
			must(err)
			return id
		}
		if fire() == "" {
			t.Error("no rule is active")
		}
		for _, rule := range []string{"rule-a", "rule-b"} {
			must(them.SetRuleStatus(t.Context(), guest, named(rule), []byte(`{"status":"inactive"}`)))
		}
		time.Sleep(time.Second)
		if id := fire(); id != "" {
			t.Errorf("fired as %s though no rule is active any more", id)
		}
	})
}
