// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/whisk"
)

// guestbook is another controller's end of a session with the balancer.
type guestbook struct {
	w       *world
	session whisk.ControllerToPeer
	served  chan error
	seq     uint64
}

// visit opens a session. It is over at the end of the test at the latest.
func (w *world) visit() *guestbook {
	near, far := inmem.Pipe[whisk.Forward, whisk.ForwardReply]()
	g := &guestbook{w: w, session: near, served: make(chan error, 1)}
	go func() {
		g.served <- w.b.ServePeer(context.Background(), far)
		far.Close()
	}()
	w.t.Cleanup(func() { near.Close() })
	return g
}

// forward asks for a run of the action hello.
func (g *guestbook) forward(adjust ...func(*whisk.Forward)) {
	g.w.t.Helper()
	g.seq++
	m := whisk.Forward{
		Seq: g.seq, Controller: "c2", Activation: "abcdefabcdefabcdefabcdefabcdefab", Key: key, StartBy: time.Now().Add(time.Minute),
		Timeout: time.Minute, Logs: whisk.MB, ResultLimit: whisk.MB, Sentinels: true, Run: []byte(`{"guest":true}`),
	}
	for _, f := range adjust {
		f(&m)
	}
	if err := g.session.Send(g.w.t.Context(), m); err != nil {
		g.w.t.Fatal(err)
	}
	synctest.Wait()
}

// hears returns what the balancer says next.
func hears[M whisk.ForwardReply](g *guestbook) M {
	g.w.t.Helper()
	got, err := g.session.Recv(g.w.t.Context())
	if err != nil {
		g.w.t.Fatal(err)
	}
	m, is := got.(M)
	if !is {
		g.w.t.Fatalf("heard %T%+v", got, got)
	}
	return m
}

func (g *guestbook) refused(reason string) {
	g.w.t.Helper()
	if m := hears[whisk.ForwardRefused](g); m.Seq != g.seq || !strings.Contains(m.Reason, reason) {
		g.w.t.Errorf("%+v, want a refusal with %q", m, reason)
	}
}

// several lets a container run so many at once.
func several(n int) func(*whisk.Invocation) {
	return func(inv *whisk.Invocation) { inv.Limits.Concurrency = n }
}

// TestAForwardThatComesTwice has a controller repeat itself.
func TestAForwardThatComesTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = slowRuns
		w.start()
		w.expect(w.invoke(several(3)), whisk.Success, `{}`)
		g := w.visit()
		g.forward()
		hears[whisk.ForwardTaken](g)
		g.forward(func(m *whisk.Forward) { m.Seq-- })
		if ended := hears[whisk.ForwardEnded](g); string(ended.Response.Result) != `{}` {
			t.Errorf("the first one ended with %+v", ended)
		}
		hears[whisk.ForwardLogged](g)
		if err := <-g.served; whisk.KindOf(err) != whisk.Invalid || !strings.Contains(err.Error(), "forward 1 of abcdef") {
			t.Errorf("the session ended with %v", err)
		}
		if runs := w.box("box1").runs.Load(); runs != 2 {
			t.Errorf("%d runs, want one of its own and one of a guest", runs)
		}
	})
}

func TestHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = slowRuns
		w.start()
		g := w.visit()
		g.forward()
		g.refused("no container") // nor action
		own := w.background(several(2))
		g.forward()
		taken := hears[whisk.ForwardTaken](g)
		start := time.Now()
		g.forward()
		g.refused("no container")
		ended := hears[whisk.ForwardEnded](g)
		if ended.Seq != taken.Seq || taken.Container != "box1" || string(ended.Response.Result) != `{}` || !ended.Start.Equal(start) || ended.Run != time.Second || !ended.Logs {
			t.Errorf("%+v, %+v", taken, ended)
		}
		w.expect(<-own, whisk.Success, `{}`)
		if logged := hears[whisk.ForwardLogged](g); logged.Seq != taken.Seq || logged.Error() != nil || logged.Logs.Lines == 0 {
			t.Errorf("%+v", logged)
		}
		x := w.box("box1")
		if x.most.Load() != 2 || x.runs.Load() != 2 || x.inits.Load() != 1 {
			t.Errorf("%d runs, %d at once, %d inits", x.runs.Load(), x.most.Load(), x.inits.Load())
		}
		w.expectCollected(2)
		if s := w.b.Snapshot(); s.Hosted != 1 || s.Refused != 2 || s.Guests != 0 || s.Inflight != 0 {
			t.Errorf("%+v", s)
		}
		time.Sleep(15 * time.Second) // paused by now: it is resumed
		g.forward()
		hears[whisk.ForwardTaken](g)
		hears[whisk.ForwardEnded](g)
	})
}

// expectCollected wants the output of so many different activations collected.
func (w *world) expectCollected(want int) {
	w.t.Helper()
	synctest.Wait() // for requests on their way
	g := w.agent("n1")
	g.mu.Lock()
	defer g.mu.Unlock()
	collected := map[whisk.ActivationID]bool{}
	for _, r := range g.requests {
		if r.Op == whisk.CollectLogs {
			collected[r.Logs.Activation] = true
		}
	}
	if len(collected) != want {
		w.t.Errorf("output was collected of %v", collected)
	}
}

