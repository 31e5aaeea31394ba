// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/whisk"
)

// world is everything around a balancer: a scheduler, agents and containers
// that do what a test says.
type world struct {
	t *testing.T
	b *balancer.Balancer

	stop func() // ends Run and waits for it

	mu         sync.Mutex
	containers map[string]*box
	made       int
	requests   []whisk.FactoryRequest
	stream     whisk.SchedulerToController // nil while there is no session
	sessions   int
	agents     map[whisk.NodeID]*scriptedAgent

	// The script; set before start, or under mu.
	schedulerDown bool
	silent        bool          // the scheduler says nothing by itself
	manual        bool          // requisitions are answered by the test
	createDelay   time.Duration // of an allocation
	capacity      int           // containers at once; 0 for any number
	handle        func(*box, string, []byte) answer
	prepare       func(*box) // of a new container
}

// answer is what a container says, as raw HTTP.
type answer struct {
	raw   string
	after time.Duration
	hang  bool // says nothing more and keeps the connection
	drop  bool // closes the connection afterwards
}

func ok(body string) answer { return status(200, body) }

func status(code int, body string) answer {
	return answer{raw: fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s", code, len(body), body)}
}

// box is a container.
type box struct {
	whisk.Container
	w           *world
	mu          sync.Mutex
	refusing    bool
	frozen      chan struct{} // closed on thaw; nil while it runs
	conns       []net.Conn
	inits, runs int
	active      int
	most        int
	exit        *whisk.Exit
	suspendErr  error
	resumeErr   error
	released    bool
	dead        bool
}

type scriptedAgent struct {
	w        *world
	mu       sync.Mutex
	down     bool // cannot be dialled
	mute     bool // does not answer renewals
	slow     time.Duration
	requests []whisk.SandboxRequest
	stream   whisk.AgentToController
	slowLogs time.Duration
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, containers: map[string]*box{}, agents: map[whisk.NodeID]*scriptedAgent{}}
	w.handle = func(_ *box, path string, _ []byte) answer {
		if path == "/init" {
			return ok(`{"ok":true}`)
		}
		return ok(`{"done":true}`)
	}
	return w
}

// start runs the balancer for the rest of the test, which must be in a bubble.
func (w *world) start(adjust ...func(*balancer.Config)) *balancer.Balancer {
	config := balancer.Default()
	config.Controller = "c1"
	for _, f := range adjust {
		f(&config)
	}
	b, err := balancer.New(config, balancer.Deps{
		DialScheduler: w.dialScheduler,
		DialAgent:     w.dialAgent,
		DialContainer: w.dialContainer,
		Logger:        slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.b = b
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Run(ctx)
	}()
	w.stop = func() {
		cancel()
		<-done
	}
	w.t.Cleanup(func() {
		w.stop()
		w.closeAll()
		time.Sleep(time.Minute) // let the scripts end what they do slowly
	})
	synctest.Wait()
	return b
}

func (w *world) closeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.containers {
		x.thaw()
		x.kill()
	}
}

func (w *world) dialScheduler(context.Context) (whisk.ControllerToScheduler, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.schedulerDown {
		return nil, errors.New("no scheduler")
	}
	near, far := inmem.Pipe[whisk.FactoryRequest, whisk.FactoryEvent]()
	w.stream = far
	w.sessions++
	go w.serveController(far)
	return near, nil
}

func (w *world) serveController(stream whisk.SchedulerToController) {
	ctx := context.Background()
	for {
		message, err := stream.Recv(ctx)
		if err != nil {
			return
		}
		w.mu.Lock()
		w.requests = append(w.requests, message)
		manual, silent := w.manual, w.silent
		w.mu.Unlock()
		switch m := message.(type) {
		case whisk.KeepAlive:
			if !silent {
				stream.Send(ctx, whisk.KeepAlive{Epoch: 7})
			}
		case whisk.Release:
			w.mu.Lock()
			if x := w.containers[string(m.Container)]; x != nil {
				x.released = true
				x.kill()
			}
			w.mu.Unlock()
		case whisk.Requisition:
			if !manual {
				for n := 0; n < m.Count; n += m.Concurrency {
					if w.createDelay == 0 {
						w.allocate(m.ID, whisk.Created, m.Spec)
					} else {
						time.AfterFunc(w.createDelay, func() { w.allocate(m.ID, whisk.Created, m.Spec) })
					}
				}
			}
		}
	}
}

// make adds a container that nobody holds.
func (w *world) make(spec whisk.ContainerSpec, node whisk.NodeID) *box {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made++
	id := fmt.Sprintf("box%d", w.made)
	x := &box{w: w, Container: whisk.Container{
		ID: whisk.ContainerID(id), Node: node, Spec: spec, Address: whisk.Address{Network: "memory", Address: id},
	}}
	if w.prepare != nil {
		w.prepare(x)
	}
	w.containers[id] = x
	return x
}

func (w *world) alive() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, x := range w.containers {
		if !x.released {
			n++
		}
	}
	return n
}

func (w *world) allocate(id whisk.RequisitionID, origin whisk.Origin, spec whisk.ContainerSpec) *box {
	if w.capacity > 0 && w.alive() >= w.capacity {
		return nil
	}
	x := w.make(spec, "n1")
	w.send(whisk.Allocation{Requisition: id, Container: x.Container, Origin: origin})
	return x
}

