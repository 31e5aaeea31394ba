// SPDX-License-Identifier: Apache-2.0

package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/agent"
	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/rpc"
	"github.com/whirl-faas/whirl/rpc/certs"
	"github.com/whirl-faas/whirl/scheduler"
	"github.com/whirl-faas/whirl/whisk"
)

// hosts are the networks of a cluster, by address.
type hosts map[string]*network

func (h hosts) dial(ctx context.Context, address string) (net.Conn, error) {
	n := h[address]
	if n == nil {
		return nil, fmt.Errorf("nobody has the address %q", address)
	}
	return n.dial(ctx, address)
}

// roles runs the real ones, each behind TLS, until ctx ends.
type roles struct {
	t      *testing.T
	ca     authority
	hosts  hosts
	parts  sync.WaitGroup
	ctx    context.Context
	logger *slog.Logger
}

func (r *roles) run(part func(context.Context) error) {
	r.parts.Go(func() {
		if err := part(r.ctx); err != nil && !errors.Is(err, context.Canceled) {
			r.t.Error(err)
		}
	})
}

// serve listens at an address of the cluster.
func (r *roles) serve(address string, security rpc.Security, handlers rpc.Handlers) {
	server, err := rpc.NewServer(rpc.ServerConfig{Security: security, Handlers: handlers, Logger: r.logger})
	if err != nil {
		r.t.Fatal(err)
	}
	listener := r.hosts[address].Listener
	r.run(func(ctx context.Context) error { return server.Run(ctx, listener) })
}

