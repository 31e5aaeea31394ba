// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/agent"
	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/scheduler"
	"github.com/whirl-faas/whirl/whisk"
)

// Config describes a cluster.
type Config struct {
	Seed        uint64
	Nodes       int
	NodeMemory  whisk.Bytes
	Controllers int
	Concurrency int           // that containers may be used with at most
	IdleTimeout time.Duration // of containers that a controller holds; 0 for the default
	KeepWarm    time.Duration // of containers that nobody holds; 0 for the default
	Script      fake.Script
	Manifest    whisk.Manifest // whose stem cells are kept
	Logger      *slog.Logger
}

// Cluster is a platform without its API: balancers, a scheduler, agents. Its
// methods are called by one goroutine.
type Cluster struct {
	config Config
	ctx    context.Context // of all parts
	logs   *controllertest.Store
	calls  calls
	trace  trace

	mu        sync.Mutex
	scheduler *schedulerPart // guarded by mu

	epoch       uint64
	nodes       []*Node
	controllers []*Controller
	born        int // controllers so far
}

// part is a component that runs.
type part struct {
	stop context.CancelCauseFunc
	done chan struct{} // closed when it ended
	err  error         // of its Run; read after done
}

func run(ctx context.Context, f func(context.Context) error) *part {
	ctx, stop := context.WithCancelCause(ctx)
	p := &part{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = f(ctx)
	}()
	return p
}

var errHalt = errors.New("halted by the simulation")

func (p *part) halt() error {
	p.stop(errHalt)
	<-p.done
	if errors.Is(p.err, errHalt) || errors.Is(p.err, context.Canceled) {
		return nil
	}
	return p.err
}

type schedulerPart struct {
	*scheduler.Scheduler
	exchange           *inmem.Exchange
	running, connected *part
}

// Node is a node with its agent.
type Node struct {
	ID whisk.NodeID

	cluster *Cluster
	config  fake.Config
	uplink  link // to the scheduler

	mu       sync.Mutex     // guards what a restart replaces
	drivers  []*fake.Driver // the present agent's is the last
	agent    *agent.Agent
	exchange *inmem.Exchange

	running, connected *part
}

// Controller is a controller's balancer.
type Controller struct {
	ID       whisk.ControllerID
	Balancer *balancer.Balancer

	uplink  link                   // to the scheduler
	agents  map[whisk.NodeID]*link // to the agents
	running *part
	dead    bool
}

// Start makes a cluster and runs its parts until Stop.
func Start(ctx context.Context, config Config) (*Cluster, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{config: config, ctx: ctx, logs: controllertest.NewStore()}
	c.config.Script = c.calls.watch(config.Script)
	if err := c.startScheduler(); err != nil {
		return nil, err
	}
	for i := range config.Nodes {
		if err := c.addNode(i); err != nil {
			return nil, err
		}
	}
	for range config.Controllers {
		if err := c.AddController(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Cluster) startScheduler() error {
	c.epoch++
	config := scheduler.Default()
	config.Epoch = c.epoch
	config.Manifest = c.config.Manifest
	config.KeepWarm = cmp.Or(c.config.KeepWarm, config.KeepWarm)
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], c.config.Seed)
	binary.BigEndian.PutUint64(key[8:], c.epoch)
	s, err := scheduler.New(config, scheduler.Deps{Logger: c.config.Logger.With("epoch", c.epoch), Random: rand.NewChaCha8(key)})
	if err != nil {
		return err
	}
	exchange := inmem.NewExchange()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scheduler = &schedulerPart{s, exchange, run(c.ctx, s.Run), run(c.ctx, exchange.Run)}
	return nil
}

// leader returns the present scheduler.
func (c *Cluster) leader() *schedulerPart {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.scheduler
}

// RestartScheduler replaces the scheduler by a new leader that knows nothing.
func (c *Cluster) RestartScheduler() error {
	if err := c.stopScheduler(); err != nil {
		return err
	}
	return c.startScheduler()
}

func (c *Cluster) stopScheduler() error {
	s := c.leader()
	return errors.Join(s.connected.halt(), s.running.halt())
}

func (c *Cluster) addNode(i int) error {
	config := fake.Default()
	config.Name = fmt.Sprintf("node%d", i)
	config.Seed = c.config.Seed
	config.Script = c.config.Script
	config.Concurrency = c.config.Concurrency
	n := &Node{ID: whisk.NodeID(config.Name), cluster: c, config: config}
	n.uplink.trace, n.uplink.near, n.uplink.far = &c.trace, config.Name, "scheduler"
	c.nodes = append(c.nodes, n)
	return n.start()
}

