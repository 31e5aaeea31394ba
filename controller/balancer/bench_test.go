// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/whisk"
)

// benchWorld is a scheduler and an agent that say yes, and one action server on
// a Unix socket behind every container.
func benchWorld(b *testing.B) *balancer.Balancer {
	socket := filepath.Join(b.TempDir(), "action.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	server := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString(`{"done":true}`) }}
	go server.Serve(listener)
	ctx, cancel := context.WithCancel(context.Background())
	var made atomic.Int64
	config := balancer.Default()
	config.Controller = "c1"
	lb, err := balancer.New(config, balancer.Deps{
		DialScheduler: func(context.Context) (whisk.ControllerToScheduler, error) {
			near, far := inmem.Pipe[whisk.FactoryRequest, whisk.FactoryEvent]()
			go func() {
				for {
					message, err := far.Recv(ctx)
					if err != nil {
						return
					}
					if r, is := message.(whisk.Requisition); is {
						for n := 0; n < r.Count; n += r.Concurrency {
							far.Send(ctx, whisk.Allocation{Requisition: r.ID, Container: whisk.Container{
								ID: whisk.ContainerID(fmt.Sprint("box", made.Add(1))), Node: "n1", Address: whisk.Address{Network: "unix", Address: socket},
							}})
						}
					}
				}
			}()
			return near, nil
		},
		DialAgent: func(context.Context, whisk.NodeID, string) (whisk.ControllerToAgent, error) {
			near, far := inmem.Pipe[whisk.SandboxRequest, whisk.SandboxReply]()
			go func() {
				for {
					r, err := far.Recv(ctx)
					if err != nil {
						return
					}
					far.Send(ctx, whisk.SandboxReply{Seq: r.Seq})
				}
			}()
			return near, nil
		},
		DialContainer: func(ctx context.Context, address whisk.Address) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, address.Network, address.Address)
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		lb.Run(ctx)
	}()
	b.Cleanup(func() {
		cancel()
		<-done
		server.Shutdown()
	})
	return lb
}

// BenchmarkInvoke is a warm activation from Invoke to its outcome, the action
// server and the agent's answer included, one after the other and 16 at once.
func BenchmarkInvoke(b *testing.B) {
	body := []byte(`{"value":{"name":"you"},"activation_id":"0123456789abcdef0123456789abcdef","deadline":"1700000000000"}`)
	invocation := func() *whisk.Invocation {
		return invocation(func(inv *whisk.Invocation) { inv.RunBody = func(time.Time) []byte { return body } })
	}
	run := func(b *testing.B, lb *balancer.Balancer, inv *whisk.Invocation) {
		inv.Received = time.Now()
		inv.StartBy = inv.Received.Add(time.Minute)
		outcome, err := lb.Invoke(context.Background(), inv)
		if err != nil || outcome.Response.Status != whisk.Success {
			b.Fatalf("%+v, %v", outcome, err)
		}
	}
	b.Run("serial", func(b *testing.B) {
		lb := benchWorld(b)
		inv := invocation()
		run(b, lb, inv)
		b.ReportAllocs()
		before := cpu(b)
		for b.Loop() {
			run(b, lb, inv)
		}
		b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
	})
	b.Run("parallel", func(b *testing.B) {
		lb := benchWorld(b)
		run(b, lb, invocation())
		b.SetParallelism(8)
		b.ReportAllocs()
		before := cpu(b)
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			inv := invocation()
			for pb.Next() {
				run(b, lb, inv)
			}
		})
		b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
	})
}

// BenchmarkDirect is the same exchange without a balancer, for comparison: the
// floor that client, kernel and server set.
func BenchmarkDirect(b *testing.B) {
	socket := filepath.Join(b.TempDir(), "action.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	server := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString(`{"done":true}`) }}
	go server.Serve(listener)
	b.Cleanup(func() { server.Shutdown() })
	client := &fasthttp.HostClient{Addr: "action", Dial: func(string) (net.Conn, error) { return net.Dial("unix", socket) }}
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	request.SetRequestURI("http://action/run")
	request.Header.SetMethod("POST")
	request.SetBodyString(`{"value":{"name":"you"},"activation_id":"0123456789abcdef0123456789abcdef","deadline":"1700000000000"}`)
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		if err := client.DoDeadline(request, response, time.Now().Add(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
}

// cpu is the processor time that the process has used.
func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
