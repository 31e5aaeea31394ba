// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"net"
	"net/netip"
	"slices"

	"github.com/whirl-faas/whirl/whisk"
)

// Sources returns the addresses by which a peer of the agent's sessions comes to
// published ports: its own, or, if it is on this machine, the published one.
// Invalid if it is elsewhere and speaks another version of IP.
func (g *Gate) Sources(peer netip.Addr) ([]netip.Addr, error) {
	peer = peer.Unmap().WithZone("")
	local, err := onThisMachine(peer)
	switch {
	case err != nil:
		return nil, whisk.Errorf(whisk.Unavailable, "find out whose address %s is: %w", peer, err)
	case local && g.config.Address.IsLoopback():
		return []netip.Addr{g.config.Address, loopback(g.config.Address)}, nil
	case local:
		return []netip.Addr{g.config.Address}, nil
	case peer.Is4() != g.config.Address.Is4():
		return nil, whisk.Errorf(whisk.Invalid, "containers are published on %s here, which cannot be reached from %s: reach the agent by an address of the same version of IP", g.config.Address, peer)
	}
	return []netip.Addr{peer}, nil
}

// loopback returns the source that the kernel chooses towards any loopback address.
func loopback(of netip.Addr) netip.Addr {
	if of.Is4() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

func onThisMachine(peer netip.Addr) (bool, error) {
	if peer.IsLoopback() {
		return true, nil
	}
	own, err := net.InterfaceAddrs()
	return slices.ContainsFunc(own, func(own net.Addr) bool {
		prefix, err := netip.ParsePrefix(own.String())
		return err == nil && prefix.Addr().Unmap() == peer
	}), err
}
