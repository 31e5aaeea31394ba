// SPDX-License-Identifier: Apache-2.0

package rpc_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/rpc"
	"github.com/whirl-faas/whirl/rpc/certs"
	"github.com/whirl-faas/whirl/whisk"
)

// elsewhere is a listener or a connection with an address that others reach.
type elsewhere struct {
	net.Listener
	net.Conn
}

func (elsewhere) Addr() net.Addr              { return &net.TCPAddr{IP: net.IPv4zero, Port: 7000} }
func (elsewhere) RemoteAddr() net.Addr        { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 7000} }
func (elsewhere) Write([]byte) (int, error)   { panic("something was said in plain text") }
func (elsewhere) Read([]byte) (int, error)    { return 0, io.EOF }
func (elsewhere) Close() error                { return nil }
func (elsewhere) SetDeadline(time.Time) error { return nil }

func TestPlainTextStaysOnThisMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		server, err := rpc.NewServer(rpc.ServerConfig{Security: rpc.PlainLoopback(), Logger: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Run(t.Context(), elsewhere{}); whisk.KindOf(err) != whisk.Invalid || !strings.Contains(err.Error(), "0.0.0.0:7000") {
			t.Errorf("a server for everybody: %v, want invalid", err)
		}
		d, err := rpc.NewDialer(rpc.PlainLoopback(), func(context.Context, string) (net.Conn, error) { return elsewhere{}, nil })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.ControllerToScheduler(t.Context(), "10.0.0.1:7000"); whisk.KindOf(err) != whisk.Invalid || !strings.Contains(err.Error(), "loopback") {
			t.Errorf("a session with another machine: %v, want invalid", err)
		}
		if _, err := rpc.NewServer(rpc.ServerConfig{Logger: log.logger()}); whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("a server without security: %v, want invalid", err)
		}
		if _, err := rpc.NewDialer(rpc.Security{}, nil); whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("a dialler without security: %v, want invalid", err)
		}
	})
}

func TestTheWrongKindOfPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var log journal
		plain := serve(t, rpc.ServerConfig{Security: rpc.PlainLoopback(), Handlers: rpc.Handlers{Sandbox: hold(c.sandboxes)}, Logger: log.logger()})
		if _, err := dialer(t, rpc.PlainLoopback(), c.scheduler.network).ControllerToScheduler(t.Context(), "scheduler"); err == nil {
			t.Error("plain text got in")
		}
		synctest.Wait()
		if lines := c.journal.lines(); len(lines) == 0 || !strings.Contains(lines[0], "does not speak TLS") {
			t.Errorf("the log has %q", lines)
		}
		if _, err := dialer(t, c.security(t, certs.Controller, "ctl1"), plain.network).ControllerToAgent(t.Context(), "node1", "agent"); err == nil {
			t.Error("TLS was taken for plain text")
		}
		synctest.Wait()
		if lines := log.lines(); len(lines) == 0 || !strings.Contains(lines[0], "does not speak gRPC") {
			t.Errorf("the log has %q", lines)
		}
		_, err := dialer(t, rpc.PlainLoopback(), plain.network).ControllerToScheduler(t.Context(), "scheduler")
		if whisk.KindOf(err) != whisk.NotFound || !strings.Contains(err.Error(), "not served here") {
			t.Errorf("an agent asked for a scheduler's session answers %v", err)
		}
		_, err = dialer(t, rpc.PlainLoopback(), plain.network).ControllerToAgent(canceled(t), "node1", "agent")
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a dial whose context ended: %v", err)
		}
		plain.stop()
		c.stop()
	})
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
