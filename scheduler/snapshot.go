// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Snapshot tells how things stood at one instant. It shares nothing with the scheduler.
type Snapshot struct {
	At          time.Time
	Epoch       uint64
	Settled     bool // the time in which the scheduler only listens is over
	Nodes       []NodeStatus
	Controllers []ControllerStatus
	Actions     []ActionStatus
	StemCells   []StemCellStatus
	Waiting     []WaitingStatus // in order of arrival
}

// NodeStatus tells of a node.
type NodeStatus struct {
	Node      whisk.NodeID
	Connected bool   // its agent has a session
	Problem   string // why nothing is placed there, by its agent
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

// ControllerStatus tells of a controller that has a session or holds containers.
type ControllerStatus struct {
	Controller   whisk.ControllerID
	Connected    bool
	Containers   int // leased to it
	Requisitions int
}

// ActionStatus tells of an action that has containers or requisitions.
type ActionStatus struct {
	Key     whisk.ActionKey
	Spec    whisk.ContainerSpec
	Leased  int
	Kept    int
	Waiting int // requisitions for which nothing is under way
}

// StemCellStatus tells of one kind and memory of prewarmed containers.
type StemCellStatus struct {
	Spec   whisk.ContainerSpec
	Wanted int
	Ready  int
	Coming int
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

func (s *state) snapshot() Snapshot {
	shot := Snapshot{At: s.now, Epoch: s.cfg.Epoch, Settled: s.settled}
	for _, n := range s.order {
		shot.Nodes = append(shot.Nodes, NodeStatus{
			Node: n.id, Connected: n.session != 0, Problem: n.problem,
			Memory: n.memory, Used: n.used, Promised: n.promised, Pools: n.pools(),
		})
	}
	for _, id := range slices.Sorted(maps.Keys(s.controllers)) {
		ctl := s.controllers[id]
		shot.Controllers = append(shot.Controllers, ControllerStatus{
			Controller: id, Connected: ctl.session != 0,
			Containers: ctl.leased.count, Requisitions: len(ctl.requisitions),
		})
		for _, r := range ctl.requisitions {
			shot.Waiting = append(shot.Waiting, WaitingStatus{
				Controller: id, Requisition: r.id, Key: r.action.key,
				Slots: r.outstanding, UnderWay: r.pending, Since: r.arrived, Deadline: r.deadline.at,
			})
		}
	}
	slices.SortFunc(shot.Waiting, func(a, b WaitingStatus) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Controller, b.Controller), cmp.Compare(a.Requisition, b.Requisition))
	})
	for _, a := range s.actions {
		shot.Actions = append(shot.Actions, ActionStatus{
			Key: a.key, Spec: a.spec, Leased: a.leases, Kept: a.kept.count, Waiting: a.waiting.count,
		})
	}
	slices.SortFunc(shot.Actions, func(a, b ActionStatus) int {
		return cmp.Or(cmp.Compare(a.Key.Namespace, b.Key.Namespace), cmp.Compare(a.Key.Action.Path(), b.Key.Action.Path()),
			cmp.Compare(a.Key.Revision, b.Key.Revision), cmp.Compare(a.Spec.Memory, b.Spec.Memory))
	})
	for _, p := range s.stemCells {
		shot.StemCells = append(shot.StemCells, StemCellStatus{
			Spec: p.spec, Wanted: p.wanted, Ready: p.ready.count, Coming: p.coming.count + p.returning,
		})
	}
	return shot
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
