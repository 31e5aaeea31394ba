// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"

	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/whisk"
)

// Controller is a controller's balancer.
type Controller struct {
	ID       whisk.ControllerID
	Balancer *balancer.Balancer

	uplink  *link                  // to the scheduler
	agents  map[whisk.NodeID]*link // to the agents
	running *part
	dead    bool
}

// AddController starts another controller.
func (c *Cluster) AddController() error {
	c.born++
	ctl := &Controller{ID: whisk.ControllerID(fmt.Sprintf("ctl%d", c.born)), agents: map[whisk.NodeID]*link{}}
	ctl.uplink = c.link(string(ctl.ID), schedulerName)
	for _, n := range c.nodes {
		ctl.agents[n.ID] = c.link(string(ctl.ID), string(n.ID))
	}
	config := balancer.Default()
	config.Controller = ctl.ID
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
	c.controllers = slices.DeleteFunc(c.controllers, func(other *Controller) bool { return other == ctl })
	ctl.uplink.cut(true)
	for _, l := range ctl.agents {
		l.cut(true)
	}
	return ctl.running.halt()
}
