// SPDX-License-Identifier: Apache-2.0

package usernet

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// How long things may take, or last without a byte.
const (
	dialTimeout  = 15 * time.Second
	tcpIdle      = 15 * time.Minute
	udpIdle      = time.Minute
	queryTimeout = 3 * time.Second // of one name server
	querySettle  = 100 * time.Millisecond
)

// handle has the stack hand all connections of the sandbox to us.
func (n *Network) handle(ctx context.Context) {
	// Of connections in the making as many may wait as may exist.
	forwarder := tcp.NewForwarder(n.stack, tcpBuffer, n.uplink.Flows, func(request *tcp.ForwarderRequest) {
		if !n.begin() {
			request.Complete(sendReset)
			return
		}
		defer n.finish()
		n.tcpFlow(ctx, request)
	})
	n.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, forwarder.HandlePacket)
	n.stack.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(n.stack, func(request *udp.ForwarderRequest) {
		n.udpFlow(ctx, request)
	}).HandlePacket)
}

// sendReset is the argument by which a request is refused.
const sendReset = true

// destination is where the sandbox wants to go; the stack sees itself there.
func destination(id stack.TransportEndpointID) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4(id.LocalAddress.As4()), id.LocalPort)
}

// tcpFlow dials first and accepts then, so that a sandbox sees a refusal as a refusal.
func (n *Network) tcpFlow(ctx context.Context, request *tcp.ForwarderRequest) {
	outside, err := n.dial(ctx, "tcp", destination(request.ID()))
	if err != nil {
		request.Complete(sendReset)
		return
	}
	defer outside.Close()
	var queue waiter.Queue
	endpoint, failure := request.CreateEndpoint(&queue)
	request.Complete(failure != nil)
	if failure != nil {
		return
	}
	inside := gonet.NewTCPConn(&queue, endpoint)
	defer inside.Close()
	join(ctx, inside, outside, tcpIdle, 32<<10)
}

// udpFlow takes the first datagram between two addresses, and all that follow.
func (n *Network) udpFlow(ctx context.Context, request *udp.ForwarderRequest) {
	target := destination(request.ID())
	addresses := n.uplink.targets("udp", target)
	if len(addresses) == 0 || !n.begin() {
		return
	}
	var queue waiter.Queue
	endpoint, failure := request.CreateEndpoint(&queue)
	if failure != nil {
		n.finish()
		return
	}
	inside := gonet.NewUDPConn(&queue, endpoint)
	go func() {
		defer n.finish()
		defer inside.Close()
		if target.Addr() == serverAddress() {
			n.relayQueries(ctx, inside, addresses)
			return
		}
		outside, err := n.dial(ctx, "udp", target)
		if err != nil {
			return
		}
		defer outside.Close()
		join(ctx, inside, outside, udpIdle, 64<<10)
	}()
}

// relayQueries answers the queries of one socket of the sandbox, one after the
// other. The next name server is asked if one does not answer. It ends soon after
// the last answer: resolvers take a new socket for each name, and would soon have
// used up the sandbox's connections. A query that comes later begins a new flow.
func (n *Network) relayQueries(ctx context.Context, inside net.Conn, servers []string) {
	defer context.AfterFunc(ctx, func() { inside.Close() })()
	query := make([]byte, 64<<10)
	for {
		_ = inside.SetReadDeadline(time.Now().Add(querySettle)) // a closed one says so at Read
		size, err := inside.Read(query)
		if err != nil {
			return
		}
		for _, server := range servers {
			answer, err := n.exchange(ctx, server, query[:size])
			if err != nil {
				continue
			}
			if _, err := inside.Write(answer); err != nil {
				return
			}
			break
		}
	}
}

func (n *Network) exchange(ctx context.Context, server string, query []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	outside, err := n.uplink.dial(ctx, "udp", server)
	if err != nil {
		return nil, err
	}
	defer outside.Close()
	defer context.AfterFunc(ctx, func() { outside.Close() })()
	if _, err := outside.Write(query); err != nil {
		return nil, err
	}
	answer := make([]byte, 64<<10)
	size, err := outside.Read(answer)
	return answer[:size], err
}

// join copies in both directions until both have ended, one fails, nothing comes
// in either for the idle time, or ctx ends. The callers close the connections.
func join(ctx context.Context, inside, outside net.Conn, idle time.Duration, size int) {
	closeBoth := func() { inside.Close(); outside.Close() }
	defer context.AfterFunc(ctx, closeBoth)()
	var last atomic.Int64 // Unix nanoseconds of the last byte in either direction
	last.Store(time.Now().UnixNano())
	var directions sync.WaitGroup
	for _, direction := range []struct{ from, to net.Conn }{{inside, outside}, {outside, inside}} {
		directions.Go(func() {
			if err := pass(direction.from, direction.to, idle, &last, make([]byte, size)); err != nil {
				closeBoth()
				return
			}
			if half, ok := direction.to.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
				closeBoth()
			}
		})
	}
	directions.Wait()
}

// pass copies one direction; nil means that it came to its end. Silence counts
// only if the other direction is silent too.
func pass(from, to net.Conn, idle time.Duration, last *atomic.Int64, buf []byte) error {
	for {
		quiet := time.Unix(0, last.Load()).Add(idle)
		if err := from.SetReadDeadline(quiet); err != nil {
			return err
		}
		size, err := from.Read(buf)
		if size > 0 {
			last.Store(time.Now().UnixNano())
			if _, err := to.Write(buf[:size]); err != nil {
				return err
			}
		}
		switch {
		case err == nil:
		case isTimeout(err):
			if time.Unix(0, last.Load()).Add(idle).Equal(quiet) {
				return err
			}
		case errors.Is(err, io.EOF):
			return nil
		default:
			return err
		}
	}
}

func isTimeout(err error) bool {
	failure, ok := errors.AsType[net.Error](err)
	return ok && failure.Timeout()
}
