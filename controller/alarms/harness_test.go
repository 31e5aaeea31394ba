// SPDX-License-Identifier: Apache-2.0

package alarms_test

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/alarms"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

var (
	key      = whisk.AuthKey{UUID: "u", Key: strings.Repeat("k", whisk.KeyLength)}
	otherKey = whisk.AuthKey{UUID: "v", Key: strings.Repeat("k", whisk.KeyLength)}
	guest    = &controller.Caller{Identity: whisk.Identity{Subject: "guest-user", Namespace: "guest", UUID: "u"}, Key: key}
	pkg      = whisk.FullName{Namespace: "whisk.system", Name: "alarms"}
	tick     = whisk.FullName{Namespace: "guest", Name: "tick"}
	nodejs   = whisk.Manifest{Families: []whisk.RuntimeFamily{{Name: "nodejs", Runtimes: []whisk.Runtime{{Kind: "nodejs:20", Default: true}}}}}
)

// cluster is controllers on one store, with what their actions ran.
type cluster struct {
	t     *testing.T
	store *controllertest.Store

	mu   sync.Mutex
	runs []run
}

// run is one of the actions of rules.
type run struct {
	at    time.Time
	value string
}

// member is one controller of the cluster, with its alarms.
type member struct {
	*controller.Controller
	store  *controllertest.Store // as this process has it
	alarms *alarms.Service
	stop   func()
}

// newCluster has a trigger of the guest's, with a rule whose action answers with what it gets.
func newCluster(t *testing.T) *cluster {
	c := &cluster{t: t, store: controllertest.NewStore()}
	for name, key := range map[string]whisk.AuthKey{"guest": key, "other": otherKey} {
		must(t, c.store.PutSubject(t.Context(), whisk.Subject{Name: name + "-user", Namespaces: []whisk.SubjectNamespace{
			{Name: name, UUID: key.UUID, Key: whisk.HashKey(key.Key)},
		}}))
	}
	m := c.join("maker")
	defer m.stop()
	ctx, itself := t.Context(), controller.Itself(pkg.Namespace)
	_, err := m.PutPackage(ctx, itself, pkg, []byte(`{"publish":true,"parameters":[{"key":"trigger_payload","value":""}]}`), false)
	must(t, err)
	for _, feed := range []string{"alarm", "once", "interval"} {
		_, _, err := m.PutAction(ctx, itself, feedName(feed), []byte(`{"exec":{"kind":"builtin"}}`), false)
		must(t, err)
	}
	_, _, err = m.PutAction(ctx, guest, whisk.FullName{Namespace: "guest", Name: "act"}, []byte(`{"exec":{"kind":"nodejs:20","code":"x"}}`), false)
	must(t, err)
	c.makeTrigger(m)
	return c
}

func (c *cluster) makeTrigger(m *member) {
	c.t.Helper()
	_, err := m.PutTrigger(c.t.Context(), guest, tick, []byte(`{}`), false)
	must(c.t, err)
	_, err = m.PutRule(c.t.Context(), guest, whisk.FullName{Namespace: "guest", Name: "rule"}, []byte(`{"trigger":"/_/tick","action":"/_/act"}`), true)
	must(c.t, err)
}

func feedName(feed string) whisk.FullName {
	return whisk.FullName{Namespace: pkg.Namespace, Package: pkg.Name, Name: feed}
}

// join starts another controller of that id.
func (c *cluster) join(id whisk.ControllerID, configure ...func(*controller.Config)) *member {
	c.t.Helper()
	m := &member{store: c.store.Another()}
	var err error
	m.alarms, err = alarms.New(alarms.Default(), m.store, nil)
	must(c.t, err)
	config := controller.Default()
	config.ID = id
	config.Limits = controllertest.Unthrottled()
	config.DrainTimeout, config.Records.FlushTimeout = time.Second, time.Second
	for _, set := range configure {
		set(&config)
	}
	m.Controller, err = controller.New(config, controller.Deps{
		Entities: m.store, Subjects: m.store, Blobs: m.store.Blobs(), Activations: m.store, Logs: m.store, Queue: m.store,
		Balancer: &controllertest.Balancer{Run: c.run}, Manifest: nodejs, Builtins: m.alarms.Builtins(pkg),
		Alive: func(whisk.ControllerID) bool { return false },
	})
	must(c.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { _ = m.Run(ctx) }) // a process without a store cannot stop in order
	parts.Go(func() {
		if err := m.alarms.Run(ctx, m.Controller); err != nil {
			c.t.Error(err)
		}
	})
	m.stop = func() { cancel(); parts.Wait() }
	synctest.Wait()
	return m
}

func (c *cluster) run(_ context.Context, inv *whisk.Invocation, body controllertest.RunBody) whisk.Outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs = append(c.runs, run{time.Now(), string(body.Value)})
	return controllertest.Outcome(inv, whisk.Response{Result: body.Value})
}

// ran returns what ran so far, and forgets it.
func (c *cluster) ran() []run {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	runs := c.runs
	c.runs = nil
	return runs
}

// wantRuns checks that the action ran at those times since the beginning, and at no others.
func (c *cluster) wantRuns(from time.Time, want ...time.Duration) {
	c.t.Helper()
	var got []time.Duration
	for _, run := range c.ran() {
		got = append(got, run.at.Sub(from))
	}
	if !slices.Equal(got, want) {
		c.t.Errorf("ran after %v, want %v", got, want)
	}
}

// ask calls a feed and returns its answer.
func (m *member) ask(t *testing.T, feed, arguments string) string {
	t.Helper()
	answer, err := m.Invoke(t.Context(), controller.Call{Caller: guest, Action: feedName(feed), Payload: []byte(arguments), Transaction: "tid"}, time.Minute)
	must(t, err)
	return string(answer.Record.Response.Result)
}

// must ask has to be answered with success.
func (m *member) tell(t *testing.T, feed, event string, parameters map[string]any) {
	t.Helper()
	arguments := map[string]any{"lifecycleEvent": event, "triggerName": "/_/tick", "authKey": key.String()}
	maps.Copy(arguments, parameters)
	text, err := json.Marshal(arguments)
	must(t, err)
	if got := m.ask(t, feed, string(text)); got != `{"status":"success"}` {
		t.Fatalf("%s of %s %v: %s", event, feed, parameters, got)
	}
}

// status returns what READ says of the alarm.
func (m *member) status(t *testing.T) (active bool, reason string) {
	t.Helper()
	text := m.ask(t, "alarm", `{"lifecycleEvent":"READ","triggerName":"/guest/tick"}`)
	var read struct {
		Status struct {
			Active bool
			Reason struct{ Message string }
		}
	}
	must(t, json.Unmarshal([]byte(text), &read))
	return read.Status.Active, read.Status.Reason.Message
}

func (m *member) wantOff(t *testing.T, want string) {
	t.Helper()
	if active, reason := m.status(t); active || reason != want {
		t.Errorf("the alarm is on: %v, reason %q; want %q", active, reason, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
