// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
	"github.com/whirl-faas/whirl/whisk"
)

// TestKilledInTheMiddleOfLoad kills the platform while it accepts and runs
// non-blocking activations, and starts it again on the same data.
func TestKilledInTheMiddleOfLoad(t *testing.T) {
	need(t, "node")
	b := startBeacon(t)
	data := t.TempDir()
	p := startOn(t, data, "--sandbox-network", "host")
	spec := client.ActionSpec{Exec: &client.Exec{Kind: "nodejs:default", Code: b.action()}, Limits: &client.LimitsSpec{Memory: 128}}
	action, err := p.CreateAction(t.Context(), "survivor", spec)
	if err != nil {
		t.Fatal(err)
	}
	old, err := p.Invoke(t.Context(), "survivor", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	oldLogs := p.logsOf(t, old.ID, 1)
	p.recordOf(t, old.ID, recordTime)

	load := startLoad(t, b, func(ctx context.Context) (whisk.ActivationID, error) {
		return p.Start(ctx, "survivor", map[string]int{"ms": 20})
	})
	select {
	case <-load.enough:
	case <-time.After(time.Minute):
		t.Fatal("the platform does not run what it accepts")
	}
	before := p.kill(t)
	accepted := load.stop()
	t.Logf("%d activations were accepted", len(accepted))

	p = startOn(t, data, "--sandbox-network", "host")
	before.checkGone(t, 10*time.Second)
	if got, err := p.Action(t.Context(), "survivor"); err != nil || !reflect.DeepEqual(got, action) {
		t.Errorf("the action is %+v, was %+v, %v", got, action, err)
	}
	if got := p.logsOf(t, old.ID, 1); !reflect.DeepEqual(got, oldLogs) {
		t.Errorf("old logs are %q, were %q", got, oldLogs)
	}
	checkEachEnded(t, p, b, accepted)
	checkNoDoubleRecords(t, p, "survivor", accepted)
	p.remove(t, "survivor")
}

// ahead is how many activations may be accepted and not run yet.
const ahead = 200

// load begins activations until the platform is gone. It is not far ahead of the
// runs, so that a kill hits all stages of an activation's life.
type load struct {
	begin   func(context.Context) (whisk.ActivationID, error)
	cancel  context.CancelFunc
	workers sync.WaitGroup
	permits chan struct{} // one for each activation that may be begun
	enough  chan struct{} // closed when many have begun to run

	mu       sync.Mutex
	accepted []whisk.ActivationID
}

func startLoad(t *testing.T, b *beacon, begin func(context.Context) (whisk.ActivationID, error)) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{begin: begin, cancel: cancel, permits: make(chan struct{}, ahead), enough: make(chan struct{})}
	for range ahead {
		l.permits <- struct{}{}
	}
	for range 4 {
		l.workers.Go(func() { l.send(ctx) })
	}
	l.workers.Go(func() { l.follow(ctx, b) })
	return l
}

// send begins activations until the platform is killed.
func (l *load) send(ctx context.Context) {
	for {
		select {
		case <-l.permits:
		case <-ctx.Done():
			return
		}
		id, err := l.begin(ctx)
		if err != nil {
			return
		}
		l.mu.Lock()
		l.accepted = append(l.accepted, id)
		l.mu.Unlock()
	}
}

// follow gives a permit for each run.
func (l *load) follow(ctx context.Context, b *beacon) {
	for runs := 1; ; runs++ {
		select {
		case <-b.ran:
		case <-ctx.Done():
			return
		}
		if runs == 100 {
			close(l.enough)
		}
		select {
		case l.permits <- struct{}{}:
		default: // the run was of another one
		}
	}
}

// stop ends the load and returns the activations that got their 202.
func (l *load) stop() []whisk.ActivationID {
	l.cancel()
	l.workers.Wait()
	return l.accepted
}

// checkEachEnded wants a record of each activation, whose code ran at most once,
// and exactly once if the record tells of a success.
func checkEachEnded(t *testing.T, p *platform, b *beacon, accepted []whisk.ActivationID) {
	t.Helper()
	outcomes := map[string]int{}
	for _, id := range accepted {
		record := p.recordOf(t, id, time.Minute)
		outcomes[record.Response.Status]++
		runs := b.runsOf(string(id))
		if runs > 1 || record.Response.Success && runs != 1 {
			t.Errorf("activation %s ran %d times and its record says %q", id, runs, record.Response.Status)
		}
	}
	t.Logf("outcomes: %v", outcomes)
	if outcomes["success"] == 0 {
		t.Error("not one activation succeeded")
	}
	if n := outcomes["application error"] + outcomes["action developer error"]; n != 0 {
		t.Errorf("%d activations blame the action for the crash", n)
	}
}

// checkNoDoubleRecords lists all records of the action, when they are stored: who
// asks for a record by its id may have it a little earlier, and one that comes
// between two pages moves others from one to the next.
func checkNoDoubleRecords(t *testing.T, p *platform, name string, accepted []whisk.ActivationID) {
	t.Helper()
	var seen map[whisk.ActivationID]int
	eventually(t, recordTime, "all activations are listed, and no others come", func() bool {
		before := seen
		seen = timesListed(t, p, name)
		return maps.Equal(before, seen) && !slices.ContainsFunc(accepted, func(id whisk.ActivationID) bool { return seen[id] == 0 })
	})
	for id, n := range seen {
		if n != 1 {
			t.Errorf("activation %s is listed %d times", id, n)
		}
	}
}

// timesListed lists all records of the action, page by page.
func timesListed(t *testing.T, p *platform, name string) map[whisk.ActivationID]int {
	t.Helper()
	const page = 200
	seen := map[whisk.ActivationID]int{}
	for skip := 0; ; skip += page {
		records := listActivations(t, p, client.ActivationQuery{Name: name, Page: client.Page{Limit: page, Skip: skip}})
		for _, record := range records {
			seen[record.ID]++
		}
		if len(records) < page {
			return seen
		}
	}
}
