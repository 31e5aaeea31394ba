// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"

	"github.com/spf13/cobra"
)

// standaloneSettings are the flags of whirl standalone, checked.
type standaloneSettings struct {
	front    frontSettings
	back     backSettings
	logLevel slog.Level
}

func (p program) standaloneCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "standalone",
		Short: "Run the whole platform in this process",
		Long: `Run controller, scheduler and agent in this process, with embedded stores.

Actions run in sandboxes made from Linux namespaces and cgroups; no container
engine is needed. nodejs actions need node 18 or newer on this machine, python
actions python3; native executables and scripts need nothing.

With --driver docker they run in containers of a docker engine instead: all
runtimes that OpenWhisk has images of, or those of --runtimes, and images of
your own. The engine is that of DOCKER_HOST, or this machine's.

The platform listens on the loopback interface and has OpenWhisk's well-known
guest user, so that the clients you have work at once. Whoever knows that key
may run code: to listen on another address, give the guest a key of your own
with --auth, or say --expose-guest if the network is yours alone.

An interrupt or SIGTERM drains: no new activations, running ones finish within
--drain, sandboxes are removed, stores are flushed. A second signal kills.`,
		Example: `  whirl standalone
  whirl standalone --listen 127.0.0.1:8080 --data ./whirl-data --memory 4g
  whirl standalone --driver docker --runtimes ./runtimes.json
  WHIRL_LOG_LEVEL=debug whirl standalone --sandbox-network none`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.loadSettings(cmd); err != nil {
				return err
			}
			settings, err := readStandaloneSettings(cmd)
			if err != nil {
				return err
			}
			return p.runStandalone(cmd.Context(), settings)
		},
	}
	addConfigFlag(cmd)
	flags := cmd.Flags()
	addFrontFlags(flags)
	addStrictFlag(flags)
	addBackFlags(flags)
	addConcurrencyFlag(flags, "how many activations at once in one container an action may ask for, a `NUMBER`; above 1 all containers find __OW_ALLOW_CONCURRENT=true, without which nodejs takes one at a time")
	addLogFlag(flags)
	return cmd
}

func readStandaloneSettings(cmd *cobra.Command) (s standaloneSettings, err error) {
	flags := cmd.Flags()
	if s.logLevel, err = readLogLevel(flags); err != nil {
		return s, err
	}
	if err := s.front.read(flags, true); err != nil {
		return s, err
	}
	return s, s.back.read(flags)
}
