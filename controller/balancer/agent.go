// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// agent is the controller's session with one agent: the lease on that agent's
// containers, and the requests about them in the order in which they were made.
type agent struct {
	b    *Balancer
	log  *slog.Logger
	node whisk.NodeID
	wake chan struct{} // holds one token when the queue is to be sent; never closed
	stop context.CancelFunc

	// company runs out when collections that were queued have waited for others for
	// long enough. Nobody waits for them, and one by one each would wake five
	// goroutines; by then, too, the output is there. It is set under mu.
	company *time.Timer

	// dispatchUntil is when, on the balancer's clock, nothing new may start on
	// the agent's containers any more: the lease's end less the margin.
	dispatchUntil atomic.Int64
	leaseEnd      atomic.Int64 // likewise; before the first renewal, when to stop hoping for one
	up            atomic.Bool  // there is a session

	containers int   // that we hold there; guarded by registry.mu
	unused     int64 // since when there are none; guarded by registry.mu

	mu      sync.Mutex
	address string           // where to dial it
	closed  bool             // nothing will be sent any more
	queue   []*call          // to be sent
	pending map[uint64]*call // sent and not answered
	seq     uint64
}

// call is one request to an agent.
type call struct {
	container *container // nil for Renew
	op        whisk.SandboxOp
	logs      whisk.LogRequest
	sent      int64         // of Renew, on the balancer's clock
	again     bool          // it was sent before, in a session that broke
	output    collection    // of CollectLogs: its reply and err
	done      chan struct{} // closed when reply and err are set; nil if nobody waits
	reply     whisk.SandboxReply
	err       error
}

func newAgent(b *Balancer, node whisk.NodeID, address string) *agent {
	g := &agent{
		b:       b,
		log:     b.log.With("node", node),
		node:    node,
		address: address,
		wake:    make(chan struct{}, 1),
		company: stoppedTimer(),
		pending: make(map[uint64]*call),
		unused:  b.now(),
	}
	g.leaseEnd.Store(b.now() + int64(whisk.LeaseTTL))
	return g
}

// company is how long the request for a run's output waits for others'.
const company = 10 * time.Millisecond

func stoppedTimer() *time.Timer {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return timer
}

// leased reports whether an activation may start on the agent's containers now.
func (g *agent) leased(now int64) bool { return now < g.dispatchUntil.Load() }

// ask queues a request, which is lost if the agent is not ours any more. The
// caller may hold an action's mutex.
func (g *agent) ask(c *call) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return
	}
	g.queue = append(g.queue, c)
	g.mu.Unlock()
	g.notify()
}

// askIfRoom is ask for requests of which there may be many, and that nobody waits
// for: they may wait for company. It refuses when the queue is full.
func (g *agent) askIfRoom(c *call) bool {
	g.mu.Lock()
	if g.closed || len(g.queue) >= g.b.config.AgentQueue {
		g.mu.Unlock()
		return false
	}
	if len(g.queue) == 0 {
		g.company.Reset(company)
	}
	g.queue = append(g.queue, c)
	crowded := 2*len(g.queue) >= g.b.config.AgentQueue
	g.mu.Unlock()
	if crowded {
		g.notify()
	}
	return true
}

func (g *agent) notify() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// moved notes where the agent is to be found from the next session on.
func (g *agent) moved(address string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.address = address
}

func (g *agent) dial(ctx context.Context) (whisk.ControllerToAgent, error) {
	g.mu.Lock()
	address := g.address
	g.mu.Unlock()
	return g.b.deps.DialAgent(ctx, g.node, address)
}

// run keeps a session with the agent until ctx ends.
func (g *agent) run(ctx context.Context) {
	wait := g.b.backoff()
	for ctx.Err() == nil {
		stream, err := g.dial(ctx)
		if err == nil {
			err = g.session(ctx, stream, wait.reset)
		}
		if ctx.Err() == nil {
			g.log.Warn("no session with the agent", "err", err)
		}
		wait.sleep(ctx)
	}
	g.abandon(context.Cause(ctx))
}

// session serves one session until it breaks. heard is called once it proved
// to work.
func (g *agent) session(ctx context.Context, stream whisk.ControllerToAgent, heard func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			reply, err := stream.Recv(ctx)
			if err != nil {
				cancel(err)
				return
			}
			heard()
			g.answered(reply)
		}
	})
	cancel(g.sendLoop(ctx, stream))
	g.up.Store(false)
	stream.Close()
	wg.Wait()
	g.interrupted(context.Cause(ctx))
	return context.Cause(ctx)
}

// sendLoop renews the lease and sends what is queued.
func (g *agent) sendLoop(ctx context.Context, stream whisk.ControllerToAgent) error {
	renew := time.NewTicker(whisk.LeaseRenew)
	defer renew.Stop()
	begun := g.b.now()
	if err := g.send(ctx, stream, &call{op: whisk.Renew}); err != nil {
		return err
	}
	g.up.Store(true)
	g.notify()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-renew.C:
			if silent := g.b.now() - max(begun, g.leaseEnd.Load()-int64(whisk.LeaseTTL)); silent > int64(whisk.LeaseTTL) {
				return whisk.Errorf(whisk.Unavailable, "the agent did not renew the lease for %v", time.Duration(silent))
			}
			if err := g.send(ctx, stream, &call{op: whisk.Renew}); err != nil {
				return err
			}
		case <-g.wake:
			if err := g.sendQueue(ctx, stream); err != nil {
				return err
			}
		case <-g.company.C:
			if err := g.sendQueue(ctx, stream); err != nil {
				return err
			}
		}
	}
}

