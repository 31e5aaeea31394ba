// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/whisk"
)

// neighbour is another controller, c2 at c2:1, whose end of each session the
// test has.
type neighbour struct {
	w        *world
	down     atomic.Bool
	dials    atomic.Int32
	sessions chan whisk.PeerToController
}

// newNeighbour is made before the world starts; requisitions are answered by the test.
func newNeighbour(w *world) *neighbour {
	n := &neighbour{w: w, sessions: make(chan whisk.PeerToController, 10)}
	w.manual = true
	w.dialPeer = func(_ context.Context, id whisk.ControllerID, address string) (whisk.ControllerToPeer, error) {
		n.dials.Add(1)
		if n.down.Load() || id != "c2" || address != "c2:1" {
			return nil, errors.New("nobody answers")
		}
		near, far := inmem.Pipe[whisk.Forward, whisk.ForwardReply]()
		n.sessions <- far
		return near, nil
	}
	return n
}

// redirect answers the latest requisition.
func (n *neighbour) redirect() {
	n.w.t.Helper()
	r := sent[whisk.Requisition](n.w)
	n.w.send(whisk.Redirect{Requisition: r[len(r)-1].ID, Controller: "c2", Peers: "c2:1"})
	synctest.Wait()
}

// asked returns what the session brings next.
func (n *neighbour) asked(session whisk.PeerToController) whisk.Forward {
	n.w.t.Helper()
	m, err := session.Recv(n.w.t.Context())
	if err != nil {
		n.w.t.Fatal(err)
	}
	return m
}

func (n *neighbour) say(session whisk.PeerToController, m whisk.ForwardReply) {
	n.w.t.Helper()
	if err := session.Send(n.w.t.Context(), m); err != nil {
		n.w.t.Fatal(err)
	}
	synctest.Wait()
}

// requisitions returns how many there were, and the latest.
func (n *neighbour) requisitions() (int, whisk.Requisition) {
	synctest.Wait()
	all := sent[whisk.Requisition](n.w)
	return len(all), all[len(all)-1]
}

const lost = `{"error":"The activation was lost: the controller that ran it is out of reach."}`

func TestForwarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := newNeighbour(w)
		w.start()
		if r := sent[whisk.Register](w)[0]; r.Peers != "c1:1" {
			t.Errorf("registered %+v", r)
		}
		claims := 0
		began := time.Now()
		result := w.background(func(inv *whisk.Invocation) {
			inv.Claim = func(context.Context) error { claims++; return nil }
		})
		n.redirect()
		session := <-n.sessions
		m := n.asked(session)
		if m.Controller != "c1" || m.Key != key || m.Timeout != time.Minute || m.Logs != 10*whisk.MB || m.ResultLimit != whisk.MB ||
			!m.Sentinels || string(m.Run) != `{"value":{}}` || !m.StartBy.Equal(began.Add(time.Minute)) || claims != 1 {
			t.Errorf("%d claims, forwarded %+v", claims, m)
		}
		time.Sleep(time.Second)
		n.say(session, whisk.ForwardTaken{Seq: m.Seq, Container: "far"})
		start := time.Now()
		time.Sleep(2 * time.Second)
		n.say(session, whisk.ForwardEnded{
			Seq: m.Seq, Response: whisk.Response{Status: whisk.Success, Result: []byte(`{"far":true}`)}, Start: start, Run: 2 * time.Second, Logs: true,
		})
		outcome := <-result
		w.expect(outcome, whisk.Success, `{"far":true}`)
		if outcome.Container != "far" || outcome.Wait != time.Second || outcome.Run != 2*time.Second || outcome.Cold || claims != 1 {
			t.Errorf("%d claims, %+v", claims, outcome)
		}
		logged := make(chan whisk.LogSummary, 1)
		go func() {
			summary, err := outcome.AwaitLogs(t.Context())
			if err != nil {
				t.Error(err)
			}
			logged <- summary
		}()
		synctest.Wait()
		if len(logged) > 0 {
			t.Error("the record does not wait for the logs")
		}
		n.say(session, whisk.ForwardLogged{Seq: m.Seq, Logs: whisk.LogSummary{Lines: 7}})
		if got := <-logged; got.Lines != 7 {
			t.Errorf("logs %+v", got)
		}
		if count, _ := n.requisitions(); count != 1 || w.b.Snapshot().Forwarded != 1 || w.b.Snapshot().Inflight != 0 {
			t.Errorf("%d requisitions, %+v", count, w.b.Snapshot())
		}

		// The next one takes the same session, which ends when it is of no use.
		second := w.background()
		n.redirect()
		m = n.asked(session)
		n.say(session, whisk.ForwardTaken{Seq: m.Seq, Container: "far"})
		n.say(session, whisk.ForwardEnded{Seq: m.Seq, Response: whisk.Response{Status: whisk.ApplicationError, Result: []byte(`{"error":1}`)}, TimedOut: true})
		outcome = <-second
		w.expect(outcome, whisk.ApplicationError, `{"error":1}`)
		if !outcome.TimedOut || outcome.AfterLogs != nil || outcome.Start.Before(start) {
			t.Errorf("%+v", outcome)
		}
		if _, err := session.Recv(t.Context()); !errors.Is(err, io.EOF) || n.dials.Load() != 1 {
			t.Errorf("the session ended with %v, after %d dials", err, n.dials.Load())
		}
	})
}

