// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/whirl-faas/whirl/agent"
	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/controller/httpapi"
	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/runtimes"
	"github.com/whirl-faas/whirl/scheduler"
	"github.com/whirl-faas/whirl/whisk"
)

// standaloneNode is the name of the one node.
const standaloneNode whisk.NodeID = "standalone"

// runStandalone runs the three roles until ctx ends, and drains them.
func (p program) runStandalone(ctx context.Context, settings standaloneSettings) (err error) {
	logger := slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: settings.logLevel}))
	data, err := openData(ctx, settings.data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.close()) }()

	listener, err := net.Listen("tcp", settings.listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", settings.listen, err)
	}
	defer listener.Close()

	s := &standalone{settings: settings, logger: logger, data: data, listener: listener, id: whisk.ControllerID(uuid.NewString())}
	if err := s.assemble(ctx); err != nil {
		return err
	}
	parts := newLifecycle(logger)
	defer func() { err = errors.Join(err, parts.stop()) }()
	s.start(ctx, parts)
	s.announce(p.stdout)
	parts.wait(ctx)
	if ctx.Err() != nil {
		fmt.Fprintf(p.stdout, "\nDraining: running activations may take %s to finish. Interrupt again to kill.\n", settings.drain)
	}
	return nil
}

// standalone is the three roles and what connects them.
type standalone struct {
	settings standaloneSettings
	logger   *slog.Logger
	data     *data
	listener net.Listener

	id       whisk.ControllerID // a new one at each start
	manifest whisk.Manifest
	missing  []runtimes.Missing
	driver   whisk.Driver
	exchange *inmem.Exchange

	scheduler  *scheduler.Scheduler
	agent      *agent.Agent
	balancer   *balancer.Balancer
	controller *controller.Controller
	server     *http.Server
}

// assemble makes the roles. It starts none of them.
func (s *standalone) assemble(ctx context.Context) error {
	s.exchange = inmem.NewExchange()
	if err := s.openDriver(ctx); err != nil {
		return err
	}
	for _, build := range []func() error{s.makeScheduler, s.makeAgent, s.makeBalancer, s.makeController} {
		if err := build(); err != nil {
			return errors.Join(err, s.driver.Close())
		}
	}
	if err := ensureUsers(ctx, s.data.entities, s.settings.auth); err != nil {
		return errors.Join(err, s.driver.Close())
	}
	return nil
}

func (s *standalone) makeScheduler() (err error) {
	config := scheduler.Default()
	config.Manifest = s.manifest
	s.scheduler, err = scheduler.New(config, scheduler.Deps{Logger: s.logger})
	return err
}

func (s *standalone) makeAgent() (err error) {
	config := agent.Default()
	config.Node = standaloneNode
	config.Memory = s.settings.memory
	s.agent, err = agent.New(config, agent.Deps{
		Driver: s.driver,
		Logs:   s.data.logs,
		DialScheduler: func(context.Context) (whisk.AgentToScheduler, error) {
			return inmem.Dial(s.exchange, s.scheduler.ServeAgent)
		},
		Logger: s.logger,
	})
	return err
}

func (s *standalone) makeBalancer() (err error) {
	config := balancer.Default()
	config.Controller = s.id
	s.balancer, err = balancer.New(config, balancer.Deps{
		DialScheduler: func(context.Context) (whisk.ControllerToScheduler, error) {
			return inmem.Dial(s.exchange, s.scheduler.ServeController)
		},
		DialAgent: func(context.Context, whisk.NodeID, string) (whisk.ControllerToAgent, error) {
			return inmem.Dial(s.exchange, s.agent.ServeController)
		},
		DialContainer: func(ctx context.Context, address whisk.Address) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, address.Network, address.Address)
		},
		Logger: s.logger,
	})
	return err
}

func (s *standalone) makeController() (err error) {
	config := controller.Default()
	config.ID = s.id
	config.DrainTimeout = s.settings.drain
	config.Retention = s.settings.retention
	s.controller, err = controller.New(config, controller.Deps{
		Entities:    s.data.entities,
		Subjects:    s.data.entities,
		Blobs:       s.data.code,
		Activations: s.data.activations,
		Logs:        s.data.logs,
		Queue:       s.data.entities,
		Balancer:    admitting{s.balancer},
		Manifest:    s.manifest,
		Hint:        s.hint,
		Logger:      s.logger,
	})
	if err != nil {
		return err
	}
	handler := httpapi.New(httpapi.Config{Build: buildDate(), BuildNumber: version, Logger: s.logger}, s.controller)
	s.server = httpapi.Server(handler, s.logger)
	return nil
}

// admitting is the balancer as the controller wants it: Go does not take a
// method that returns *balancer.Admission for one that returns the interface.
type admitting struct{ *balancer.Balancer }

func (a admitting) Admit(inv *whisk.Invocation) (controller.Admission, error) {
	admission, err := a.Balancer.Admit(inv)
	if err != nil {
		return nil, err
	}
	return admission, nil
}

// hint says how to get a runtime that is not offered, "" if nothing is known.
func (s *standalone) hint(kind string) string {
	family, _, _ := strings.Cut(kind, ":")
	for _, missing := range s.missing {
		if missing.Family == family {
			return "On this machine " + missing.Reason + mend(missing.Mend) + "."
		}
	}
	if s.settings.driver != processDriver {
		return ""
	}
	if runtime, known := s.manifest.Resolve(family + ":default"); known && family != "native" {
		return fmt.Sprintf("This machine has %s, which %s:default stands for; it offers the version that is first on the platform's PATH.", runtime.Kind, family)
	}
	return ""
}

// start runs the roles. They stop the other way round: the controller refuses
// new activations and finishes what it accepted while the API still answers,
// and the agent, which takes the sandboxes down, outlives all that use them.
func (s *standalone) start(ctx context.Context, parts *lifecycle) {
	parts.start(ctx, "sessions", s.exchange.Run)
	parts.start(ctx, "scheduler", s.scheduler.Run)
	parts.start(ctx, "agent", s.agent.Run)
	parts.start(ctx, "balancer", s.balancer.Run)
	parts.start(ctx, "API", s.serve)
	parts.start(ctx, "controller", s.controller.Run)
}

// lastAnswers is how long requests may take to be answered once no activation
// runs any more.
const lastAnswers = 2 * time.Second

// serve answers requests until ctx ends.
func (s *standalone) serve(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(s.listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastAnswers)
	defer cancel()
	err := s.server.Shutdown(patience)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.server.Close()
	}
	<-served
	return err
}
