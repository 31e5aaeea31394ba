// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// A new container that comes for activations which a crowd keeps out has no use before
// they are let in: somebody else may have it.
func TestCrowdKeepsNoNewContainer(t *testing.T) {
	b := unstarted(t)
	inv := &whisk.Invocation{Limits: whisk.ActionLimits{Concurrency: 1}, Received: time.Now()}
	a := b.lockAction(inv)
	defer a.mu.Unlock()
	g := newAgent(b, "n1", "")
	g.dispatchUntil.Store(b.now() + int64(time.Hour))
	warm := holdLocked(a, "warm", g, free)
	a.pressure.bound = 1
	if got := a.takeLocked(b.now()); got != warm {
		t.Fatalf("took %v", got)
	}
	w := a.waitLocked(inv, false, b.now())
	fresh := holdLocked(a, "fresh", g, cold)
	a.pumpLocked(b.now())
	if fresh.state != released || fresh.reason != whisk.ReleaseUnused || a.coming != 0 {
		t.Errorf("it is %v, given back as %v", fresh.state, fresh.reason)
	}
	a.leaveLocked(warm, b.now())
	if v := <-w.verdict; v.container != warm {
		t.Errorf("who waited got %+v", v)
	}
}

// How much of what waits is asked for at once.
func TestAskedForInACrowd(t *testing.T) {
	const waiting = 20
	for _, row := range []struct {
		name          string
		dense, spared bool
		away          int // activations that other controllers have
		want          int
	}{
		{"no crowd", false, false, 0, waiting},
		{"a crowd", true, false, 0, 1},
		{"a crowd that does it no harm", true, true, 0, waiting},
		{"a crowd, and others help", true, false, 5, 5},
	} {
		b := unstarted(t)
		inv := &whisk.Invocation{Limits: whisk.ActionLimits{Concurrency: 1}, Received: time.Now()}
		a := b.lockAction(inv)
		for range waiting {
			a.waitLocked(inv, false, b.now())
		}
		b.crowd.dense.Store(row.dense)
		a.pressure.spared, a.away = row.spared, row.away
		if got := a.missingLocked(); got != row.want {
			t.Errorf("%s: %d are asked for, want %d", row.name, got, row.want)
		}
		a.mu.Unlock()
	}
}

// What is usual follows shorter runs quickly, and longer ones slowly.
func TestUsual(t *testing.T) {
	const ms = time.Millisecond
	var p pressure
	for _, step := range []struct{ run, want time.Duration }{
		{42 * ms, 42 * ms}, {10 * ms, 26 * ms}, {10 * ms, 18 * ms}, {50 * ms, 19 * ms}, {19 * ms, 19 * ms},
	} {
		p.ran(step.run)
		p.ran(step.run)
		p.ease(0)
		if p.usual != step.want {
			t.Errorf("after runs of %v %v are usual, want %v", step.run, p.usual, step.want)
		}
		p.next()
	}
}

// Runs that take twice as long are let be; of an action whose runs take longer, all that
// waits goes but for what may stay.
func TestTighten(t *testing.T) {
	const ms = time.Millisecond
	for _, row := range []struct {
		name     string
		run      time.Duration // where 10 are usual
		runnable float64
		floor    int
		want     int // of 20 at once
	}{
		{"twice as long", 20 * ms, 100, 1, 0},
		{"a bit longer", 21 * ms, 100, 1, 11}, // 10 and a half waited
		{"much longer", 100 * ms, 100, 1, 4},  // 18 waited
		{"much longer, where more may wait", 100 * ms, 100, 5, 7},
		{"much longer, in what is hardly a crowd", 100 * ms, 9, 1, 18},
		{"less than may wait", 100 * ms, 100, 30, 0},
	} {
		p := pressure{usual: 10 * ms, most: 20}
		period := row.run / 2 // so that 20 are in their runs at a time
		for range 10 {
			p.ran(row.run)
		}
		p.tighten(row.runnable, period, row.floor, 0)
		if p.bound != row.want {
			t.Errorf("%s: bounded to %d, want %d", row.name, p.bound, row.want)
		}
	}
}

