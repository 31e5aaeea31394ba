// SPDX-License-Identifier: Apache-2.0

package rpc_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/test/bufconn"

	"github.com/whirl-faas/whirl/rpc"
	"github.com/whirl-faas/whirl/rpc/certs"
	"github.com/whirl-faas/whirl/rpc/rpctest"
	"github.com/whirl-faas/whirl/whisk"
)

// network is a listener in memory, and what is connected to it.
type network struct {
	*bufconn.Listener

	mu    sync.Mutex
	conns []net.Conn
}

func newNetwork() *network { return &network{Listener: bufconn.Listen(64 << 10)} }

func (n *network) dial(ctx context.Context, _ string) (net.Conn, error) {
	conn, err := n.DialContext(ctx)
	if err == nil {
		n.mu.Lock()
		n.conns = append(n.conns, conn)
		n.mu.Unlock()
	}
	return conn, err
}

// cut ends every connection, as if a cable had been pulled and its end noticed.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, conn := range n.conns {
		conn.Close()
	}
	n.conns = nil
}

// journal is a log that tests read.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// lines returns those at the level of a warning.
func (j *journal) lines() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var warnings []string
	for line := range strings.Lines(j.text.String()) {
		if strings.Contains(line, "level=WARN") {
			warnings = append(warnings, line)
		}
	}
	return warnings
}

// authority is a certificate authority in a directory of the test.
type authority struct{ dir string }

func newAuthority(t testing.TB) authority {
	t.Helper()
	a := authority{t.TempDir()}
	if _, err := certs.CreateAuthority(a.dir); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a authority) issue(t testing.TB, role certs.Role, name string) certs.Files {
	t.Helper()
	files, err := certs.Issue(a.dir, certs.Request{Identity: certs.Identity{Role: role, Name: name}, Out: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func open(t testing.TB, files certs.Files) rpc.Security {
	t.Helper()
	source, err := certs.Open(files, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return rpc.TLS(source)
}

func (a authority) security(t testing.TB, role certs.Role, name string) rpc.Security {
	t.Helper()
	return open(t, a.issue(t, role, name))
}

// running is a server at work.
type running struct {
	*network
	stop func() // ends it and waits
}

// serve runs a server in memory until stop.
func serve(t testing.TB, config rpc.ServerConfig) *running {
	t.Helper()
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	server, err := rpc.NewServer(config)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{network: newNetwork()}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, r.Listener) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	return r
}

func dialer(t testing.TB, security rpc.Security, n *network) *rpc.Dialer {
	t.Helper()
	d, err := rpc.NewDialer(security, n.dial)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestConformancePlain(t *testing.T) {
	rpctest.Run(t, func(t *testing.T, roles rpctest.Roles) rpctest.Ends {
		plain := rpc.PlainLoopback()
		return start(t, roles, map[certs.Role]rpc.Security{certs.Controller: plain, certs.Scheduler: plain, certs.Agent: plain})
	})
}

func TestConformanceTLS(t *testing.T) {
	rpctest.Run(t, func(t *testing.T, roles rpctest.Roles) rpctest.Ends {
		a := newAuthority(t)
		return start(t, roles, map[certs.Role]rpc.Security{
			certs.Controller: a.security(t, certs.Controller, rpctest.Controller),
			certs.Scheduler:  a.security(t, certs.Scheduler, rpctest.Scheduler),
			certs.Agent:      a.security(t, certs.Agent, rpctest.Agent),
		})
	})
}

// start runs a scheduler's, an agent's and a controller's server.
func start(t *testing.T, roles rpctest.Roles, security map[certs.Role]rpc.Security) rpctest.Ends {
	t.Helper()
	scheduler := serve(t, rpc.ServerConfig{
		Security: security[certs.Scheduler],
		Handlers: rpc.Handlers{Controller: roles.Controller, Agent: roles.Agent},
	})
	agent := serve(t, rpc.ServerConfig{
		Security: security[certs.Agent],
		Handlers: rpc.Handlers{Sandbox: roles.Sandbox},
	})
	peer := serve(t, rpc.ServerConfig{
		Security: security[certs.Controller],
		Handlers: rpc.Handlers{Peer: roles.Peer},
	})
	return rpctest.Ends{
		ControllerToScheduler: func(ctx context.Context) (whisk.ControllerToScheduler, error) {
			return dialer(t, security[certs.Controller], scheduler.network).ControllerToScheduler(ctx, "scheduler")
		},
		AgentToScheduler: func(ctx context.Context) (whisk.AgentToScheduler, error) {
			return dialer(t, security[certs.Agent], scheduler.network).AgentToScheduler(ctx, "scheduler")
		},
		ControllerToAgent: func(ctx context.Context) (whisk.ControllerToAgent, error) {
			return dialer(t, security[certs.Controller], agent.network).ControllerToAgent(ctx, rpctest.Agent, "agent")
		},
		ControllerToPeer: func(ctx context.Context) (whisk.ControllerToPeer, error) {
			return dialer(t, security[certs.Controller], peer.network).ControllerToPeer(ctx, rpctest.Controller, "peer")
		},
		Stop: func() {
			scheduler.stop()
			agent.stop()
			peer.stop()
		},
		Cut: func() {
			scheduler.cut()
			agent.cut()
			peer.cut()
		},
	}
}
