// SPDX-License-Identifier: Apache-2.0

package schedulerload

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// agent plays a node's agent: it says that it did what it is told to do.
type agent struct {
	cluster *cluster
	id      whisk.NodeID
	stream  whisk.AgentToScheduler

	mu     sync.Mutex
	hosted map[whisk.ContainerID]whisk.HostedContainer
}

func newAgent(c *cluster, number int) *agent {
	return &agent{cluster: c, id: whisk.NodeID(fmt.Sprintf("node%05d", number)), hosted: make(map[whisk.ContainerID]whisk.HostedContainer)}
}

// attempts is how often an agent tries to reach the scheduler.
const attempts = 5

// open begins the session. As agents do, it tries again: when very many come at
// once some are too slow.
func (a *agent) open(ctx context.Context) (err error) {
	for range attempts {
		if a.stream, err = a.cluster.target.Agent(ctx); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("agent of %s: %w", a.id, err)
	}
	return a.report(ctx, 0)
}

// report tells all about the node, which has room for so many containers more.
func (a *agent) report(ctx context.Context, room int) error {
	a.mu.Lock()
	report := whisk.NodeReport{Node: a.id, Address: "192.0.2.1:3242", Memory: whisk.Bytes(len(a.hosted)+room) * spec.Memory}
	for _, hosted := range a.hosted {
		report.Containers = append(report.Containers, hosted)
	}
	a.mu.Unlock()
	return a.say(ctx, report)
}

func (a *agent) say(ctx context.Context, m whisk.AgentReport) error {
	if err := a.stream.Send(ctx, m); err != nil {
		return fmt.Errorf("agent of %s: %w", a.id, err)
	}
	return nil
}

// receiveLoop obeys until the session ends.
func (a *agent) receiveLoop(ctx context.Context) error {
	for {
		m, err := a.stream.Recv(ctx)
		if err == nil {
			err = a.obey(ctx, m)
		}
		if err != nil {
			return fmt.Errorf("agent of %s: %w", a.id, err)
		}
	}
}

// obey answers a command.
func (a *agent) obey(ctx context.Context, command whisk.AgentCommand) error {
	switch m := command.(type) {
	case whisk.CreateContainer:
		return a.create(ctx, m)
	case whisk.GrantLease:
		a.mu.Lock()
		hosted := a.hosted[m.Container]
		hosted.Lessee = m.To
		a.hosted[m.Container] = hosted
		a.mu.Unlock()
		return a.say(ctx, whisk.LeaseGranted{Container: m.Container, Lessee: m.To, Order: m.Order})
	case whisk.RemoveContainer:
		a.mu.Lock()
		delete(a.hosted, m.Container)
		a.mu.Unlock()
		return a.say(ctx, whisk.ContainerGone{Container: m.Container, Expected: true})
	}
	return nil
}

// create says, at its time, that the container was made.
func (a *agent) create(ctx context.Context, m whisk.CreateContainer) error {
	now := time.Now()
	one := a.cluster.find(m.Label)
	if one != nil {
		one.ordered.Store(int64(max(1, now.Sub(one.due))))
	}
	made := whisk.Container{ID: m.Container, Node: a.id, Address: whisk.Address{Network: "tcp", Address: "192.0.2.1:30000"}, Spec: m.Spec}
	a.host(made, m.Lessee)
	birth := birth{agent: a, trip: one, made: made, ordered: now, due: now.Add(a.cluster.creation())}
	if !birth.due.After(now) {
		return birth.announce(ctx)
	}
	select {
	case a.cluster.births <- birth:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (a *agent) host(made whisk.Container, lessee whisk.ControllerID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hosted[made.ID] = whisk.HostedContainer{Container: made, Lessee: lessee, Used: lessee != ""}
}

// birth is a container that is about to be ready.
type birth struct {
	agent   *agent
	trip    *trip // nil if nobody waits for it
	made    whisk.Container
	ordered time.Time
	due     time.Time
}

func (b birth) announce(ctx context.Context) error {
	took := time.Since(b.ordered)
	if b.trip != nil {
		b.trip.making.Store(int64(took))
	}
	return b.agent.say(ctx, whisk.ContainerCreated{Container: b.made, Took: took})
}
