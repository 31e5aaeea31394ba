// SPDX-License-Identifier: Apache-2.0

package rpc_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/rpc"
	"github.com/whirl-faas/whirl/rpc/certs"
	"github.com/whirl-faas/whirl/whisk"
)

// cluster is a scheduler's and an agent's server, in memory, that say who got in.
type cluster struct {
	authority
	scheduler, agent *running
	peer             *running // a controller's server for others
	journal          journal
	controllers      chan whisk.SchedulerToController // served
	agents           chan whisk.SchedulerToAgent
	sandboxes        chan whisk.AgentToController
	peers            chan whisk.PeerToController
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{
		authority:   newAuthority(t),
		controllers: make(chan whisk.SchedulerToController, 8),
		agents:      make(chan whisk.SchedulerToAgent, 8),
		sandboxes:   make(chan whisk.AgentToController, 8),
		peers:       make(chan whisk.PeerToController, 8),
	}
	c.scheduler = serve(t, rpc.ServerConfig{
		Security: c.security(t, certs.Scheduler, "sched1"),
		Handlers: rpc.Handlers{Controller: hold(c.controllers), Agent: hold(c.agents)},
		Logger:   c.journal.logger(),
	})
	c.agent = serve(t, rpc.ServerConfig{
		Security: c.security(t, certs.Agent, "node1"),
		Handlers: rpc.Handlers{Sandbox: hold(c.sandboxes)},
		Logger:   c.journal.logger(),
	})
	c.peer = serve(t, rpc.ServerConfig{
		Security: c.security(t, certs.Controller, "ctl9"),
		Handlers: rpc.Handlers{Peer: hold(c.peers)},
		Logger:   c.journal.logger(),
	})
	return c
}

func (c *cluster) stop() {
	c.scheduler.stop()
	c.agent.stop()
	c.peer.stop()
}

// served says how many sessions got in.
func (c *cluster) served() int {
	return len(c.controllers) + len(c.agents) + len(c.sandboxes) + len(c.peers)
}

// hold hands a session over and keeps it until the server stops.
func hold[Out, In any](served chan<- whisk.Stream[Out, In]) func(context.Context, whisk.Stream[Out, In]) error {
	return func(ctx context.Context, stream whisk.Stream[Out, In]) error {
		served <- stream
		<-ctx.Done()
		return nil
	}
}

// opened is what became of a session: the error of the dial, or of the first answer.
func opened[Out, In any](t *testing.T, first Out) func(whisk.Stream[Out, In], error) error {
	return func(stream whisk.Stream[Out, In], err error) error {
		if err != nil {
			return err
		}
		defer stream.Close()
		if err := stream.Send(t.Context(), first); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errSilence)
		defer cancel()
		_, err = stream.Recv(ctx)
		return err
	}
}

// errSilence is how a session ends in which all is well and nothing is said.
var errSilence = errors.New("nothing was said")

