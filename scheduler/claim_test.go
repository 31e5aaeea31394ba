// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

const (
	agentSession sessionID = 1
	oneSession   sessionID = 2
	twoSession   sessionID = 3
	laterSession sessionID = 9
)

var claimed = whisk.HeldContainer{Container: "c", Node: "n", Concurrency: 1, Key: parkKey(1)}

// hosting is the report of an agent whose container a controller holds.
func hosting(lessee whisk.ControllerID) whisk.NodeReport {
	return whisk.NodeReport{Node: "n", Memory: whisk.GB, Containers: []whisk.HostedContainer{{
		Container: whisk.Container{ID: "c", Node: "n", Spec: parkSpec}, Lessee: lessee, Used: true,
	}}}
}

func TestClaims(t *testing.T) {
	const unknown = "its agent knows of no such lease"
	t.Run("confirmed", func(t *testing.T) {
		tb := newTable(t)
		tb.gets(controllerSaid{oneSession, whisk.Register{Controller: "one", Held: []whisk.HeldContainer{claimed}}})
		tb.gets(agentSaid{agentSession, hosting("one")})
		if c := tb.s.containers["c"]; c.condition != busy || c.action.key != claimed.Key || len(tb.s.claims) > 0 {
			t.Errorf("%s for %+v", c.condition, c.action)
		}
	})
	t.Run("refuted", func(t *testing.T) {
		tb := newTable(t)
		tb.gets(controllerSaid{oneSession, whisk.Register{Controller: "one", Held: []whisk.HeldContainer{claimed}}})
		tb.gets(agentSaid{agentSession, whisk.NodeReport{Node: "n", Memory: whisk.GB}}, whisk.Lost{Container: "c", Reason: unknown})
	})
	t.Run("made by two", func(t *testing.T) {
		tb := newTable(t)
		tb.gets(controllerSaid{oneSession, whisk.Register{Controller: "one", Held: []whisk.HeldContainer{claimed}}})
		tb.gets(controllerSaid{twoSession, whisk.Register{Controller: "two", Held: []whisk.HeldContainer{claimed}}})
		tb.gets(agentSaid{agentSession, hosting("one")}, whisk.Lost{Container: "c", Reason: unknown})
		if c := tb.s.containers["c"]; c.condition != busy || c.lessee != "one" {
			t.Errorf("%s by %s", c.condition, c.lessee)
		}
	})
	t.Run("withdrawn while the node is down", func(t *testing.T) {
		tb := newTable(t)
		tb.gets(controllerSaid{oneSession, whisk.Register{Controller: "one", Held: []whisk.HeldContainer{claimed}}})
		tb.gets(agentSaid{agentSession, hosting("one")})
		tb.gets(sessionEnded{session: agentSession})
		tb.passes(11 * time.Second)
		if tb.s.nodes["n"].state != whisk.NodeDown || len(tb.s.containers) > 0 {
			t.Errorf("the node is %s with %v", tb.s.nodes["n"].state, tb.s.containers)
		}
		tb.gets(controllerSaid{oneSession, whisk.Release{Container: "c", Reason: whisk.ReleaseFailed}})
		tb.gets(agentSaid{laterSession, hosting("one")}, whisk.RemoveContainer{Epoch: 1, Container: "c", Lessee: "one"})
	})
	t.Run("kept up to date while the node is down", func(t *testing.T) {
		tb := newTable(t)
		tb.gets(controllerSaid{oneSession, whisk.Register{Controller: "one", Held: []whisk.HeldContainer{claimed}}})
		tb.gets(agentSaid{agentSession, hosting("one")})
		tb.gets(sessionEnded{session: agentSession})
		tb.passes(11 * time.Second)
		tb.gets(controllerSaid{oneSession, whisk.StateReport{States: []whisk.ContainerUse{{Container: "c", State: whisk.Free}}}})
		tb.gets(agentSaid{laterSession, hosting("one")})
		if c := tb.s.containers["c"]; c.condition != free {
			t.Errorf("it is %s", c.condition)
		}
	})
}

// Sessions are served side by side: what a controller said in one that it has
// given up may be read after the first words of the next.
func TestAnEarlierRegistrationHasNoSay(t *testing.T) {
	tb := newTable(t)
	tb.gets(agentSaid{agentSession, hosting("one")})
	tb.gets(controllerSaid{twoSession, whisk.Register{Controller: "one", Held: []whisk.HeldContainer{claimed}}})
	tb.gets(controllerSaid{oneSession, whisk.Register{Controller: "one"}}, whisk.Conflict)
	if c := tb.s.containers["c"]; c.condition != busy || tb.s.callers[twoSession] == nil {
		t.Errorf("it is %s", c.condition)
	}
}

// A container that a former leader ordered is handed out when its agent has
// confirmed an order of the present one, and knows by that who leads.
func TestAFormerLeadersCreationIsConfirmed(t *testing.T) {
	tb := newTable(t)
	tb.gets(controllerSaid{oneSession, whisk.Register{Controller: "one"}})
	report := hosting("one")
	report.Containers[0].Making = true
	tb.gets(agentSaid{agentSession, report})
	tb.asks(oneSession, 1, 1)
	made := report.Containers[0].Container
	tb.gets(agentSaid{agentSession, whisk.ContainerCreated{Container: made}}, whisk.GrantLease{Epoch: 1, Container: "c", From: "one", To: "one", Order: nth(1)})
	tb.gets(agentSaid{agentSession, whisk.LeaseGranted{Container: "c", Lessee: "one", Order: nth(1)}}, whisk.Allocation{Requisition: 1, Container: made})
}

