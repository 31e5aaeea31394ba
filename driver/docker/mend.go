// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/whirl-faas/whirl/whisk"
)

// mends makes the instance's network anew when somebody took it away. The engine knows
// nothing of the containers that we connect (see devices), and so removes the network
// from under them when people prune. The containers live on with devices that lead
// nowhere: on a bridge of the same name and subnet they answer again. Our firewall goes
// by the bridge's name and stands all the while.
//
// An event of the engine tells of it, and Create sees it too. One mends at a time, and
// all who need it wait for that one.
type mends struct {
	mu      sync.Mutex
	running *mend // nil while nobody is at it
	needed  bool  // something is missing that could not be made yet
}

type mend struct {
	again bool          // the network went once more; guarded by mends.mu
	done  chan struct{} // closed when err is set
	err   error
}

// ensureNetwork returns when no part of the network is known to be missing. What it
// begins goes on if ctx ends, for those who still wait.
func (d *Driver) ensureNetwork(ctx context.Context) error {
	if !d.networkMissing() {
		return nil
	}
	one := d.mends.join(d, false)
	select {
	case <-one.done:
		return one.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// networkMissing asks nothing of the engine.
func (d *Driver) networkMissing() bool {
	return d.mends.areNeeded() || d.devices != nil && d.devices.bridgeMissing()
}

// mendNetwork has somebody look for the network, from now on and not from a while ago.
func (d *Driver) mendNetwork() { d.mends.join(d, true) }

func (m *mends) join(d *Driver, anew bool) *mend {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running != nil {
		m.running.again = m.running.again || anew
		return m.running
	}
	one := &mend{done: make(chan struct{})}
	m.running = one
	d.loops.Go(func() {
		defer close(one.done)
		for over := false; !over; over = m.isOver(one) {
			one.err = d.mendOnce(d.life)
		}
	})
	return one
}

// isOver ends a mend, unless it has to look again.
func (m *mends) isOver(one *mend) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if one.again {
		one.again = false
		return false
	}
	m.running = nil
	return true
}

func (m *mends) areNeeded() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.needed
}

func (m *mends) need(needed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.needed = needed
}

// mendOnce looks for the network and makes what is missing.
func (d *Driver) mendOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.config.Grace)
	defer cancel()
	found, err := d.engine.NetworkInspect(ctx, d.network, client.NetworkInspectOptions{})
	gone := errdefs.IsNotFound(err)
	if err != nil && !gone {
		d.log.Debug("network not looked for", "err", err)
		return whisk.Errorf(whisk.Unavailable, "look for the network %s: %w", d.network, err)
	}
	if gone || d.devices != nil && d.devices.bridgeMissing() {
		d.mends.need(true)
		if err := d.remakeNetwork(ctx, found.Network, gone); err != nil {
			d.log.Warn("network not made anew", "network", d.network, "err", err)
			return whisk.Errorf(whisk.Unavailable, "make the network %s anew: %w", d.network, err)
		}
		d.log.Warn("network had gone and was made anew", "network", d.network)
	}
	d.mends.need(false)
	if d.devices == nil {
		return nil
	}
	if err := connectAll(d.devices.bridge, d.addressesInUse()); err != nil {
		d.log.Warn("containers not connected to the network", "network", d.network, "err", err) // new ones may be
	}
	return nil
}

// remakeNetwork makes the network as it was. One whose bridge has gone is no use to the engine either.
func (d *Driver) remakeNetwork(ctx context.Context, found network.Inspect, gone bool) error {
	if !gone {
		if found.Labels[labelInstance] != d.config.Instance {
			return whisk.Errorf(whisk.Conflict, "the engine has another of that name that is not ours")
		}
		if _, err := d.engine.NetworkRemove(ctx, found.ID, client.NetworkRemoveOptions{}); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("remove what is left of it: %w", err)
		}
	}
	return d.makeNetworkAt(ctx, d.network, network.IPAMConfig{Subnet: d.addresses.subnet, Gateway: d.gateway})
}

// addressesInUse are those of all sandboxes, also of such as are being made.
func (d *Driver) addressesInUse() []netip.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	used := make([]netip.Addr, 0, len(d.sandboxes))
	for _, s := range d.sandboxes {
		used = append(used, s.ip)
	}
	return used
}
