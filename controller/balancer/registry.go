// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/whirl-faas/whirl/whisk"
)

// registry finds containers and agents by their names, for what the scheduler
// says and for the sweeps. Containers are in it until their Release was noted.
type registry struct {
	b      *Balancer
	vacant chan struct{} // holds a token when the last container went; never closed

	mu         sync.Mutex
	containers map[whisk.ContainerID]*container
	agents     map[whisk.NodeID]*agent
	ctx        context.Context // of Run, which ends the agents' sessions
	wg         *sync.WaitGroup // by which Run waits for them
}

func (r *registry) init(b *Balancer) {
	r.b = b
	r.containers = make(map[whisk.ContainerID]*container)
	r.agents = make(map[whisk.NodeID]*agent)
	r.vacant = make(chan struct{}, 1)
}

func (r *registry) start(ctx context.Context, wg *sync.WaitGroup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ctx, r.wg = ctx, wg
}

func (r *registry) container(id whisk.ContainerID) *container {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.containers[id]
}

// add reports whether c is new.
func (r *registry) add(c *container) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.containers[c.ID] != nil {
		return false
	}
	r.containers[c.ID] = c
	c.agent.containers++
	r.b.sweeper.soon()
	return true
}

func (r *registry) forget(id whisk.ContainerID) { r.part(id, func() {}) }

// part forgets a container and tells the scheduler, in one step: it may come
// back as soon as that is told, and whoever waits for the last one to go relies
// on it having been told.
func (r *registry) part(id whisk.ContainerID, tell func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	tell()
	c := r.containers[id]
	if c == nil {
		return
	}
	delete(r.containers, id)
	c.agent.containers--
	c.agent.unused = r.b.now()
	if len(r.containers) == 0 {
		select {
		case r.vacant <- struct{}{}:
		default:
		}
	}
}

func (r *registry) all() []*container {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.containers))
}

// agentOf returns the session with a node's agent and begins it if need be. The
// address is where the agent was last known to be, and may be "". It is called
// only while Run runs.
func (b *Balancer) agentOf(node whisk.NodeID, address string) *agent {
	r := &b.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	if g := r.agents[node]; g != nil {
		g.moved(address)
		g.unused = b.now()
		if g.containers == 0 {
			g.leaseEnd.Store(max(g.leaseEnd.Load(), g.unused+int64(whisk.LeaseTTL)))
		}
		return g
	}
	g := newAgent(b, node, address)
	r.agents[node] = g
	ctx, cancel := context.WithCancel(r.ctx)
	g.stop = cancel
	r.wg.Go(func() { g.run(ctx) })
	return g
}

// retireAgents ends the sessions with agents that have hosted nothing of ours
// for long enough, and returns when the next one is due.
func (r *registry) retireAgents(now int64) (due int64) {
	due = never
	r.mu.Lock()
	defer r.mu.Unlock()
	for node, g := range r.agents {
		if g.containers > 0 {
			continue
		}
		if end := g.unused + int64(r.b.config.AgentLinger); now < end {
			due = min(due, end)
			continue
		}
		delete(r.agents, node)
		g.stop()
	}
	return due
}

// pumpAgent uses the containers of an agent whose lease was just confirmed.
func (b *Balancer) pumpAgent(g *agent) {
	b.eachOf(g, func(c *container) { c.action.pumpLocked(b.now()) })
}

// spoilAgent gives up the containers of an agent whose lease has ended.
func (b *Balancer) spoilAgent(g *agent) {
	b.eachOf(g, func(c *container) { c.giveBackLocked(spoiled, whisk.ReleaseFailed) })
}

// eachOf calls do for each container of an agent, with its action's mutex locked.
func (b *Balancer) eachOf(g *agent, do func(*container)) {
	for _, c := range b.registry.all() {
		if c.agent != g {
			continue
		}
		c.action.mu.Lock()
		do(c)
		c.action.mu.Unlock()
	}
}

func (r *registry) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.containers)
}
