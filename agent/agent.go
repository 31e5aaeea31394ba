// SPDX-License-Identifier: Apache-2.0

// Package agent owns the sandboxes of one node: it makes, suspends, resumes and
// removes them, grants them to controllers, and takes their output to the log
// store. It never sees parameters, results or entities.
//
// The scheduler decides, the agent grants. Its promises:
//
//   - A container has at most one lessee. The lessee changes only by a command
//     that names the one who gave the container up, or when that one's lease ran
//     out. A lease runs for [whisk.LeaseTTL] from the controller's last request
//     to this agent, or from its grant if that is later.
//   - When a lease ran out, the container is destroyed.
//   - A command of an older epoch than the highest seen changes nothing.
//   - Suspends and resumes of one container are carried out one after the other
//     in the order asked. Removal waits for nothing and always wins.
//   - Who is told that a container stays frozen can rely on it: nothing is read
//     of what was sent there.
//   - Reports leave in the order in which things happened. Every session with
//     the scheduler begins with a full report; what an earlier one did not
//     deliver is not repeated, the full report says it.
//   - A container never waits for its output to be stored.
//   - Where containers are published to other hosts, their lessee's address is let
//     in to them before anybody is told of the lease, and kept out before the
//     next lessee is let in.
//
// One mutex guards containers and leases and is never held while a driver, a
// store or a peer is at work. All that an agent starts ends with Run.
//
// docs/state-machines.md draws a container's states, docs/protocols.md the
// sessions.
package agent

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/agent/output"
	"github.com/whirl-faas/whirl/whisk"
)

// Agent is the role. Its methods may be called concurrently, Run once.
type Agent struct {
	config  Config
	driver  whisk.Driver
	dial    func(context.Context) (whisk.AgentToScheduler, error)
	logger  *slog.Logger
	shipper *output.Shipper
	ledger  Ledger // nil if containers end with the process
	gate    Gate   // nil if containers are not published

	turns     chan struct{}   // a creation holds one
	ops       context.Context // of the driver's calls; ends when a shutdown takes too long
	tasks     sync.WaitGroup  // what works for containers
	watchers  sync.WaitGroup  // what waits for containers' ends; they begin tasks
	recorders sync.WaitGroup  // what reads containers' output
	recovered chan struct{}   // closed when it is known what a former agent left
	leaving   chan struct{}   // closed when the containers are left to the next agent
	ended     chan struct{}   // closed when no request can be carried out any more

	requests sync.WaitGroup // of controllers, under way; raised under mu unless phase is stopped

	mu         sync.Mutex
	phase      phase
	containers map[whisk.ContainerID]*container // also those gone not long ago
	memory     whisk.Bytes                      // of those not gone
	existing   int                              // of those not gone
	renewed    map[whisk.ControllerID]time.Time
	sources    map[whisk.ControllerID][]netip.Addr // that each came from; of those in renewed
	admissions admissions                          // that the gate has to make
	epoch      uint64                              // the highest seen
	reports    *outbox[whisk.AgentReport]          // to the scheduler; nil without a session
	health     health
	draining   bool // an operator has the node emptied, the scheduler says
}

// phase is where the agent is in its own life.
type phase uint8

const (
	fresh      phase = iota // Run was not called
	recovering              // it is not known yet which containers there are
	serving                 // Run runs
	stopping                // containers are being removed
	stopped                 // nothing is left, or left to the next agent
)

// New returns an agent. It does nothing until Run.
func New(config Config, deps Deps) (*Agent, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	logger := deps.Logger.With("component", "agent", "node", string(config.Node))
	keeper := deps.Ledger
	if !deps.Driver.Capabilities().Recovers {
		keeper = nil
	}
	return &Agent{
		config:     config,
		driver:     deps.Driver,
		dial:       deps.DialScheduler,
		logger:     logger,
		shipper:    output.NewShipper(config.Logs, deps.Logs, logger),
		ledger:     keeper,
		gate:       deps.Gate,
		turns:      make(chan struct{}, config.Creations),
		recovered:  make(chan struct{}),
		leaving:    make(chan struct{}),
		ended:      make(chan struct{}),
		containers: map[whisk.ContainerID]*container{},
		renewed:    map[whisk.ControllerID]time.Time{},
		sources:    map[whisk.ControllerID][]netip.Addr{},
	}, nil
}

