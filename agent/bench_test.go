// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"

	"github.com/whirl-faas/whirl/agent"
	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/whisk"
)

// BenchmarkCollectSilentRun is what each activation costs the agent: two
// sentinels to read, one request to answer, nothing to store.
func BenchmarkCollectSilentRun(b *testing.B) {
	config := agent.Default()
	config.Node, config.Memory = "n", whisk.GB
	there, scheduler := inmem.Pipe[whisk.AgentReport, whisk.AgentCommand]()
	driver := pipeDriver{Driver: fake.New(fake.Default())}
	driver.stdout, driver.out = io.Pipe()
	driver.stderr, driver.err = io.Pipe()
	a, err := agent.New(config, agent.Deps{
		Driver:        driver,
		Logs:          &logStore{},
		DialScheduler: func(context.Context) (whisk.AgentToScheduler, error) { return there, nil },
		Logger:        slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = a.Run(ctx) })
	defer running.Wait()
	defer cancel()
	defer driver.out.Close()
	defer driver.err.Close()
	if err := scheduler.Send(ctx, whisk.CreateContainer{Container: "c", Spec: spec, Lessee: "ctl"}); err != nil {
		b.Fatal(err)
	}
	for range 2 { // the node's report, the container's
		if _, err := scheduler.Recv(ctx); err != nil {
			b.Fatal(err)
		}
	}
	ctl, session := inmem.Pipe[whisk.SandboxRequest, whisk.SandboxReply]()
	running.Go(func() { _ = a.ServeController(ctx, session) })
	call := func(request whisk.SandboxRequest) {
		if err := ctl.Send(ctx, request); err != nil {
			b.Fatal(err)
		}
		if reply, err := ctl.Recv(ctx); err != nil || reply.Err != "" {
			b.Fatal(err, reply)
		}
	}
	call(whisk.SandboxRequest{Op: whisk.Renew, Controller: "ctl"})
	line, run := []byte(whisk.LogSentinel+"\n"), uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		run++
		_, _ = driver.out.Write(line)
		_, _ = driver.err.Write(line)
		call(whisk.SandboxRequest{Op: whisk.CollectLogs, Container: "c",
			Logs: whisk.LogRequest{Run: run, Limit: whisk.MB, Sentinels: true}})
	}
}

// pipeDriver gives its one sandbox an output that the benchmark writes.
type pipeDriver struct {
	*fake.Driver
	stdout, stderr *io.PipeReader
	out, err       *io.PipeWriter
}

func (d pipeDriver) Create(ctx context.Context, req whisk.CreateSandbox) (whisk.Sandbox, error) {
	s, err := d.Driver.Create(ctx, req)
	return pipeSandbox{s, d}, err
}

type pipeSandbox struct {
	whisk.Sandbox
	driver pipeDriver
}

func (s pipeSandbox) Output() (stdout, stderr io.ReadCloser) { return s.driver.stdout, s.driver.stderr }