func TestWhoMayOpenWhichSession(t *testing.T) {
	register := func(id whisk.ControllerID) func(*testing.T, *cluster, *rpc.Dialer) error {
		return func(t *testing.T, _ *cluster, d *rpc.Dialer) error {
			return opened[whisk.FactoryRequest, whisk.FactoryEvent](t, whisk.Register{Controller: id})(d.ControllerToScheduler(t.Context(), "scheduler"))
		}
	}
	report := func(report whisk.AgentReport) func(*testing.T, *cluster, *rpc.Dialer) error {
		return func(t *testing.T, _ *cluster, d *rpc.Dialer) error {
			return opened[whisk.AgentReport, whisk.AgentCommand](t, report)(d.AgentToScheduler(t.Context(), "scheduler"))
		}
	}
	request := func(node whisk.NodeID, request whisk.SandboxRequest) func(*testing.T, *cluster, *rpc.Dialer) error {
		return func(t *testing.T, c *cluster, _ *rpc.Dialer) error {
			d := dialer(t, c.security(t, certs.Controller, "ctl1"), c.agent.network)
			return opened[whisk.SandboxRequest, whisk.SandboxReply](t, request)(d.ControllerToAgent(t.Context(), node, "agent"))
		}
	}
	forward := func(role certs.Role, name string, id whisk.ControllerID) func(*testing.T, *cluster, *rpc.Dialer) error {
		return func(t *testing.T, c *cluster, _ *rpc.Dialer) error {
			d := dialer(t, c.security(t, role, name), c.peer.network)
			return opened[whisk.Forward, whisk.ForwardReply](t, forwardOf(id))(d.ControllerToPeer(t.Context(), "ctl9/0198", "peer"))
		}
	}
	foreign := whisk.HostedContainer{Container: whisk.Container{ID: "c", Node: "node2"}}
	for _, row := range []struct {
		name string
		role certs.Role
		as   string
		open func(*testing.T, *cluster, *rpc.Dialer) error
		want string // in the refusal, "" if it is none
	}{
		{"a controller registers", certs.Controller, "ctl1", register("ctl1"), ""},
		{"an instance of a controller", certs.Controller, "ctl1", register("ctl1/0198"), ""},
		{"another controller's name", certs.Controller, "ctl1", register("ctl2"), `certificate of controller ctl1 does not allow to act as "ctl2"`},
		{"a longer name", certs.Controller, "ctl1", register("ctl11"), `does not allow to act as "ctl11"`},
		{"an agent as a controller", certs.Agent, "node1", register("node1"), "certificate of agent node1 does not open this session, which is the controller's"},
		{"a scheduler as a controller", certs.Scheduler, "sched1", register("sched1"), "certificate of scheduler sched1 does not open"},
		{"an operator as a controller", certs.Operator, "ann", register("ann"), "certificate of operator ann does not open"},
		{"an agent reports", certs.Agent, "node1", report(whisk.NodeReport{Node: "node1"}), ""},
		{"another agent's name", certs.Agent, "node1", report(whisk.NodeReport{Node: "node2"}), `does not allow to act as "node2"`},
		{"an instance of an agent", certs.Agent, "node1", report(whisk.NodeReport{Node: "node1/2"}), `does not allow to act as "node1/2"`},
		{"another node's containers", certs.Agent, "node1", report(whisk.NodeReport{Node: "node1", Containers: []whisk.HostedContainer{foreign}}), `may not speak for "node2"`},
		{"an agent that says nothing of itself", certs.Agent, "node1", report(whisk.KeepAlive{}), "must say who sends it"},
		{"a controller as an agent", certs.Controller, "node1", report(whisk.NodeReport{Node: "node1"}), "certificate of controller node1 does not open"},
		{"a controller renews", certs.Controller, "ctl1", request("node1", whisk.SandboxRequest{Op: whisk.Renew, Controller: "ctl1/7"}), ""},
		{"another controller's leases", certs.Controller, "ctl1", request("node1", whisk.SandboxRequest{Op: whisk.Renew, Controller: "ctl2"}), `does not allow to act as "ctl2"`},
		{"a controller forwards", certs.Controller, "ctl1", forward(certs.Controller, "ctl1", "ctl1/7"), ""},
		{"another controller's activation", certs.Controller, "ctl1", forward(certs.Controller, "ctl1", "ctl2/7"), `does not allow to act as "ctl2/7"`},
		{"an agent forwards", certs.Agent, "ctl1", forward(certs.Agent, "ctl1", "ctl1"), "certificate of agent ctl1 does not open this session, which is the controller's"},
		{"a scheduler forwards", certs.Scheduler, "ctl1", forward(certs.Scheduler, "ctl1", "ctl1"), "certificate of scheduler ctl1 does not open"},
		{"an operator forwards", certs.Operator, "ctl1", forward(certs.Operator, "ctl1", "ctl1"), "certificate of operator ctl1 does not open"},
		{"nobody's request", certs.Controller, "ctl1", request("node1", whisk.SandboxRequest{Op: whisk.Suspend, Container: "c"}), "must say who sends it"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				err := row.open(t, c, dialer(t, c.security(t, row.role, row.as), c.scheduler.network))
				lines := c.journal.lines()
				c.stop()
				if row.want == "" {
					if !errors.Is(err, errSilence) || c.served() != 1 || len(lines) != 0 {
						t.Errorf("the session ended with %v; %d were served; the log has %v", err, c.served(), lines)
					}
					return
				}
				if kind := whisk.KindOf(err); err == nil || kind != whisk.Denied && kind != whisk.Invalid || !strings.Contains(err.Error(), row.want) {
					t.Errorf("refused with %v (%v), want %q", err, kind, row.want)
				}
				if c.served() != 0 {
					t.Error("the role heard of it")
				}
				if len(lines) != 1 || !strings.Contains(strings.ReplaceAll(lines[0], `\"`, `"`), row.want) {
					t.Errorf("the log has %q, want one line with %q", lines, row.want)
				}
			})
		})
	}
}

