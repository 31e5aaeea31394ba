// SPDX-License-Identifier: Apache-2.0

package schedulerload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/whirl-faas/whirl/whisk"
)

// All containers are of one kind and size.
var spec = whisk.ContainerSpec{Kind: "nodejs:20", Memory: 128 * whisk.MB}

const (
	keepAlive    = 5 * time.Second // as the roles do it
	dialsAtOnce  = 32
	creationRoom = 256             // containers that each node has room for when they are created in empty space
	patience     = 5 * time.Minute // for the scheduler to take the whole cluster in
	lookEvery    = 50 * time.Millisecond
)

// key names an action. Those of the containers that were there first have the
// numbers of their containers.
func key(number int) whisk.ActionKey {
	return whisk.ActionKey{
		Namespace: "guest",
		Action:    whisk.FullName{Namespace: "guest", Name: fmt.Sprintf("action%d", number)},
		Revision:  1,
	}
}

// cluster is all that the scheduler believes to be there.
type cluster struct {
	config      Config
	target      Target
	agents      []*agent
	controllers []*controller
	births      chan birth     // in the order in which they are due; never closed
	holders     []atomic.Int32 // the number of the controller that holds a container which was there first
	took        atomic.Int64   // a creation, in nanoseconds

	ctx   context.Context // of all sessions
	fail  context.CancelCauseFunc
	loops sync.WaitGroup
}

// newCluster returns a cluster that is not connected. Its sessions end with ctx.
func newCluster(ctx context.Context, config Config, target Target) *cluster {
	c := &cluster{config: config, target: target, births: make(chan birth, 64*1024), holders: make([]atomic.Int32, config.Containers)}
	c.ctx, c.fail = context.WithCancelCause(ctx)
	for i := range config.Agents {
		c.agents = append(c.agents, newAgent(c, i))
	}
	for i := range config.Controllers {
		c.controllers = append(c.controllers, newController(c, i))
	}
	return c
}

func (c *cluster) creation() time.Duration { return time.Duration(c.took.Load()) }

// find returns the trip of a label that is under way, or nil.
func (c *cluster) find(text string) *trip {
	number, id, ok := parseLabel(text)
	if !ok || number < 0 || number >= len(c.controllers) {
		return nil
	}
	return c.controllers[number].find(id)
}

// loop runs one of the cluster's loops; the first that ends before its time
// ends all others.
func (c *cluster) loop(run func(context.Context) error) {
	c.loops.Go(func() { c.fail(run(c.ctx)) })
}

// connectAgents opens the agents' sessions. Their nodes have neither containers
// nor room for any.
func (c *cluster) connectAgents() error {
	c.loop(c.birthLoop)
	if err := c.each(len(c.agents), func(i int) error {
		a := c.agents[i]
		if err := a.open(c.ctx); err != nil {
			return err
		}
		c.loop(a.receiveLoop)
		c.loop(func(ctx context.Context) error {
			return keepAliveLoop(ctx, i, len(c.agents), func() error { return a.say(ctx, whisk.KeepAlive{}) })
		})
		return nil
	}); err != nil {
		return err
	}
	return c.await(func(r Reading) bool { return r.Nodes == c.config.Agents })
}

// fill has the agents report the containers that are there before the load
// begins, and then the controllers that hold them register.
func (c *cluster) fill() error {
	held := make([][]whisk.HeldContainer, len(c.controllers))
	for i := range c.config.Containers {
		a, holder := c.agents[i%len(c.agents)], i/len(c.agents)%len(c.controllers)
		made := whisk.Container{ID: whisk.ContainerID(fmt.Sprintf("first_%d", i)), Node: a.id, Address: whisk.Address{Network: "tcp", Address: "192.0.2.1:30000"}, Spec: spec}
		a.host(made, c.controllers[holder].id)
		c.holders[i].Store(int32(holder))
		held[holder] = append(held[holder], whisk.HeldContainer{Container: made.ID, Node: a.id, Key: key(i), Concurrency: 1, State: whisk.Free})
	}
	if err := c.makeRoom(creationRoom); err != nil {
		return err
	}
	if err := c.await(func(r Reading) bool { return r.Containers == c.config.Containers }); err != nil {
		return err
	}
	return c.each(len(c.controllers), func(i int) error {
		ctl := c.controllers[i]
		if err := ctl.open(c.ctx, held[i]); err != nil {
			return err
		}
		c.loop(ctl.receiveLoop)
		c.loop(func(ctx context.Context) error {
			return keepAliveLoop(ctx, i, len(c.controllers), func() error { return ctl.say(ctx, whisk.KeepAlive{}) })
		})
		return nil
	})
}

// makeRoom gives each node room for so many containers more than it has.
func (c *cluster) makeRoom(room int) error {
	return c.each(len(c.agents), func(i int) error { return c.agents[i].report(c.ctx, room) })
}

// each does something for the numbers below n, several at once.
func (c *cluster) each(n int, do func(int) error) error {
	var all errgroup.Group
	all.SetLimit(dialsAtOnce)
	for i := range n {
		all.Go(func() error { return do(i) })
	}
	return c.blame(all.Wait())
}

// blame returns why the cluster failed, if it did, in place of what came of it.
func (c *cluster) blame(err error) error {
	if cause := context.Cause(c.ctx); cause != nil {
		return cause
	}
	return err
}

// await looks until the scheduler's books are as wanted.
func (c *cluster) await(as func(Reading) bool) error {
	ctx, cancel := context.WithTimeoutCause(c.ctx, patience, whisk.Errorf(whisk.Timeout, "the scheduler did not take the cluster in within %s", patience))
	defer cancel()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		r, err := c.target.Read(ctx, false)
		if err != nil {
			return c.blame(fmt.Errorf("look at the scheduler: %w", err))
		}
		if as(r) {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// birthLoop announces containers when they are due.
func (c *cluster) birthLoop(ctx context.Context) error {
	for {
		select {
		case b := <-c.births:
			if err := sleep(ctx, time.Until(b.due)); err != nil {
				return err
			}
			if err := b.announce(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// keepAliveLoop says now and then that a member of the cluster lives. They do so
// one after the other, so that all of them have done it once in the interval.
func keepAliveLoop(ctx context.Context, number, members int, say func() error) error {
	if err := sleep(ctx, keepAlive*time.Duration(number)/time.Duration(members)); err != nil {
		return err
	}
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		if err := say(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// close ends all sessions and returns when nothing of them is left.
func (c *cluster) close() {
	c.fail(errDone)
	_ = c.each(len(c.agents), func(i int) error { return closed(c.agents[i].stream) })
	_ = c.each(len(c.controllers), func(i int) error { return closed(c.controllers[i].stream) })
	c.loops.Wait()
}

// errDone is why a cluster's sessions end when all was measured.
var errDone = errors.New("all was measured")

// closed closes a session, if there is one.
func closed[Out, In any](stream whisk.Stream[Out, In]) error {
	if stream == nil {
		return nil
	}
	return stream.Close()
}

// sleep waits for so long, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
