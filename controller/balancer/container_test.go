// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// The container does not listen at once: /init is tried every 50 ms.
func TestInitWaitsForTheSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.prepare = func(x *box) {
			x.refusing = true
			time.AfterFunc(420*time.Millisecond, func() {
				x.mu.Lock()
				defer x.mu.Unlock()
				x.refusing = false
			})
		}
		w.start()
		outcome := w.invoke()
		w.expect(outcome, whisk.Success, `{"done":true}`)
		if outcome.Init != 450*time.Millisecond {
			t.Errorf("init took %v", outcome.Init)
		}
	})
}

func TestInitNeverListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.prepare = func(x *box) { x.refusing = true }
		w.start()
		outcome := w.invoke(func(inv *whisk.Invocation) { inv.Limits.Timeout = 10 * time.Second })
		w.expect(outcome, whisk.DeveloperError, `{"error":"The action exceeded its time limits of 10000 milliseconds during initialization."}`)
		if !outcome.TimedOut || outcome.Init != 10*time.Second {
			t.Errorf("%+v", outcome)
		}
		w.expectReleases(whisk.ReleaseFailed)
	})
}

// Init and run each have the whole time limit.
func TestTimeoutsAreSeparate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = func(*box, string, []byte) answer { return answer{raw: ok("{}").raw, after: 50 * time.Second} }
		w.start()
		var deadlines []time.Time
		begin := time.Now()
		outcome := w.invoke(func(inv *whisk.Invocation) {
			inv.InitBody = func(_ context.Context, deadline time.Time) ([]byte, error) {
				deadlines = append(deadlines, deadline)
				return nil, nil
			}
			inv.RunBody = func(deadline time.Time) []byte {
				deadlines = append(deadlines, deadline)
				return nil
			}
		})
		w.expect(outcome, whisk.Success, `{}`)
		want := []time.Time{begin.Add(60 * time.Second), begin.Add(110 * time.Second)}
		if !slices.EqualFunc(deadlines, want, time.Time.Equal) {
			t.Errorf("deadlines %v, want %v", deadlines, want)
		}
	})
}

// 503 says that the container is shutting down: the activation goes elsewhere,
// a bounded number of times.
func TestServiceUnavailableReschedules(t *testing.T) {
	for _, path := range []string{"/init", "/run"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.handle = func(x *box, p string, _ []byte) answer {
				if p == path && x.ID == "box1" {
					return status(503, "")
				}
				return ok(`{}`)
			}
			w.start()
			outcome := w.invoke()
			w.expect(outcome, whisk.Success, `{}`)
			if outcome.Container != "box2" {
				t.Errorf("%+v", outcome)
			}
			w.expectReleases(whisk.ReleaseFailed)
		})
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.handle = func(_ *box, p string, _ []byte) answer {
				if p == path {
					return status(503, "")
				}
				return ok(`{}`)
			}
			w.start()
			w.expect(w.invoke(), whisk.WhiskError, `{"error":"Failed to provision resources to run the action."}`)
			w.expectReleases(whisk.ReleaseFailed, whisk.ReleaseFailed, whisk.ReleaseFailed)
		})
	}
}

func TestWarmContainerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.invoke()
		w.box("box1").kill()
		claims := 0
		outcome := w.invoke(func(inv *whisk.Invocation) {
			inv.Claim = func(context.Context) error { claims++; return nil }
		})
		w.expect(outcome, whisk.Success, `{"done":true}`)
		if outcome.Container != "box2" || !outcome.Cold || claims != 1 {
			t.Errorf("%+v, %d claims", outcome, claims)
		}
	})
}

// The runtime closed the kept connection and still listens: a new connection
// serves, and nothing is sent twice.
func TestKeptConnectionWasClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.invoke()
		x := w.box("box1")
		x.mu.Lock()
		x.conns[0].Close()
		x.mu.Unlock()
		outcome := w.invoke()
		w.expect(outcome, whisk.Success, `{"done":true}`)
		if outcome.Container != "box1" || x.runs.Load() != 2 || x.dials.Load() != 2 {
			t.Errorf("%+v, %d runs, %d connections", outcome, x.runs.Load(), x.dials.Load())
		}
	})
}

// An idle TCP connection is dropped before the runtime may do it; a Unix one is kept.
func TestIdleConnections(t *testing.T) {
	for _, test := range []struct {
		network string
		conns   int
	}{{"tcp", 2}, {"unix", 1}} {
		t.Run(test.network, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.prepare = func(x *box) { x.Address.Network = test.network }
				w.start()
				w.invoke()
				time.Sleep(2900 * time.Millisecond)
				w.invoke()
				time.Sleep(3100 * time.Millisecond)
				w.invoke()
				if n := w.box("box1").dials.Load(); int(n) != test.conns {
					t.Errorf("%d connections, want %d", n, test.conns)
				}
			})
		})
	}
}