// One that is refused goes back to the head of the queue, and a container of our
// own is asked for.
func TestForwardRefused(t *testing.T) {
	for name, taken := range map[string]bool{"at once": false, "by the container": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				n := newNeighbour(w)
				w.handle = slowRuns
				w.start()
				claims := 0
				first := w.background(named("first"), func(inv *whisk.Invocation) { inv.Claim = func(context.Context) error { claims++; return nil } })
				n.redirect()
				session := <-n.sessions
				m := n.asked(session)
				second := w.background(named("second"))
				if taken {
					n.say(session, whisk.ForwardTaken{Seq: m.Seq, Container: "far"})
				}
				n.say(session, whisk.ForwardRefused{Seq: m.Seq, Reason: "full"})
				count, r := n.requisitions()
				if count != 3 || !r.Own || w.b.Snapshot().Returned != 1 {
					t.Fatalf("%d requisitions, the last %+v", count, r)
				}
				w.allocate(r.ID, whisk.Created, r.Spec)
				w.expect(<-first, whisk.Success, `{}`)
				if len(second) > 0 || claims != 1 {
					t.Errorf("the second came first, or the first was claimed %d times", claims)
				}
				w.expect(<-second, whisk.Success, `{}`)
				time.Sleep(2 * time.Second)
				later := w.background(named("later"), func(inv *whisk.Invocation) { inv.Key.Revision++ })
				if _, r := n.requisitions(); r.Own {
					t.Error("another action wants no redirect")
				}
				_, r = n.requisitions()
				w.allocate(r.ID, whisk.Created, r.Spec)
				<-later
			})
		})
	}
}

// A redirect for which nobody waits any more, or that leads nowhere, starts nothing.
func TestRedirectsToNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := newNeighbour(w)
		w.start()
		result := w.background()
		_, r := n.requisitions()
		w.send(whisk.Redirect{Requisition: r.ID, Controller: "c2"})
		count, again := n.requisitions()
		if count != 2 || !again.Own {
			t.Fatalf("%d requisitions, the last %+v", count, again)
		}
		w.allocate(again.ID, whisk.Created, again.Spec)
		<-result
		w.send(whisk.Redirect{Requisition: again.ID, Controller: "c2", Peers: "c2:1"})
		synctest.Wait()
		if n.dials.Load() != 0 {
			t.Errorf("%d dials", n.dials.Load())
		}
	})
}

// Once it was sent an activation runs nowhere else, whatever happens then.
func TestForwardLost(t *testing.T) {
	breaks := func(n *neighbour, session whisk.PeerToController) { session.Close() }
	silence := func(*neighbour, whisk.PeerToController) {}
	for _, row := range []struct {
		name  string
		taken bool
		then  func(*neighbour, whisk.PeerToController)
		after time.Duration
	}{
		{"the session breaks before it is taken", false, breaks, 0},
		{"the session breaks when it was taken", true, breaks, 0},
		{"nobody says that it is taken", false, silence, 30 * time.Second},
		{"nobody says how it ended", true, silence, 70 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				n := newNeighbour(w)
				w.start()
				began := time.Now()
				result := w.background(func(inv *whisk.Invocation) { inv.StartBy = began.Add(30 * time.Second) })
				n.redirect()
				session := <-n.sessions
				m := n.asked(session)
				want := whisk.ContainerID("")
				if row.taken {
					n.say(session, whisk.ForwardTaken{Seq: m.Seq, Container: "far"})
					want = "far"
				}
				row.then(n, session)
				outcome := <-result
				w.expect(outcome, whisk.WhiskError, lost)
				if took := time.Since(began); outcome.Container != want || took != row.after || outcome.AfterLogs != nil {
					t.Errorf("after %v, want %v: %+v", took, row.after, outcome)
				}
				time.Sleep(5 * time.Second)
				if count, _ := n.requisitions(); count != 1 {
					t.Errorf("%d requisitions", count)
				}
				session.Close()
			})
		})
	}
}

func TestForwardedLogsAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := newNeighbour(w)
		w.start()
		result := w.background()
		n.redirect()
		session := <-n.sessions
		m := n.asked(session)
		n.say(session, whisk.ForwardTaken{Seq: m.Seq, Container: "far"})
		n.say(session, whisk.ForwardEnded{Seq: m.Seq, Response: whisk.Response{Result: []byte(`{}`)}, Logs: true})
		outcome := <-result
		w.expect(outcome, whisk.Success, `{}`)
		session.Close()
		if _, err := outcome.AwaitLogs(t.Context()); whisk.KindOf(err) != whisk.Unavailable {
			t.Errorf("logs: %v, want unavailable", err)
		}
	})
}

// A controller that stops waits for what others run for it, and not for ever.
func TestDrainWaitsForWhatIsForwarded(t *testing.T) {
	for name, answered := range map[string]bool{"answered": true, "not answered": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				n := newNeighbour(w)
				w.start()
				result := w.background()
				n.redirect()
				session := <-n.sessions
				m := n.asked(session)
				n.say(session, whisk.ForwardTaken{Seq: m.Seq, Container: "far"})
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				drained := make(chan error, 1)
				go func() { drained <- w.b.Drain(ctx) }()
				time.Sleep(time.Second)
				if len(drained) > 0 {
					t.Error("Drain did not wait")
				}
				if answered {
					n.say(session, whisk.ForwardEnded{Seq: m.Seq, Response: whisk.Response{Result: []byte(`{}`)}})
					w.expect(<-result, whisk.Success, `{}`)
					if err := <-drained; err != nil {
						t.Error(err)
					}
					return
				}
				if err := <-drained; whisk.KindOf(err) != whisk.Timeout {
					t.Errorf("Drain: %v", err)
				}
				w.expect(<-result, whisk.WhiskError, `{"error":"The platform is shutting down and ended the activation."}`)
			})
		})
	}
}
