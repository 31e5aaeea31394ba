// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/whirl-faas/whirl/agent"
	agenthttp "github.com/whirl-faas/whirl/agent/httpapi"
	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/scheduler"
	schedulerhttp "github.com/whirl-faas/whirl/scheduler/httpapi"
	"github.com/whirl-faas/whirl/whisk"
)

// standaloneNode is the name of the one node.
const standaloneNode whisk.NodeID = "standalone"

// runStandalone runs the three roles until ctx ends, and drains them.
func (p program) runStandalone(ctx context.Context, settings standaloneSettings) (err error) {
	logger := p.logger(settings.logLevel)
	front, err := openFront(ctx, settings.front, "", logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, front.close()) }()
	back, err := openBack(ctx, settings.back, instanceOf("standalone", settings.front.data), front.url(), logger)
	if err != nil {
		return err
	}
	front.offer, front.peers = back.offer, plainPeers(logger)
	s := &standalone{front: front, back: back, exchange: inmem.NewExchange()}
	if err := s.assemble(); err != nil {
		return errors.Join(err, back.close())
	}
	if err := front.installCatalog(ctx); err != nil {
		return errors.Join(err, back.close())
	}
	parts := newLifecycle(logger)
	defer func() { err = errors.Join(err, parts.stop()) }()
	s.start(ctx, parts)
	s.announce(p.stdout)
	parts.wait(ctx)
	if ctx.Err() != nil {
		fmt.Fprintf(p.stdout, "\nDraining: running activations may take %s to finish. Interrupt again to kill.\n", settings.front.drain)
	}
	return nil
}

// instanceOf is the name under which sandboxes belong to a data directory.
func instanceOf(role, data string) string {
	sum := sha256.Sum256([]byte(data))
	return fmt.Sprintf("%s-%x", role, sum[:6])
}

// standalone is the three roles and what connects them.
type standalone struct {
	front     *front
	back      *back
	scheduler *scheduler.Scheduler
	exchange  *inmem.Exchange
}

// assemble makes the roles. It starts none of them.
func (s *standalone) assemble() (err error) {
	config := scheduler.Default()
	config.Manifest = s.back.offer.manifest
	if s.scheduler, err = scheduler.New(config, scheduler.Deps{Logger: s.back.logger}); err != nil {
		return err
	}
	node := agent.Default()
	node.Node = standaloneNode
	err = s.back.assemble(node, agent.Deps{
		Logs: s.front.data.logs,
		DialScheduler: func(context.Context) (whisk.AgentToScheduler, error) {
			return inmem.Dial(s.exchange, s.scheduler.ServeAgent)
		},
	})
	if err != nil {
		return err
	}
	s.front.figures = []prometheus.Collector{schedulerhttp.Figures(s.scheduler), agenthttp.Figures(s.back.agent)}
	return s.front.assemble(balancer.Deps{
		DialScheduler: func(context.Context) (whisk.ControllerToScheduler, error) {
			return inmem.Dial(s.exchange, s.scheduler.ServeController)
		},
		DialAgent: func(context.Context, whisk.NodeID, string) (whisk.ControllerToAgent, error) {
			return inmem.Dial(s.exchange, s.back.agent.ServeController)
		},
		Runnable: balancer.Runnable(),
	})
}

// start runs the roles. They stop the other way round: the agent, which takes
// the sandboxes down, outlives all that use them.
func (s *standalone) start(ctx context.Context, parts *lifecycle) {
	parts.start(ctx, "sessions", s.exchange.Run)
	parts.start(ctx, "scheduler", s.scheduler.Run)
	s.back.start(ctx, parts)
	s.front.start(ctx, parts)
}
