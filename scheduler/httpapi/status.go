// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"time"

	"github.com/whirl-faas/whirl/scheduler"
)

// Status is the answer to GET /status: [scheduler.Snapshot] in JSON. Fields may
// be added to it, and none is renamed or removed. Memory is in bytes. No list is
// null.
type Status struct {
	At          time.Time    `json:"at"`
	Epoch       uint64       `json:"epoch"`
	Settled     bool         `json:"settled"` // else it has just started, and only listens
	Nodes       []Node       `json:"nodes"`
	Controllers []Controller `json:"controllers"`
	Prewarmed   []Prewarmed  `json:"prewarmed"`
	Actions     []Action     `json:"actions"`
	Waiting     []Waiting    `json:"waiting"`
	Omitted     Omitted      `json:"omitted"` // lines that these lists end before
}

// Node is a node and its agent.
type Node struct {
	Node      string    `json:"node"`
	State     string    `json:"state"` // up, unhealthy, unresponsive, down, draining or drained
	Since     time.Time `json:"since"`
	Connected bool      `json:"connected"`
	Problem   string    `json:"problem,omitempty"`
	Memory    int64     `json:"memory"`
	Used      int64     `json:"used"`
	Promised  int64     `json:"promised"`
	Pools     Pools     `json:"pools"`
}

// Pools counts a node's containers by what they are at.
type Pools struct {
	Busy      int `json:"busy"`
	Free      int `json:"free"`
	Kept      int `json:"kept"`
	Prewarmed int `json:"prewarmed"`
	Creating  int `json:"creating"`
	Granting  int `json:"granting"`
	Removing  int `json:"removing"`
}

// Controller is a controller that has a session or holds containers.
type Controller struct {
	Controller   string `json:"controller"`
	Connected    bool   `json:"connected"`
	Containers   int    `json:"containers"`
	Claimed      int    `json:"claimed"`
	Requisitions int    `json:"requisitions"`
}

// Prewarmed is a stock of containers without code.
type Prewarmed struct {
	Kind   string `json:"kind"`
	Image  string `json:"image,omitempty"`
	Memory int64  `json:"memory"`
	Wanted int    `json:"wanted"`
	Ready  int    `json:"ready"`
	Coming int    `json:"coming"`
}

// Action is an action, as one namespace invokes one revision of it.
type Action struct {
	Namespace string `json:"namespace"` // that invokes
	Action    string `json:"action"`    // namespace/name or namespace/package/name
	Revision  int64  `json:"revision"`
	Kind      string `json:"kind"`
	Image     string `json:"image,omitempty"`
	Memory    int64  `json:"memory"`
	Busy      int    `json:"busy"`
	Free      int    `json:"free"`
	Kept      int    `json:"kept"`
	Coming    int    `json:"coming"`
	Limit     int    `json:"limit,omitempty"` // of containers; 0 for no bound
	Waiting   int    `json:"waiting"`
}

// Waiting is a requisition that stands.
type Waiting struct {
	Controller  string    `json:"controller"`
	Requisition uint64    `json:"requisition"`
	Namespace   string    `json:"namespace"`
	Action      string    `json:"action"`
	Slots       int       `json:"slots"`
	UnderWay    int       `json:"underWay"`
	Since       time.Time `json:"since"`
	Deadline    time.Time `json:"deadline"`
}

// Omitted counts what is left out.
type Omitted struct {
	Prewarmed int `json:"prewarmed"`
	Actions   int `json:"actions"`
	Waiting   int `json:"waiting"`
}

func statusOf(shot scheduler.Snapshot) Status {
	return Status{
		At: shot.At, Epoch: shot.Epoch, Settled: shot.Settled,
		Nodes:       each(shot.Nodes, nodeOf),
		Controllers: each(shot.Controllers, controllerOf),
		Prewarmed:   each(shot.Prewarmed, prewarmedOf),
		Actions:     each(shot.Actions, actionOf),
		Waiting:     each(shot.Waiting, waitingOf),
		Omitted:     Omitted(shot.Omitted),
	}
}

func each[From, To any](list []From, convert func(From) To) []To {
	result := make([]To, len(list))
	for i, one := range list {
		result[i] = convert(one)
	}
	return result
}

func nodeOf(n scheduler.NodeStatus) Node {
	return Node{
		Node: string(n.Node), State: n.State.String(), Since: n.Since, Connected: n.Connected, Problem: n.Problem,
		Memory: int64(n.Memory), Used: int64(n.Used), Promised: int64(n.Promised), Pools: Pools(n.Pools),
	}
}

func controllerOf(c scheduler.ControllerStatus) Controller {
	return Controller{
		Controller: string(c.Controller), Connected: c.Connected,
		Containers: c.Containers, Claimed: c.Claimed, Requisitions: c.Requisitions,
	}
}

func prewarmedOf(p scheduler.PrewarmedStatus) Prewarmed {
	return Prewarmed{
		Kind: p.Spec.Kind, Image: p.Spec.Image, Memory: int64(p.Spec.Memory),
		Wanted: p.Wanted, Ready: p.Ready, Coming: p.Coming,
	}
}

func actionOf(a scheduler.ActionStatus) Action {
	return Action{
		Namespace: a.Key.Namespace, Action: a.Key.Action.Path(), Revision: int64(a.Key.Revision),
		Kind: a.Spec.Kind, Image: a.Spec.Image, Memory: int64(a.Spec.Memory),
		Busy: a.Busy, Free: a.Free, Kept: a.Kept, Coming: a.Coming, Limit: a.Limit, Waiting: a.Waiting,
	}
}

func waitingOf(w scheduler.WaitingStatus) Waiting {
	return Waiting{
		Controller: string(w.Controller), Requisition: uint64(w.Requisition),
		Namespace: w.Key.Namespace, Action: w.Key.Action.Path(),
		Slots: w.Slots, UnderWay: w.UnderWay, Since: w.Since, Deadline: w.Deadline,
	}
}
