// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/whirl-faas/whirl/agent"
	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/whisk"
)

// Node is a node with its agent.
type Node struct {
	ID whisk.NodeID

	cluster *Cluster
	config  fake.Config
	uplink  *link       // to the scheduler
	sick    atomic.Bool // the engine does not answer
	book    book        // what agents write down

	mu       sync.Mutex // guards what a restart replaces, and tenants
	driver   *fake.Driver
	agent    *agent.Agent // nil while there is none
	exchange *inmem.Exchange
	tenants  []Tenant

	ledger             *mortal // of the present agent
	keep               bool    // the present agent leaves its containers when it stops
	running, connected *part
}

func (c *Cluster) addNode(i int) error {
	config := fake.Default()
	config.Name = fmt.Sprintf("node%d", i)
	config.Seed = c.config.Seed
	config.Concurrency = c.config.Concurrency
	n := &Node{ID: whisk.NodeID(config.Name), cluster: c, uplink: c.link(config.Name, schedulerName)}
	config.Script = n.witness(c.config.Script)
	n.config = config
	if c.config.Ledgers != "" {
		n.book.path = filepath.Join(c.config.Ledgers, config.Name)
	}
	c.nodes = append(c.nodes, n)
	return n.start(fake.New(config), c.config.KeepOnStop)
}

// witness has the engine fall sick with the node, and each run note whose the
// container is by the agent's word at that moment.
func (n *Node) witness(script fake.Script) fake.Script {
	script.Ping = func() (op fake.Operation) {
		if n.sick.Load() {
			op.Err = errors.New("the engine is sick")
		}
		return op
	}
	answer := script.Run
	script.Run = func(rng *rand.Rand, call fake.Call) fake.Answer {
		n.testify(call)
		return answer(rng, call)
	}
	return script
}

// testify asks the agent. One that is dead or starts says nothing.
func (n *Node) testify(call fake.Call) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.agent == nil {
		return
	}
	for _, hosted := range n.agent.Report().Containers {
		if hosted.Container.ID == call.Container {
			n.tenants = append(n.tenants, Tenant{time.Now(), call.Container, call.Activation, hosted.Lessee, n.cluster.calls.runner(call.Activation)})
		}
	}
}

// start starts an agent. With keep it leaves its containers when it stops.
func (n *Node) start(driver *fake.Driver, keep bool) error {
	config := agent.Default()
	config.Node, config.Memory, config.KeepOnStop = n.ID, n.cluster.config.NodeMemory, keep
	config.OperateTimeout = operateTimeout
	deps := agent.Deps{
		Driver: driver,
		Logs:   n.cluster.logs,
		DialScheduler: func(context.Context) (whisk.AgentToScheduler, error) {
			return over(n.uplink, func() (whisk.AgentToScheduler, uint64, error) {
				s := n.cluster.anyLeader()
				stream, err := inmem.Dial(s.exchange, s.ServeAgent)
				return stream, s.epoch, err
			})
		},
		Logger: n.cluster.config.Logger.With("node", n.ID),
	}
	var err error
	if n.ledger, err = n.book.open(); err != nil {
		return err
	}
	deps.Ledger = n.ledger
	a, err := agent.New(config, deps)
	if err != nil {
		return err
	}
	n.keep = keep
	n.mu.Lock()
	n.driver, n.agent, n.exchange = driver, a, inmem.NewExchange()
	n.mu.Unlock()
	n.cluster.trace.note(Message{From: string(n.ID), To: string(n.ID), Body: AgentStarted{}})
	n.running, n.connected = run(n.cluster.ctx, a.Run), run(n.cluster.ctx, n.exchange.Run)
	return nil
}

// UpgradeAgent stops a node's agent in order and starts the next, which finds
// the containers if the former was one to keep them.
func (c *Cluster) UpgradeAgent(n *Node, keep bool) error {
	if err := n.halt(); err != nil && !errors.Is(err, errFull) { // which it tells, and leaves them all the same
		return err
	}
	return n.start(n.orphan(), keep)
}

// KillAgent kills a node's agent and starts the next, which finds the
// containers.
func (c *Cluster) KillAgent(n *Node, keep bool) error {
	driver := n.kill()
	return n.start(driver, keep)
}

// RebootNode ends all of a node at once, and starts it again without containers.
func (c *Cluster) RebootNode(n *Node, keep bool) error {
	driver := n.kill()
	left, err := driver.Recover(c.ctx)
	errs := make([]error, len(left))
	var ending sync.WaitGroup
	for i, sandbox := range left {
		ending.Go(func() { errs[i] = sandbox.Destroy(c.ctx) })
	}
	ending.Wait()
	if err := errors.Join(append(errs, err)...); err != nil {
		return err
	}
	return n.start(driver, keep)
}

// kill ends the agent as kill -9 does. It still winds down, but nothing that it
// does has an effect. It returns the driver of the next one.
func (n *Node) kill() *fake.Driver {
	n.ledger.dead.Store(true)
	driver := n.orphan()
	n.cut()
	_ = n.halt() // whatever it says, it is dead
	return driver
}

// orphan takes the sandboxes from the agent.
func (n *Node) orphan() *fake.Driver {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.agent = nil
	n.driver = n.driver.Restart()
	return n.driver
}

// cut breaks all sessions with the agent.
func (n *Node) cut() {
	n.uplink.cut(false)
	for _, ctl := range n.cluster.controllers {
		ctl.agents[n.ID].cut(false)
	}
}

func (n *Node) halt() error {
	return errors.Join(n.running.halt(), n.connected.halt(), n.ledger.close())
}

// dial connects a controller to the node's present agent.
func (n *Node) dial() (_ whisk.ControllerToAgent, leader uint64, _ error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.agent == nil {
		return nil, 0, whisk.Errorf(whisk.Unavailable, "the agent is gone")
	}
	stream, err := inmem.Dial(n.exchange, n.agent.ServeController)
	return stream, 0, err
}

// history returns what the node's sandboxes saw.
func (n *Node) history() NodeHistory {
	n.mu.Lock()
	defer n.mu.Unlock()
	return NodeHistory{
		Node: n.ID, Events: n.driver.History(), Violations: n.driver.Violations(), Living: n.driver.Living(),
		Tenants: n.tenants, Records: n.book.records(),
	}
}

func (n *Node) dialContainer(ctx context.Context, address whisk.Address) (net.Conn, error) {
	n.mu.Lock()
	driver := n.driver
	n.mu.Unlock()
	return driver.Dial(ctx, address)
}