func (r *roles) dialer(security rpc.Security) *rpc.Dialer {
	d, err := rpc.NewDialer(security, r.hosts.dial)
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

func (r *roles) scheduler() {
	s, err := scheduler.New(scheduler.Default(), scheduler.Deps{Logger: r.logger})
	if err != nil {
		r.t.Fatal(err)
	}
	r.run(s.Run)
	r.serve("scheduler:7000", r.ca.security(r.t, certs.Scheduler, "sched1"), rpc.Handlers{Controller: s.ServeController, Agent: s.ServeAgent})
}

func (r *roles) agent(driver whisk.Driver) {
	security := r.ca.security(r.t, certs.Agent, "node1")
	config := agent.Default()
	config.Node, config.Address, config.Memory = "node1", "node1:7001", whisk.GB
	dialer := r.dialer(security)
	a, err := agent.New(config, agent.Deps{
		Driver: driver,
		Logs:   controllertest.NewStore(),
		DialScheduler: func(ctx context.Context) (whisk.AgentToScheduler, error) {
			return dialer.AgentToScheduler(ctx, "scheduler:7000")
		},
		Logger: r.logger,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.run(a.Run)
	r.serve("node1:7001", security, rpc.Handlers{Sandbox: a.ServeController})
}

// balancer is a controller's, which others reach at port 7002 of its name.
func (r *roles) balancer(name string, driver *fake.Driver) *balancer.Balancer {
	security := r.ca.security(r.t, certs.Controller, name)
	dialer := r.dialer(security)
	config := balancer.Default()
	config.Controller = whisk.ControllerID(name + "/instance")
	config.Peers = name + ":7002"
	b, err := balancer.New(config, balancer.Deps{
		DialScheduler: func(ctx context.Context) (whisk.ControllerToScheduler, error) {
			return dialer.ControllerToScheduler(ctx, "scheduler:7000")
		},
		DialAgent:     dialer.ControllerToAgent,
		DialPeer:      dialer.ControllerToPeer,
		DialContainer: driver.Dial,
		Logger:        r.logger,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.run(b.Run)
	r.serve(config.Peers, security, rpc.Handlers{Peer: b.ServePeer})
	return b
}

// TestTheRolesWorkOverTheWire invokes an action in a cluster of a scheduler, an
// agent and a controller's balancer that only have addresses and certificates:
// cold, warm, and again after every connection broke.
func TestTheRolesWorkOverTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		ctx, stop := context.WithCancel(t.Context())
		r := &roles{t: t, ca: newAuthority(t), ctx: ctx, logger: log.logger(),
			hosts: hosts{"scheduler:7000": newNetwork(), "node1:7001": newNetwork(), "ctl1:7002": newNetwork()}}
		driver := fake.New(fake.Default())
		r.scheduler()
		r.agent(driver)
		b := r.balancer("ctl1", driver)

		invoke := func(n int) whisk.Outcome {
			t.Helper()
			outcome, err := b.Invoke(ctx, invocation(n))
			if err != nil || outcome.Response.Status != whisk.Success {
				t.Fatalf("activation %d: %+v, %v\n%s", n, outcome.Response, err, log.text.String())
			}
			return outcome
		}
		cold, warm := invoke(1), invoke(2)
		if !cold.Cold || warm.Cold || cold.Container != warm.Container {
			t.Errorf("the first ran in %s (cold %v), the second in %s (cold %v)", cold.Container, cold.Cold, warm.Container, warm.Cold)
		}
		if _, err := cold.AwaitLogs(ctx); err != nil {
			t.Errorf("the agent did not collect the output: %v", err)
		}
		for _, host := range r.hosts {
			host.cut()
		}
		if again := invoke(3); again.Container != warm.Container {
			t.Errorf("after the break %s was used in place of %s", again.Container, warm.Container)
		}
		time.Sleep(time.Minute) // sessions resume, nothing is lost
		if later := invoke(4); later.Container != warm.Container {
			t.Errorf("a minute later %s was used in place of %s", later.Container, warm.Container)
		}
		stop()
		r.parts.Wait()
	})
}

func invocation(n int) *whisk.Invocation {
	now := time.Now()
	id := whisk.ActivationID(fmt.Sprintf("%032x", n))
	return &whisk.Invocation{
		Activation:  id,
		Key:         whisk.ActionKey{Namespace: "guest", Action: whisk.FullName{Namespace: "guest", Name: "hello"}, Revision: 1},
		Spec:        whisk.ContainerSpec{Kind: "fake:1", Memory: 256 * whisk.MB},
		Limits:      whisk.ActionLimits{Timeout: time.Minute, Memory: 256 * whisk.MB, Logs: whisk.MB, Concurrency: 1},
		Label:       "hello",
		Received:    now,
		StartBy:     now.Add(time.Minute),
		ResultLimit: whisk.MB,
		Sentinels:   true,
		Claim:       func(context.Context) error { return nil },
		InitBody: func(context.Context, time.Time) ([]byte, error) {
			return []byte(`{"value":{"name":"hello","main":"main","code":"x"}}`), nil
		},
		RunBody: func(time.Time) []byte { return fmt.Appendf(nil, `{"value":{},"activation_id":%q}`, id) },
	}
}

// TestControllersForwardOverTheWire has an action at work in one controller's
// container, and invokes it at another controller: it runs in the same container,
// and its output is collected.
func TestControllersForwardOverTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		ctx, stop := context.WithCancel(t.Context())
		r := &roles{t: t, ca: newAuthority(t), ctx: ctx, logger: log.logger(), hosts: hosts{
			"scheduler:7000": newNetwork(), "node1:7001": newNetwork(), "ctl1:7002": newNetwork(), "ctl2:7002": newNetwork(),
		}}
		config := fake.Default()
		config.Concurrency = 2
		config.Script.Run = func(*rand.Rand, fake.Call) fake.Answer {
			return fake.Answer{Delay: 10 * time.Second, Stdout: "working\n"}
		}
		driver := fake.New(config)
		r.scheduler()
		r.agent(driver)
		one, two := r.balancer("ctl1", driver), r.balancer("ctl2", driver)
		invoke := func(b *balancer.Balancer, n int) <-chan whisk.Outcome {
			result := make(chan whisk.Outcome, 1)
			inv := invocation(n)
			inv.Limits.Concurrency = 2
			go func() {
				outcome, err := b.Invoke(ctx, inv)
				if err != nil {
					t.Error(err)
				}
				result <- outcome
			}()
			return result
		}
		own := invoke(one, 1)
		time.Sleep(5 * time.Second) // it runs by now
		other := invoke(two, 2)
		first, second := <-own, <-other
		for _, outcome := range []whisk.Outcome{first, second} {
			if outcome.Response.Status != whisk.Success {
				t.Fatalf("%+v\n%s", outcome.Response, log.text.String())
			}
			if logs, err := outcome.AwaitLogs(ctx); err != nil || logs.Lines != 1 {
				t.Errorf("logs: %+v, %v", logs, err)
			}
		}
		if first.Container != second.Container || second.Cold || second.Run < 10*time.Second || second.Run > 11*time.Second || second.Wait > time.Second {
			t.Errorf("the first: %+v\nthe second: %+v", first, second)
		}
		if s := two.Snapshot(); s.Forwarded != 1 || s.Containers != 0 || one.Snapshot().Hosted != 1 {
			t.Errorf("%+v", s)
		}
		stop()
		r.parts.Wait()
	})
}