func TestRefusesToHost(t *testing.T) {
	for _, row := range []struct {
		name   string
		config func(*balancer.Config)
		before func(*world)
		change func(*whisk.Forward)
		want   string
	}{
		{"another action", nil, nil, func(m *whisk.Forward) { m.Key.Action.Name = "other" }, "no container"},
		{"another revision", nil, nil, func(m *whisk.Forward) { m.Key.Revision++ }, "no container"},
		{"another namespace", nil, nil, func(m *whisk.Forward) { m.Key.Namespace = "other" }, "no container"},
		{"too late", nil, nil, func(m *whisk.Forward) { m.StartBy = time.Now().Add(-time.Second) }, "too late"},
		{"a changed action", nil, func(w *world) { w.b.Retire(key.Action, key.Revision+1) }, nil, "no container"},
		{"a container without the code", nil, func(w *world) {
			w.handle = func(*box, string, []byte) answer { return answer{raw: ok("").raw, after: time.Second} }
			w.background(several(3), func(inv *whisk.Invocation) { inv.Key.Revision = 6 })
		}, func(m *whisk.Forward) { m.Key.Revision = 6 }, "no container"},
		{"a lease that is not confirmed", nil, func(w *world) {
			g := w.agent("n1")
			g.mu.Lock()
			g.mute = true
			g.mu.Unlock()
			time.Sleep(whisk.LeaseTTL - whisk.LeaseMargin + 100*time.Millisecond)
		}, nil, "no container"},
		{"too many guests", func(c *balancer.Config) { c.Forwards = 1 }, func(w *world) {
			g := w.visit()
			g.forward()
			hears[whisk.ForwardTaken](g)
		}, nil, "1 activations of others run here already"},
		{"stopping", nil, func(w *world) {
			go w.b.Drain(w.t.Context())
			synctest.Wait()
		}, nil, "shutting down"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.handle = func(_ *box, path string, _ []byte) answer {
					if path == "/init" {
						return ok("")
					}
					return answer{raw: ok(`{}`).raw, after: 20 * time.Second}
				}
				w.start(func(c *balancer.Config) {
					if row.config != nil {
						row.config(c)
					}
				})
				own := w.background(several(3))
				if row.before != nil {
					row.before(w)
				}
				g := w.visit()
				change := row.change
				if change == nil {
					change = func(*whisk.Forward) {}
				}
				g.forward(change)
				g.refused(row.want)
				<-own
			})
		})
	}
}

// A container that turns the activation away has not begun it.
func TestGuestIsTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.invoke()
		w.handle = func(*box, string, []byte) answer { return status(503, "") }
		g := w.visit()
		g.forward()
		hears[whisk.ForwardTaken](g)
		g.refused("turned it away")
		w.expectReleases(whisk.ReleaseFailed)
	})
}

// A guest's run goes on when its controller is gone, and Drain waits for it.
func TestGuestOutlivesItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = slowRuns
		w.start()
		w.invoke()
		g := w.visit()
		g.forward()
		hears[whisk.ForwardTaken](g)
		g.session.Close()
		drained := make(chan error, 1)
		go func() { drained <- w.b.Drain(t.Context()) }()
		time.Sleep(500 * time.Millisecond)
		if len(drained) > 0 || len(g.served) > 0 || w.b.Snapshot().Guests != 1 {
			t.Error("nobody waits for the guest")
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if err := <-g.served; err != nil {
			t.Error(err)
		}
		w.expectReleases(whisk.ReleaseLeaving)
	})
}

// A guest that is cut by a Drain that runs out of time ends as one of our own.
func TestGuestIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.invoke()
		w.handle = func(*box, string, []byte) answer { return answer{hang: true} }
		g := w.visit()
		g.forward()
		hears[whisk.ForwardTaken](g)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.b.Drain(ctx); whisk.KindOf(err) != whisk.Timeout {
			t.Errorf("Drain: %v", err)
		}
		if m := hears[whisk.ForwardEnded](g); m.Response.Status != whisk.WhiskError {
			t.Errorf("%+v", m)
		}
	})
}

// TestTwoControllers has one balancer forward to another one.
func TestTwoControllers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		owner, origin := newWorld(t), newWorld(t)
		owner.handle = slowRuns
		owner.start()
		n := newNeighbour(origin)
		origin.start()
		serve := func() {
			session := <-n.sessions
			if err := owner.b.ServePeer(t.Context(), session); err != nil && !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			session.Close()
		}
		go serve()
		own := owner.background(several(3))
		first := origin.background(several(3))
		n.redirect()
		second := origin.background(several(3))
		n.redirect()
		third := origin.background(several(3))
		n.redirect() // there is no room for it
		_, r := n.requisitions()
		origin.allocate(r.ID, whisk.Created, r.Spec)
		for _, result := range []<-chan whisk.Outcome{own, first, second} {
			outcome := <-result
			owner.expect(outcome, whisk.Success, `{}`)
			if outcome.Container != "box1" {
				t.Errorf("%+v", outcome)
			}
		}
		origin.expect(<-third, whisk.Success, `{"done":true}`)
		s, o := origin.b.Snapshot(), owner.b.Snapshot()
		if s.Forwarded != 2 || s.Returned != 1 || o.Hosted != 2 || o.Refused != 1 || owner.box("box1").most.Load() != 3 {
			t.Errorf("%+v\n%+v", s, o)
		}
	})
}
