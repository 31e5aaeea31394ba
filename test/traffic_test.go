// SPDX-License-Identifier: Apache-2.0

//go:build e2e && docker

package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
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

// particular is what differs between failures of one cause.
var particular = regexp.MustCompile(`[0-9a-f]{32}|\b[0-9a-zA-Z_./:-]*[0-9][0-9a-zA-Z_./:-]*`)

// causeOf sorts an error of a call.
func causeOf(err error) string {
	if err == nil {
		return ""
	}
	if refusal, ok := errors.AsType[*client.Error](err); ok {
		return fmt.Sprintf("%d %s", refusal.Status, particular.ReplaceAllString(refusal.Text, "…"))
	}
	if exchange, ok := errors.AsType[*url.Error](err); ok {
		err = exchange.Err
	}
	return "no answer: " + particular.ReplaceAllString(err.Error(), "…")
}

// causeIn sorts the response of an activation that did not succeed.
func causeIn(response client.Response) string {
	if response.Success {
		return ""
	}
	var result struct{ Error json.RawMessage }
	_ = json.Unmarshal(response.Result, &result)
	return response.Status + ": " + particular.ReplaceAllString(strings.Trim(string(result.Error), `"`), "…")
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

// tally sums up a traffic that has ended.
type tally struct {
	calls, accepted                     int
	failed                              map[string]int // blocking calls, by cause
	refused                             map[string]int // others
	unrecorded, recordedTwice, runTwice int
	unproven                            int            // succeeded without a proof of their run
	strangers                           int            // records of activations that no answer told of
	untold                              int            // calls whose answer told of no activation
	lost                                map[string]int // of the accepted, records that tell of no success, by cause
}

// settle waits until each call whose activation is known has a record, and compares what was
// answered with the records and with the proofs of runs.
func (tr *traffic) settle(t *testing.T) (sum tally) {
	t.Helper()
	sum = tally{failed: map[string]int{}, refused: map[string]int{}, lost: map[string]int{}}
	records := tr.awaitRecords(t)
	tr.f.noteProofs()
	known := map[whisk.ActivationID]bool{}
	for _, e := range tr.calls {
		sum.calls++
		known[e.activation] = true
		found := records[e.activation]
		runs := tr.f.beacon.runsOf(e.id)
		succeeded := e.success
		for _, record := range found {
			succeeded = succeeded || record.Response.Success
		}
		switch {
		case e.failure != "" && e.blocking:
			sum.failed[e.failure]++
		case e.failure != "":
			sum.refused[e.failure]++
		}
		if e.accepted {
			sum.accepted++
			if len(found) > 0 && !succeeded {
				sum.lost[causeIn(found[0].Response)]++
			}
		}
		if e.activation == "" {
			sum.untold++
		} else if len(found) == 0 {
			sum.unrecorded++
			t.Logf("no record: %+v", *e)
		}
		if len(found) > 1 {
			sum.recordedTwice++
			t.Logf("recorded %d times: %+v", len(found), *e)
		}
		if runs > 1 {
			sum.runTwice++
			t.Logf("ran %d times: %+v", runs, *e)
		}
		if succeeded && runs == 0 {
			sum.unproven++
			t.Logf("never ran: %+v", *e)
		}
	}
	for id := range records {
		if !known[id] {
			sum.strangers++
		}
	}
	return sum
}

// awaitRecords returns the records of the traffic's actions, once there is one of each activation
// that is known, or it has taken too long.
func (tr *traffic) awaitRecords(t *testing.T) map[whisk.ActivationID][]client.Activation {
	t.Helper()
	var records map[whisk.ActivationID][]client.Activation
	missing := func() int {
		records = tr.listRecords(t)
		missing := 0
		for _, e := range tr.calls {
			if e.activation != "" && len(records[e.activation]) == 0 {
				missing++
			}
		}
		return missing
	}
	for deadline := time.Now().Add(recovery); missing() > 0 && time.Now().Before(deadline); {
		<-time.After(500 * time.Millisecond)
	}
	return records
}

// listRecords lists the records of the traffic's actions.
func (tr *traffic) listRecords(t *testing.T) map[whisk.ActivationID][]client.Activation {
	t.Helper()
	const page = 200
	records := map[whisk.ActivationID][]client.Activation{}
	for skip := 0; ; skip += page {
		some := listActivations(t, tr.f.controller, client.ActivationQuery{Page: client.Page{Limit: page, Skip: skip}, Since: tr.begun, Full: true})
		for _, record := range some {
			if strings.HasPrefix(record.Name, tr.name+"-") {
				records[record.ID] = append(records[record.ID], record)
			}
		}
		if len(some) < page {
			return records
		}
	}
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

// scout makes cold starts, one after the other, each of an action of its own.
type scout struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	trials []trial
}

// trial is one cold start, from its call to its answer.
type trial struct {
	begun, ended time.Time
	cause        string // of its failure; "" if it succeeded
}

func startScout(t *testing.T, f *fleet, name string) *scout {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &scout{cancel: cancel}
	t.Cleanup(s.end)
	user := f.userClient(t)
	s.done.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			one := s.try(ctx, user, fmt.Sprintf("%s-%d", name, n))
			if ctx.Err() != nil {
				return
			}
			s.mu.Lock()
			s.trials = append(s.trials, one)
			s.mu.Unlock()
			select {
			case <-time.After(250 * time.Millisecond): // what is more would only push the others' containers out
			case <-ctx.Done():
			}
		}
	})
	return s
}

func (s *scout) try(ctx context.Context, user *client.Client, action string) trial {
	spec := client.ActionSpec{Exec: &client.Exec{Kind: "native:default", Code: native().code["one"]}, Limits: &client.LimitsSpec{Memory: 128}}
	if _, err := user.CreateAction(ctx, action, spec); err != nil {
		now := time.Now()
		return trial{now, now, causeOf(err)}
	}
	one := trial{begun: time.Now()}
	record, err := user.Invoke(ctx, action, nil, 0)
	one.ended, one.cause = time.Now(), causeOf(err)
	if err == nil {
		one.cause = causeIn(record.Response)
	}
	if _, err := user.DeleteAction(ctx, action); err != nil && one.cause == "" {
		one.cause = causeOf(err)
	}
	return one
}

func (s *scout) all() []trial {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.trials)
}

// awaitAfter returns how long after a moment a cold start worked for the first time.
func (s *scout) awaitAfter(t *testing.T, moment time.Time) (took time.Duration) {
	t.Helper()
	eventually(t, recovery, "a cold start works", func() bool {
		for _, one := range s.all() {
			if one.cause == "" && one.ended.After(moment) {
				took = one.ended.Sub(moment)
				return true
			}
		}
		return false
	})
	return took
}

func (s *scout) end() {
	s.cancel()
	s.done.Wait()
}
