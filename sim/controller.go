// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/whisk"
)

// Controller is a controller's balancer.
type Controller struct {
	ID       whisk.ControllerID
	Balancer *balancer.Balancer

	uplink *link                        // to the scheduler
	agents map[whisk.NodeID]*link       // to the agents
	peers  map[whisk.ControllerID]*link // to the other controllers; guarded by Cluster.mu
	dead   bool

	exchange           *inmem.Exchange // of the sessions that others open
	running, connected *part
}

// crowds returns what a controller believes of its machine: for three of every seven
// seconds far more wants to run there than can. nil is for nothing.
func (c *Cluster) crowds() func() float64 {
	if !c.config.Crowds {
		return nil
	}
	born := time.Now()
	return func() float64 {
		if time.Since(born)%(7*time.Second) < 3*time.Second {
			return 100
		}
		return 0
	}
}

// AddController starts another controller.
func (c *Cluster) AddController() error {
	c.born++
	ctl := &Controller{
		ID:       whisk.ControllerID(fmt.Sprintf("ctl%d", c.born)),
		agents:   map[whisk.NodeID]*link{},
		peers:    map[whisk.ControllerID]*link{},
		exchange: inmem.NewExchange(),
	}
	ctl.uplink = c.link(string(ctl.ID), schedulerName)
	for _, n := range c.nodes {
		ctl.agents[n.ID] = c.link(string(ctl.ID), string(n.ID))
	}
	config := balancer.Default()
	config.Controller = ctl.ID
	config.Peers = string(ctl.ID)
	config.CrowdFloor = 1
	config.IdleTimeout = cmp.Or(c.config.IdleTimeout, config.IdleTimeout)
	b, err := balancer.New(config, balancer.Deps{
		DialScheduler: func(context.Context) (whisk.ControllerToScheduler, error) {
			return over(ctl.uplink, func() (whisk.ControllerToScheduler, uint64, error) {
				s := c.anyLeader()
				stream, err := inmem.Dial(s.exchange, s.ServeController)
				return stream, s.epoch, err
			})
		},
		DialAgent: func(_ context.Context, id whisk.NodeID, _ string) (whisk.ControllerToAgent, error) {
			n := c.node(id)
			return over(ctl.agents[id], n.dial)
		},
		DialPeer: func(_ context.Context, id whisk.ControllerID, _ string) (whisk.ControllerToPeer, error) {
			return c.dialPeer(ctl, id)
		},
		DialContainer: func(ctx context.Context, address whisk.Address) (net.Conn, error) {
			conn, err := c.dialContainer(ctx, address)
			return &observed{Conn: conn, by: ctl.ID, calls: &c.calls}, err
		},
		Runnable: c.crowds(),
		Logger:   c.config.Logger.With("controller", ctl.ID),
	})
	if err != nil {
		return err
	}
	ctl.Balancer = b
	ctl.running, ctl.connected = run(c.ctx, b.Run), run(c.ctx, ctl.exchange.Run)
	for _, other := range c.controllers {
		there, back := c.link(string(ctl.ID), string(other.ID)), c.link(string(other.ID), string(ctl.ID))
		c.mu.Lock()
		ctl.peers[other.ID], other.peers[ctl.ID] = there, back
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.controllers = append(c.controllers, ctl)
	return nil
}

// dialPeer connects a controller to another one.
func (c *Cluster) dialPeer(from *Controller, to whisk.ControllerID) (whisk.ControllerToPeer, error) {
	c.mu.Lock()
	l := from.peers[to]
	at := slices.IndexFunc(c.controllers, func(other *Controller) bool { return other.ID == to })
	if l == nil || at < 0 {
		c.mu.Unlock()
		return nil, whisk.Errorf(whisk.Unavailable, "controller %s is gone", to)
	}
	other := c.controllers[at]
	c.mu.Unlock()
	return over(l, func() (whisk.ControllerToPeer, uint64, error) {
		stream, err := inmem.Dial(other.exchange, other.Balancer.ServePeer)
		return stream, 0, err
	})
}

// between returns the ways between two controllers, none if they are one.
func (c *Cluster) between(one, other *Controller) []*link {
	if one == other {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return []*link{one.peers[other.ID], other.peers[one.ID]}
}

// dialContainer finds the node by the first part of the address.
func (c *Cluster) dialContainer(ctx context.Context, address whisk.Address) (net.Conn, error) {
	for _, n := range c.nodes {
		prefix := n.config.Name + "/"
		if len(address.Address) > len(prefix) && address.Address[:len(prefix)] == prefix {
			return n.dialContainer(ctx, address)
		}
	}
	return nil, whisk.Errorf(whisk.NotFound, "no node has %s", address.Address)
}

// Controllers returns those that live.
func (c *Cluster) Controllers() []*Controller { return slices.Clone(c.controllers) }

// KillController ends a controller as a crash does: it releases nothing.
func (c *Cluster) KillController(ctl *Controller) error {
	ctl.dead = true
	c.mu.Lock()
	c.controllers = slices.DeleteFunc(slices.Clone(c.controllers), func(other *Controller) bool { return other == ctl })
	c.mu.Unlock()
	ctl.uplink.cut(true)
	for _, l := range ctl.agents {
		l.cut(true)
	}
	for _, other := range c.controllers {
		for _, l := range c.between(ctl, other) {
			l.cut(true)
		}
	}
	return ctl.halt()
}

// Cut breaks the controller's session with the scheduler. With away it gets no
// other one until [Controller.Mend].
func (ctl *Controller) Cut(away bool) { ctl.uplink.cut(away) }

// Mend ends a Cut.
func (ctl *Controller) Mend() { ctl.uplink.mend() }

func (ctl *Controller) halt() error { return errors.Join(ctl.running.halt(), ctl.connected.halt()) }
