// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// capped has two controllers with a node of much room, and the settle time over.
func capped(t *testing.T) *table {
	tb := newTable(t)
	tb.gets(controllerSaid{oneSession, whisk.Register{Controller: "one", Peers: "one:1"}})
	tb.gets(controllerSaid{twoSession, whisk.Register{Controller: "two", Peers: "two:1"}})
	tb.gets(agentSaid{agentSession, whisk.NodeReport{Node: "n", Memory: whisk.GB}})
	tb.passes(6 * time.Second)
	return tb
}

// wants has a controller ask for containers of an action that may have so many.
func (tb *table) wants(from sessionID, id whisk.RequisitionID, count, instances int, want ...any) {
	tb.t.Helper()
	tb.gets(controllerSaid{from, whisk.Requisition{
		ID: id, Key: parkKey(1), Spec: parkSpec, Concurrency: 1, Count: count, Instances: instances, Deadline: tb.now.Add(time.Minute), Label: "a",
	}}, want...)
}

// makes is the order to make a container of that action.
func (tb *table) makes(container whisk.ContainerID, lessee whisk.ControllerID) whisk.CreateContainer {
	return whisk.CreateContainer{Epoch: 1, Container: container, Spec: parkSpec, Label: "a", Lessee: lessee}
}

func (tb *table) made(id whisk.ContainerID, requisition whisk.RequisitionID) {
	tb.t.Helper()
	made := whisk.Container{ID: id, Node: "n", Spec: parkSpec}
	tb.gets(agentSaid{agentSession, whisk.ContainerCreated{Container: made}}, whisk.Allocation{Requisition: requisition, Container: made})
}

// rings lets time pass until a moment in which something is sent.
func (tb *table) rings(d time.Duration, want ...any) {
	tb.t.Helper()
	tb.now = tb.now.Add(d)
	tb.gets(timePassed{}, want...)
}

const first, second = whisk.ContainerID("wsk1_gezdgnbv_1_a"), whisk.ContainerID("wsk1_gezdgnbv_2_a")

// TestInstancesAreShared has two controllers use the only container there may be
// of an action.
func TestInstancesAreShared(t *testing.T) {
	tb := capped(t)
	tb.wants(oneSession, 1, 5, 1, tb.makes(first, "one"))
	tb.wants(twoSession, 1, 1, 1)
	tb.made(first, 1)

	// It comes free, and goes to who waits for longest and does not have it.
	tb.gets(controllerSaid{oneSession, whisk.StateReport{States: []whisk.ContainerUse{{Container: first, State: whisk.Free}}}},
		whisk.Reclaim{Container: first})
	tb.gets(controllerSaid{oneSession, whisk.Release{Container: first, Reason: whisk.ReleaseReclaimed}},
		whisk.GrantLease{Epoch: 1, Container: first, From: "one", To: "two", Order: nth(1)})
	transferred := whisk.Allocation{Requisition: 1, Container: whisk.Container{ID: first, Node: "n", Spec: parkSpec}, Origin: whisk.Transferred}
	tb.gets(agentSaid{agentSession, whisk.LeaseGranted{Container: first, Lessee: "two", Order: nth(1)}}, transferred)

	// It never comes free there: after a second it is asked back nevertheless.
	tb.rings(time.Second, whisk.Reclaim{Container: first, Drain: true})
	tb.gets(controllerSaid{twoSession, whisk.Release{Container: first, Reason: whisk.ReleaseReclaimed}},
		whisk.GrantLease{Epoch: 1, Container: first, From: "two", To: "one", Order: nth(2)})
	tb.gets(agentSaid{agentSession, whisk.LeaseGranted{Container: first, Lessee: "one", Order: nth(2)}}, transferred)

	// It is spoiled: another one is made when it is gone, and not before.
	tb.gets(controllerSaid{oneSession, whisk.Release{Container: first, Reason: whisk.ReleaseFailed}},
		whisk.RemoveContainer{Epoch: 1, Container: first, Lessee: "one"})
	tb.gets(agentSaid{agentSession, whisk.ContainerGone{Container: first, Expected: true}}, tb.makes(second, "one"))
}

func TestInstancesAfterAWithdrawal(t *testing.T) {
	tb := capped(t)
	tb.wants(oneSession, 1, 1, 2, tb.makes(first, "one"))
	tb.wants(oneSession, 2, 1, 2, tb.makes(second, "one"))
	tb.wants(twoSession, 1, 1, 2)
	tb.gets(controllerSaid{oneSession, whisk.Withdraw{ID: 2, Count: 1}}) // what is being made for it goes to the other one
	made := whisk.Container{ID: second, Node: "n", Spec: parkSpec}
	tb.gets(agentSaid{agentSession, whisk.ContainerCreated{Container: made}},
		whisk.GrantLease{Epoch: 1, Container: second, From: "one", To: "two", Order: nth(1)})
	tb.gets(agentSaid{agentSession, whisk.LeaseGranted{Container: second, Lessee: "two", Order: nth(1)}},
		whisk.Allocation{Requisition: 1, Container: made})
}

