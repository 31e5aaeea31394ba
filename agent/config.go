// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/whirl-faas/whirl/agent/output"
	"github.com/whirl-faas/whirl/whisk"
)

// Config is an agent's.
type Config struct {
	Node    whisk.NodeID
	Address string            // host:port where controllers reach the agent; "" if they know it otherwise
	Probes  string            // host:port where it answers /readyz over HTTP; "" if the scheduler is not to ask
	Memory  whisk.Bytes       // for action containers
	Env     map[string]string // of every container, also of those made before their action is known

	Creations  int // in flight at once; more wait for their turn
	Containers int // existing, being made or being removed; more are refused
	Operations int // waiting for one container; more are refused
	Requests   int // waiting in one controller's session; more are refused
	Outbox     int // messages that a session's peer is behind; beyond, the session is closed

	CreateTimeout  time.Duration // of one creation, an image's download included
	OperateTimeout time.Duration // of one suspend or resume
	DestroyTimeout time.Duration // of one try; tries go on
	Shutdown       time.Duration // until what still runs is left to the next agent's recovery
	Handover       time.Duration // before a lease goes on to the next: the last run's output still comes in
	InspectWait    time.Duration // for an end that is near
	KeepOnStop     bool          // a stop leaves the containers to the next agent, for an upgrade
	Linger         time.Duration // an ended container's output and exit stay so long for late requests

	KeepAlive            time.Duration // between signs of life to the scheduler
	Silence              time.Duration // without one from it, the session is given up
	RedialMin, RedialMax time.Duration

	Faults    int           // consecutive creations that the node failed, until it is a problem
	FaultRest time.Duration // until another creation may try whether it still is

	Ping        time.Duration // between questions to the driver whether its engine answers
	PingTimeout time.Duration // of one
	Pings       int           // consecutive ones in vain, until it is a problem

	Output output.Config
	Logs   output.ShipperConfig
}

// Default returns a config that lacks a node and its memory.
func Default() Config {
	return Config{
		Creations:      8,
		Containers:     4096,
		Operations:     64,
		Requests:       4096,
		Outbox:         16384,
		CreateTimeout:  5 * time.Minute,
		OperateTimeout: 10 * time.Second,
		DestroyTimeout: 10 * time.Second,
		Shutdown:       20 * time.Second,
		Handover:       2 * time.Millisecond,
		InspectWait:    2 * time.Second,
		Linger:         whisk.LeaseTTL,
		KeepAlive:      5 * time.Second,
		Silence:        15 * time.Second,
		RedialMin:      100 * time.Millisecond,
		RedialMax:      5 * time.Second,
		Faults:         3,
		FaultRest:      10 * time.Second,
		Ping:           5 * time.Second,
		PingTimeout:    3 * time.Second,
		Pings:          2,
		Output:         output.Default(),
		Logs:           output.DefaultShipper(),
	}
}

// Validate reports what is missing or makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Node == "":
		return whisk.Errorf(whisk.Invalid, "an agent needs the name of its node")
	case c.Memory <= 0:
		return whisk.Errorf(whisk.Invalid, "an agent needs memory for containers, not %v", c.Memory)
	}
	for name, n := range map[string]int{
		"creations": c.Creations, "containers": c.Containers, "operations": c.Operations,
		"requests": c.Requests, "outbox": c.Outbox, "faults": c.Faults, "pings": c.Pings,
	} {
		if n < 1 {
			return whisk.Errorf(whisk.Invalid, "an agent's %s must be at least 1, not %d", name, n)
		}
	}
	for name, d := range map[string]time.Duration{
		"create timeout": c.CreateTimeout, "operate timeout": c.OperateTimeout, "destroy timeout": c.DestroyTimeout,
		"shutdown": c.Shutdown, "keep-alive": c.KeepAlive, "silence": c.Silence,
		"shortest redial": c.RedialMin, "longest redial": c.RedialMax, "fault rest": c.FaultRest,
		"ping interval": c.Ping, "ping timeout": c.PingTimeout,
	} {
		if d <= 0 {
			return whisk.Errorf(whisk.Invalid, "an agent's %s must be positive, not %v", name, d)
		}
	}
	if err := c.Output.Validate(); err != nil {
		return err
	}
	return c.Logs.Validate()
}

// Deps are what an agent works with.
type Deps struct {
	Driver        whisk.Driver
	Logs          whisk.LogStore
	Ledger        Ledger // what the next agent is to know; nil if containers may end with this one
	Gate          Gate   // before containers that other hosts reach; nil if they are not published
	DialScheduler func(context.Context) (whisk.AgentToScheduler, error)
	Logger        *slog.Logger
}
