// SPDX-License-Identifier: Apache-2.0

package whisk

import "time"

// The Container Factory Protocol: how a controller obtains containers from the
// scheduler and gives them back. docs/protocols.md draws its sessions.
//
// Slots, not containers, are asked for: a container of an action with
// concurrency n serves n slots.

// FactoryRequest is a message from a controller to the scheduler: [Register],
// [Requisition], [Withdraw], [StateReport], [Release] or [KeepAlive].
type FactoryRequest interface{ factoryRequest() }

// FactoryEvent is a message from the scheduler to a controller: [Allocation],
// [Redirect], [Rejection], [Reclaim], [Lost], [Roster] or [KeepAlive].
type FactoryEvent interface{ factoryEvent() }

// Register is the first message of every session. The scheduler forgets what
// an earlier session of the same controller asked for: requisitions that still
// stand are sent again.
type Register struct {
	Controller ControllerID
	Epoch      uint64 // the highest scheduler epoch that the controller has seen, 0 for none
	Peers      string // where other controllers reach it, see [Forward]; "" if it takes no part in forwarding
	Held       []HeldContainer
}

// HeldContainer is a container that a controller holds, as it reports it.
type HeldContainer struct {
	Container   ContainerID
	Node        NodeID
	Key         ActionKey // of the action that it was allocated for, also before it holds the code
	Concurrency int
	Instances   int // see [Requisition]
	State       UseState
}

// UseState says whether a held container is at work.
type UseState uint8

// The states that a controller reports of a container.
const (
	Busy UseState = iota // it serves at least one activation
	Free                 // it is idle, and may be asked back
)

// String returns "busy" or "free".
func (s UseState) String() string {
	if s == Free {
		return "free"
	}
	return "busy"
}

// Requisition says: I have work for Count more slots of this action.
type Requisition struct {
	ID          RequisitionID
	Key         ActionKey
	Spec        ContainerSpec
	Concurrency int       // slots of one container, at least 1
	Instances   int       // containers with this Key that may exist at once, in the cluster; 0 for as many as there is room for
	Count       int       // at least 1
	Deadline    time.Time // when the work gives up; the scheduler rejects what is left by then
	Label       string    // see [Invocation]
	Own         bool      // not to be answered with Redirect: another controller had no room a moment ago
}

// Withdraw takes back Count slots of a requisition, or what is left of it.
// Allocations that are under way may still arrive.
type Withdraw struct {
	ID    RequisitionID
	Count int
}

// StateReport tells, for each container whose reported state changed since the
// last report, its present one. Transitions in between are not reported.
type StateReport struct{ States []ContainerUse }

// ContainerUse is one line of a [StateReport].
type ContainerUse struct {
	Container ContainerID
	State     UseState
	Since     time.Time // when it entered the state, for the least-recently-used order
}

// Release gives a container back. The controller has stopped using it before
// it sends this, and never uses it again unless it is allocated anew.
type Release struct {
	Container ContainerID
	Reason    ReleaseReason
}

// ReleaseReason says why a container comes back, and so what may become of it.
type ReleaseReason uint8

// Why a controller releases a container.
const (
	ReleaseUnused    ReleaseReason = iota // never initialised: as good as prewarmed
	ReleaseReclaimed                      // clean and idle, because the scheduler asked
	ReleaseIdle                           // clean, idle for the whole idle timeout
	ReleaseLeaving                        // clean and idle, because the controller goes away
	ReleaseFailed                         // its state is not to be trusted: destroy
	ReleaseStale                          // its action was changed or deleted: destroy
)

// String returns the reason in a word.
func (r ReleaseReason) String() string {
	return [...]string{"unused", "reclaimed", "idle", "leaving", "failed", "stale"}[r]
}

// Allocation leases a container to the controller. The agent has granted the
// lease before this is sent.
type Allocation struct {
	Requisition RequisitionID
	Container   Container
	Agent       string // where controllers reach the node's agent, as its [NodeReport] says
	Origin      Origin
	Creation    time.Duration // of the time since the requisition came, how long the node took to make it; 0 if it was there
}

