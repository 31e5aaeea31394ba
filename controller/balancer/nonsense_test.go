// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// babble makes what a scheduler and other controllers could say, well formed and
// otherwise anything: about requisitions and containers that never were, twice, late.
type babble struct{ *rand.Rand }

func pick[T any](b babble, from ...T) T { return from[b.IntN(len(from))] }

func (b babble) container() whisk.ContainerID {
	return pick[whisk.ContainerID](b, "box1", "box2", "box3", "box4", "never", "")
}

func (b babble) event(w *world) whisk.FactoryEvent {
	id := whisk.RequisitionID(b.IntN(6))
	switch b.IntN(10) {
	case 0, 1, 2:
		made := w.make(whisk.ContainerSpec{Kind: "nodejs:20", Memory: 256 * whisk.MB}, pick[whisk.NodeID](b, "n1", "n2")).Container
		if other := b.container(); w.box(other) != nil && b.IntN(4) == 0 {
			made.ID = other // at another address
		}
		return whisk.Allocation{Requisition: id, Container: made, Agent: pick(b, "", "a", "b"), Origin: whisk.Origin(b.IntN(3))}
	case 3:
		return whisk.Redirect{Requisition: id, Controller: pick[whisk.ControllerID](b, "c1", "c2", ""), Peers: pick(b, "", "c2:1")}
	case 4:
		return whisk.Rejection{Requisition: id, Reason: whisk.RejectReason(b.IntN(5)), RetryAfter: pick(b, 0, time.Second, -time.Second, 1<<62)}
	case 5:
		return whisk.Roster{Nodes: []whisk.NodeStanding{{Node: "n1", State: whisk.NodeState(b.IntN(6))}}}
	case 6:
		return whisk.KeepAlive{Epoch: b.Uint64N(9)}
	case 7:
		return whisk.Lost{Container: b.container(), Reason: "nonsense"}
	}
	return whisk.Reclaim{Container: b.container(), Drain: b.IntN(2) == 0}
}

// guest says something as another controller.
func (b babble) guest(g *guestbook) {
	g.seq += b.Uint64N(2)
	_ = g.session.Send(g.w.t.Context(), whisk.Forward{ // it is over after the first number that does not rise
		Seq: g.seq, Controller: "c2", Activation: "abcdefabcdefabcdefabcdefabcdefab", Key: key,
		StartBy: time.Now().Add(pick(b, -time.Hour, 0, time.Minute, 1<<62)), Timeout: pick(b, 0, time.Second, time.Minute),
		Logs: pick(b, 0, whisk.MB), ResultLimit: pick(b, 0, 1, whisk.MB), Run: []byte(pick(b, "", "{", `{"guest":true}`)),
	})
}

// rave plays one course of nonsense. Whatever was accepted meanwhile is answered
// once the scheduler is sane again or its time is over, and nothing is held on to.
func rave(t *testing.T, seed uint64, turns int) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.manual = true
		w.handle = slowRuns
		w.dialPeer = func(context.Context, whisk.ControllerID, string) (whisk.ControllerToPeer, error) {
			return nil, whisk.Errorf(whisk.Unavailable, "there is nobody")
		}
		w.start()
		b := babble{rand.New(rand.NewPCG(seed, 7))}
		g := w.visit()
		var outcomes []<-chan whisk.Outcome
		for range turns {
			switch b.IntN(8) {
			case 0, 1:
				outcomes = append(outcomes, w.background(several(1+b.IntN(3))))
			case 2:
				b.guest(g)
			case 3:
				time.Sleep(time.Duration(b.Int64N(int64(3 * time.Second))))
			default:
				w.send(b.event(w))
			}
			synctest.Wait()
		}
		w.mu.Lock()
		w.manual = false
		w.mu.Unlock()
		for i, outcome := range outcomes {
			select {
			case <-outcome:
			case <-time.After(10 * time.Minute):
				t.Fatalf("seed %d: activation %d of %d is not answered: %+v", seed, i, len(outcomes), w.b.Snapshot())
			}
		}
		_ = g.session.Close()
		time.Sleep(time.Minute)
		if s := w.b.Snapshot(); s.Inflight != 0 || s.Waiting != 0 || s.WaitingBytes != 0 || s.Guests != 0 {
			t.Errorf("seed %d: in the end there are %+v", seed, s)
		}
	})
}

func TestNonsense(t *testing.T) {
	for seed := range uint64(60) {
		rave(t, seed, 80)
	}
}

func FuzzNonsense(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { rave(t, seed, 80) })
}
