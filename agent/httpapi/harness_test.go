// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/agent"
	"github.com/whirl-faas/whirl/agent/httpapi"
	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/surface"
	"github.com/whirl-faas/whirl/whisk"
)

// bench is an agent with its surface, in a bubble. The test plays the scheduler.
type bench struct {
	*testing.T
	api       *httpapi.API
	bounds    surface.Bounds
	agent     *agent.Agent
	driver    *fake.Driver
	logs      *logStore
	scheduler whisk.SchedulerToAgent
}

// setup is what a test may change before.
type setup struct {
	api    httpapi.Config
	driver fake.Config
}

func inBubble(t *testing.T, change func(*setup), test func(*bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{T: t, logs: &logStore{}}
		s := setup{api: httpapi.Default(), driver: fake.Default()}
		if change != nil {
			change(&s)
		}
		b.bounds = s.api.Bounds
		b.driver = fake.New(s.driver)
		near, far := inmem.Pipe[whisk.AgentReport, whisk.AgentCommand]()
		b.scheduler = far
		config := agent.Default()
		config.Node, config.Memory, config.Silence = "n1", whisk.GB, 24*time.Hour
		dialled := false
		var err error
		b.agent, err = agent.New(config, agent.Deps{
			Driver: b.driver,
			Logs:   b.logs,
			DialScheduler: func(ctx context.Context) (whisk.AgentToScheduler, error) {
				if dialled {
					return nil, errors.New("once is enough")
				}
				dialled = true
				return near, nil
			},
			Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		b.api, err = httpapi.New(s.api, b.agent, authorize, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := b.agent.Run(ctx); err != nil {
				t.Errorf("Run = %v", err)
			}
		})
		synctest.Wait()
		test(b)
		stop()
		running.Wait()
		if living := b.driver.Living(); living != 0 {
			t.Errorf("%d sandboxes are left", living)
		}
	})
}

// authorize believes what the header says: the operator, or a controller's name,
// which covers all its lives. A scheduler may not.
func authorize(r *http.Request) (agent.Caller, error) {
	switch who := r.Header.Get("Who"); who {
	case "":
		return agent.Caller{}, errors.New("who is there?")
	case "scheduler":
		return agent.Caller{}, whisk.Errorf(whisk.Denied, "a scheduler has no business here")
	case "guest":
		return agent.Caller{Name: "guest"}, nil
	case "operator":
		return agent.Caller{Name: "operator", Operator: true}, nil
	default:
		return agent.Caller{Name: who, Covers: func(id whisk.ControllerID) bool {
			return string(id) == who || strings.HasPrefix(string(id), who+"/")
		}}, nil
	}
}

// create has a container made and leased to a controller, "" for nobody.
func (b *bench) create(id whisk.ContainerID, lessee whisk.ControllerID) {
	b.Helper()
	b.command(whisk.CreateContainer{Epoch: 1, Container: id, Spec: whisk.ContainerSpec{Kind: "fake:1", Memory: 128 * whisk.MB}, Lessee: lessee, Label: "hello"})
}

func (b *bench) command(command whisk.AgentCommand) {
	b.Helper()
	if err := b.scheduler.Send(b.Context(), command); err != nil {
		b.Fatal(err)
	}
	synctest.Wait()
}

// session begins a controller's session with the agent.
func (b *bench) session(id whisk.ControllerID) whisk.ControllerToAgent {
	b.Helper()
	here, there := inmem.Pipe[whisk.SandboxRequest, whisk.SandboxReply]()
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := b.agent.ServeController(b.Context(), there); err != nil {
			b.Errorf("session of %s: %v", id, err)
		}
	})
	b.Cleanup(func() {
		_ = here.Close() // an in-memory session always closes
		serving.Wait()
	})
	b.ask(here, whisk.SandboxRequest{Op: whisk.Renew, Controller: id})
	return here
}

func (b *bench) ask(session whisk.ControllerToAgent, request whisk.SandboxRequest) {
	b.Helper()
	if err := session.Send(b.Context(), request); err != nil {
		b.Fatal(err)
	}
	reply, err := session.Recv(b.Context())
	if err = errors.Join(err, reply.Error()); err != nil {
		b.Fatal(err)
	}
}

// get asks the surface.
func (b *bench) get(who, target string, accept ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header.Set("Who", who)
	r.Header["Accept"] = accept
	w := httptest.NewRecorder()
	b.api.ServeHTTP(w, r)
	return w
}

// run initialises the container if need be, and runs it once.
func (b *bench) run(id whisk.ContainerID, paths ...string) {
	b.Helper()
	conn, err := b.driver.Dial(b.Context(), whisk.Address{Network: "memory", Address: "fake/" + string(id)})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for _, path := range paths {
		body := `{"value":{"code":"x"}}`
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			b.Fatalf("%s: %+v, %v", path, resp, err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
	}
	synctest.Wait()
}

// logStore keeps what it gets.
type logStore struct {
	mu      sync.Mutex
	entries []whisk.LogEntry
	err     error
}

func (s *logStore) AppendLogs(_ context.Context, entries []whisk.LogEntry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.entries = append(s.entries, entries...)
	return nil
}

// fail has the store fail from now on, or no longer.
func (s *logStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *logStore) Logs(context.Context, string, whisk.ActivationID) ([]string, error) {
	return nil, nil
}

func (s *logStore) ExpireLogs(context.Context, time.Time, int) (int, error) { return 0, nil }

// listener hands out the far ends of in-memory connections.
type listener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{} // closed by Close
}

func newListener() *listener {
	return &listener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func (l *listener) dial(t *testing.T) net.Conn {
	t.Helper()
	near, far := net.Pipe()
	l.conns <- far
	t.Cleanup(func() { _ = near.Close() })
	return near
}
