// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/agent"
	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/whisk"
)

// node is an agent under test with a scripted driver, a log store in memory and
// a scheduler and controllers played by the test.
type node struct {
	t      *testing.T
	config agent.Config
	driver *fake.Driver
	logs   *logStore
	ledger *mortal   // nil without one
	gate   *fakeGate // nil without one
	hand   *gateHand // of the agent, on the gate
	agent  *agent.Agent
	stop   func() // ends the agent and waits for it
	runErr error

	sessions chan *scheduler // that the agent dialled
	current  *scheduler
}

// scheduler is the other end of one session. It gives signs of life by itself.
type scheduler struct {
	whisk.SchedulerToAgent
	reports chan whisk.AgentReport // all but keep-alives
	mute    atomic.Bool
	epoch   atomic.Uint64 // of the agent's last keep-alive
}

func (s *scheduler) receiveLoop(ctx context.Context) {
	for {
		report, err := s.Recv(ctx)
		if err != nil {
			return
		}
		if alive, ok := report.(whisk.KeepAlive); ok {
			s.epoch.Store(alive.Epoch)
			continue
		}
		s.reports <- report
	}
}

func (s *scheduler) keepAliveLoop(ctx context.Context) {
	for {
		if !s.mute.Load() && s.Send(ctx, whisk.KeepAlive{}) != nil {
			return
		}
		select {
		case <-time.After(5 * time.Second):
		case <-ctx.Done():
			return
		}
	}
}

// setup is what a test may change before the agent starts.
type setup struct {
	agent  agent.Config
	driver fake.Config
	logs   *logStore
	left   []whisk.ContainerID // sandboxes of a former agent
	ledger string              // its directory, "" for none
	gate   *fakeGate
}

// inBubble runs a test in a bubble. Afterwards the agent is stopped and nothing
// may be left.
func inBubble(t *testing.T, change func(*setup), test func(*node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := start(t, change)
		test(n)
		n.stop()
		if n.runErr != nil {
			t.Errorf("Run = %v", n.runErr)
		}
		if living := n.driver.Living(); living != 0 {
			t.Errorf("%d sandboxes are left", living)
		}
		if violations := n.driver.Violations(); len(violations) > 0 {
			t.Errorf("violations: %v", violations)
		}
	})
}

