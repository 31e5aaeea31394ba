// SPDX-License-Identifier: Apache-2.0

// Package usernet gives a sandbox a way to the outside without touching the
// host's network: it ends the sandbox's TCP and UDP in this process, with a
// network stack in user mode behind the sandbox's tun device, and dials anew
// from the host.
//
// Its little network is 10.0.2.0/24, as with QEMU and slirp: the sandbox is
// .100, its gateway .2, its name server .3. The gateway answers on the port of
// the platform's API and nowhere else; the name server hands queries to the
// host's resolvers. Addresses of the host itself, loopback, link-local and the
// other metadata services of clouds, broadcast and multicast are refused: a
// sandbox reaches what the host reaches beyond itself. There is no IPv6.
//
// A [Network] builds its stack when the first packet comes out of the sandbox;
// until then it costs a goroutine. Connections are bounded in number and idle time.
package usernet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// MTU of the device. Packets only travel through memory, so large ones are cheap.
const MTU = 32 << 10

// tcpBuffer is how many bytes a connection may hold in each direction. They lie
// in this process, whatever the sandbox's own limit is.
const tcpBuffer = 128 << 10

// nic is the stack's only interface.
const nic = 1

// Network is one sandbox's way out.
type Network struct {
	device *os.File
	uplink *Uplink

	stack *stack.Stack
	link  *channel.Endpoint
	flows sync.WaitGroup
	slots chan struct{} // a token for each flow that may still begin

	mu     sync.Mutex
	ending bool // no flow begins any more
}

// New returns the network behind a tun device, which it closes when Run ends. The
// device must be on Go's poller.
func New(device *os.File, uplink *Uplink) *Network {
	return &Network{device: device, uplink: uplink}
}

// Run serves the network until ctx ends, and then returns nil. It returns early
// if the device fails.
func (n *Network) Run(ctx context.Context) error {
	defer n.device.Close()
	// Nothing else wakes a read that waits.
	defer context.AfterFunc(ctx, func() { n.device.Close() })()
	if err := n.awaitPacket(); err != nil {
		return n.ended(ctx, err)
	}
	if err := n.start(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n.handle(ctx)
	var out sync.WaitGroup
	out.Go(func() { n.outLoop(ctx) })
	err := n.inLoop()

	n.mu.Lock()
	n.ending = true
	n.mu.Unlock()
	cancel()
	n.flows.Wait()
	n.stack.Close()
	n.link.Close()
	n.stack.Wait()
	out.Wait()
	return n.ended(ctx, err)
}

// ended turns the error of a device that was closed on purpose into none.
func (n *Network) ended(ctx context.Context, err error) error {
	if errors.Is(err, os.ErrClosed) || ctx.Err() != nil {
		return nil
	}
	return err
}

// awaitPacket returns when the sandbox has sent a first packet, without a buffer
// to read it into.
func (n *Network) awaitPacket() error {
	conn, err := n.device.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		ready, err := unix.Poll(fds, 0)
		return ready > 0 || err != nil && err != unix.EINTR
	})
}

func (n *Network) start() error {
	n.slots = make(chan struct{}, n.uplink.Flows)
	n.link = channel.New(256, MTU, "")
	n.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	sack := tcpip.TCPSACKEnabled(true)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: tcpBuffer, Max: tcpBuffer}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: tcpBuffer, Max: tcpBuffer}
	moderate := tcpip.TCPModerateReceiveBufferOption(false)
	address := tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(gatewayAddress().As4()), PrefixLen: 24},
	}
	for what, err := range map[string]tcpip.Error{
		"enable SACK":              n.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack),
		"bound receive buffers":    n.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &receive),
		"bound send buffers":       n.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &send),
		"keep buffers as they are": n.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &moderate),
		"add nic":                  n.stack.CreateNIC(nic, n.link),
	} {
		if err != nil {
			return fmt.Errorf("%s: %s", what, err)
		}
	}
	if err := n.stack.AddProtocolAddress(nic, address, stack.AddressProperties{}); err != nil {
		return fmt.Errorf("add gateway address: %s", err)
	}
	// It takes packets for every address, and answers in the name of each.
	if err := n.stack.SetPromiscuousMode(nic, true); err != nil {
		return fmt.Errorf("take all packets: %s", err)
	}
	if err := n.stack.SetSpoofing(nic, true); err != nil {
		return fmt.Errorf("answer for all: %s", err)
	}
	n.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})
	return nil
}

// inLoop carries packets from the sandbox to the stack, until the device ends.
func (n *Network) inLoop() error {
	packet := make([]byte, MTU)
	for {
		size, err := n.device.Read(packet)
		if err != nil {
			return err
		}
		if size == 0 || header.IPVersion(packet[:size]) != header.IPv4Version {
			continue
		}
		buf := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet[:size])})
		n.link.InjectInbound(ipv4.ProtocolNumber, buf)
		buf.DecRef()
	}
}

// outLoop carries packets from the stack to the sandbox.
func (n *Network) outLoop(ctx context.Context) {
	for {
		packet := n.link.ReadContext(ctx)
		if packet == nil {
			return
		}
		view := packet.ToView()
		// A full or vanished device loses packets, as networks do.
		_, _ = n.device.Write(view.AsSlice())
		view.Release()
		packet.DecRef()
	}
}

// begin makes room for a flow and runs it on a goroutine that Run waits for. It
// reports false if there are too many, or the network ends.
func (n *Network) begin() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ending {
		return false
	}
	select {
	case n.slots <- struct{}{}:
		n.flows.Add(1)
		return true
	default:
		return false
	}
}

func (n *Network) finish() {
	<-n.slots
	n.flows.Done()
}

// dial connects the sandbox with a destination: the first of the addresses that
// stand for it and that answers.
func (n *Network) dial(ctx context.Context, network string, destination netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	err := errRefused
	for _, address := range n.uplink.targets(network, destination) {
		var conn net.Conn
		if conn, err = n.uplink.dial(ctx, network, address); err != nil {
			continue
		}
		if turnsBack(conn) && address == destination.String() {
			conn.Close()
			return nil, errRefused
		}
		return conn, nil
	}
	return nil, err
}

// turnsBack reports whether a connection leads to this machine. A route may do so
// whatever addresses the interfaces have, and so may an address that came while
// we dialled: the kernel then takes the same address for both ends.
func turnsBack(conn net.Conn) bool {
	local, errLocal := netip.ParseAddrPort(conn.LocalAddr().String())
	remote, errRemote := netip.ParseAddrPort(conn.RemoteAddr().String())
	return errLocal == nil && errRemote == nil && local.Addr() == remote.Addr()
}
