// SPDX-License-Identifier: Apache-2.0

package usernet

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// The addresses of the little network. GatewayName and the others must agree.
const (
	GatewayName = "10.0.2.2"
	serverName  = "10.0.2.3"
	guestName   = "10.0.2.100"
)

// Guest returns the sandbox's own address and the mask of its network.
func Guest() (address, mask [4]byte) {
	return netip.MustParseAddr(guestName).As4(), [4]byte{255, 255, 255, 0}
}

// Uplink is what the sandboxes of a driver share: the rules of what they may
// reach, and the host's means to reach it. It must not change once in use. The
// functions may be nil and then stand for the host's own; they may be called by
// many goroutines.
type Uplink struct {
	API     string         // host:port of the platform's API on the host, "" for none
	APIPort uint16         // on which the gateway offers it
	Flows   int            // connections of one sandbox at a time, at least 1
	Denied  []netip.Prefix // what sandboxes may not reach besides

	Dial      func(ctx context.Context, network, address string) (net.Conn, error)
	Addresses func() ([]net.Addr, error) // of the host, which sandboxes may not reach
	Resolvers func() []string            // host:port of the host's name servers
}

// errRefused says that a sandbox may not reach an address.
var errRefused = errors.New("refused")

// targets returns the host addresses that stand for a destination of the
// sandbox, in the order to try them; none if it may not be reached.
func (u *Uplink) targets(network string, destination netip.AddrPort) []string {
	address := destination.Addr().Unmap()
	switch {
	case address == gatewayAddress():
		if network == "tcp" && u.API != "" && destination.Port() == u.APIPort {
			return []string{u.API}
		}
		return nil
	case address == serverAddress():
		if destination.Port() == 53 {
			return u.resolvers()
		}
		return nil
	case u.forbidden(address):
		return nil
	}
	return []string{netip.AddrPortFrom(address, destination.Port()).String()}
}

// forbidden reports whether an address leads to the host itself, to its nearest
// neighbourhood, or to nobody in particular.
func (u *Uplink) forbidden(address netip.Addr) bool {
	first := address.As4()[0]
	if address.IsLoopback() || address.IsLinkLocalUnicast() || address.IsMulticast() || hostService(address) ||
		first == 0 || first >= 240 || netip.PrefixFrom(gatewayAddress(), 24).Contains(address) {
		return true
	}
	if slices.ContainsFunc(u.Denied, func(denied netip.Prefix) bool { return denied.Contains(address) }) {
		return true
	}
	own, err := u.addresses()
	if err != nil {
		return true // who cannot say what is forbidden forbids
	}
	return slices.ContainsFunc(own, func(own net.Addr) bool {
		prefix, err := netip.ParsePrefix(own.String())
		return err == nil && (prefix.Addr().Unmap() == address || broadcast(prefix, address))
	})
}

// hostService reports whether clouds offer a host its identity and secrets at an
// address that is not link-local: Alibaba's metadata and Azure's wire server.
func hostService(address netip.Addr) bool {
	return address == netip.AddrFrom4([4]byte{100, 100, 100, 200}) || address == netip.AddrFrom4([4]byte{168, 63, 129, 16})
}

// broadcast reports whether an address stands for all machines of a network, the
// host among them: the last one, and the first one in the manner of old.
func broadcast(network netip.Prefix, address netip.Addr) bool {
	if !network.Addr().Is4() || network.Bits() > 30 || !network.Contains(address) {
		return false
	}
	bytes := address.As4()
	within := binary.BigEndian.Uint32(bytes[:]) << network.Bits()
	return within == 0 || within == ^uint32(0)<<network.Bits()
}

func gatewayAddress() netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 2, 2}) }
func serverAddress() netip.Addr  { return netip.AddrFrom4([4]byte{10, 0, 2, 3}) }

func (u *Uplink) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if u.Dial != nil {
		return u.Dial(ctx, network, address)
	}
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, address)
}

func (u *Uplink) addresses() ([]net.Addr, error) {
	if u.Addresses != nil {
		return u.Addresses()
	}
	return net.InterfaceAddrs()
}

func (u *Uplink) resolvers() []string {
	if u.Resolvers != nil {
		return u.Resolvers()
	}
	servers, _ := parseResolvConf(hostResolvConf())
	return servers
}

// ResolvConf returns the content of the sandbox's /etc/resolv.conf: our name
// server, with the host's search domains and options.
func ResolvConf() string {
	_, rest := parseResolvConf(hostResolvConf())
	return "nameserver " + serverName + "\n" + rest
}

func hostResolvConf() string {
	data, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return "" // then names are not resolved in sandboxes either
	}
	return string(data)
}

// parseResolvConf splits a resolv.conf into the name servers, as host:port, and
// the lines that a sandbox should have as well. See resolv.conf(5): without a
// name server the local one is asked.
func parseResolvConf(content string) (servers []string, rest string) {
	for line := range strings.Lines(content) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if address, err := netip.ParseAddr(fields[1]); err == nil {
				servers = append(servers, net.JoinHostPort(address.String(), strconv.Itoa(53)))
			}
		case "search", "domain", "options":
			rest += strings.Join(fields, " ") + "\n"
		}
	}
	if len(servers) == 0 {
		servers = []string{"127.0.0.1:53"}
	}
	return servers, rest
}
