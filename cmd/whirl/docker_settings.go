// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/whirl-faas/whirl/driver/docker"
	"github.com/whirl-faas/whirl/runtimes"
	"github.com/whirl-faas/whirl/whisk"
)

// dockerSettings are the flags that matter to the docker driver alone, checked.
type dockerSettings struct {
	manifest whisk.Manifest
	config   docker.Config // of what the flags say
}

func addDockerFlags(flags *pflag.FlagSet) {
	flags.String("runtimes", "", "with --driver docker: a `FILE` in the form of OpenWhisk's runtimes.json (default: OpenWhisk's own runtimes)")
	flags.String("docker-pull", "auto", "when images are pulled: auto (users' images of the tag latest each time, others if they are missing), always, missing or never")
	flags.String("docker-credentials", "", "a `FILE` in the form of ~/.docker/config.json, for registries that want a login")
	flags.String("docker-cpus", "0", "how much of the machine's processors a container may use at most, a `NUMBER` such as 1.5; 0 for no bound")
	flags.String("docker-read-only", "labelled", "whose root file system is read-only, with a private /tmp: labelled (images with the label whirl.read-only-root=true), always or never")
	flags.String("docker-freezer", "auto", "how containers are suspended: auto (the fastest that works), "+freezerChoices)
	flags.String("docker-options", "", "a `FILE` with a JSON object of the Engine API's HostConfig, whose fields replace the platform's for every container")
}

const freezerChoices = "cgroup-v2, cgroup-v1, runtime (the OCI runtime) or engine (the engine's pause)"

// refuseDockerFlags refuses what was set in vain, wherever it was set.
func refuseDockerFlags(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Changed && err == nil && (flag.Name == "runtimes" || strings.HasPrefix(flag.Name, "docker-")) {
			err = usageErrorf("--%s needs --driver docker", flag.Name)
		}
	})
	return err
}

func (s *dockerSettings) read(text func(string) string) (err error) {
	s.manifest, s.config = runtimes.OpenWhisk(), docker.Default()
	if path := text("runtimes"); path != "" {
		if s.manifest, err = runtimes.Load(path); err != nil {
			return usageErrorf("--runtimes: %w", err)
		}
	}
	for _, flag := range []struct {
		name string
		set  func(config *docker.Config, text string) error
	}{
		{"docker-pull", func(c *docker.Config, text string) error { c.Pull = docker.Pull(text); return nil }},
		{"docker-credentials", setCredentials},
		{"docker-cpus", setCPUs},
		{"docker-read-only", func(c *docker.Config, text string) error { c.ReadOnly = docker.ReadOnly(text); return nil }},
		{"docker-freezer", func(c *docker.Config, text string) error { c.Freezer = docker.Freezer(text); return nil }},
		{"docker-options", setOptions},
	} {
		if err := errors.Join(flag.set(&s.config, text(flag.name)), s.config.Validate()); err != nil {
			return usageErrorf("--%s: %w", flag.name, err)
		}
	}
	return nil
}

func setCredentials(config *docker.Config, path string) (err error) {
	if path != "" {
		config.Credentials, err = docker.ReadCredentials(path)
	}
	return err
}

func setCPUs(config *docker.Config, text string) (err error) {
	if config.CPUs, err = strconv.ParseFloat(text, 64); err != nil {
		return whisk.Errorf(whisk.Invalid, "%q: want a number such as 1.5, or 0 for no bound", text)
	}
	return nil
}

func setOptions(config *docker.Config, path string) (err error) {
	if path != "" {
		config.Options, err = os.ReadFile(path)
	}
	return err
}