// The most recently used container is taken, so that the others go idle.
func TestMostRecentlyUsedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = func(x *box, path string, body []byte) answer {
			a := ok(`{}`)
			if path == "/run" {
				a.after, _ = time.ParseDuration(string(body))
			}
			return a
		}
		w.start()
		var results []<-chan whisk.Outcome
		for _, d := range []string{"3s", "5s", "4s"} {
			results = append(results, w.background(named(d)))
		}
		var last whisk.ContainerID
		for i, r := range results {
			if outcome := <-r; i == 1 {
				last = outcome.Container
			}
		}
		for range 10 {
			if outcome := w.invoke(named("1s")); outcome.Container != last {
				t.Errorf("went to %s, want %s", outcome.Container, last)
			}
		}
		time.Sleep(5 * time.Second)
		if s := w.b.Snapshot().Actions[0]; s.Paused != 2 || s.Free != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = func(*box, string, []byte) answer { return answer{raw: ok(`{}`).raw, after: time.Second} }
		w.start()
		four := func(inv *whisk.Invocation) { inv.Limits.Concurrency = 4 }
		var results []<-chan whisk.Outcome
		for range 8 {
			results = append(results, w.background(four))
		}
		for _, r := range results {
			w.expect(<-r, whisk.Success, `{}`)
		}
		if w.made.Load() != 2 {
			t.Errorf("%d containers for 8 activations of concurrency 4", w.made.Load())
		}
		for _, x := range w.all() {
			if x.most.Load() != 4 || x.inits.Load() != 1 {
				t.Errorf("%s: %d at once, %d inits", x.ID, x.most.Load(), x.inits.Load())
			}
		}
	})
}

// TestSlotOfAFullContainerIsGivenAtOnce has three ask for two slots: the third waits for the
// first that comes free, and not until the container is idle or another one is made.
func TestSlotOfAFullContainerIsGivenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = func(_ *box, _ string, body []byte) answer {
			if string(body) == "long" {
				return answer{raw: ok(`{}`).raw, after: 10 * time.Second}
			}
			return answer{raw: ok(`{}`).raw, after: time.Second}
		}
		w.start()
		two := func(inv *whisk.Invocation) { inv.Limits.Concurrency = 2 }
		w.expect(w.invoke(two), whisk.Success, `{}`)
		w.createDelay = time.Hour
		start := time.Now()
		long, short := w.background(two, named("long")), w.background(two)
		time.Sleep(time.Millisecond)
		w.expect(w.invoke(two), whisk.Success, `{}`)
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("who waited for a slot had an answer after %s", took)
		}
		w.expect(<-short, whisk.Success, `{}`)
		w.expect(<-long, whisk.Success, `{}`)
	})
}

// TestOneContainerIsAskedForWhatFitsInIt has calls come one by one for which one container
// will do, while that is made.
func TestOneContainerIsAskedForWhatFitsInIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.createDelay = time.Second
		w.handle = func(*box, string, []byte) answer { return answer{raw: ok(`{}`).raw, after: time.Second} }
		w.start()
		four := func(inv *whisk.Invocation) { inv.Limits.Concurrency = 4 }
		var results []<-chan whisk.Outcome
		for n := range 9 {
			if n == 8 && w.made.Load() != 0 {
				t.Fatal("the containers are there too early")
			}
			results = append(results, w.background(four))
			time.Sleep(10 * time.Millisecond)
		}
		for _, r := range results {
			w.expect(<-r, whisk.Success, `{}`)
		}
		if w.made.Load() != 3 {
			t.Errorf("%d containers for 9 activations of concurrency 4", w.made.Load())
		}
	})
}

// A failure in a shared container lets the others finish and then ends it.
func TestFailureInSharedContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = func(_ *box, path string, body []byte) answer {
			switch {
			case path == "/init":
				return ok("")
			case string(body) == "bad":
				return status(500, "{}")
			}
			return answer{raw: ok(`{}`).raw, after: 3 * time.Second}
		}
		w.start()
		four := func(inv *whisk.Invocation) { inv.Limits.Concurrency = 4 }
		good := w.background(four, named("good"))
		bad := w.background(four, named("bad"))
		if outcome := <-bad; outcome.Response.Status != whisk.DeveloperError {
			t.Errorf("%+v", outcome)
		}
		w.expectReleases()
		if outcome := w.invoke(four, named("next")); outcome.Container != "box2" {
			t.Errorf("%+v", outcome)
		}
		w.expect(<-good, whisk.Success, `{}`)
		w.expectReleases(whisk.ReleaseFailed)
	})
}

// A container goes back only when the agent has its logs.
func TestReleaseWaitsForLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = func(_ *box, path string, _ []byte) answer { return status(500, "") }
		w.start()
		g := w.agent("n1")
		g.slowLogs = 5 * time.Second
		outcome := w.invoke()
		// Being asked for meanwhile does not make it any better.
		w.send(whisk.Reclaim{Container: outcome.Container, Drain: true})
		w.send(whisk.Reclaim{Container: outcome.Container})
		time.Sleep(4900 * time.Millisecond)
		w.expectReleases()
		if _, err := outcome.AwaitLogs(t.Context()); err != nil {
			t.Error(err)
		}
		w.expectReleases(whisk.ReleaseFailed)
		// But not for ever.
		g.mu.Lock()
		g.slowLogs = time.Hour
		g.mu.Unlock()
		w.invoke()
		time.Sleep(31 * time.Second)
		w.expectReleases(whisk.ReleaseFailed, whisk.ReleaseFailed)
	})
}