func (w *world) send(event whisk.FactoryEvent) {
	w.mu.Lock()
	stream := w.stream
	w.mu.Unlock()
	stream.Send(context.Background(), event)
}

func (w *world) box(id whisk.ContainerID) *box {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.containers[string(id)]
}

// sent returns what the scheduler got of one type, keep-alives excepted.
func sent[M whisk.FactoryRequest](w *world) (list []M) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.requests {
		if m, is := r.(M); is {
			list = append(list, m)
		}
	}
	return list
}

func (w *world) agent(node whisk.NodeID) *scriptedAgent {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.agents[node]
	if g == nil {
		g = &scriptedAgent{w: w}
		w.agents[node] = g
	}
	return g
}

func (w *world) dialAgent(_ context.Context, node whisk.NodeID) (whisk.ControllerToAgent, error) {
	g := w.agent(node)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.down {
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
		reply.Exit = x.exit
	}
	if err != nil {
		reply.Err, reply.Kind = err.Error(), whisk.KindOf(err)
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

func (w *world) dialContainer(_ context.Context, address whisk.Address) (net.Conn, error) {
	x := w.box(whisk.ContainerID(address.Address))
	if x == nil {
		return nil, errors.New("no such container")
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.refusing {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	x.conns = append(x.conns, far)
	go x.serve(far)
	return near, nil
}

func (x *box) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return
		}
		if !x.awaitThaw() {
			return
		}
		x.count(request.URL.Path, +1)
		a := x.w.handle(x, request.URL.Path, body)
		time.Sleep(a.after)
		x.awaitThaw()
		_, err = io.WriteString(conn, a.raw)
		if a.hang {
			io.Copy(io.Discard, conn)
		}
		x.count(request.URL.Path, -1)
		if err != nil || a.drop || a.hang {
			return
		}
	}
}

// awaitThaw reports whether the process still lives.
func (x *box) awaitThaw() bool {
	x.mu.Lock()
	frozen := x.frozen
	x.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return !x.dead
}

func (x *box) count(path string, by int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.active += by
	x.most = max(x.most, x.active)
	if by > 0 && path == "/init" {
		x.inits++
	}
	if by > 0 && path == "/run" {
		x.runs++
	}
}

func (x *box) thaw() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.thawLocked()
}

func (x *box) thawLocked() {
	if x.frozen != nil {
		close(x.frozen)
		x.frozen = nil
	}
}

// kill ends the container's process.
func (x *box) kill() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.refusing, x.dead = true, true
	x.thawLocked()
	for _, conn := range x.conns {
		conn.Close()
	}
}

var key = whisk.ActionKey{Namespace: "guest", Action: whisk.FullName{Namespace: "guest", Name: "hello"}, Revision: 5}

// invocation returns an activation of the action hello.
func invocation(adjust ...func(*whisk.Invocation)) *whisk.Invocation {
	inv := &whisk.Invocation{
		Activation:  "0123456789abcdef0123456789abcdef",
		Key:         key,
		Spec:        whisk.ContainerSpec{Kind: "nodejs:20", Memory: 256 * whisk.MB},
		Limits:      whisk.ActionLimits{Timeout: time.Minute, Memory: 256 * whisk.MB, Logs: 10 * whisk.MB, Concurrency: 1},
		Received:    time.Now(),
		StartBy:     time.Now().Add(time.Minute),
		ResultLimit: whisk.MB,
		Sentinels:   true,
		Size:        100,
		InitBody:    func(context.Context, time.Time) ([]byte, error) { return []byte(`{"value":{}}`), nil },
		RunBody:     func(time.Time) []byte { return []byte(`{"value":{}}`) },
	}
	for _, f := range adjust {
		f(inv)
	}
	return inv
}

func (w *world) invoke(adjust ...func(*whisk.Invocation)) whisk.Outcome {
	w.t.Helper()
	outcome, err := w.b.Invoke(w.t.Context(), invocation(adjust...))
	if err != nil {
		w.t.Fatalf("not accepted: %v", err)
	}
	return outcome
}

// background invokes and delivers the outcome.
func (w *world) background(adjust ...func(*whisk.Invocation)) <-chan whisk.Outcome {
	result := make(chan whisk.Outcome, 1)
	inv := invocation(adjust...)
	go func() {
		outcome, err := w.b.Invoke(context.Background(), inv)
		if err != nil {
			w.t.Errorf("not accepted: %v", err)
		}
		result <- outcome
	}()
	synctest.Wait()
	return result
}

func (w *world) expect(outcome whisk.Outcome, status whisk.Status, result string) {
	w.t.Helper()
	if outcome.Response.Status != status || string(outcome.Response.Result) != result {
		w.t.Errorf("got %v %s, want %v %s", outcome.Response.Status, outcome.Response.Result, status, result)
	}
}

func (w *world) releases() (reasons []whisk.ReleaseReason) {
	for _, r := range sent[whisk.Release](w) {
		reasons = append(reasons, r.Reason)
	}
	return reasons
}

func (w *world) expectReleases(want ...whisk.ReleaseReason) {
	w.t.Helper()
	synctest.Wait()
	if got := w.releases(); !slices.Equal(got, want) {
		w.t.Errorf("releases %v, want %v", got, want)
	}
}
