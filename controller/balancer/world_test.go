// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
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

	made, sessions atomic.Int32

	stop func() // ends Run and waits for it

	mu         sync.Mutex
	containers map[string]*box
	requests   []whisk.FactoryRequest
	stream     whisk.SchedulerToController // nil while there is no session
	agents     map[whisk.NodeID]*scriptedAgent

	// The script; set before start, or under mu.
	schedulerDown bool
	breakAfter    int           // messages that the first session takes; 0 for any number
	silent        bool          // the scheduler says nothing by itself
	manual        bool          // requisitions are answered by the test
	createDelay   time.Duration // of an allocation
	capacity      int           // containers at once; 0 for any number
	handle        func(*box, string, []byte) answer
	prepare       func(*box)     // of a new container
	runnable      func() float64 // nil where nobody knows
	lookout       balancer.Lookout
	dialPeer      func(context.Context, whisk.ControllerID, string) (whisk.ControllerToPeer, error)
	log           slog.Handler
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, containers: map[string]*box{}, agents: map[whisk.NodeID]*scriptedAgent{}, log: slog.DiscardHandler}
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
	if w.dialPeer != nil {
		config.Peers = "c1:1"
	}
	for _, f := range adjust {
		f(&config)
	}
	b, err := balancer.New(config, balancer.Deps{
		DialScheduler: w.dialScheduler,
		DialAgent:     w.dialAgent,
		DialContainer: w.dialContainer,
		DialPeer:      w.dialPeer,
		Runnable:      w.runnable,
		Lookout:       w.lookout,
		Logger:        slog.New(w.log),
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
	first := w.sessions.Add(1) == 1
	go w.serveController(far)
	if w.breakAfter > 0 && first {
		return &breaking{ControllerToScheduler: near, left: w.breakAfter}, nil
	}
	return near, nil
}

// breaking is a session that breaks instead of sending one message too many.
type breaking struct {
	whisk.ControllerToScheduler
	left int
}

func (s *breaking) Send(ctx context.Context, message whisk.FactoryRequest) error {
	if s.left--; s.left < 0 {
		s.Close()
		return errors.New("broken")
	}
	return s.ControllerToScheduler.Send(ctx, message)
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
	id := fmt.Sprintf("box%d", w.made.Add(1))
	x := &box{w: w, Container: whisk.Container{
		ID: whisk.ContainerID(id), Node: node, Spec: spec, Address: whisk.Address{Network: "memory", Address: id},
	}}
	if w.prepare != nil {
		w.prepare(x)
	}
	w.containers[id] = x
	return x
}

func (w *world) all() []*box {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Values(w.containers))
}

func (w *world) isReleased(x *box) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return x.released
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
	w.hand(id, x, origin)
	return x
}

// hand allocates a container that is there.
func (w *world) hand(id whisk.RequisitionID, x *box, origin whisk.Origin) {
	g := w.agent(x.Node)
	g.mu.Lock()
	address := g.address
	g.mu.Unlock()
	w.send(whisk.Allocation{Requisition: id, Container: x.Container, Agent: address, Origin: origin})
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

// company is as long as the request for a run's output may wait for others'.
const company = 10 * time.Millisecond

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