// Why an agent does not take requests.
var (
	errStarting = whisk.Errorf(whisk.Unavailable, "the agent starts")
	errStopping = whisk.Errorf(whisk.Unavailable, "the agent stops")
)

// Run takes over what a former agent left, and serves until ctx ends. Then it
// removes all containers, stores their output and closes the driver; or, with
// KeepOnStop and a driver and a ledger that serve for it, leaves them to the next
// agent. It returns an error if it could not start, or if something may be left
// behind that should not.
func (a *Agent) Run(ctx context.Context) error {
	ops, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(errStopping)
	if err := a.begin(ops); err != nil {
		return err
	}
	if err := a.recover(ctx); err != nil {
		err = errors.Join(err, a.removeAll(cancel))
		a.stop()
		return errors.Join(err, a.driver.Close())
	}
	a.serve()
	var shipping, loops sync.WaitGroup
	ship, stopShipping := context.WithCancelCause(ops)
	defer stopShipping(errStopping)
	shipping.Go(func() { a.shipper.Run(ship) })
	loops.Go(func() { a.schedulerLoop(ctx) })
	loops.Go(func() { a.clockLoop(ctx) })
	loops.Go(func() { a.engineLoop(ctx) })
	loops.Wait()

	var err error
	if a.config.KeepOnStop && a.ledger != nil {
		err = a.leaveAll(cancel)
	} else {
		err = a.removeAll(cancel)
		a.stop()
	}
	stopShipping(errStopping)
	shipping.Wait()
	return errors.Join(err, a.driver.Close())
}

func (a *Agent) begin(ops context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.phase != fresh {
		return whisk.Errorf(whisk.Internal, "an agent runs once")
	}
	a.phase, a.ops = recovering, ops
	return nil
}

// serve lets requests in. One for a container that was not taken over yet would
// be told that there is none, and its lessee would give it up.
func (a *Agent) serve() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.phase = serving
	close(a.recovered)
}

// removeAll destroys all containers at once, and waits until their output was
// read. It gives up after the shutdown time.
func (a *Agent) removeAll(giveUp context.CancelCauseFunc) error {
	a.mu.Lock()
	a.phase = stopping
	for _, c := range a.containers {
		c.reason = "the agent stops"
		a.applyLocked(c, remove)
	}
	a.mu.Unlock()

	patience := time.AfterFunc(a.config.Shutdown, func() { giveUp(errStopping) })
	defer patience.Stop()
	a.tasks.Wait()
	a.watchers.Wait()
	a.recorders.Wait()

	a.mu.Lock()
	defer a.mu.Unlock()
	var left []string
	for id, c := range a.containers {
		if c.state != gone {
			left = append(left, string(id))
		}
	}
	if left != nil {
		slices.Sort(left)
		return whisk.Errorf(whisk.Timeout, "not removed in time: %s", strings.Join(left, ", "))
	}
	return nil
}

// stop lets the requests under way finish, and then ends the sessions.
func (a *Agent) stop() {
	a.mu.Lock()
	a.phase = stopped
	a.mu.Unlock()
	a.requests.Wait()
	close(a.ended)
}

// background returns the context of what must not end with a session.
func (a *Agent) background() context.Context {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ops
}

// Report returns what the agent would tell the scheduler now.
func (a *Agent) Report() whisk.NodeReport {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.nodeReportLocked()
}

// nodeReportLocked lists what exists or is being made.
func (a *Agent) nodeReportLocked() whisk.NodeReport {
	report := whisk.NodeReport{
		Node: a.config.Node, Epoch: a.epoch, Address: a.config.Address, Probes: a.config.Probes,
		Memory: a.config.Memory, Problem: a.health.problem(), Draining: a.draining,
	}
	for _, id := range slices.Sorted(maps.Keys(a.containers)) {
		if c := a.containers[id]; c.exists() || c.state == creating {
			report.Containers = append(report.Containers, whisk.HostedContainer{
				Container: c.Container, Lessee: c.lessee, Used: c.used, Making: c.state == creating,
			})
		}
	}
	return report
}

func (a *Agent) reportLocked(report whisk.AgentReport) {
	if a.reports != nil {
		a.reports.put(report)
	}
}
