// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/whirl-faas/whirl/rpc"
	"github.com/whirl-faas/whirl/rpc/certs"
	"github.com/whirl-faas/whirl/scheduler"
	"github.com/whirl-faas/whirl/scheduler/httpapi"
	"github.com/whirl-faas/whirl/scheduler/policy"
	"github.com/whirl-faas/whirl/surface"
)

// schedulerAddress is where a scheduler is found by default.
const schedulerAddress = "127.0.0.1:3240"

// schedulerHTTP is where its surface for operators is by default.
const schedulerHTTP = "127.0.0.1:3241"

// schedulerSettings are the flags of whirl scheduler, checked.
type schedulerSettings struct {
	listen    string
	sessions  int
	placement policy.Scheme
	runtimes  string
	http      officeSettings
	peers     peerSettings
	logLevel  slog.Level
}

func (p program) schedulerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scheduler",
		Short: "Run a cluster's scheduler",
		Long: `Run the scheduler of a cluster: it knows all nodes and containers, and decides
who gets which. Controllers and agents connect to it.

It keeps nothing on disk. When it starts it listens for a while to what agents
and controllers have, and then goes on where its predecessor stopped. Warm
activations do not notice that it is away. Start one at a time: a new one is
obeyed, and the old one then ends by itself.

Over HTTP it tells operators how things stand, for whirl admin status, and takes
the orders of whirl admin agent. There are /healthz, /readyz and /metrics too.
` + peersHelp,
		Example: `  whirl scheduler --plain-loopback
  whirl scheduler --listen 10.0.0.1:3240 --ca ca.crt --cert scheduler-sched1.crt --key scheduler-sched1.key`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.loadSettings(cmd); err != nil {
				return err
			}
			settings, err := readSchedulerSettings(cmd)
			if err != nil {
				return err
			}
			return p.runScheduler(cmd.Context(), settings)
		},
	}
	addConfigFlag(cmd)
	flags := cmd.Flags()
	flags.String("listen", schedulerAddress, "`HOST:PORT` for controllers and agents")
	flags.Int("max-sessions", rpc.DefaultLimits().Connections, "how many controllers and agents may be connected at once, a `NUMBER`")
	flags.String("placement", string(policy.SchemeSharding), fmt.Sprintf("the `SCHEME` by which new containers are placed, one of %v", policy.Schemes()))
	flags.String("runtimes", "local", runtimesUsage+"; their stem cells are kept prewarmed")
	addOfficeFlags(flags, schedulerHTTP)
	addPeerFlags(flags)
	addLogFlag(flags)
	return cmd
}

func readSchedulerSettings(cmd *cobra.Command) (s schedulerSettings, err error) {
	flags := cmd.Flags()
	s.listen, s.runtimes = textOf(flags, "listen"), textOf(flags, "runtimes")
	if s.logLevel, err = readLogLevel(flags); err != nil {
		return s, err
	}
	if s.sessions, _ = flags.GetInt("max-sessions"); s.sessions < 1 {
		return s, usageErrorf("--max-sessions must be 1 or more, not %d", s.sessions)
	}
	s.placement = policy.Scheme(textOf(flags, "placement"))
	if s.placement.Placement() == nil {
		return s, usageErrorf("--placement %q: want one of %v", string(s.placement), policy.Schemes())
	}
	s.peers.role = certs.Scheduler
	if err := s.peers.read(flags, "listen"); err != nil {
		return s, err
	}
	return s, s.http.read(flags, s.peers.plain)
}

// runScheduler runs the role until ctx ends.
func (p program) runScheduler(ctx context.Context, settings schedulerSettings) (err error) {
	logger := p.logger(settings.logLevel)
	peers, err := settings.peers.open(logger)
	if err != nil {
		return err
	}
	offer, err := readOffer(ctx, settings.runtimes, logger)
	if err != nil {
		return err
	}
	config := scheduler.Default()
	config.Epoch = epochOf(time.Now())
	config.Place = settings.placement
	config.Manifest = offer.manifest
	s, err := scheduler.New(config, scheduler.Deps{Logger: logger, Health: peers.askReady})
	if err != nil {
		return err
	}
	listener, err := listenFor("listen", settings.listen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeListener(listener)) }()
	handlers := rpc.Handlers{Controller: s.ServeController, Agent: s.ServeAgent}
	serve, err := peers.serve(handlers, rpc.Limits{Connections: settings.sessions}, listener)
	if err != nil {
		return err
	}
	office, err := openSchedulerOffice(settings, peers, s)
	if err != nil {
		return err
	}
	parts := newLifecycle(logger)
	defer func() { err = errors.Join(err, parts.stop()) }()
	parts.start(ctx, "scheduler", s.Run)
	parts.start(ctx, "sessions", serve)
	fmt.Fprintf(p.stdout, "Whirl %s: the scheduler is ready on %s\n", version, listener.Addr())
	if office != nil {
		parts.start(ctx, "HTTP", office.serve)
		line(p.stdout, "operators", office.listener.Addr().String())
	}
	parts.wait(ctx)
	return nil
}

// openSchedulerOffice opens the surface for operators; nil if there is to be none.
func openSchedulerOffice(settings schedulerSettings, peers *peers, s *scheduler.Scheduler) (*office, error) {
	if settings.http.address == "" {
		return nil, nil
	}
	api, err := httpapi.New(surface.Default(), s, settings.http.authorize(peers), peers.logger)
	if err != nil {
		return nil, err
	}
	ready := func(ctx context.Context) error { // once the owner loop answers
		_, err := s.Metrics(ctx)
		return err
	}
	return openOffice(settings.http, peers, surface.Watch{Ready: ready, Metrics: surface.Metrics(httpapi.Figures(s))}, api)
}
