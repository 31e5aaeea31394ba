// SPDX-License-Identifier: Apache-2.0

package rpc_test

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"github.com/whirl-faas/whirl/rpc"
	"github.com/whirl-faas/whirl/whisk"
)

// TestWhereAPeerIs holds that a role learns from where a session came.
func TestWhereAPeerIs(t *testing.T) {
	found := make(chan netip.Addr, 1)
	server, err := rpc.NewServer(rpc.ServerConfig{
		Security: rpc.PlainLoopback(),
		Handlers: rpc.Handlers{Sandbox: func(_ context.Context, stream whisk.AgentToController) error {
			found <- stream.(whisk.Remote).PeerAddress()
			return stream.Close()
		}},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, listener) }()
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 7)}
	dialer, err := rpc.NewDialer(rpc.PlainLoopback(), func(ctx context.Context, address string) (net.Conn, error) {
		return (&net.Dialer{LocalAddr: from}).DialContext(ctx, "tcp", address)
	})
	if err != nil {
		t.Fatal(err)
	}
	session, err := dialer.ControllerToAgent(ctx, "node1", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Send(ctx, whisk.SandboxRequest{Seq: 1, Op: whisk.Renew, Controller: "ctl1"}); err != nil {
		t.Fatal(err)
	}
	if got := <-found; got != netip.MustParseAddr("127.0.0.7") {
		t.Errorf("the peer is at %v", got)
	}
	if err := session.Close(); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