func forwardOf(id whisk.ControllerID) whisk.Forward {
	return whisk.Forward{
		Controller: id, Activation: "0123456789abcdef0123456789abcdef", Run: []byte("{}"),
		Key: whisk.ActionKey{Namespace: "guest", Action: whisk.FullName{Namespace: "guest", Name: "hello"}},
	}
}

func TestASessionKeepsItsName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		d := dialer(t, c.security(t, certs.Agent, "node1"), c.scheduler.network)
		near, err := d.AgentToScheduler(t.Context(), "scheduler")
		if err != nil {
			t.Fatal(err)
		}
		for _, report := range []whisk.AgentReport{
			whisk.NodeReport{Node: "node1"},
			whisk.KeepAlive{Epoch: 3},
			whisk.ContainerCreated{Container: whisk.Container{ID: "c", Node: "node2"}},
			whisk.KeepAlive{Epoch: 4},
		} {
			if err := near.Send(t.Context(), report); err != nil {
				t.Fatal(err)
			}
		}
		far := <-c.agents
		for range 2 {
			if _, err := far.Recv(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := far.Recv(t.Context()); whisk.KindOf(err) != whisk.Denied {
			t.Errorf("the role received %v, %v; want denied", got, err)
		}
		if _, err := near.Recv(t.Context()); whisk.KindOf(err) != whisk.Denied || !strings.Contains(err.Error(), `may not speak for "node2"`) {
			t.Errorf("the agent hears %v", err)
		}
		near.Close()
		synctest.Wait()
		if lines := c.journal.lines(); len(lines) != 1 {
			t.Errorf("the log has %q, want one line", lines)
		}
		c.stop()
	})
}

func TestADialerRefusesTheWrongServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, other := newCluster(t), newAuthority(t)
		security := c.security(t, certs.Controller, "ctl1")
		refused := func(what string, err error, want string) {
			t.Helper()
			if whisk.KindOf(err) != whisk.Denied || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want denied with %q", what, err, want)
			}
		}
		_, err := dialer(t, security, c.agent.network).ControllerToScheduler(t.Context(), "scheduler")
		refused("an agent as the scheduler", err, "the peer is agent node1, wanted is scheduler")
		_, err = dialer(t, security, c.agent.network).ControllerToAgent(t.Context(), "node2", "agent")
		refused("another agent", err, "the peer is agent node1, wanted is agent node2")
		_, err = dialer(t, security, c.peer.network).ControllerToPeer(t.Context(), "ctl2/0198", "peer")
		refused("another controller", err, "the peer is controller ctl9, wanted is controller ctl2/0198")
		_, err = dialer(t, security, c.agent.network).ControllerToPeer(t.Context(), "node1", "agent")
		refused("an agent as a controller", err, "the peer is agent node1, wanted is controller node1")
		_, err = dialer(t, other.security(t, certs.Controller, "ctl1"), c.scheduler.network).ControllerToScheduler(t.Context(), "scheduler")
		refused("another cluster's scheduler", err, "unknown authority")

		// It believes us, we do not believe it.
		mixed := other.issue(t, certs.Controller, "ctl1")
		mixed.CA = join(t, mixed.CA, c.dir+"/ca.crt")
		_, err = dialer(t, open(t, mixed), c.scheduler.network).ControllerToScheduler(t.Context(), "scheduler")
		refused("a certificate of another authority", err, "the peer refuses our certificate")
		synctest.Wait()
		lines := strings.Join(c.journal.lines(), "")
		if !strings.Contains(lines, "unknown authority") || !strings.Contains(lines, "the peer refuses our certificate") {
			t.Errorf("the log has %q", lines)
		}
		if c.served() != 0 {
			t.Error("a role heard of it")
		}
		c.stop()
	})
}

