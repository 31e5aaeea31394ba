// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/whisk"
)

func TestForwardNotReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := newNeighbour(w)
		n.down.Store(true)
		w.start()
		result := w.background()
		n.redirect()
		if count, r := n.requisitions(); count != 2 || !r.Own {
			t.Fatalf("%d requisitions, the last %+v", count, r)
		}
		n.redirect() // by a scheduler that does not know better
		count, r := n.requisitions()
		if count != 3 || n.dials.Load() != 1 {
			t.Errorf("%d requisitions, %d dials", count, n.dials.Load())
		}
		w.allocate(r.ID, whisk.Created, r.Spec)
		w.expect(<-result, whisk.Success, `{"done":true}`)
	})
}

// A controller that says nothing gets no more, so that no more is lost with it.
func TestForwardToASilentController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := newNeighbour(w)
		w.start()
		stuck := w.background(func(inv *whisk.Invocation) { inv.StartBy = time.Now().Add(30 * time.Second) })
		n.redirect()
		session := <-n.sessions
		first := n.asked(session)
		time.Sleep(3 * time.Second)
		next := w.background()
		n.redirect()
		count, r := n.requisitions()
		if count != 3 || !r.Own {
			t.Fatalf("%d requisitions, the last %+v", count, r)
		}
		w.allocate(r.ID, whisk.Created, r.Spec)
		w.expect(<-next, whisk.Success, `{"done":true}`)

		// Late words are words.
		n.say(session, whisk.ForwardTaken{Seq: first.Seq, Container: "far"})
		w.b.Retire(key.Action, 0)
		synctest.Wait()
		third := w.background()
		n.redirect()
		second := n.asked(session)
		for _, m := range []whisk.Forward{first, second} {
			n.say(session, whisk.ForwardEnded{Seq: m.Seq, Response: whisk.Response{Result: []byte(`{}`)}})
		}
		w.expect(<-stuck, whisk.Success, `{}`)
		w.expect(<-third, whisk.Success, `{}`)
	})
}

// Another controller has so many of ours at most, those included whose output it
// still stores.
func TestForwardsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := newNeighbour(w)
		w.start(func(c *balancer.Config) { c.Forwards = 1 })
		first := w.background()
		n.redirect()
		session := <-n.sessions
		m := n.asked(session)
		n.say(session, whisk.ForwardTaken{Seq: m.Seq, Container: "far"})
		n.say(session, whisk.ForwardEnded{Seq: m.Seq, Response: whisk.Response{Result: []byte(`{}`)}, Logs: true})
		w.expect(<-first, whisk.Success, `{}`)
		second := w.background()
		n.redirect()
		if count, r := n.requisitions(); count != 3 || !r.Own || w.b.Snapshot().Returned != 1 {
			t.Fatalf("%d requisitions, the last %+v", count, r)
		}
		n.say(session, whisk.ForwardLogged{Seq: m.Seq, Kind: whisk.Unavailable, Err: "the log store is full"})
		n.redirect()
		m = n.asked(session)
		n.say(session, whisk.ForwardTaken{Seq: m.Seq, Container: "far"})
		n.say(session, whisk.ForwardEnded{Seq: m.Seq, Response: whisk.Response{Result: []byte(`{}`)}})
		w.expect(<-second, whisk.Success, `{}`)
	})
}

// What cannot be sent at all, nor taken by a peer in time, is not lost.
func TestForwardNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := newNeighbour(w)
		dial := w.dialPeer
		w.dialPeer = func(ctx context.Context, id whisk.ControllerID, address string) (whisk.ControllerToPeer, error) {
			near, err := dial(ctx, id, address)
			return stuffed{near}, err
		}
		w.start(func(c *balancer.Config) { c.HandOver = time.Second })
		result := w.background()
		n.redirect()
		time.Sleep(2 * time.Second)
		count, r := n.requisitions()
		if count != 2 || !r.Own {
			t.Fatalf("%d requisitions, the last %+v", count, r)
		}
		w.allocate(r.ID, whisk.Created, r.Spec)
		w.expect(<-result, whisk.Success, `{"done":true}`)
	})
}

// stuffed is a session that takes nothing.
type stuffed struct{ whisk.ControllerToPeer }

func (stuffed) Send(ctx context.Context, _ whisk.Forward) error {
	<-ctx.Done()
	return context.Cause(ctx)
}