// A leader that hears of a younger one does nothing about what it hears with it.
func TestADeposedLeaderIsSilent(t *testing.T) {
	report := hosting("")
	report.Epoch = 2
	for name, e := range map[string]event{
		"a registration": controllerSaid{oneSession, whisk.Register{Controller: "one", Epoch: 2, Held: []whisk.HeldContainer{claimed}}},
		"a node report":  agentSaid{agentSession, report},
	} {
		tb := newTable(t)
		tb.passes(11 * time.Second) // it would remove what nobody holds
		tb.gets(e)
		if tb.s.deposed != 2 || len(tb.s.containers)+len(tb.s.claims) > 0 {
			t.Errorf("%s: deposed by %d, with %v", name, tb.s.deposed, tb.s.containers)
		}
	}
}

// An order that was lost with a session is given again, but never against
// somebody who holds the container by the agent's word.
func TestOrdersLostWithASession(t *testing.T) {
	begin := func(t *testing.T) *table {
		tb := newTable(t)
		tb.gets(controllerSaid{oneSession, whisk.Register{Controller: "one", Held: []whisk.HeldContainer{claimed}}})
		tb.gets(agentSaid{agentSession, hosting("one")})
		return tb
	}
	t.Run("a grant", func(t *testing.T) {
		tb := begin(t)
		tb.gets(controllerSaid{oneSession, whisk.Release{Container: "c", Reason: whisk.ReleaseLeaving}}, whisk.GrantLease{Epoch: 1, Container: "c", From: "one", Order: nth(1)})
		tb.gets(sessionEnded{session: agentSession})
		tb.gets(agentSaid{laterSession, hosting("one")}, whisk.GrantLease{Epoch: 1, Container: "c", From: "one", Order: nth(2)})
	})
	t.Run("a grant, and another holds it", func(t *testing.T) {
		tb := begin(t)
		tb.gets(controllerSaid{oneSession, whisk.Release{Container: "c", Reason: whisk.ReleaseLeaving}}, whisk.GrantLease{Epoch: 1, Container: "c", From: "one", Order: nth(1)})
		tb.gets(sessionEnded{session: agentSession})
		tb.gets(agentSaid{laterSession, hosting("stranger")})
		if c := tb.s.containers["c"]; c.condition != busy || c.lessee != "stranger" {
			t.Errorf("it is %s by %s", c.condition, c.lessee)
		}
	})
	t.Run("a grant to the one who held it", func(t *testing.T) {
		tb := begin(t)
		order := whisk.GrantLease{Epoch: 1, Container: "c", From: "one", To: "one", Order: nth(1)}
		tb.gets(agentSaid{agentSession, whisk.NodeReport{Node: "n", Memory: parkSpec.Memory, Containers: hosting("one").Containers}})
		tb.asks(oneSession, 1, 1)
		tb.gets(controllerSaid{oneSession, whisk.Release{Container: "c", Reason: whisk.ReleaseReclaimed}}, order)
		tb.gets(sessionEnded{session: agentSession})
		again := hosting("one")
		again.Memory = parkSpec.Memory
		order.Order = nth(2)
		tb.gets(agentSaid{laterSession, again}, order)

		// The first one was obeyed, and both are answered. So late an answer may
		// come that another order was given since.
		granted := whisk.LeaseGranted{Container: "c", Lessee: "one", Order: nth(1)}
		tb.gets(agentSaid{laterSession, granted})
		granted.Order = nth(2)
		tb.gets(agentSaid{laterSession, granted}, whisk.Allocation{
			Requisition: 1, Container: hosting("").Containers[0].Container, Origin: whisk.Transferred,
		})
		tb.asks(oneSession, 2, 1)
		order.Order = nth(3)
		tb.gets(controllerSaid{oneSession, whisk.Release{Container: "c", Reason: whisk.ReleaseReclaimed}}, order)
		tb.gets(agentSaid{laterSession, granted})
	})
	t.Run("a removal", func(t *testing.T) {
		tb := begin(t)
		remove := whisk.RemoveContainer{Epoch: 1, Container: "c", Lessee: "one"}
		tb.gets(controllerSaid{oneSession, whisk.Release{Container: "c", Reason: whisk.ReleaseFailed}}, remove)
		tb.gets(sessionEnded{session: agentSession})
		tb.gets(agentSaid{laterSession, hosting("one")}, remove)
	})
	t.Run("a removal, and another holds it", func(t *testing.T) {
		tb := begin(t)
		tb.gets(controllerSaid{oneSession, whisk.Release{Container: "c", Reason: whisk.ReleaseFailed}}, whisk.RemoveContainer{Epoch: 1, Container: "c", Lessee: "one"})
		tb.gets(sessionEnded{session: agentSession})
		tb.gets(agentSaid{laterSession, hosting("stranger")})
		if c := tb.s.containers["c"]; c.condition != busy || c.lessee != "stranger" {
			t.Errorf("it is %s by %s", c.condition, c.lessee)
		}
	})
}
