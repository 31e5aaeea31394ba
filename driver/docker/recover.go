// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/whirl-faas/whirl/whisk"
)

// Recover implements [whisk.Driver]. What runs is taken over, frozen or not;
// what was created and never started, what has ended and what cannot be
// understood is removed.
func (d *Driver) Recover(ctx context.Context) ([]whisk.Sandbox, error) {
	left, err := d.engine.ContainerList(ctx, client.ContainerListOptions{
		All:     true,
		Filters: client.Filters{}.Add("label", labelInstance+"="+d.config.Instance),
	})
	if err != nil {
		return nil, fmt.Errorf("list leftover containers: %w", err)
	}
	var sandboxes []whisk.Sandbox
	ports := map[netip.AddrPort]int{}
	var errs []error
	found := map[whisk.ContainerID]bool{}
	for _, one := range left.Items {
		s, err := d.adopt(ctx, one)
		if err == nil && s != nil {
			sandboxes = append(sandboxes, s)
			if s.published.IsValid() {
				ports[s.published] = 0
			}
			found[s.id] = true
			continue
		}
		if err != nil {
			d.log.Warn("leftover container not taken over", "name", one.Names, "err", err)
		}
		errs = append(errs, d.removeContainer(ctx, one.ID))
	}
	d.mendNetwork() // which may have gone since the first of them was connected
	if d.config.Ports != nil {
		errs = append(errs, d.config.Ports.Keep(ports))
	}
	d.state.retainPositions(found)
	return sandboxes, errors.Join(errs...)
}

// adopt makes a sandbox of a container that a former process started. It is nil
// if that does not run.
func (d *Driver) adopt(ctx context.Context, left container.Summary) (*sandbox, error) {
	if left.State != container.StateRunning && left.State != container.StatePaused {
		return nil, nil
	}
	req, err := requestOf(left.Labels)
	if err != nil {
		return nil, err
	}
	inspected, err := d.engine.ContainerInspect(ctx, left.ID, client.ContainerInspectOptions{})
	if errdefs.IsNotFound(err) || err == nil && isOver(inspected.Container.State) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := newSandbox(d, req)
	s.engineID = left.ID
	if s.ip, err = addressIn(left.Labels); err != nil {
		return nil, err
	}
	if err := d.reconnect(s.ip); err != nil {
		return nil, err
	}
	s.place(inspected.Container)
	if !s.ip.IsValid() {
		return nil, whisk.Errorf(whisk.Unavailable, "it has no address on the network %s", d.network)
	}
	if err := s.placePublished(inspected.Container.HostConfig); err != nil {
		return nil, err
	}
	if s.tap, err = d.newTap(s, true); err != nil {
		return nil, err
	}
	if err := d.enter(s); err != nil {
		return nil, err
	}
	if inspected.Container.State.Paused || s.group != nil && s.group.Frozen() || s.group == nil && s.runtime.paused(ctx) {
		s.frozen = found
	}
	d.loops.Go(func() { s.tap.runLoop(nil) })
	return s, nil
}

// reconnect sees to it that a device that a former process made leads to the bridge, which may
// have been made anew since.
func (d *Driver) reconnect(ip netip.Addr) error {
	if !ip.IsValid() {
		return nil // the engine connected it
	}
	if !d.addresses.subnet.Contains(ip) {
		return whisk.Errorf(whisk.Unavailable, "its address %s is not on the network %s", ip, d.network)
	}
	return connectAll(bridgeOf(d.config.Instance, d.config.Network), []netip.Addr{ip})
}

// placePublished notes by which port other hosts reach a container that a former process made. It is
// an error if nobody would guard that.
func (s *sandbox) placePublished(host *container.HostConfig) error {
	if host == nil || len(host.PortBindings[publishedPort()]) == 0 {
		return nil
	}
	binding := host.PortBindings[publishedPort()][0]
	number, err := strconv.ParseUint(binding.HostPort, 10, 16)
	at := netip.AddrPortFrom(binding.HostIP, uint16(number))
	if err != nil || s.driver.config.Ports == nil || !s.driver.config.Ports.Guards(at) {
		return whisk.Errorf(whisk.Conflict, "it is published on %s:%s, which this agent does not guard", binding.HostIP, binding.HostPort)
	}
	s.published, s.port = at, at
	return nil
}

// requestOf reads what a container was made from.
func requestOf(labels map[string]string) (whisk.CreateSandbox, error) {
	memory, err := strconv.ParseInt(labels[labelMemory], 10, 64)
	id := whisk.ContainerID(labels[labelContainer])
	if err != nil || memory <= 0 || !containerID(id) {
		return whisk.CreateSandbox{}, whisk.Errorf(whisk.Invalid, "its labels do not say what it is")
	}
	return whisk.CreateSandbox{
		ID:    id,
		Label: labels[labelLabel],
		Spec:  whisk.ContainerSpec{Kind: labels[labelKind], Image: labels[labelImage], Memory: whisk.Bytes(memory)},
	}, nil
}
