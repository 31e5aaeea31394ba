// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/whisk"
)

type scriptedAgent struct {
	w        *world
	mu       sync.Mutex
	address  string // where it can be dialled, as its containers say
	down     bool   // cannot be dialled
	mute     bool   // does not answer renewals
	slow     time.Duration
	requests []whisk.SandboxRequest
	stream   whisk.AgentToController
	slowLogs time.Duration
}

func (w *world) agent(node whisk.NodeID) *scriptedAgent {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.agents[node]
	if g == nil {
		g = &scriptedAgent{w: w, address: string(node) + ":1"}
		w.agents[node] = g
	}
	return g
}

func (w *world) dialAgent(_ context.Context, node whisk.NodeID, address string) (whisk.ControllerToAgent, error) {
	g := w.agent(node)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.down || address != g.address {
		return nil, errors.New("no agent")
	}
	near, far := inmem.Pipe[whisk.SandboxRequest, whisk.SandboxReply]()
	g.stream = far
	go g.serve(far)
	return near, nil
}

func (g *scriptedAgent) serve(stream whisk.AgentToController) {
	ctx := context.Background()
	for {
		r, err := stream.Recv(ctx)
		if err != nil {
			return
		}
		g.mu.Lock()
		g.requests = append(g.requests, r)
		mute, slow, slowLogs := g.mute, g.slow, g.slowLogs
		g.mu.Unlock()
		if r.Op == whisk.Renew && mute {
			continue
		}
		if r.Op == whisk.CollectLogs && slowLogs > 0 {
			time.AfterFunc(slowLogs, func() { stream.Send(ctx, g.carryOut(r)) })
			continue
		}
		time.Sleep(slow)
		stream.Send(ctx, g.carryOut(r))
	}
}

func (g *scriptedAgent) carryOut(r whisk.SandboxRequest) whisk.SandboxReply {
	reply := whisk.SandboxReply{Seq: r.Seq}
	if r.Op == whisk.Renew {
		return reply
	}
	x := g.w.box(r.Container)
	x.mu.Lock()
	defer x.mu.Unlock()
	var err error
	switch r.Op {
	case whisk.Suspend:
		if err = x.suspendErr; err == nil && x.frozen == nil {
			x.frozen = make(chan struct{})
		}
	case whisk.Resume:
		if err = x.resumeErr; err == nil {
			x.thawLocked()
		}
	case whisk.CollectLogs:
		reply.Logs = whisk.LogSummary{Lines: int(r.Logs.Run)}
	case whisk.Inspect:
		reply.Exit, err = x.exit, x.inspectErr
	}
	if err != nil {
		reply.Err, reply.Kind, reply.Frozen = err.Error(), whisk.KindOf(err), errors.Is(err, whisk.ErrStaysFrozen)
	}
	return reply
}

// ops returns what the agent was asked about a container, in order.
func (g *scriptedAgent) ops(id whisk.ContainerID) (ops []whisk.SandboxOp) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.requests {
		if r.Container == id {
			ops = append(ops, r.Op)
		}
	}
	return ops
}

func (g *scriptedAgent) hangUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stream != nil {
		g.stream.Close()
	}
}
