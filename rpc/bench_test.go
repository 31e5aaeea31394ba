// SPDX-License-Identifier: Apache-2.0

package rpc_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/rpc"
	"github.com/whirl-faas/whirl/rpc/certs"
	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/whisk"
)

// BenchmarkRoundTrip measures a request and its answer in one session of the
// sandbox protocol, with so many requests on their way at once. cpu-ns/op is
// the processor time of both ends together; over TCP that is the loopback's.
func BenchmarkRoundTrip(b *testing.B) {
	for _, transport := range []struct {
		name string
		open func(*testing.B) whisk.ControllerToAgent
	}{
		{"inmem", openInmem},
		{"plain", func(b *testing.B) whisk.ControllerToAgent {
			return openTCP(b, rpc.PlainLoopback(), rpc.PlainLoopback())
		}},
		{"tls", func(b *testing.B) whisk.ControllerToAgent {
			a := newAuthority(b)
			return openTCP(b, a.security(b, certs.Agent, "node1"), a.security(b, certs.Controller, "ctl1"))
		}},
	} {
		for _, atOnce := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d", transport.name, atOnce), func(b *testing.B) {
				roundTrips(b, transport.open(b), atOnce)
			})
		}
	}
}

func roundTrips(b *testing.B, near whisk.ControllerToAgent, atOnce int) {
	request := whisk.SandboxRequest{Op: whisk.Renew, Controller: "ctl1"}
	exchange := func() {
		if _, err := near.Recv(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	send := func() {
		request.Seq++
		if err := near.Send(b.Context(), request); err != nil {
			b.Fatal(err)
		}
	}
	for range atOnce {
		send()
	}
	b.ReportAllocs()
	before := processorTime(b)
	for b.Loop() {
		exchange()
		send()
	}
	b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// answer is an agent that has always done everything.
func answer(ctx context.Context, stream whisk.AgentToController) error {
	for {
		request, err := stream.Recv(ctx)
		if err != nil {
			return err
		}
		if err := stream.Send(ctx, whisk.SandboxReply{Seq: request.Seq}); err != nil {
			return err
		}
	}
}

func openInmem(b *testing.B) whisk.ControllerToAgent {
	exchange := inmem.NewExchange()
	runUntilCleanup(b, exchange.Run)
	near, err := inmem.Dial(exchange, answer)
	if err != nil {
		b.Fatal(err)
	}
	return near
}

func openTCP(b *testing.B, server, client rpc.Security) whisk.ControllerToAgent {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s, err := rpc.NewServer(rpc.ServerConfig{Security: server, Handlers: rpc.Handlers{Sandbox: answer}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	runUntilCleanup(b, func(ctx context.Context) error { return s.Run(ctx, listener) })
	d, err := rpc.NewDialer(client, nil)
	if err != nil {
		b.Fatal(err)
	}
	near, err := d.ControllerToAgent(b.Context(), "node1", listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { near.Close() })
	return near
}

func runUntilCleanup(b *testing.B, run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := run(ctx); err != nil {
			b.Error(err)
		}
	})
	b.Cleanup(func() {
		stop()
		running.Wait()
	})
}
