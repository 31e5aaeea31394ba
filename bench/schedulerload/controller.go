// SPDX-License-Identifier: Apache-2.0

package schedulerload

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// giveUp is how long a requisition may take.
const giveUp = 30 * time.Second

// controller plays a controller: it asks for containers and is done with each
// in an instant.
type controller struct {
	cluster *cluster
	number  int
	id      whisk.ControllerID
	stream  whisk.ControllerToScheduler

	mu    sync.Mutex
	last  whisk.RequisitionID
	trips map[whisk.RequisitionID]*trip
}

func newController(c *cluster, number int) *controller {
	return &controller{
		cluster: c, number: number, id: whisk.ControllerID(fmt.Sprintf("ctl%03d/bench", number)),
		trips: make(map[whisk.RequisitionID]*trip),
	}
}

// open begins the session with what the controller holds.
func (c *controller) open(ctx context.Context, held []whisk.HeldContainer) (err error) {
	if c.stream, err = c.cluster.target.Controller(ctx); err != nil {
		return fmt.Errorf("controller %s: %w", c.id, err)
	}
	return c.say(ctx, whisk.Register{Controller: c.id, Held: held})
}

func (c *controller) say(ctx context.Context, m whisk.FactoryRequest) error {
	if err := c.stream.Send(ctx, m); err != nil {
		return fmt.Errorf("controller %s: %w", c.id, err)
	}
	return nil
}

// ask sends a requisition for one container of an action.
func (c *controller) ask(ctx context.Context, key whisk.ActionKey, one *trip) error {
	one.sent = time.Now()
	c.mu.Lock()
	c.last++
	id := c.last
	c.trips[id] = one
	c.mu.Unlock()
	return c.say(ctx, whisk.Requisition{
		ID: id, Key: key, Spec: spec, Concurrency: 1, Count: 1, Deadline: one.sent.Add(giveUp), Label: label(c.number, id),
	})
}

// find returns a trip that is under way, or nil.
func (c *controller) find(id whisk.RequisitionID) *trip {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trips[id]
}

// take returns it and forgets it.
func (c *controller) take(id whisk.RequisitionID) *trip {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.trips[id]
	delete(c.trips, id)
	return one
}

// receiveLoop does what the scheduler says until the session ends.
func (c *controller) receiveLoop(ctx context.Context) error {
	for {
		m, err := c.stream.Recv(ctx)
		if err == nil {
			err = c.hear(ctx, m)
		}
		if err != nil {
			return fmt.Errorf("controller %s: %w", c.id, err)
		}
	}
}

func (c *controller) hear(ctx context.Context, event whisk.FactoryEvent) error {
	switch m := event.(type) {
	case whisk.Allocation:
		return c.use(ctx, m)
	case whisk.Rejection:
		if one := c.take(m.Requisition); one != nil {
			one.load.tally.refused(m.Reason)
			one.load.ended(one)
		}
	case whisk.Reclaim:
		return c.say(ctx, whisk.Release{Container: m.Container, Reason: whisk.ReleaseReclaimed})
	case whisk.Lost:
		return whisk.Errorf(whisk.Internal, "container %s was lost, and nothing loses any here: %s", m.Container, m.Reason)
	}
	return nil
}

// use notes that a requisition was answered, and is done with the container.
func (c *controller) use(ctx context.Context, m whisk.Allocation) error {
	now := time.Now()
	one := c.take(m.Requisition)
	if one == nil {
		return whisk.Errorf(whisk.Internal, "container %s was allocated to a requisition %d that does not stand", m.Container.ID, m.Requisition)
	}
	one.load.tally.arrived(one, now, m.Origin)
	defer one.load.ended(one)
	if one.load.workload == Create {
		return c.say(ctx, whisk.Release{Container: m.Container.ID, Reason: whisk.ReleaseFailed})
	}
	if one.load.workload == Transfer {
		c.cluster.holders[one.container].Store(int32(c.number))
	}
	return c.say(ctx, whisk.StateReport{States: []whisk.ContainerUse{{Container: m.Container.ID, State: whisk.Free, Since: now}}})
}
