// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Snapshot tells operators how things stood at one instant. It shares nothing
// with the scheduler. Nodes and controllers are sorted by name, the other lists
// as they say. A list of those ends after [SnapshotLines], so that a look never
// holds the scheduler up for long: [Snapshot.Omitted] tells how many lines more
// there were.
type Snapshot struct {
	At          time.Time
	Epoch       uint64
	Settled     bool // the time in which the scheduler only listens is over
	Nodes       []NodeStatus
	Controllers []ControllerStatus
	Prewarmed   []PrewarmedStatus // sorted by kind, memory and image
	Actions     []ActionStatus    // sorted by name and revision; of too many, those that wait are there
	Waiting     []WaitingStatus   // in order of arrival
	Omitted     Omitted
}

// SnapshotLines is the most lines of one list.
const SnapshotLines = 2_000

// Omitted counts what a snapshot leaves out.
type Omitted struct{ Prewarmed, Actions, Waiting int }

// NodeStatus tells of a node.
type NodeStatus struct {
	Node      whisk.NodeID
	State     whisk.NodeState
	Since     time.Time // when it entered the state
	Connected bool      // its agent has a session
	Problem   string    // why nothing is placed there, "" if nothing is known to be wrong
	Memory    whisk.Bytes
	Used      whisk.Bytes // by containers, also those being made or removed
	Promised  whisk.Bytes // to creations that wait for memory or their turn
	Pools     Pools
}

// Pools counts containers by what they are at.
type Pools struct {
	Busy      int // leased and at work; those to be given back afterwards included
	Free      int // leased and idle; those asked back included
	Kept      int // warm, held by nobody
	Prewarmed int
	Creating  int
	Granting  int // changing their lessee
	Removing  int // those of unknown past included
}

func (p *Pools) add(q Pools) {
	p.Busy += q.Busy
	p.Free += q.Free
	p.Kept += q.Kept
	p.Prewarmed += q.Prewarmed
	p.Creating += q.Creating
	p.Granting += q.Granting
	p.Removing += q.Removing
}

// ControllerStatus tells of a controller that has a session or holds containers.
type ControllerStatus struct {
	Controller   whisk.ControllerID
	Connected    bool
	Containers   int // leased to it
	Claimed      int // it says that it holds them, and their agents are silent
	Requisitions int
}

// PrewarmedStatus tells of the containers without code of one kind and memory.
type PrewarmedStatus struct {
	Spec   whisk.ContainerSpec
	Wanted int // as stem cells
	Ready  int
	Coming int // being made, or being given back unused
}

// ActionStatus tells of an action that has containers or requisitions.
type ActionStatus struct {
	Key     whisk.ActionKey
	Spec    whisk.ContainerSpec
	Busy    int // leased and at work
	Free    int // leased and idle
	Kept    int // warm, held by nobody
	Coming  int // being made, moved or asked back for it, or about to be made
	Limit   int // containers that its key may have; 0 for no bound
	Waiting int // requisitions for which not enough is under way
}

// WaitingStatus tells of a requisition that stands.
type WaitingStatus struct {
	Controller  whisk.ControllerID
	Requisition whisk.RequisitionID
	Key         whisk.ActionKey
	Slots       int // outstanding
	UnderWay    int // containers on their way for it
	Since       time.Time
	Deadline    time.Time
}