func (n *Node) start() error {
	config := agent.Default()
	config.Node, config.Memory = n.ID, n.cluster.config.NodeMemory
	driver := fake.New(n.config)
	a, err := agent.New(config, agent.Deps{
		Driver: driver,
		Logs:   n.cluster.logs,
		DialScheduler: func(context.Context) (whisk.AgentToScheduler, error) {
			return over(&n.uplink, func() (whisk.AgentToScheduler, error) {
				s := n.cluster.leader()
				return inmem.Dial(s.exchange, s.ServeAgent)
			})
		},
		Logger: n.cluster.config.Logger.With("node", n.ID),
	})
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.drivers = append(n.drivers, driver)
	n.agent, n.exchange = a, inmem.NewExchange()
	n.mu.Unlock()
	n.running, n.connected = run(n.cluster.ctx, a.Run), run(n.cluster.ctx, n.exchange.Run)
	return nil
}

// RestartNode stops a node's agent, and with it its sandboxes, and starts
// another. Its sessions break first, so that nobody is told.
func (c *Cluster) RestartNode(n *Node) error {
	n.uplink.cut(false)
	for _, ctl := range c.controllers {
		ctl.agents[n.ID].cut(false)
	}
	if err := errors.Join(n.running.halt(), n.connected.halt()); err != nil {
		return err
	}
	return n.start()
}

// dial connects a controller to the node's present agent.
func (n *Node) dial() (whisk.ControllerToAgent, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return inmem.Dial(n.exchange, n.agent.ServeController)
}

// AddController starts another controller.
func (c *Cluster) AddController() error {
	c.born++
	ctl := &Controller{ID: whisk.ControllerID(fmt.Sprintf("ctl%d", c.born)), agents: map[whisk.NodeID]*link{}}
	ctl.uplink.trace, ctl.uplink.near, ctl.uplink.far = &c.trace, string(ctl.ID), "scheduler"
	for _, n := range c.nodes {
		ctl.agents[n.ID] = &link{trace: &c.trace, near: string(ctl.ID), far: string(n.ID)}
	}
	config := balancer.Default()
	config.Controller = ctl.ID
	config.IdleTimeout = cmp.Or(c.config.IdleTimeout, config.IdleTimeout)
	b, err := balancer.New(config, balancer.Deps{
		DialScheduler: func(context.Context) (whisk.ControllerToScheduler, error) {
			return over(&ctl.uplink, func() (whisk.ControllerToScheduler, error) {
				s := c.leader()
				return inmem.Dial(s.exchange, s.ServeController)
			})
		},
		DialAgent: func(_ context.Context, id whisk.NodeID, _ string) (whisk.ControllerToAgent, error) {
			n := c.node(id)
			return over(ctl.agents[id], n.dial)
		},
		DialContainer: c.dialContainer,
		Logger:        c.config.Logger.With("controller", ctl.ID),
	})
	if err != nil {
		return err
	}
	ctl.Balancer = b
	ctl.running = run(c.ctx, b.Run)
	c.controllers = append(c.controllers, ctl)
	return nil
}

// dialContainer finds the node by the first part of the address.
func (c *Cluster) dialContainer(ctx context.Context, address whisk.Address) (net.Conn, error) {
	for _, n := range c.nodes {
		prefix := n.config.Name + "/"
		if len(address.Address) > len(prefix) && address.Address[:len(prefix)] == prefix {
			return n.driver().Dial(ctx, address)
		}
	}
	return nil, whisk.Errorf(whisk.NotFound, "no node has %s", address.Address)
}

// Controllers returns those that live.
func (c *Cluster) Controllers() []*Controller { return slices.Clone(c.controllers) }

// KillController ends a controller as a crash does: it releases nothing.
func (c *Cluster) KillController(ctl *Controller) error {
	ctl.dead = true
	c.controllers = slices.DeleteFunc(c.controllers, func(other *Controller) bool { return other == ctl })
	ctl.uplink.cut(true)
	for _, l := range ctl.agents {
		l.cut(true)
	}
	return ctl.running.halt()
}

// Stop drains the controllers and ends all parts; afterwards no sandbox is left.
func (c *Cluster) Stop(drain context.Context) error {
	var errs []error
	for _, ctl := range c.controllers {
		errs = append(errs, ctl.Balancer.Drain(drain))
	}
	for _, ctl := range c.controllers {
		errs = append(errs, ctl.running.halt())
	}
	for _, n := range c.nodes {
		errs = append(errs, n.running.halt(), n.connected.halt())
	}
	return errors.Join(append(errs, c.stopScheduler())...)
}

func (n *Node) driver() *fake.Driver {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.drivers[len(n.drivers)-1]
}

func (c *Cluster) node(id whisk.NodeID) *Node {
	return c.nodes[slices.IndexFunc(c.nodes, func(n *Node) bool { return n.ID == id })]
}
