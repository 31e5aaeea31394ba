// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Config sets a balancer's limits and delays. Start from [Default].
type Config struct {
	Controller whisk.ControllerID // whose containers these are; must be set
	Peers      string             // where other controllers reach ServePeer; "" if this one takes no part in forwarding

	PauseGrace  time.Duration // an idle container is suspended after this; 0 never
	IdleTimeout time.Duration // an idle container is given back after this

	Waiting       int         // activations in the overflow
	WaitingBytes  whisk.Bytes // of memory that they hold
	ActionWaiting int         // the same, for one action
	ActionBytes   whisk.Bytes

	// In a crowd so many activations may wait for a processor in their containers, whatever else there is to do: the
	// namespaces that run something share them, and so do the actions of each, but each action has one.
	CrowdFloor int

	Attempts       int           // containers that one activation may be sent to
	InitRetry      time.Duration // between tries to reach a container that does not listen yet
	InitAnswer     whisk.Bytes   // of an answer to /init
	ConnectionIdle time.Duration // an idle TCP connection to a container is not used after this

	ReportInterval time.Duration // between reports of busy and free
	IdleGrace      time.Duration // while containers are wanted: one that is idle for less may be between two activations
	KeepAlive      time.Duration // between signs of life to the scheduler
	Silence        time.Duration // without one from it, the session counts as broken
	ReconnectMin   time.Duration // before the first new try to reach a scheduler or agent
	ReconnectMax   time.Duration // it doubles up to this

	AgentQueue   int           // requests that wait for one agent; more logs than that are not collected
	AgentLinger  time.Duration // a session with an agent that hosts nothing of ours ends after this
	LogPatience  time.Duration // a container given back waits this long for its logs
	ExitPatience time.Duration // to learn from an agent how a container ended

	Forwards       int           // activations at once that another controller has of us; and again that run here for others
	HandOver       time.Duration // for another controller to be reached, and to take a message; one that says nothing for longer gets no more
	AnswerPatience time.Duration // beyond the action's time limit, for another controller's answer
	PeerLinger     time.Duration // a session with another controller that has nothing of ours ends after this
}

// Default returns OpenWhisk's delays and bounds that fit a controller with
// about 1 GB of memory.
func Default() Config {
	return Config{
		PauseGrace:     10 * time.Second,
		IdleTimeout:    10 * time.Minute,
		Waiting:        50_000,
		WaitingBytes:   256 * whisk.MB,
		ActionWaiting:  10_000,
		ActionBytes:    64 * whisk.MB,
		CrowdFloor:     runtime.NumCPU(),
		Attempts:       3,
		InitRetry:      50 * time.Millisecond,
		InitAnswer:     1 * whisk.MB,
		ConnectionIdle: 3 * time.Second,
		ReportInterval: 100 * time.Millisecond,
		IdleGrace:      50 * time.Millisecond,
		KeepAlive:      5 * time.Second,
		Silence:        15 * time.Second,
		ReconnectMin:   50 * time.Millisecond,
		ReconnectMax:   2 * time.Second,
		AgentQueue:     16_384,
		AgentLinger:    time.Minute,
		LogPatience:    30 * time.Second,
		ExitPatience:   3 * time.Second,
		Forwards:       1024,
		HandOver:       2 * time.Second,
		AnswerPatience: 10 * time.Second,
		PeerLinger:     time.Minute,
	}
}

// Validate reports all values that cannot work, by field name.
func (c Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Controller == "" {
		wrong("Controller is empty")
	}
	if c.PauseGrace < 0 {
		wrong("PauseGrace %v is negative; 0 turns pausing off", c.PauseGrace)
	}
	for _, limit := range []struct {
		name  string
		value int64
	}{
		{"Waiting", int64(c.Waiting)}, {"WaitingBytes", int64(c.WaitingBytes)},
		{"ActionWaiting", int64(c.ActionWaiting)}, {"ActionBytes", int64(c.ActionBytes)},
		{"CrowdFloor", int64(c.CrowdFloor)}, {"Attempts", int64(c.Attempts)}, {"InitAnswer", int64(c.InitAnswer)}, {"AgentQueue", int64(c.AgentQueue)},
		{"IdleTimeout", int64(c.IdleTimeout)}, {"InitRetry", int64(c.InitRetry)}, {"ConnectionIdle", int64(c.ConnectionIdle)},
		{"ReportInterval", int64(c.ReportInterval)}, {"IdleGrace", int64(c.IdleGrace)}, {"KeepAlive", int64(c.KeepAlive)}, {"ReconnectMin", int64(c.ReconnectMin)},
		{"Forwards", int64(c.Forwards)}, {"HandOver", int64(c.HandOver)}, {"AnswerPatience", int64(c.AnswerPatience)},
		{"PeerLinger", int64(c.PeerLinger)}, {"AgentLinger", int64(c.AgentLinger)}, {"LogPatience", int64(c.LogPatience)}, {"ExitPatience", int64(c.ExitPatience)},
	} {
		if limit.value <= 0 {
			wrong("%s must be above 0", limit.name)
		}
	}
	if c.Silence <= c.KeepAlive {
		wrong("Silence %v must be longer than KeepAlive %v", c.Silence, c.KeepAlive)
	}
	if c.ReconnectMax < c.ReconnectMin {
		wrong("ReconnectMax %v is below ReconnectMin %v", c.ReconnectMax, c.ReconnectMin)
	}
	if len(errs) > 0 {
		return whisk.Errorf(whisk.Invalid, "balancer: %w", errors.Join(errs...))
	}
	return nil
}

// Deps are a balancer's ways to the other roles. All are required, but for
// DialPeer, Runnable and Lookout, and may be called concurrently.
type Deps struct {
	DialScheduler func(context.Context) (whisk.ControllerToScheduler, error)
	// DialAgent connects to a node's agent, at the address that its allocations
	// name; that is "" where agents have none.
	DialAgent func(ctx context.Context, node whisk.NodeID, address string) (whisk.ControllerToAgent, error)
	// DialContainer connects to a container. Any error counts as a refused
	// connection: nothing was sent.
	DialContainer func(context.Context, whisk.Address) (net.Conn, error)
	// DialPeer connects to another controller, at the address that the
	// scheduler's redirect names. It is needed if Config.Peers is set.
	DialPeer func(ctx context.Context, id whisk.ControllerID, address string) (whisk.ControllerToPeer, error)
	// Runnable tells how much wants to run on this machine at the moment, for each
	// processor; see the function [Runnable]. It is called by one goroutine at a time. nil
	// leaves activations run at once as many as there are containers for, whatever comes
	// of it.
	Runnable func() float64
	// Lookout sees to it that where processors are short, what comes for those who ask for
	// little is read soon. nil leaves to Go what is read first.
	Lookout Lookout
	Logger  *slog.Logger
}

// Lookout is what the balancer needs of a lookout.
type Lookout interface {
	// Watch returns a connection to a container of the namespace, to be used in place of conn.
	Watch(conn net.Conn, namespace string) net.Conn
	// Crowd says which namespaces crowd others from now on, if any do: what comes for them
	// may wait. It is called by one goroutine, four times a second.
	Crowd(namespaces []string)
}

// nobody looks out.
type nobody struct{}

func (nobody) Watch(conn net.Conn, _ string) net.Conn { return conn }
func (nobody) Crowd([]string)                         {}