func start(t *testing.T, change func(*setup)) *node {
	s := setup{agent: agent.Default(), driver: fake.Default(), logs: &logStore{entries: map[whisk.ActivationID]whisk.LogEntry{}}}
	s.agent.Node, s.agent.Memory = "n1", whisk.GB
	if change != nil {
		change(&s)
	}
	driver := fake.New(s.driver)
	for _, id := range s.left {
		if _, err := driver.Create(t.Context(), whisk.CreateSandbox{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	if s.left != nil {
		driver = driver.Restart()
	}
	n := &node{t: t, config: s.agent, logs: s.logs, gate: s.gate, sessions: make(chan *scheduler, 16)}
	if s.ledger != "" {
		n.ledger = &mortal{path: s.ledger}
	}
	n.launch(driver)
	t.Cleanup(func() { n.stop() })
	return n
}

// launch starts the node's first agent, or the next one.
func (n *node) launch(driver *fake.Driver) {
	n.t.Helper()
	n.driver = driver
	deps := agent.Deps{Driver: driver, Logs: n.logs, Logger: slog.New(slog.DiscardHandler)}
	if n.ledger != nil {
		n.ledger = n.ledger.open(n.t)
		deps.Ledger = n.ledger
	}
	if n.gate != nil {
		n.hand = &gateHand{fakeGate: n.gate}
		deps.Gate = n.hand
	}
	ctx, cancel := context.WithCancel(n.t.Context())
	var running sync.WaitGroup
	deps.DialScheduler = func(context.Context) (whisk.AgentToScheduler, error) {
		there, here := inmem.Pipe[whisk.AgentReport, whisk.AgentCommand]()
		session := &scheduler{SchedulerToAgent: here, reports: make(chan whisk.AgentReport, 1024)}
		running.Go(func() { session.receiveLoop(ctx) })
		running.Go(func() { session.keepAliveLoop(ctx) })
		n.sessions <- session
		return there, nil
	}
	var err error
	if n.agent, err = agent.New(n.config, deps); err != nil {
		n.t.Fatal(err)
	}
	running.Go(func() { n.runErr = n.agent.Run(ctx) })
	n.stop = func() {
		cancel()
		running.Wait()
	}
}

// session waits for the agent's next session and its first report.
func (n *node) session() whisk.NodeReport {
	n.t.Helper()
	select {
	case n.current = <-n.sessions:
	case <-time.After(time.Minute):
		n.t.Fatal("the agent does not dial")
	}
	return expect[whisk.NodeReport](n)
}

func (n *node) command(command whisk.AgentCommand) {
	n.t.Helper()
	if err := n.current.Send(n.t.Context(), command); err != nil {
		n.t.Fatal(err)
	}
}

// report returns the next report, nil if none comes for a while.
func (n *node) report(patience time.Duration) whisk.AgentReport {
	select {
	case report := <-n.current.reports:
		return report
	case <-time.After(patience):
		return nil
	}
}

// expect waits for a report that must be of type R.
func expect[R whisk.AgentReport](n *node) R {
	n.t.Helper()
	got := n.report(time.Minute)
	report, ok := got.(R)
	if !ok {
		n.t.Fatalf("the agent reports %#v, want a %T", got, report)
	}
	return report
}

func (n *node) nothing(for_ time.Duration) {
	n.t.Helper()
	if got := n.report(for_); got != nil {
		n.t.Fatalf("the agent reports %#v, want nothing", got)
	}
}

var spec = whisk.ContainerSpec{Kind: "fake:1", Memory: 128 * whisk.MB}

// create has a container made for a controller.
func (n *node) create(id whisk.ContainerID, lessee whisk.ControllerID) whisk.Container {
	n.t.Helper()
	n.command(whisk.CreateContainer{Epoch: 1, Container: id, Spec: spec, Lessee: lessee})
	return expect[whisk.ContainerCreated](n).Container
}

// controller is one played by the test.
type controller struct {
	n      *node
	id     whisk.ControllerID
	stream whisk.ControllerToAgent
	seq    uint64
	served sync.WaitGroup
	early  map[uint64]whisk.SandboxReply // that nobody waited for yet
}

func (n *node) controller(id whisk.ControllerID) *controller {
	n.t.Helper()
	c := n.join(id, "")
	if err := c.call(whisk.SandboxRequest{Op: whisk.Renew, Controller: id}).Error(); err != nil {
		n.t.Fatal(err)
	}
	return c
}

// join opens a controller's session, from an address of the network if that is not "".
// Nothing is said in it yet.
func (n *node) join(id whisk.ControllerID, from string) *controller {
	n.t.Helper()
	here, there := inmem.Pipe[whisk.SandboxRequest, whisk.SandboxReply]()
	c := &controller{n: n, id: id, stream: here, early: map[uint64]whisk.SandboxReply{}}
	c.served.Go(func() {
		if from != "" {
			there = distant{there, netip.MustParseAddr(from)}
		}
		if err := n.agent.ServeController(n.t.Context(), there); err != nil {
			n.t.Errorf("session of %s: %v", id, err)
		}
	})
	n.t.Cleanup(c.leave)
	return c
}

func (c *controller) leave() {
	_ = c.stream.Close()
	c.served.Wait()
}

// send sends a request and returns its number.
func (c *controller) send(request whisk.SandboxRequest) uint64 {
	c.n.t.Helper()
	c.seq++
	request.Seq = c.seq
	if err := c.stream.Send(c.n.t.Context(), request); err != nil {
		c.n.t.Fatal(err)
	}
	return c.seq
}

// reply waits for the answer to one request.
func (c *controller) reply(seq uint64) whisk.SandboxReply {
	c.n.t.Helper()
	ctx, cancel := context.WithTimeout(c.n.t.Context(), time.Minute)
	defer cancel()
	for {
		if reply, ok := c.early[seq]; ok {
			delete(c.early, seq)
			return reply
		}
		reply, err := c.stream.Recv(ctx)
		if err != nil {
			c.n.t.Fatalf("no answer to request %d: %v", seq, err)
		}
		c.early[reply.Seq] = reply
	}
}

func (c *controller) call(request whisk.SandboxRequest) whisk.SandboxReply {
	c.n.t.Helper()
	return c.reply(c.send(request))
}

func (c *controller) do(op whisk.SandboxOp, id whisk.ContainerID) error {
	c.n.t.Helper()
	return c.call(whisk.SandboxRequest{Op: op, Container: id}).Error()
}

func (c *controller) renewFor(d time.Duration) {
	c.n.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		sleepUntil(time.Now().Add(whisk.LeaseRenew))
		if err := c.do(whisk.Renew, ""); err != nil {
			c.n.t.Fatal(err)
		}
	}
}

func sleepUntil(at time.Time) { <-time.After(time.Until(at)) }

func (c *controller) collect(id whisk.ContainerID, run uint64, change func(*whisk.LogRequest)) whisk.SandboxRequest {
	logs := whisk.LogRequest{
		Activation: whisk.ActivationID(fmt.Sprintf("%s/%s/%d", c.id, id, run)),
		Namespace:  "guest", Run: run, Limit: 10 * whisk.MB, Sentinels: true,
	}
	if change != nil {
		change(&logs)
	}
	return whisk.SandboxRequest{Op: whisk.CollectLogs, Container: id, Logs: logs}
}

// connect opens a connection to a container, which the test's end closes.
func (n *node) connect(c whisk.Container) net.Conn {
	n.t.Helper()
	conn, err := n.driver.Dial(n.t.Context(), c.Address)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (n *node) init(conn net.Conn, code string) {
	n.t.Helper()
	if status := post(n.t, conn, "/init", fmt.Sprintf(`{"value":{"code":%q}}`, code)); status != http.StatusOK {
		n.t.Fatalf("/init = %d", status)
	}
}

// post returns the answer's status, 0 if there is none.
func post(t *testing.T, conn net.Conn, path, body string) int {
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Logf("%s: %v", path, err)
		return 0
	}
	return resp.StatusCode
}

// logStore keeps logs in memory.
type logStore struct {
	mu      sync.Mutex
	entries map[whisk.ActivationID]whisk.LogEntry
	batches []int
	fail    func() error // nil never
}

func (s *logStore) AppendLogs(_ context.Context, entries []whisk.LogEntry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(); err != nil {
			return err
		}
	}
	s.batches = append(s.batches, len(entries))
	for _, e := range entries {
		s.entries[e.Activation] = e
	}
	return nil
}

func (s *logStore) Logs(_ context.Context, _ string, id whisk.ActivationID) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.entries[id].Lines), nil
}

func (s *logStore) ExpireLogs(context.Context, time.Time, int) (int, error) { return 0, nil }

// texts returns an activation's lines without their times.
func (n *node) texts(c *controller, id whisk.ContainerID, run uint64) (texts []string) {
	lines, err := n.logs.Logs(n.t.Context(), "guest", c.collect(id, run, nil).Logs.Activation)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, line := range lines {
		if len(line) < 31 || line[29] != 'Z' || line[30] != ' ' {
			n.t.Errorf("malformed line %q", line)
			continue
		}
		texts = append(texts, line[31:])
	}
	return texts
}
