// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/rpc"
	"github.com/whirl-faas/whirl/rpc/certs"
	"github.com/whirl-faas/whirl/whisk"
)

// controllerSettings are the flags of whirl controller, checked.
type controllerSettings struct {
	name      string
	scheduler string
	runtimes  string
	front     frontSettings
	forward   forwardSettings
	peers     peerSettings
	logLevel  slog.Level
}

func (p program) controllerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Run a cluster's controller",
		Long: `Run the controller of a cluster: it serves the API, holds containers that the
scheduler and the agents give it, and runs activations in them.

It connects to the scheduler, and to the agents of the nodes that its containers
are on. Its stores are in --data; one controller at a time may have them. Logs are
where the agents write them: in a file on one host, in a database on several.

Controllers with --peers forward activations to each other: where the action
allows several at once, one that has no container takes a free place in
another's, if the scheduler knows of one.
` + peersHelp,
		Example: `  whirl controller --plain-loopback
  whirl controller --scheduler 10.0.0.1:3240 --runtimes ./runtimes.json \
      --ca ca.crt --cert controller-ctl1.crt --key controller-ctl1.key`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.loadSettings(cmd); err != nil {
				return err
			}
			settings, err := readControllerSettings(cmd)
			if err != nil {
				return err
			}
			return p.runController(cmd.Context(), settings)
		},
	}
	addConfigFlag(cmd)
	flags := cmd.Flags()
	flags.String("name", "", "the `NAME` that its ids begin with (default: the certificate's, or else none)")
	flags.String("scheduler", schedulerAddress, "`HOST:PORT` of the scheduler")
	flags.String("runtimes", "local", runtimesUsage)
	addConcurrencyFlag(flags, "how many activations at once in one container an action may ask for; the agents want the same `NUMBER`")
	addFrontFlags(flags)
	addForwardFlags(flags)
	addPeerFlags(flags)
	addLogFlag(flags)
	return cmd
}

func readControllerSettings(cmd *cobra.Command) (s controllerSettings, err error) {
	flags := cmd.Flags()
	s.name, s.scheduler, s.runtimes = textOf(flags, "name"), textOf(flags, "scheduler"), textOf(flags, "runtimes")
	if s.logLevel, err = readLogLevel(flags); err != nil {
		return s, err
	}
	s.peers.role = certs.Controller
	if err := s.peers.read(flags, "scheduler"); err != nil {
		return s, err
	}
	if err := s.forward.read(flags, s.peers.plain); err != nil {
		return s, err
	}
	return s, s.front.read(flags, s.peers.plain)
}

// runController runs the role until ctx ends, and drains it.
func (p program) runController(ctx context.Context, settings controllerSettings) (err error) {
	logger := p.logger(settings.logLevel)
	peers, err := settings.peers.open(logger)
	if err != nil {
		return err
	}
	if settings.name, err = peers.name("name", settings.name); err != nil {
		return err
	}
	offer, err := readOffer(ctx, settings.runtimes, logger)
	if err != nil {
		return err
	}
	dialer, err := rpc.NewDialer(peers.security, nil)
	if err != nil {
		return err
	}
	front, err := openFront(ctx, settings.front, settings.name, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, front.close()) }()
	front.offer, front.peers = offer, peers
	if err := front.openForwards(settings.forward); err != nil {
		return err
	}
	err = front.assemble(balancer.Deps{
		DialScheduler: func(ctx context.Context) (whisk.ControllerToScheduler, error) {
			return dialer.ControllerToScheduler(ctx, settings.scheduler)
		},
		DialAgent: dialer.ControllerToAgent,
		DialPeer:  dialer.ControllerToPeer,
		Runnable:  balancer.Runnable(),
	})
	if err != nil {
		return err
	}
	if err := front.installCatalog(ctx); err != nil {
		return err
	}
	parts := newLifecycle(logger)
	defer func() { err = errors.Join(err, parts.stop()) }()
	front.start(ctx, parts)
	fmt.Fprintf(p.stdout, "Whirl %s is ready on %s\n\n", version, front.url())
	line(p.stdout, "scheduler", settings.scheduler)
	if front.forwards != nil {
		line(p.stdout, "peers", front.forwards.address)
	}
	front.announceOffice(p.stdout)
	line(p.stdout, "data", settings.front.data)
	line(p.stdout, "logs", settings.front.logs.String())
	line(p.stdout, "limits", settings.front.throttles.String())
	line(p.stdout, "runtimes", strings.Join(offer.manifest.Kinds(), ", "))
	front.announce(p.stdout)
	parts.wait(ctx)
	if ctx.Err() != nil {
		fmt.Fprintf(p.stdout, "\nDraining: running activations may take %s to finish. Interrupt again to kill.\n", settings.front.drain)
	}
	return nil
}
