// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// babble makes messages that are well formed, and otherwise anything: from the
// wrong session, about containers of others, twice, with impossible numbers.
type babble struct{ *rand.Rand }

func pick[T any](b babble, from ...T) T { return from[b.IntN(len(from))] }

func (b babble) container() whisk.ContainerID {
	return pick(b, whisk.ContainerID(fmt.Sprintf("wsk1_gezdgnbv_%d_x", b.IntN(12))), "a", "b", "c", "")
}

func (b babble) node() whisk.NodeID { return pick[whisk.NodeID](b, "n1", "n1", "n2", "n3", "") }

func (b babble) controller() whisk.ControllerID {
	return pick[whisk.ControllerID](b, "", "one", "one", "two", "nobody")
}

func (b babble) size() whisk.Bytes {
	return pick(b, 128*whisk.MB, 256*whisk.MB, 512*whisk.MB, 1, 0, -1, 1<<62)
}

func (b babble) spec() whisk.ContainerSpec {
	return whisk.ContainerSpec{Kind: pick(b, "nodejs:20", "python:3"), Memory: b.size()}
}

func (b babble) number() int { return pick(b, 1, 1, 2, 3, 0, -1, 1<<20, 1<<62) }

func (b babble) hosted() whisk.HostedContainer {
	return whisk.HostedContainer{
		Container: whisk.Container{ID: b.container(), Node: b.node(), Spec: b.spec()},
		Lessee:    b.controller(), Used: b.IntN(2) == 0, Making: b.IntN(4) == 0,
	}
}

// order is often the number of one that was given.
func (b babble) order() uint64 { return pick(b, 0, nth(1), nth(2), nth(3), nth(4), 1) }

func (b babble) report() whisk.AgentReport {
	switch b.IntN(8) {
	case 0:
		return whisk.ContainerCreated{Container: b.hosted().Container}
	case 1:
		return whisk.CreationFailed{Container: b.container(), Fault: whisk.Fault(b.IntN(4))}
	case 2:
		return whisk.LeaseGranted{Container: b.container(), Lessee: b.controller(), Order: b.order()}
	case 3:
		return whisk.LeaseRefused{Container: b.container(), Lessee: b.controller(), Order: b.order()}
	case 4:
		return whisk.ContainerGone{Container: b.container()}
	case 5:
		return whisk.KeepAlive{}
	}
	m := whisk.NodeReport{Node: b.node(), Memory: b.size() * 4, Problem: pick(b, "", "", "ill"), Draining: b.IntN(4) == 0}
	for range b.IntN(4) {
		m.Containers = append(m.Containers, b.hosted())
	}
	return m
}

func (b babble) request() whisk.FactoryRequest {
	switch b.IntN(8) {
	case 0:
		return whisk.Withdraw{ID: whisk.RequisitionID(b.IntN(5)), Count: b.number()}
	case 1:
		return whisk.StateReport{States: []whisk.ContainerUse{{Container: b.container(), State: whisk.UseState(b.IntN(3))}}}
	case 2, 3:
		return whisk.Release{Container: b.container(), Reason: whisk.ReleaseReason(b.IntN(9))}
	case 4:
		m := whisk.Register{Controller: b.controller(), Peers: pick(b, "", "host:1", "host:1")}
		for range b.IntN(4) {
			m.Held = append(m.Held, whisk.HeldContainer{
				Container: b.container(), Node: b.node(), Key: parkKey(b.IntN(3)), Concurrency: b.number(), Instances: pick(b, 0, 0, 1, 3, -1), State: whisk.UseState(b.IntN(3)),
			})
		}
		return m
	}
	return whisk.Requisition{
		ID: whisk.RequisitionID(b.IntN(5)), Key: parkKey(b.IntN(3)), Spec: b.spec(), Concurrency: b.number(), Count: b.number(), Instances: pick(b, 0, 0, 1, 2, -1, 1<<62),
		Deadline: time.Unix(1_000_000+b.Int64N(100), 0), Own: b.IntN(4) == 0, Label: pick(b, "x", "../x", strings.Repeat("y", 1000)),
	}
}

// rave plays one course of nonsense. The books must stay right, but for a node
// that hosts more than it has, if its agent says so.
func rave(t *testing.T, seed uint64, events int) {
	b := babble{rand.New(rand.NewPCG(seed, 3))}
	cfg := Default()
	cfg.Manifest.Families = []whisk.RuntimeFamily{{Name: "nodejs", Runtimes: []whisk.Runtime{{
		Kind: "nodejs:20", StemCells: []whisk.StemCell{{Count: 1, Memory: 128 * whisk.MB}},
	}}}}
	ids, err := newIdentities(1, strings.NewReader("12345"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_000_000, 0)
	s := newState(cfg, ids, slog.New(slog.DiscardHandler), now)
	defer func() {
		if r := recover(); r != nil {
			t.Fatalf("seed %d: %v", seed, r)
		}
	}()
	for range events {
		now = now.Add(time.Duration(b.Int64N(int64(2 * time.Second))))
		session := sessionID(1 + b.IntN(6))
		var e event = agentSaid{session, b.report()}
		switch b.IntN(12) {
		case 0:
			e = sessionEnded{session: session}
		case 1:
			e = checkedUp{session, pick(b, nil, &whisk.Error{Kind: whisk.Timeout}, &whisk.Error{Text: "ill"})}
		case 2:
			effects, _ := s.operate(now, b.node(), b.IntN(2) == 0) // most nodes are not known
			obey(s, now, effects)
			continue
		case 3, 4, 5, 6, 7:
			e = controllerSaid{session, b.request()}
		}
		obey(s, now, s.handle(now, e))
		if err := s.checkBooks(); err != nil && !strings.Contains(err.Error(), "oversold") && !strings.Contains(err.Error(), "too much") {
			t.Fatalf("seed %d: after %T%+v: %v", seed, e, e, err)
		}
	}
}

// obey ends the sessions that the state wants ended, as the owner loop does.
func obey(s *state, now time.Time, effects []effect) {
	var ended []sessionID
	for _, do := range effects {
		if do.end != nil {
			ended = append(ended, do.session)
		}
	}
	for _, id := range ended {
		obey(s, now, s.handle(now, sessionEnded{session: id}))
	}
}

func TestNonsense(t *testing.T) {
	for seed := range uint64(100) {
		rave(t, seed, 300)
	}
}

func FuzzNonsense(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { rave(t, seed, 300) })
}