func TestThreads(t *testing.T) {
	for load, want := range map[string]int{
		"0.20 0.18 0.12 1/80 11206\n":    0,
		"26.1 25.0 25.6 300/812 23530\n": 299,
		"0.20 0.18 0.12 0/80 11206\n":    0,
		"0.20 0.18 0.12 many 11206\n":    0,
		"":                               0,
	} {
		if got := threads([]byte(load)); got != want {
			t.Errorf("%q tells of %d threads, want %d", load, got, want)
		}
	}
}

// Who has at least as much to do as all have on the average crowds the others, but not who
// gets less done for it, or does not wait.
func TestCrowding(t *testing.T) {
	for _, row := range []struct {
		name string
		of   map[string]share
		want []string
	}{
		{"nobody", map[string]share{}, nil},
		{"one", map[string]share{"a": {open: 10, done: 5}}, []string{"a"}},
		{"alike", map[string]share{"a": {open: 10, done: 5}, "b": {open: 10, done: 5}}, []string{"a", "b"}},
		{"one that waits for less than two periods", map[string]share{"a": {open: 9, done: 5}}, nil},
		{"much and little", map[string]share{"a": {open: 1000, done: 500}, "b": {open: 3, done: 5}}, []string{"a"}},
		{"much, and nearly as much done", map[string]share{"a": {open: 900, done: 400}, "b": {open: 3, done: 600}}, []string{"a"}},
		{"much, but less done", map[string]share{"a": {open: 900, done: 390}, "b": {open: 3, done: 610}}, nil},
		{"two with much", map[string]share{"a": {open: 900, done: 400}, "b": {open: 800, done: 400}, "c": {open: 3, done: 100}}, []string{"a", "b"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := shares{}
			for namespace, of := range row.of {
				s[&tenant{namespace: namespace}] = of
			}
			if got := slices.Sorted(slices.Values(s.crowding())); !slices.Equal(got, row.want) {
				t.Errorf("%v crowd others, want %v", got, row.want)
			}
		})
	}
}

// A share is an average over some periods, and begins with the first of them.
func TestSharesAreAverages(t *testing.T) {
	here, new, gone := &tenant{}, &tenant{}, &tenant{}
	former := shares{here: {open: 16, done: 80}, gone: {open: 1, done: 1}}
	now := shares{here: share{}.plus(24, 0), new: share{}.plus(3, 4).plus(2, 1)}.after(former)
	want := shares{here: {open: 17, done: 70}, new: {open: 5, done: 5}}
	if !maps.Equal(now, want) {
		t.Errorf("%v, want %v", now, want)
	}
}

// Who crowds others does so by his share of some periods, not by that of the latest.
func TestCrowdingTakesTime(t *testing.T) {
	b := unstarted(t)
	l := &latest{}
	b.deps.Lookout = l
	inv := &whisk.Invocation{Limits: whisk.ActionLimits{Concurrency: 1}, Received: time.Now()}
	inv.Key.Namespace = "noisy"
	a := b.lockAction(inv)
	a.pressure.bound = 1
	for range 10 {
		a.waitLocked(inv, false, b.now())
	}
	a.mu.Unlock()
	for i, row := range []struct {
		done int
		want []string
	}{{20, nil}, {0, nil}, {0, nil}, {1, nil}, {0, nil}, {0, nil}, {0, nil}, {0, nil}, {0, nil}, {0, nil}, {0, nil}, {0, []string{"noisy"}}, {7, []string{"noisy"}}} {
		a.pressure.ended = row.done
		b.crowd.active = []*action{a}
		b.crowd.judge(100, crowdPeriod, b.now())
		if !slices.Equal(l.crowd, row.want) {
			t.Errorf("after period %d, in which %d runs ended, %v crowd others, want %v", i, row.done, l.crowd, row.want)
		}
	}
}

// latest is a lookout that knows what it was told last.
type latest struct {
	nobody
	crowd []string
}

func (l *latest) Crowd(namespaces []string) { l.crowd = namespaces }
