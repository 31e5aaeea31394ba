// SPDX-License-Identifier: Apache-2.0

package whisk

import "time"

// Identifiers of the parties. They are unique within a cluster, for ever for
// containers and for as long as the process lives for the others.
type (
	ControllerID  string
	NodeID        string // a node, and so its one agent
	ContainerID   string // letters, digits, "_" and "-" only
	RequisitionID uint64 // chosen by the controller, rising within its session
)

// ActionKey says which code a container may run and for whom. A container
// never serves two keys: not two namespaces, not two revisions of an action, not
// two environments at its initialisation.
type ActionKey struct {
	Namespace   string // that invokes
	Action      FullName
	Revision    Revision // of the action's document
	Environment uint64   // stands for what packages add to the environment; 0 for nothing
}

// ContainerSpec is what a container is made from. Two containers of the same
// spec are interchangeable until one was initialised.
type ContainerSpec struct {
	Kind   string // such as "nodejs:20"
	Image  string // "" where the driver's runtime for Kind says it all
	Memory Bytes
}

// Address tells a controller how to reach a container.
type Address struct {
	Network string // "unix", "tcp", or "memory" in tests
	Address string // in the form that [net.Dial] takes for the network
}

// Container is what a controller must know of a container to use it.
type Container struct {
	ID      ContainerID
	Node    NodeID
	Address Address
	Spec    ContainerSpec
}

// Exit is how a container ended.
type Exit struct {
	Code        int  // of its first process; negative for a signal
	OutOfMemory bool // it was killed because it used more memory than allowed
}

// Lease timing. An agent counts a lease from the renewal's arrival, a
// controller from before the renewal's sending, so the controller's always
// ends first; the margin covers an activation's last instants besides.
const (
	LeaseTTL    = 10 * time.Second
	LeaseRenew  = 2 * time.Second
	LeaseMargin = 2 * time.Second // a controller starts nothing new on an agent this long before the end
)