// Origin says where an allocated container came from.
type Origin uint8

// Where containers come from.
const (
	Created     Origin = iota // made for this requisition; holds no code
	Prewarmed                 // was ready; holds no code
	Transferred               // already holds the action's code; do not send /init
)

// String returns the origin in a word.
func (o Origin) String() string { return [...]string{"created", "prewarmed", "transferred"}[o] }

// Redirect says that another controller holds a container of the action with
// spare concurrency: forward one activation there, see [Forward]. It uses up one
// slot of the requisition. Only those who take part in forwarding get it, and
// only to others of them.
type Redirect struct {
	Requisition RequisitionID
	Controller  ControllerID
	Peers       string // where that controller is reached, as its [Register] says
}

// Rejection ends what is left of a requisition.
type Rejection struct {
	Requisition RequisitionID
	Reason      RejectReason
	Message     string        // what the user of the action should read
	RetryAfter  time.Duration // 0 if asking again is no use
}

// RejectReason says whose fault a rejection is.
type RejectReason uint8

// Why the scheduler rejects a requisition.
const (
	NoCapacity  RejectReason = iota // nothing came free before the deadline
	NeverFits                       // no node could ever hold such a container
	StartFailed                     // the platform could not start a container
	BadImage                        // the user's image cannot be pulled or run
	Overloaded                      // the scheduler's queue is full
)

// String returns the reason in words.
func (r RejectReason) String() string {
	return [...]string{"no capacity", "never fits", "start failed", "bad image", "overloaded"}[r]
}

// Reclaim asks for a container back. The controller answers with [Release], or
// with a [StateReport] that says busy. With Drain it gives the container no
// further activations and releases it when the running ones have ended.
type Reclaim struct {
	Container ContainerID
	Drain     bool
}

// Lost says that a container is gone. It must not be used again, and needs no Release.
type Lost struct {
	Container ContainerID
	Reason    string
}

// Roster tells who takes part: how all nodes are, for those who ask a controller,
// and how many controllers there are, for limits that they share. It comes after
// the registration and when something changed, coalesced; only the latest counts.
type Roster struct {
	Nodes       []NodeStanding // sorted by their names
	Controllers int            // with a session or with containers, the receiver included; 0 if unknown
	Partial     bool           // the scheduler has just begun, and there may be more controllers
}

// NodeStanding is one line of a [Roster].
type NodeStanding struct {
	Node  NodeID
	State NodeState
}

// NodeState is how the scheduler sees a node and its agent. New containers go
// to a node that is up, and to no other. docs/state-machines.md draws the machine.
type NodeState uint8

// The states of a node.
const (
	NodeDown         NodeState = iota // its agent is gone
	NodeUp                            // all is well
	NodeUnhealthy                     // its engine errs, or did and has not proven itself since
	NodeUnresponsive                  // its agent does not answer just now
	NodeDraining                      // an operator has it emptied
	NodeDrained                       // it is empty and stays so
)

// String returns the state in a word.
func (s NodeState) String() string {
	return [...]string{"down", "up", "unhealthy", "unresponsive", "draining", "drained"}[s]
}

// Invoker returns OpenWhisk's word for the state: up, unhealthy, unresponsive
// or down. As there, a node that an operator took out of service is down.
func (s NodeState) Invoker() string {
	if s == NodeDraining || s == NodeDrained {
		s = NodeDown
	}
	return s.String()
}

// KeepAlive shows either side that the other lives.
type KeepAlive struct{ Epoch uint64 }

func (Register) factoryRequest()    {}
func (Requisition) factoryRequest() {}
func (Withdraw) factoryRequest()    {}
func (StateReport) factoryRequest() {}
func (Release) factoryRequest()     {}
func (KeepAlive) factoryRequest()   {}

func (Allocation) factoryEvent() {}
func (Redirect) factoryEvent()   {}
func (Rejection) factoryEvent()  {}
func (Reclaim) factoryEvent()    {}
func (Lost) factoryEvent()       {}
func (Roster) factoryEvent()     {}
func (KeepAlive) factoryEvent()  {}