// TestInstancesBeforeTheSettleTimeIsOver holds that a leader makes none while others
// may still tell of theirs.
func TestInstancesBeforeTheSettleTimeIsOver(t *testing.T) {
	tb := newTable(t)
	tb.gets(controllerSaid{oneSession, whisk.Register{Controller: "one"}})
	tb.gets(agentSaid{agentSession, whisk.NodeReport{Node: "n", Memory: whisk.GB}})
	tb.wants(oneSession, 1, 1, 1)
	tb.asks(oneSession, 2, 2, whisk.CreateContainer{Epoch: 1, Container: "wsk1_gezdgnbv_1", Spec: parkSpec, Lessee: "one"})
	tb.rings(5*time.Second, tb.makes(second, "one"))
}

// TestInstancesOfASilentNode holds that what a controller has on a node whose
// agent is away counts, and that it is asked for it when another one waits.
func TestInstancesOfASilentNode(t *testing.T) {
	tb := newTable(t)
	held := claimed
	held.Instances = 1
	tb.gets(controllerSaid{oneSession, whisk.Register{Controller: "one", Held: []whisk.HeldContainer{held}}})
	tb.gets(controllerSaid{twoSession, whisk.Register{Controller: "two"}})
	other := whisk.NodeReport{Node: "m", Memory: whisk.GB}
	tb.gets(agentSaid{laterSession, other})
	tb.passes(6 * time.Second)
	tb.wants(twoSession, 1, 1, 1)
	tb.rings(time.Second, whisk.Reclaim{Container: "c", Drain: true})
	tb.gets(controllerSaid{oneSession, whisk.Release{Container: "c", Reason: whisk.ReleaseReclaimed}}, tb.makes(first, "two"))
	// Its agent is back, and nobody has told it that it is not wanted.
	tb.gets(agentSaid{agentSession, hosting("one")}, whisk.RemoveContainer{Epoch: 1, Container: "c", Lessee: "one"})
}

// TestTooManyInstances has a leader find more than there may be: what rests goes
// first, what is at work when its work is done, and nobody gets it.
func TestTooManyInstances(t *testing.T) {
	tb := newTable(t)
	report := whisk.NodeReport{Node: "n", Memory: whisk.GB}
	for i, id := range []whisk.ContainerID{"c1", "c2", "c3"} {
		name := whisk.ControllerID("of " + id)
		held := claimed
		held.Container, held.Instances = id, 1
		if i == 2 {
			held.State = whisk.Free
		}
		tb.gets(controllerSaid{sessionID(10 + i), whisk.Register{Controller: name, Held: []whisk.HeldContainer{held}}})
		report.Containers = append(report.Containers, whisk.HostedContainer{
			Container: whisk.Container{ID: id, Node: "n", Spec: parkSpec}, Lessee: name, Used: true,
		})
	}
	tb.gets(agentSaid{agentSession, report})
	tb.rings(5*time.Second, whisk.Reclaim{Container: "c3"}, whisk.Reclaim{Container: "c1", Drain: true})
	tb.gets(controllerSaid{oneSession, whisk.Register{Controller: "one"}})
	tb.wants(oneSession, 1, 1, 1)
	tb.gets(controllerSaid{12, whisk.StateReport{States: []whisk.ContainerUse{{Container: "c3", State: whisk.Busy}}}},
		whisk.Reclaim{Container: "c2", Drain: true})
	for i, id := range []whisk.ContainerID{"c1", "c2"} {
		tb.gets(controllerSaid{sessionID(10 + i), whisk.Release{Container: id, Reason: whisk.ReleaseReclaimed}},
			whisk.RemoveContainer{Epoch: 1, Container: id, Lessee: "of " + whisk.ControllerID(id)})
		tb.gets(agentSaid{agentSession, whisk.ContainerGone{Container: id, Expected: true}})
	}
	tb.gets(controllerSaid{12, whisk.StateReport{States: []whisk.ContainerUse{{Container: "c3", State: whisk.Free}}}}, whisk.Reclaim{Container: "c3"})
}

// TestInstancesWithRoomInside has a controller pointed to the container that
// another one has, where several activations fit.
func TestInstancesWithRoomInside(t *testing.T) {
	tb := capped(t)
	ask := func(from sessionID, id whisk.RequisitionID, own bool) controllerSaid {
		return controllerSaid{from, whisk.Requisition{
			ID: id, Key: parkKey(1), Spec: parkSpec, Concurrency: 3, Count: 1, Instances: 1, Deadline: tb.now.Add(time.Minute), Label: "a", Own: own,
		}}
	}
	tb.gets(ask(oneSession, 1, false), tb.makes(first, "one"))
	tb.made(first, 1)
	tb.gets(ask(twoSession, 1, false), whisk.Redirect{Requisition: 1, Controller: "one", Peers: "one:1"})
	tb.gets(ask(twoSession, 2, true)) // refused there
	tb.rings(time.Second, whisk.Reclaim{Container: first, Drain: true})
}
