// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// A table is a state whose peers' messages a test puts in any order, also such
// as cannot be had from sessions at will.
type table struct {
	t   *testing.T
	s   *state
	now time.Time
}

// nth is the number of the nth order that a state gives to move a lease.
func nth(n uint64) uint64 { return 1<<20 + n }

func newTable(t *testing.T) *table {
	cfg := Default()
	ids, err := newIdentities(cfg.Epoch, strings.NewReader("12345"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_000_000, 0)
	return &table{t, newState(cfg, ids, slog.New(slog.DiscardHandler), now), now}
}

// gets gives the state an event and compares what it has sent, rosters apart.
func (tb *table) gets(e event, want ...any) {
	tb.t.Helper()
	var sent []any
	for _, do := range tb.s.handle(tb.now, e) {
		switch {
		case do.end != nil:
			sent = append(sent, whisk.KindOf(do.end))
		case do.command != nil:
			sent = append(sent, do.command)
		default:
			if _, roster := do.event.(whisk.Roster); !roster {
				sent = append(sent, do.event)
			}
		}
	}
	if err := tb.s.checkBooks(); err != nil {
		tb.t.Fatal(err)
	}
	if !reflect.DeepEqual(sent, want) {
		tb.t.Fatalf("after %T%+v: sent %+v, want %+v", e, e, sent, want)
	}
}

// passes lets time pass, and alarms ring.
func (tb *table) passes(d time.Duration) {
	tb.t.Helper()
	for until := tb.now.Add(d); ; {
		at, set := tb.s.alarms.next()
		if !set || at.After(until) {
			tb.now = until
			return
		}
		tb.now = at
		tb.gets(timePassed{})
	}
}

// asks has a controller ask for one container of parkSpec.
func (tb *table) asks(from sessionID, id whisk.RequisitionID, action int, want ...any) {
	tb.t.Helper()
	tb.gets(controllerSaid{from, whisk.Requisition{
		ID: id, Key: parkKey(action), Spec: parkSpec, Concurrency: 1, Count: 1, Deadline: tb.now.Add(time.Minute),
	}}, want...)
}

// drains has an operator drain the node n.
func (tb *table) drains() {
	tb.t.Helper()
	if _, err := tb.s.operate(tb.now, "n", true); err != nil {
		tb.t.Fatal(err)
	}
	if err := tb.s.checkBooks(); err != nil {
		tb.t.Fatal(err)
	}
}

// What waits to be removed from a node that is to be emptied goes to nobody.
func TestNothingIsTakenFromANodeToBeEmptied(t *testing.T) {
	tb := newTable(t)
	tb.gets(controllerSaid{oneSession, whisk.Register{Controller: "one"}})
	ready := whisk.NodeReport{Node: "n", Memory: whisk.GB, Draining: true, Containers: []whisk.HostedContainer{{
		Container: whisk.Container{ID: "c", Node: "n", Spec: parkSpec},
	}}}
	tb.gets(agentSaid{agentSession, ready})
	tb.asks(oneSession, 1, 1)
}

// A container whose lease was on its way to somebody who does not want it any
// more goes to nobody else from there.
func TestNothingIsPassedOnFromANodeToBeEmptied(t *testing.T) {
	tb := newTable(t)
	tb.gets(controllerSaid{oneSession, whisk.Register{Controller: "one"}})
	tb.gets(controllerSaid{twoSession, whisk.Register{Controller: "two"}})
	tb.gets(agentSaid{agentSession, whisk.NodeReport{Node: "n", Memory: parkSpec.Memory, Containers: []whisk.HostedContainer{{
		Container: whisk.Container{ID: "c", Node: "n", Spec: parkSpec},
	}}}})
	tb.asks(oneSession, 1, 1, whisk.GrantLease{Epoch: 1, Container: "c", To: "one", Order: nth(1)})
	tb.asks(twoSession, 1, 2)
	tb.drains()
	tb.gets(controllerSaid{oneSession, whisk.Withdraw{ID: 1, Count: 1}})
	tb.gets(agentSaid{agentSession, whisk.LeaseGranted{Container: "c", Lessee: "one", Order: nth(1)}},
		whisk.RemoveContainer{Epoch: 1, Container: "c", Lessee: "one"})
}

// Who waits for a container that a controller was asked for, and that controller
// goes away, is served by another one's.
func TestAnAskedControllerGoesAway(t *testing.T) {
	tb := newTable(t)
	idle := func(id whisk.ContainerID) whisk.Register {
		held := claimed
		held.Container, held.State = id, whisk.Free
		return whisk.Register{Controller: whisk.ControllerID("of " + id), Held: []whisk.HeldContainer{held}}
	}
	report := whisk.NodeReport{Node: "n", Memory: 2 * parkSpec.Memory}
	for i, id := range []whisk.ContainerID{"c1", "c2"} {
		tb.gets(controllerSaid{sessionID(10 + i), idle(id)})
		report.Containers = append(report.Containers, whisk.HostedContainer{
			Container: whisk.Container{ID: id, Node: "n", Spec: parkSpec}, Lessee: whisk.ControllerID("of " + id), Used: true,
		})
	}
	tb.gets(agentSaid{agentSession, report})
	tb.gets(controllerSaid{oneSession, whisk.Register{Controller: "one"}})
	tb.asks(oneSession, 1, 1, whisk.Reclaim{Container: "c1"})
	tb.gets(sessionEnded{session: 10}, whisk.Reclaim{Container: "c2"})
	if c := tb.s.containers["c2"]; c.condition != recalled {
		t.Errorf("it is %s, want it to move on as it is", c.condition)
	}
}

func TestWhatCannotBeEndsTheSession(t *testing.T) {
	nothing := whisk.HostedContainer{Container: whisk.Container{ID: "c"}}
	for name, e := range map[string]event{
		"a node without a name":       agentSaid{agentSession, whisk.NodeReport{Memory: whisk.GB}},
		"a node of less than nothing": agentSaid{agentSession, whisk.NodeReport{Node: "n", Memory: -1}},
		"a container of no size":      agentSaid{agentSession, whisk.NodeReport{Node: "n", Containers: []whisk.HostedContainer{nothing}}},
		"a controller without a name": controllerSaid{agentSession, whisk.Register{}},
		"no report first":             agentSaid{agentSession, whisk.ContainerGone{Container: "c"}},
		"no registration first":       controllerSaid{agentSession, whisk.Release{Container: "c"}},
	} {
		t.Run(name, func(t *testing.T) { newTable(t).gets(e, whisk.Invalid) })
	}
	tb := newTable(t)
	tb.gets(controllerSaid{oneSession, whisk.Register{Controller: "one"}})
	tb.gets(controllerSaid{oneSession, whisk.Requisition{ID: 1, Count: 1, Concurrency: 1 << 62, Spec: parkSpec}}, whisk.Invalid)
	tb.gets(controllerSaid{oneSession, whisk.Requisition{ID: 1, Count: 1 << 62, Concurrency: 1, Spec: parkSpec}}, whisk.Invalid)
}

// TestAKilledControllersShare holds that a controller that was killed takes part as
// long as containers may still run for it, and not for longer.
func TestAKilledControllersShare(t *testing.T) {
	tb := newTable(t)
	tb.gets(controllerSaid{oneSession, whisk.Register{Controller: "one", Held: []whisk.HeldContainer{claimed}}})
	tb.gets(controllerSaid{twoSession, whisk.Register{Controller: "two"}})
	tb.gets(agentSaid{agentSession, hosting("one")})
	tb.passes(6 * time.Second)
	takePart := func(want int) {
		t.Helper()
		if roster := tb.s.roster(); roster.Controllers != want || roster.Partial {
			t.Errorf("%+v, want %d controllers", roster, want)
		}
	}
	takePart(2)
	tb.gets(sessionEnded{session: oneSession})
	takePart(2)
	tb.passes(whisk.LeaseTTL)
	tb.gets(agentSaid{agentSession, whisk.ContainerGone{Container: "c", Reason: "its lease ran out"}})
	takePart(1)
}
