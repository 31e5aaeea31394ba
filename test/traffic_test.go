// SPDX-License-Identifier: Apache-2.0

//go:build e2e && docker

package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
	"github.com/whirl-faas/whirl/whisk"
)

// traffic is what the users of a fleet do: several callers of several actions, each of which waits
// for its answer, or for its acceptance, before the next call.
type traffic struct {
	f      *fleet
	name   string // of its actions and calls; no other traffic's
	client *client.Client
	cancel context.CancelFunc
	stop   atomic.Bool
	users  sync.WaitGroup
	begun  time.Time

	answered atomic.Int64

	mu    sync.Mutex
	calls []*errand
}

// errand is one call.
type errand struct {
	id         string // among its parameters
	blocking   bool
	begun      time.Time
	took       time.Duration
	activation whisk.ActivationID // "" if the answer named none
	accepted   bool               // answered with 202
	success    bool               // answered with the result
	failure    string             // why it was none, without what differs from call to call; "" if it is not known to have failed
}

// habit is what a caller does over and over.
type habit struct {
	action, family string
	callers        int
	blocking       func(call int) bool
	least, most    int           // how long the action works, in milliseconds
	every          time.Duration // at most one call in this time
}

func always(int) bool     { return true }
func never(int) bool      { return false }
func now2then(n int) bool { return n%2 == 0 }
func (h habit) work() int { return h.least + rand.IntN(h.most-h.least+1) }

// habits want about as many containers as fit on three nodes, and more than fit on two.
var habits = []habit{
	{"quick", "nodejs", 2, always, 0, 0, 20 * time.Millisecond},
	{"slow", "nodejs", 2, always, 200, 500, 50 * time.Millisecond},
	{"later", "nodejs", 2, never, 200, 500, 400 * time.Millisecond},
	{"python", "python", 2, now2then, 20, 200, 150 * time.Millisecond},
	{"native", "native", 2, now2then, 0, 0, 100 * time.Millisecond},
}

// startTraffic deploys actions and calls them until it is ended.
func startTraffic(t *testing.T, f *fleet, name string, habits ...habit) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	tr := &traffic{f: f, name: name, client: f.userClient(t), cancel: cancel, begun: time.Now()}
	t.Cleanup(func() { tr.end() })
	for _, h := range habits {
		f.deployProver(tr.action(h), h.family)
	}
	for _, h := range habits {
		for caller := range h.callers {
			tr.users.Go(func() { tr.use(ctx, h, caller) })
		}
	}
	return tr
}

// userClient is a client on the users' host.
func (f *fleet) userClient(t *testing.T) *client.Client {
	t.Helper()
	dial := func(_ context.Context, _, address string) (net.Conn, error) {
		return f.users.dial(net.Dialer{Timeout: 10 * time.Second}, address)
	}
	user, err := client.New(client.Config{
		APIHost: "http://" + f.gateway.address + ":3233", Auth: guestKey,
		Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 64},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(user.Close)
	return user
}

func (tr *traffic) action(h habit) string { return tr.name + "-" + h.action }

// use calls an action again and again.
func (tr *traffic) use(ctx context.Context, h habit, caller int) {
	pace := time.NewTicker(max(h.every, time.Millisecond))
	defer pace.Stop()
	for n := 0; !tr.stop.Load(); n++ {
		e := &errand{id: fmt.Sprintf("%s-%d-%d", tr.action(h), caller, n), blocking: h.blocking(n), begun: time.Now()}
		tr.call(ctx, e, tr.action(h), h.work())
		e.took = time.Since(e.begun)
		tr.mu.Lock()
		tr.calls = append(tr.calls, e)
		tr.mu.Unlock()
		tr.answered.Add(1)
		<-pace.C
	}
}

func (tr *traffic) call(ctx context.Context, e *errand, action string, ms int) {
	params := map[string]any{"id": e.id, "ms": ms}
	if !e.blocking {
		var err error
		e.activation, err = tr.client.Start(ctx, action, params)
		e.accepted, e.failure = err == nil, causeOf(err)
		return
	}
	record, err := tr.client.Invoke(ctx, action, params, 0)
	if pending, ok := errors.AsType[*client.PendingError](err); ok {
		e.activation, e.accepted = pending.Activation, true
		return
	}
	e.activation, e.failure = record.ID, causeOf(err)
	if err == nil {
		e.success, e.failure = record.Response.Success, causeIn(record.Response)
	}
}

// more waits until some more calls were answered.
func (tr *traffic) more(t *testing.T, n int64, when string) {
	t.Helper()
	target := tr.answered.Load() + n
	eventually(t, recovery, "calls are answered "+when, func() bool { return tr.answered.Load() >= target })
}

// end lets the calls under way end, and makes no more.
func (tr *traffic) end() {
	tr.stop.Store(true)
	tr.users.Wait()
	tr.cancel()
}

// latencies returns how long the successful calls took that were begun and answered in a time.
func (tr *traffic) latencies(from, to time.Time) (all []time.Duration) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, e := range tr.calls {
		if e.success && e.begun.After(from) && e.begun.Add(e.took).Before(to) {
			all = append(all, e.took)
		}
	}
	return all
}
