// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/pflag"

	"github.com/whirl-faas/whirl/driver/docker"
	"github.com/whirl-faas/whirl/driver/process"
	"github.com/whirl-faas/whirl/runtimes"
	"github.com/whirl-faas/whirl/whisk"
)

// The drivers by their names.
const (
	processDriver = "process"
	dockerDriver  = "docker"
)

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

// readDriver checks the flags of both drivers.
func (s *standaloneSettings) readDriver(text func(string) string) error {
	s.driver, s.network = text("driver"), text("sandbox-network")
	networks := map[string][]string{
		processDriver: {"outbound", "none", "host"},
		dockerDriver:  {"outbound", "none"},
	}[s.driver]
	switch {
	case networks == nil:
		return usageErrorf("--driver %q: there is no such driver, want process or docker", s.driver)
	case !slices.Contains(networks, s.network):
		return usageErrorf("--sandbox-network %q: the %s driver has %q", s.network, s.driver, networks)
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

func (s *standaloneSettings) readDocker(text func(string) string) (err error) {
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

// openDriver opens the driver and finds out which runtimes there are. Its
// instance has a name that belongs to the data directory: who starts there again
// finds what a killed predecessor left.
func (s *standalone) openDriver(ctx context.Context) error {
	sum := sha256.Sum256([]byte(s.settings.data))
	instance := fmt.Sprintf("standalone-%x", sum[:6])
	open := s.openProcess
	if s.settings.driver == dockerDriver {
		open = s.openDocker
	}
	if err := open(ctx, instance); err != nil {
		return fmt.Errorf("make sandboxes: %w", err)
	}
	return nil
}

func (s *standalone) openProcess(ctx context.Context, instance string) error {
	locals, manifest, missing := runtimes.Detect(ctx, runtimes.Options{})
	s.manifest, s.missing = manifest, missing
	config := process.Default()
	config.Instance = instance
	config.Runtimes = recipes(locals)
	config.Network = process.Network(s.settings.network)
	config.API = s.url()
	config.Logger = s.logger
	driver, err := process.Open(config)
	if err != nil {
		return err
	}
	s.driver = driver
	return nil
}

func (s *standalone) openDocker(_ context.Context, instance string) error {
	s.manifest = s.settings.docker.manifest
	config := docker.Default()
	config.Instance = instance
	config.Images = s.manifest.Images()
	config.Pull = s.settings.docker.pull
	config.Credentials = s.settings.docker.credentials
	config.Options = s.settings.docker.options
	config.Network = docker.Network(s.settings.network)
	config.API = s.url()
	config.Logger = s.logger
	driver, err := docker.Open(config)
	if err != nil {
		return err
	}
	s.driver = driver
	return nil
}