// snapshot collects what there is, unsorted: that is not the owner loop's work.
func (s *state) snapshot() Snapshot {
	shot := Snapshot{
		At: s.now, Epoch: s.cfg.Epoch, Settled: s.settled,
		Nodes:   make([]NodeStatus, 0, len(s.order)),
		Actions: make([]ActionStatus, 0, min(len(s.actions), SnapshotLines)),
		Waiting: make([]WaitingStatus, 0, min(s.requisitions, SnapshotLines)),
	}
	for _, n := range s.order {
		shot.Nodes = append(shot.Nodes, NodeStatus{
			Node: n.id, State: n.state, Since: n.since, Connected: n.session != 0, Problem: n.reason(),
			Memory: n.memory, Used: n.used, Promised: n.promised, Pools: n.pools(),
		})
	}
	coming := make(map[*action]int)
	for id, ctl := range s.controllers {
		shot.Controllers = append(shot.Controllers, ControllerStatus{
			Controller: id, Connected: ctl.session != 0,
			Containers: ctl.leased.count, Claimed: len(ctl.claims), Requisitions: len(ctl.requisitions),
		})
		for _, r := range ctl.requisitions {
			coming[r.action] += r.pending
			if len(shot.Waiting) < SnapshotLines {
				shot.Waiting = append(shot.Waiting, r.status())
			}
		}
	}
	shot.Omitted.Waiting = s.requisitions - len(shot.Waiting)
	s.listActions(&shot, coming)
	s.listPrewarmed(&shot)
	return shot
}

func (s *state) listPrewarmed(shot *Snapshot) {
	for _, p := range s.pools {
		switch {
		case p.wanted == 0 && p.stock() == 0:
		case len(shot.Prewarmed) == SnapshotLines:
			shot.Omitted.Prewarmed++
		default:
			shot.Prewarmed = append(shot.Prewarmed, PrewarmedStatus{
				Spec: p.spec, Wanted: p.wanted, Ready: p.ready.count, Coming: p.coming.count + p.returning,
			})
		}
	}
}

// listActions lists those that wait, or that something is coming for, and then
// others as long as there is room.
func (s *state) listActions(shot *Snapshot, coming map[*action]int) {
	list := func(a *action) {
		if len(shot.Actions) < SnapshotLines {
			shot.Actions = append(shot.Actions, ActionStatus{
				Key: a.key, Spec: a.spec, Busy: a.leases - a.idle, Free: a.idle, Kept: a.kept.count,
				Coming: coming[a], Limit: a.quota.limit, Waiting: a.waiting.count,
			})
		}
	}
	for a := range coming { // every one that has a requisition
		list(a)
	}
	for _, a := range s.actions {
		if len(shot.Actions) == SnapshotLines {
			break
		}
		if _, listed := coming[a]; !listed {
			list(a)
		}
	}
	shot.Omitted.Actions = len(s.actions) - len(shot.Actions)
}

func (r *requisition) status() WaitingStatus {
	return WaitingStatus{
		Controller: r.caller.id, Requisition: r.id, Key: r.action.key,
		Slots: r.outstanding, UnderWay: r.pending, Since: r.arrived, Deadline: r.deadline.at,
	}
}

func (n *node) pools() Pools {
	t := &n.tally
	return Pools{
		Busy:      t[busy] + t[draining],
		Free:      t[free] + t[recalled] + t[evicting],
		Kept:      t[kept],
		Prewarmed: t[prewarmed],
		Creating:  t[creating],
		Granting:  t[granting],
		Removing:  t[removing] + t[stray],
	}
}

// sort brings the lists into the order that they promise.
func (shot *Snapshot) sort() {
	slices.SortFunc(shot.Controllers, func(a, b ControllerStatus) int { return cmp.Compare(a.Controller, b.Controller) })
	slices.SortFunc(shot.Prewarmed, func(a, b PrewarmedStatus) int { return compareSpecs(a.Spec, b.Spec) })
	slices.SortFunc(shot.Actions, func(a, b ActionStatus) int {
		return cmp.Or(compareKeys(a.Key, b.Key), compareSpecs(a.Spec, b.Spec))
	})
	slices.SortFunc(shot.Waiting, func(a, b WaitingStatus) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Controller, b.Controller), cmp.Compare(a.Requisition, b.Requisition))
	})
}

func compareKeys(a, b whisk.ActionKey) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Action.Path(), b.Action.Path()), cmp.Compare(a.Revision, b.Revision),
		cmp.Compare(a.Environment, b.Environment))
}

func compareSpecs(a, b whisk.ContainerSpec) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Memory, b.Memory), cmp.Compare(a.Image, b.Image))
}