// join writes several files into a new one.
func join(t *testing.T, names ...string) string {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	return file.Name()
}

func TestCertificatesExpireAndAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		a := newAuthority(t)
		files, err := certs.Issue(a.dir, certs.Request{Identity: certs.Identity{Role: certs.Controller, Name: "ctl1"}, Lifetime: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		var log journal
		s := serve(t, rpc.ServerConfig{
			Security: a.security(t, certs.Scheduler, "sched1"),
			Handlers: rpc.Handlers{Controller: hold(make(chan whisk.SchedulerToController, 8))},
			Logger:   log.logger(),
		})
		d := dialer(t, open(t, files), s.network)
		session := func() error {
			return opened[whisk.FactoryRequest, whisk.FactoryEvent](t, whisk.Register{Controller: "ctl1"})(d.ControllerToScheduler(t.Context(), "scheduler"))
		}
		if err := session(); !errors.Is(err, errSilence) {
			t.Errorf("at first: %v", err)
		}
		lasting, err := d.ControllerToScheduler(t.Context(), "scheduler")
		if err != nil {
			t.Fatal(err)
		}
		if err := lasting.Send(t.Context(), whisk.Register{Controller: "ctl1"}); err != nil {
			t.Fatal(err)
		}
		if _, err := lasting.Recv(t.Context()); whisk.KindOf(err) != whisk.Denied || time.Since(began) > time.Hour+time.Second {
			t.Errorf("a session beyond its certificate: %v after %v", err, time.Since(began))
		}
		lasting.Close()
		time.Sleep(time.Second)
		if err := session(); whisk.KindOf(err) != whisk.Denied {
			t.Errorf("with an expired certificate: %v", err)
		}
		synctest.Wait()
		if lines := log.lines(); len(lines) != 2 || !strings.Contains(lines[0], "has expired") || !strings.Contains(lines[1], "expired") {
			t.Errorf("the log has %q", lines)
		}
		renewed, err := certs.Issue(a.dir, certs.Request{Identity: certs.Identity{Role: certs.Controller, Name: "ctl1"}, Out: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		for from, to := range map[string]string{renewed.Cert: files.Cert, renewed.Key: files.Key} {
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
		if err := session(); !errors.Is(err, errSilence) {
			t.Errorf("with a new certificate: %v", err)
		}
		s.stop()
	})
}

// TestRefusalsOverTCP has a real connection, where what the server says last may
// get lost behind its hanging up.
func TestRefusalsOverTCP(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a, other := newAuthority(t), newAuthority(t)
	server, err := rpc.NewServer(rpc.ServerConfig{
		Security: a.security(t, certs.Scheduler, "sched1"),
		Handlers: rpc.Handlers{Agent: hold(make(chan whisk.SchedulerToAgent, 8))},
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, listener) }()

	stranger := other.issue(t, certs.Agent, "node1")
	stranger.CA = join(t, stranger.CA, a.dir+"/ca.crt")
	for name, security := range map[string]rpc.Security{
		"another authority's certificate": open(t, stranger),
		"another role's certificate":      a.security(t, certs.Controller, "node1"),
	} {
		d, err := rpc.NewDialer(security, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if _, err := d.AgentToScheduler(t.Context(), listener.Addr().String()); whisk.KindOf(err) != whisk.Denied {
				t.Errorf("%s: %v (%v), want denied", name, err, whisk.KindOf(err))
			}
		}
	}
	d, err := rpc.NewDialer(a.security(t, certs.Agent, "node1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	near, err := d.AgentToScheduler(t.Context(), listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near.Close()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
