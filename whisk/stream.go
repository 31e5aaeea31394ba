// SPDX-License-Identifier: Apache-2.0

package whisk

import (
	"context"
	"net/netip"
)

// Stream is one end of a session between two roles: an ordered, reliable pipe
// of messages in both directions that is whole until it breaks. A broken one is
// never mended; its owner dials another and registers again.
//
// Send may be called by several goroutines at once, Recv by one at a time.
type Stream[Out, In any] interface {
	// Send hands a message to the transport. It blocks while the transport's
	// bounded buffer is full, and fails if ctx ends or the session does. If it
	// fails the peer never gets the message; if it does not, the peer may.
	Send(ctx context.Context, message Out) error
	// Recv returns the next message. It fails with io.EOF after the peer closed
	// the session, and with the cause if the session broke or ctx ended.
	Recv(ctx context.Context) (In, error)
	// Close ends the session for both sides. It is idempotent. Messages that
	// the peer has not received yet may be lost.
	Close() error
}

// Remote is what a [Stream] is besides if its peer is on a network. A stream
// within a process is none.
type Remote interface {
	// PeerAddress returns the address from which the peer has come, by the
	// network's word and not by the peer's. It is not valid if there is none.
	PeerAddress() netip.Addr
}

// The sessions between the roles, from each end. A controller dials the
// scheduler, the agents and other controllers; an agent dials the scheduler.
type (
	ControllerToScheduler = Stream[FactoryRequest, FactoryEvent]
	SchedulerToController = Stream[FactoryEvent, FactoryRequest]
	AgentToScheduler      = Stream[AgentReport, AgentCommand]
	SchedulerToAgent      = Stream[AgentCommand, AgentReport]
	ControllerToAgent     = Stream[SandboxRequest, SandboxReply]
	AgentToController     = Stream[SandboxReply, SandboxRequest]
	ControllerToPeer      = Stream[Forward, ForwardReply]
	PeerToController      = Stream[ForwardReply, Forward]
)
