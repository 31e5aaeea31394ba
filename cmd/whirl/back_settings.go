// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"slices"

	"github.com/spf13/pflag"

	"github.com/whirl-faas/whirl/agent/gate"
	"github.com/whirl-faas/whirl/driver/docker"
	"github.com/whirl-faas/whirl/runtimes"
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
	memory  whisk.Bytes // for actions
	driver  string
	network string
	denied  []netip.Prefix // networks that actions may not reach
	publish gate.Config    // its Address is not valid if containers are not published
	docker  dockerSettings
}

func addBackFlags(flags *pflag.FlagSet) {
	flags.String("memory", "", "memory for actions, a `SIZE` such as 2g (default: three quarters of the machine's)")
	flags.String("driver", processDriver, "what makes sandboxes: process or docker")
	flags.String("sandbox-network", "outbound", "what actions reach: outbound (the network, but not this machine), none, or, with the process driver, host (this machine's own network, unprotected)")
	flags.String("sandbox-denied", "", "`NETWORKS` that actions may not reach, such as that of the cluster's hosts: 10.0.0.0/24,192.0.2.7/32; this machine and link-local addresses never are reached")
	addDockerFlags(flags)
}

// dockerSettings are the flags that matter to the docker driver alone.
type dockerSettings struct {
	manifest    whisk.Manifest
	pull        docker.Pull
	credentials map[string]docker.Credentials
	options     json.RawMessage
}

func addDockerFlags(flags *pflag.FlagSet) {
	flags.String("runtimes", "", "with --driver docker: a `FILE` in the form of OpenWhisk's runtimes.json (default: OpenWhisk's own runtimes)")
	flags.String("docker-pull", "auto", "when images are pulled: auto (users' images of the tag latest each time, others if they are missing), always, missing or never")
	flags.String("docker-credentials", "", "a `FILE` in the form of ~/.docker/config.json, for registries that want a login")
	flags.String("docker-options", "", "a `FILE` with a JSON object of the Engine API's HostConfig, whose fields replace the platform's for every container")
}

func (s *backSettings) read(flags *pflag.FlagSet) error {
	text := func(name string) string { return textOf(flags, name) }
	if err := s.readMemory(text("memory")); err != nil {
		return err
	}
	if err := s.readDriver(text); err != nil {
		return err
	}
	return s.readDenied(text("sandbox-denied"))
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

// readDriver checks the flags of both drivers.
func (s *backSettings) readDriver(text func(string) string) error {
	s.driver, s.network = text("driver"), text("sandbox-network")
	switch {
	case s.driver != processDriver && s.driver != dockerDriver:
		return usageErrorf("--driver %q: there is no such driver, want process or docker", s.driver)
	case !slices.Contains([]string{"outbound", "none", "host"}, s.network):
		return usageErrorf("--sandbox-network %q: want outbound, none or host", s.network)
	case s.driver == dockerDriver && s.network == "host":
		return usageErrorf("--sandbox-network host: containers would meet on one port; with --driver docker want outbound or none")
	case s.driver != dockerDriver:
		for _, flag := range []string{"runtimes", "docker-credentials", "docker-options"} {
			if text(flag) != "" {
				return usageErrorf("--%s needs --driver docker", flag)
			}
		}
		return nil
	}
	return s.readDocker(text)
}

func (s *backSettings) readDocker(text func(string) string) (err error) {
	s.docker.manifest = runtimes.OpenWhisk()
	if path := text("runtimes"); path != "" {
		if s.docker.manifest, err = runtimes.Load(path); err != nil {
			return usageErrorf("--runtimes: %w", err)
		}
	}
	s.docker.pull = docker.Pull(text("docker-pull"))
	if path := text("docker-credentials"); path != "" {
		if s.docker.credentials, err = docker.ReadCredentials(path); err != nil {
			return usageErrorf("--docker-credentials: %w", err)
		}
	}
	if path := text("docker-options"); path != "" {
		if s.docker.options, err = os.ReadFile(path); err != nil {
			return usageErrorf("--docker-options: %w", err)
		}
	}
	config := docker.Default()
	config.Pull, config.Options = s.docker.pull, s.docker.options
	if err := config.Validate(); err != nil {
		return usageErrorf("--docker-pull, --docker-options: %w", err)
	}
	return nil
}