func (g *agent) sendQueue(ctx context.Context, stream whisk.ControllerToAgent) error {
	for _, c := range g.takeQueue() {
		if err := g.send(ctx, stream, c); err != nil {
			return err
		}
	}
	return nil
}

func (g *agent) takeQueue() []*call {
	g.mu.Lock()
	defer g.mu.Unlock()
	queue := g.queue
	g.queue = nil
	// They count as sent from here on: a session that breaks in the middle
	// leaves nothing in between.
	for _, c := range queue {
		g.numberLocked(c)
	}
	return queue
}

func (g *agent) numberLocked(c *call) {
	g.seq++
	c.reply.Seq = g.seq
	g.pending[g.seq] = c
}

func (g *agent) send(ctx context.Context, stream whisk.ControllerToAgent, c *call) error {
	if c.op == whisk.Renew {
		c.sent = g.b.now()
		g.mu.Lock()
		g.numberLocked(c)
		g.mu.Unlock()
	}
	request := whisk.SandboxRequest{Seq: c.reply.Seq, Op: c.op, Controller: g.b.config.Controller, Logs: c.logs}
	if c.container != nil {
		request.Container = c.container.ID
	}
	return stream.Send(ctx, request)
}

// answered carries a reply to whoever asked.
func (g *agent) answered(reply whisk.SandboxReply) {
	g.mu.Lock()
	c := g.pending[reply.Seq]
	delete(g.pending, reply.Seq)
	g.mu.Unlock()
	if c == nil {
		g.log.Error("an answer to nothing", "seq", reply.Seq)
		return
	}
	g.complete(c, reply, reply.Error())
}

func (g *agent) complete(c *call, reply whisk.SandboxReply, err error) {
	if c.op == whisk.Renew {
		g.renewed(c.sent, err)
		return
	}
	if c.op == whisk.CollectLogs {
		c.output.settle(reply.Logs, err)
	}
	c.reply, c.err = reply, err
	if c.done != nil {
		close(c.done)
	}
	c.container.answered(c)
}

// renewed extends the lease, counted from before the renewal was sent.
func (g *agent) renewed(sent int64, err error) {
	if err != nil {
		g.log.Warn("lease not renewed", "err", err)
		return
	}
	before := g.b.now()
	if before >= g.leaseEnd.Load() {
		// The agent removes what we held there. What the sweep has not given up
		// yet does not come back to life.
		g.b.spoilAgent(g)
	}
	wasLeased := g.leased(before)
	g.leaseEnd.Store(sent + int64(whisk.LeaseTTL))
	g.dispatchUntil.Store(sent + int64(whisk.LeaseTTL-whisk.LeaseMargin))
	if !wasLeased {
		g.b.pumpAgent(g)
	}
}

// interrupted settles what a broken session leaves. A resume is asked for again
// in the next one, before all else: an activation may wait behind it. Of
// everything else it is unknown whether it was done.
func (g *agent) interrupted(cause error) {
	g.mu.Lock()
	pending := g.pending
	g.pending = make(map[uint64]*call)
	var again, failed []*call
	for _, seq := range slices.Sorted(maps.Keys(pending)) {
		if c := pending[seq]; c.op == whisk.Resume {
			c.again = true
			again = append(again, c)
		} else {
			failed = append(failed, c)
		}
	}
	g.queue = slices.Concat(again, g.queue)
	g.mu.Unlock()
	for _, c := range failed {
		g.complete(c, whisk.SandboxReply{}, whisk.Errorf(whisk.Unavailable, "session with agent %s: %w", g.node, cause))
	}
}

// abandon fails everything that still waits, for good.
func (g *agent) abandon(cause error) {
	g.mu.Lock()
	queue := g.queue
	g.queue, g.closed = nil, true
	g.mu.Unlock()
	for _, c := range queue {
		g.complete(c, whisk.SandboxReply{}, whisk.Errorf(whisk.Unavailable, "agent %s: %w", g.node, cause))
	}
}

// answered takes notice of an agent's answer about the container.
func (c *container) answered(reply *call) {
	a, op, err := c.action, reply.op, reply.err
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case op == whisk.CollectLogs:
		c.collectedLocked()
		return
	case op == whisk.Suspend && err == nil:
		c.applyLocked(suspended)
	case op == whisk.Suspend:
		c.unpaused = true
		c.applyLocked(notSuspended)
	case op == whisk.Resume && err == nil:
		c.thawed = a.b.now()
		c.applyLocked(resumed)
	case op == whisk.Resume:
		// Unless the agent is sure that it was never thawed, an activation may have
		// begun, and must not be given to another container. Nor is the agent if a
		// first resume, of which nothing was heard, may have succeeded.
		c.frozen.Store(reply.reply.Frozen && !reply.again)
		c.reason = whisk.ReleaseFailed
		c.applyLocked(notResumed)
	default:
		return
	}
	a.pumpLocked(a.b.now())
}
