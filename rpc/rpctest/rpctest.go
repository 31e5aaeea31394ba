// SPDX-License-Identifier: Apache-2.0

// Package rpctest is what every transport of sessions must do: the contract of
// [whisk.Stream], and what roles rely on beside it. rpc/inmem and rpc run it.
//
// Each test runs in a bubble of testing/synctest, so a transport works without
// real sockets, and leaves no goroutine behind.
package rpctest

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/whirl-faas/whirl/whisk"
)

// The names under which the suite's roles speak; a transport that checks
// certificates has some for them. Controllers also add a slash and a number.
const (
	Controller = "ctl1"
	Scheduler  = "sched1"
	Agent      = "node1"
)

// Roles serve sessions, as the scheduler, the agents and the controllers do.
type Roles struct {
	Controller func(context.Context, whisk.SchedulerToController) error
	Agent      func(context.Context, whisk.SchedulerToAgent) error
	Sandbox    func(context.Context, whisk.AgentToController) error
	Peer       func(context.Context, whisk.PeerToController) error
}

// Ends is a transport at work: roles are served, and sessions with them open.
type Ends struct {
	ControllerToScheduler func(context.Context) (whisk.ControllerToScheduler, error)
	AgentToScheduler      func(context.Context) (whisk.AgentToScheduler, error)
	ControllerToAgent     func(context.Context) (whisk.ControllerToAgent, error)
	ControllerToPeer      func(context.Context) (whisk.ControllerToPeer, error)
	Stop                  func() // ends all serving; returns when the roles have
	Cut                   func() // breaks all connections; nil if the transport has none
}

// Run holds a transport to its contract. start is called in a bubble, for each
// test anew; what it returns is stopped by the suite.
func Run(t *testing.T, start func(*testing.T, Roles) Ends) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, func(*testing.T, Roles) Ends)
	}{
		{"order is kept both ways", orderIsKept},
		{"senders may be many", sendersMayBeMany},
		{"a slow receiver blocks the sender", slowReceiverBlocks},
		{"the dialler closes", diallerCloses},
		{"the server closes", serverCloses},
		{"a handler's return closes", handlerReturns},
		{"a context ends a wait, not the session", contextEndsWait},
		{"stopping ends every session", stopEndsSessions},
		{"many sessions at once", manySessions},
		{"big messages", bigMessages},
		{"big bodies", bigBodies},
		{"a broken connection", brokenConnection},
		{"a close when all buffers are full", closedWhenFull},
		{"a broken connection when all buffers are full", brokenWhenFull},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test.run(t, start) })
		})
	}
}

// register is a controller's first message.
func register() whisk.Register { return whisk.Register{Controller: Controller} }

// factory is a session of a controller with a scheduler that hands over its end.
type factory struct {
	near whisk.ControllerToScheduler
	far  whisk.SchedulerToController
	ends Ends
	done chan struct{} // closing it makes the handler return
}

// newFactory opens a session, past its first message.
func newFactory(t *testing.T, start func(*testing.T, Roles) Ends) *factory {
	t.Helper()
	f := &factory{done: make(chan struct{})}
	served := make(chan whisk.SchedulerToController, 1)
	f.ends = start(t, Roles{Controller: func(ctx context.Context, far whisk.SchedulerToController) error {
		served <- far
		select {
		case <-f.done:
		case <-ctx.Done():
		}
		return far.Close()
	}})
	var err error
	if f.near, err = f.ends.ControllerToScheduler(t.Context()); err != nil {
		t.Fatal(err)
	}
	send[whisk.FactoryRequest](t, f.near, register())
	f.far = <-served
	if got := recv(t, f.far); got.(whisk.Register).Controller != Controller {
		t.Fatalf("the first message is %v", got)
	}
	return f
}

// stop ends both sides.
func (f *factory) stop() {
	_ = f.near.Close() // it may be broken
	f.ends.Stop()
}

func send[Out, In any](t *testing.T, stream whisk.Stream[Out, In], message Out) {
	t.Helper()
	if err := stream.Send(t.Context(), message); err != nil {
		t.Fatalf("send %T: %v", message, err)
	}
}

func recv[Out, In any](t *testing.T, stream whisk.Stream[Out, In]) In {
	t.Helper()
	message, err := stream.Recv(t.Context())
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	return message
}
