// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/whirl-faas/whirl/agent"
	"github.com/whirl-faas/whirl/agent/gate"
	"github.com/whirl-faas/whirl/driver/docker"
	"github.com/whirl-faas/whirl/driver/process"
	"github.com/whirl-faas/whirl/whisk"
)

// back is the agent's part of a process: the driver that makes sandboxes, and
// the agent that owns them.
type back struct {
	settings backSettings
	logger   *slog.Logger
	gate     *gate.Gate // before published containers; nil if they are not published
	driver   whisk.Driver
	offer    offer // what the driver can run
	agent    *agent.Agent
}

// openBack opens the driver and finds out which runtimes there are. instance
// names what belongs to this back: who opens it again finds what a killed
// predecessor left. Actions find the API at the URL api.
func openBack(ctx context.Context, settings backSettings, instance, api string, logger *slog.Logger) (*back, error) {
	b := &back{settings: settings, logger: logger}
	if err := b.openGate(instance); err != nil {
		return nil, err
	}
	open := b.openProcess
	if settings.driver == dockerDriver {
		open = b.openDocker
	}
	if err := open(ctx, instance, api); err != nil {
		return nil, errors.Join(fmt.Errorf("make sandboxes: %w", err), b.closeGate())
	}
	b.offer.images = b.driver.Capabilities().Images
	return b, nil
}

// openGate takes the ports by which other hosts reach containers, if they are to.
func (b *back) openGate(instance string) (err error) {
	if !b.settings.publish.Address.IsValid() {
		if err := gate.Clear(instance); err != nil { // a former process may have published
			b.logger.Debug("no look at published ports", "err", err)
		}
		return nil
	}
	config := b.settings.publish
	config.Instance, config.Logger = instance, b.logger
	if b.gate, err = gate.Open(config); whisk.KindOf(err) == whisk.Invalid {
		return usageErrorf("--publish %s: %w", config.Address, err)
	}
	return err
}

func (b *back) closeGate() error {
	if b.gate == nil {
		return nil
	}
	return b.gate.Close()
}

// close gives back what openBack took, for a role that never ran.
func (b *back) close() error { return errors.Join(b.driver.Close(), b.closeGate()) }

func (b *back) openProcess(ctx context.Context, instance, api string) error {
	b.offer = localOffer(ctx, b.logger)
	config := process.Default()
	config.Instance = instance
	config.Runtimes = recipes(b.offer.locals)
	config.Network = process.Network(b.settings.network)
	config.Denied = b.settings.denied
	config.API = api
	config.Grace = b.settings.grace
	cmp.Or(b.settings.programs, findSandboxPrograms(b.logger)).use(&config)
	config.Logger = b.logger
	if b.gate != nil {
		config.Ports = b.gate
	}
	driver, err := process.Open(config)
	if err != nil {
		return err
	}
	b.driver = driver
	return nil
}

func (b *back) openDocker(_ context.Context, instance, api string) error {
	b.offer = offer{manifest: b.settings.docker.manifest}
	config := b.settings.docker.config
	config.Instance = instance
	config.Images = b.offer.manifest.Images()
	config.Network = docker.Network(b.settings.network)
	config.Denied = b.settings.denied
	config.API = api
	config.Logger = b.logger
	if b.gate != nil {
		config.Ports = b.gate
	}
	driver, err := docker.Open(config)
	if err != nil {
		return err
	}
	b.driver = driver
	return nil
}

// assemble makes the role from a config that names the node, and deps that
// reach the others.
func (b *back) assemble(config agent.Config, deps agent.Deps) (err error) {
	config.Memory = b.settings.memory
	config.Env = b.settings.environment()
	deps.Driver = b.driver
	deps.Logger = b.logger
	if b.gate != nil {
		deps.Gate = b.gate
	}
	b.agent, err = agent.New(config, deps)
	return err
}

// start runs the role, which closes the driver at its end.
func (b *back) start(ctx context.Context, parts *lifecycle) {
	parts.start(ctx, "agent", func(ctx context.Context) error {
		return errors.Join(b.agent.Run(ctx), b.closeGate())
	})
}
