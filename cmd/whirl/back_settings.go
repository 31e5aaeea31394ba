// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/whirl-faas/whirl/agent/gate"
	"github.com/whirl-faas/whirl/whisk"
)

// The drivers by their names.
const (
	processDriver = "process"
	dockerDriver  = "docker"
)

// minimumMemory is room for one action of the default size.
const minimumMemory = 256 * whisk.MB

// backSettings are the flags of a process that plays the agent, checked.
type backSettings struct {
	memory      whisk.Bytes // for actions
	driver      string
	network     string
	denied      []netip.Prefix // networks that actions may not reach
	publish     gate.Config    // its Address is not valid if containers are not published
	concurrency int            // that the controllers allow
	docker      dockerSettings
	grace       time.Duration   // how long sandboxes outlive the process; 0 for not at all
	programs    sandboxPrograms // which benchmarks say; none for those that are beside this program
}

func addBackFlags(flags *pflag.FlagSet) {
	flags.String("memory", "", "memory for actions, a `SIZE` such as 2g (default: three quarters of the machine's)")
	flags.String("driver", processDriver, "what makes sandboxes: process or docker")
	flags.String("sandbox-network", "outbound", "what actions reach: outbound (the network, but not this machine), none, or, with the process driver, host (this machine's own network, unprotected)")
	flags.String("sandbox-denied", "", "`NETWORKS` that actions may not reach, such as that of the cluster's hosts: 10.0.0.0/24,192.0.2.7/32; this machine and link-local addresses never are reached")
	addDockerFlags(flags)
}

func (s *backSettings) read(flags *pflag.FlagSet) error {
	text := func(name string) string { return textOf(flags, name) }
	if err := s.readMemory(text("memory")); err != nil {
		return err
	}
	var err error
	if s.concurrency, err = readConcurrency(flags); err != nil {
		return err
	}
	s.driver, s.network = text("driver"), text("sandbox-network")
	switch {
	case s.driver != processDriver && s.driver != dockerDriver:
		return usageErrorf("--driver %q: there is no such driver, want process or docker", s.driver)
	case !slices.Contains([]string{"outbound", "none", "host"}, s.network):
		return usageErrorf("--sandbox-network %q: want outbound, none or host", s.network)
	case s.driver == dockerDriver && s.network == "host":
		return usageErrorf("--sandbox-network host: containers would meet on one port; with --driver docker want outbound or none")
	}
	if err := s.readDenied(text("sandbox-denied")); err != nil {
		return err
	}
	if s.driver != dockerDriver {
		return refuseDockerFlags(flags)
	}
	return s.docker.read(text)
}

// addConcurrencyFlag gives both parts of a process the limit that they share.
func addConcurrencyFlag(flags *pflag.FlagSet, what string) {
	flags.Int("max-concurrency", 1, what)
}

// mostConcurrency is about what one container could serve.
const mostConcurrency = 1000

func readConcurrency(flags *pflag.FlagSet) (int, error) {
	n, _ := flags.GetInt("max-concurrency")
	if n < 1 || n > mostConcurrency {
		return 0, usageErrorf("--max-concurrency %d: want 1 to %d", n, mostConcurrency)
	}
	return n, nil
}

// environment is what all containers find. OpenWhisk's nodejs images take one
// activation at a time unless they are told from the start that there may be
// more, and a prewarmed container starts before anybody knows its action.
func (s *backSettings) environment() map[string]string {
	if s.concurrency == 1 {
		return nil
	}
	return map[string]string{"__OW_ALLOW_CONCURRENT": "true"}
}

func (s *backSettings) readMemory(text string) (err error) {
	if text == "" {
		s.memory = defaultActionMemory()
		return nil
	}
	if s.memory, err = whisk.ParseBytes(text); err != nil {
		return usageErrorf("--memory: %w", err)
	}
	if s.memory < minimumMemory {
		return usageErrorf("--memory %s: want at least %s, the default memory of one action", s.memory, minimumMemory)
	}
	return nil
}
