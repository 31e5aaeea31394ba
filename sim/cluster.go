// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/driver/fake"
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
	Ledgers     string         // a directory for what agents write down; "" has it in memory
	KeepOnStop  bool           // the first agents leave their containers when they stop
	Crowds      bool           // the controllers' machines have too much to do now and then, see crowds
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

	wires sync.WaitGroup // of all links

	mu      sync.Mutex
	random  *rand.Rand // guarded by mu
	leaders []*Leader  // guarded by mu; the youngest is the last

	epoch       uint64
	nodes       []*Node
	controllers []*Controller // that live; written under mu
	born        int           // controllers so far
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

// Start makes a cluster and runs its parts until Stop.
func Start(ctx context.Context, config Config) (*Cluster, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{config: config, ctx: ctx, logs: controllertest.NewStore(), random: rand.New(rand.NewPCG(config.Seed, 0x1ead))}
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

// Stop drains the controllers and ends all parts. No link may be held any more.
// Afterwards no sandbox is left but those of agents that keep them.
func (c *Cluster) Stop(drain context.Context) error {
	var errs []error
	for _, ctl := range c.controllers {
		errs = append(errs, ctl.Balancer.Drain(drain))
	}
	for _, ctl := range c.controllers {
		errs = append(errs, ctl.halt())
	}
	for _, n := range c.nodes {
		errs = append(errs, n.halt())
	}
	for _, leader := range slices.Clone(c.leaders) {
		errs = append(errs, c.EndLeader(leader))
	}
	c.wires.Wait()
	return errors.Join(errs...)
}

// link returns a new link.
func (c *Cluster) link(near, far string) *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &link{trace: &c.trace, near: near, far: far, wires: &c.wires, random: rand.New(rand.NewPCG(c.random.Uint64(), 0))}
}

func (c *Cluster) node(id whisk.NodeID) *Node {
	return c.nodes[slices.IndexFunc(c.nodes, func(n *Node) bool { return n.ID == id })]
}
