// SPDX-License-Identifier: Apache-2.0

package whisk

import "time"

// The agent protocols: what the scheduler commands and an agent reports, and
// what a controller asks of the agents that host its containers.
//
// The scheduler decides, the agent grants: a container has at most one lessee,
// and the agent changes it only by a command that names the lessee who gave the
// container up, or when that lessee's lease ran out.

// AgentCommand is a message from the scheduler to an agent: [CreateContainer],
// [GrantLease], [RemoveContainer], [DrainNode] or [KeepAlive].
type AgentCommand interface{ agentCommand() }

// AgentReport is a message from an agent to the scheduler: [NodeReport],
// [ContainerCreated], [CreationFailed], [LeaseGranted], [LeaseRefused],
// [ContainerGone] or [KeepAlive].
type AgentReport interface{ agentReport() }

// NodeReport is the first message of every session, and is sent again when the
// node's health changes: all that the scheduler needs to know of the node.
type NodeReport struct {
	Node       NodeID
	Epoch      uint64 // the highest scheduler epoch that the agent has seen, 0 for none
	Address    string // host:port where controllers reach the agent; "" if they know it otherwise
	Probes     string // host:port where it answers /readyz over HTTP; "" if the scheduler cannot ask there
	Memory     Bytes  // for action containers
	Problem    string // why nothing should be placed here; "" if all is well
	Draining   bool   // the last [DrainNode] that the agent heard said so
	Containers []HostedContainer
}

// HostedContainer is a container as its agent reports it.
type HostedContainer struct {
	Container Container
	Lessee    ControllerID // "" if nobody holds it
	Used      bool         // it was ever leased, and so may hold code
	Making    bool         // it is still being made: [ContainerCreated] or [CreationFailed] follows
}

// CreateContainer makes a container, and leases it at once unless Lessee is "".
// It is answered by [ContainerCreated] or [CreationFailed].
type CreateContainer struct {
	Epoch     uint64
	Container ContainerID
	Spec      ContainerSpec
	Label     string
	Lessee    ControllerID
}

// GrantLease moves a container from one lessee to another; "" stands for
// nobody on either side. It is answered by [LeaseGranted] or [LeaseRefused],
// except that a later GrantLease may answer for an earlier one.
type GrantLease struct {
	Epoch     uint64
	Container ContainerID
	From, To  ControllerID
	Order     uint64 // names it in its answer; no two of a container's have the same
}

// RemoveContainer destroys a container that Lessee has given up, or that nobody
// holds if Lessee is "". It is answered by [ContainerGone], also when there is
// no such container, or by [LeaseRefused].
type RemoveContainer struct {
	Epoch     uint64
	Container ContainerID
	Lessee    ControllerID
}

// DrainNode says whether an operator has the node emptied. The agent does
// nothing about it but tell it in its reports: so a scheduler that starts anew,
// and keeps nothing on disk, learns of it. It is not answered.
type DrainNode struct {
	Epoch uint64
	Drain bool
}

// ContainerCreated says that a container runs.
type ContainerCreated struct {
	Container Container
	Took      time.Duration
}

// CreationFailed says that a container could not be made and that nothing is left of it.
type CreationFailed struct {
	Container ContainerID
	Fault     Fault
	Message   string
}

// Fault says whose fault a failed creation is.
type Fault uint8

// Whose fault it is.
const (
	NodeFault Fault = iota // this node's; another may do better
	UserFault              // the image's or the spec's; no node will do better
)

// LeaseGranted confirms a [GrantLease].
type LeaseGranted struct {
	Container ContainerID
	Lessee    ControllerID
	Order     uint64 // of the GrantLease
}

// LeaseRefused says that a command named the wrong lessee, or an old epoch, and
// that nothing was changed, or that the container ends before its next lessee
// could have it. Before the refusal of an old epoch a [KeepAlive] tells the new one.
type LeaseRefused struct {
	Container ContainerID
	Lessee    ControllerID // who does hold it; "" also if it is of no use to anybody
	Reason    string
	Order     uint64 // of the [GrantLease] that is refused, 0 for other commands
}

// ContainerGone says that a container is no more and its memory is free again.
type ContainerGone struct {
	Container ContainerID
	Expected  bool // it was removed on command
	Reason    string
}

func (CreateContainer) agentCommand() {}
func (GrantLease) agentCommand()      {}
func (RemoveContainer) agentCommand() {}
func (DrainNode) agentCommand()       {}
func (KeepAlive) agentCommand()       {}

func (NodeReport) agentReport()       {}
func (ContainerCreated) agentReport() {}
func (CreationFailed) agentReport()   {}
func (LeaseGranted) agentReport()     {}
func (LeaseRefused) agentReport()     {}
func (ContainerGone) agentReport()    {}
func (KeepAlive) agentReport()        {}

// SandboxRequest is a message from a controller to an agent. Each is answered
// by one [SandboxReply] of the same Seq. Requests about one container are
// carried out in the order sent, except that a CollectLogs that still waits for
// output lets later ones pass.
type SandboxRequest struct {
	Seq        uint64 // chosen by the controller, rising within its session
	Op         SandboxOp
	Controller ControllerID // of Renew
	Container  ContainerID  // of all others
	Logs       LogRequest   // of CollectLogs
}

// SandboxOp is what a controller asks of an agent. All but Renew need the
// container's lease.
type SandboxOp uint8

// What a controller may ask of an agent.
const (
	Renew       SandboxOp = iota // the controller's leases on this agent; the first request of every session
	Suspend                      // freeze the container; done if it is frozen already
	Resume                       // thaw it; done if it runs already
	CollectLogs                  // store one run's output
	Inspect                      // how the container ended; waits a moment for an end that is near
)

// LogRequest asks for the output of one run of a container.
type LogRequest struct {
	Activation ActivationID
	Namespace  string
	Run        uint64 // counts the container's runs from 1 since the lease was granted
	Limit      Bytes  // of the action; 0 discards the output, that of later runs as well until one is asked for
	Sentinels  bool   // the run's output ends with the sentinel lines; without, what is there is taken
	Failed     bool   // the run or the init failed: no sentinel may come, and a last line says so
}

// SandboxReply answers a [SandboxRequest].
type SandboxReply struct {
	Seq  uint64
	Kind Kind   // of the error
	Err  string // "" if it was carried out
	Logs LogSummary
	Exit *Exit // of Inspect; nil if the container still runs
	// Frozen says of a Resume that failed that the container was frozen ever
	// since and is until its end: nothing is read of what was sent there. Where
	// it is false that is not known.
	Frozen bool
}

// Error returns the reply's error, or nil.
func (r SandboxReply) Error() error {
	if r.Err == "" {
		return nil
	}
	return Errorf(r.Kind, "%s", r.Err)
}

// LogSentinel is the line by which a runtime ends a run's output, on stdout and
// on stderr alike.
const LogSentinel = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX"
