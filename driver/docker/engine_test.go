// SPDX-License-Identifier: Apache-2.0

//go:build docker

package docker_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/whirl-faas/whirl/driver/docker"
	"github.com/whirl-faas/whirl/runtimes/runtimetest"
	"github.com/whirl-faas/whirl/whisk"
)

// middleman stands between a driver and the engine, and can stall or break what
// they say to each other.
type middleman struct {
	listener net.Listener
	passing  sync.WaitGroup

	mu      sync.Mutex
	stalled chan struct{} // closed when the stall is over; nil if there is none
	after   string        // a request with this text gets through and begins a stall; "" for none
	late    string        // a request with this text waits until resume, whoever gave up; "" for none
	held    chan struct{} // closed by resume; nil while nothing waits
	conns   map[net.Conn]bool
}

func newMiddleman(t *testing.T) (*middleman, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "engine.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	m := &middleman{listener: listener, conns: map[net.Conn]bool{}}
	m.passing.Go(m.acceptLoop)
	t.Cleanup(func() {
		m.resume()
		listener.Close()
		m.cut()
		m.passing.Wait()
	})
	return m, "unix://" + path
}

func (m *middleman) acceptLoop() {
	for {
		inner, err := m.listener.Accept()
		if err != nil {
			return
		}
		outer, err := net.Dial("unix", strings.TrimPrefix(os.Getenv("DOCKER_HOST"), "unix://"))
		if err != nil {
			inner.Close()
			continue
		}
		m.mu.Lock()
		m.conns[inner], m.conns[outer] = true, true
		m.mu.Unlock()
		m.passing.Go(func() { m.pass(inner, outer) })
		m.passing.Go(func() { m.pass(outer, inner) })
	}
}

func (m *middleman) pass(to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 32<<10)
	through := false // the request that began the stall: the rest of it may come apart
	for {
		n, err := from.Read(buffer)
		m.mu.Lock()
		stalled := m.stalled
		if m.after != "" && bytes.Contains(buffer[:n], []byte(m.after)) {
			m.stalled, m.after, through = make(chan struct{}), "", true
		}
		m.mu.Unlock()
		if stalled != nil && !through {
			<-stalled
		}
		m.holdBack(buffer[:n])
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if half, ok := to.(*net.UnixConn); ok && errors.Is(err, io.EOF) {
				_ = half.CloseWrite()
			}
			return
		}
	}
}

// holdBack returns when a request that is to be late may go on.
func (m *middleman) holdBack(request []byte) {
	m.mu.Lock()
	if m.late == "" || !bytes.Contains(request, []byte(m.late)) {
		m.mu.Unlock()
		return
	}
	held := make(chan struct{})
	m.held, m.late = held, ""
	m.mu.Unlock()
	<-held
}

func (m *middleman) delay(request string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.late = request
}

func (m *middleman) stall() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stalled = make(chan struct{})
}

func (m *middleman) resume() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stalled != nil {
		close(m.stalled)
		m.stalled = nil
	}
	if m.held != nil {
		close(m.held)
		m.held = nil
	}
}

// awaitStall waits until nothing passes any more.
func (m *middleman) awaitStall(ctx context.Context) {
	for ctx.Err() == nil {
		m.mu.Lock()
		stalled := m.stalled != nil
		m.mu.Unlock()
		if stalled {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// cut breaks all connections, as an engine's restart does.
func (m *middleman) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for conn := range m.conns {
		conn.Close()
	}
	clear(m.conns)
}

// TestHangingEngine holds that calls end with their contexts, that nobody is
// blamed, and that what a broken off call made is gone once the engine is back.
func TestHangingEngine(t *testing.T) {
	t.Parallel()
	between, host := newMiddleman(t)
	config := testConfig(t)
	config.Host, config.Freezer, config.Grace = host, docker.FreezeEngine, 5*time.Second
	driver := openDriver(t, config)
	b := newBox(t, driver, whisk.CreateSandbox{Spec: nodejsSpec})
	between.stall()

	short := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(t.Context(), 300*time.Millisecond)
	}
	calls := map[string]func(ctx context.Context) error{
		"Suspend": b.Suspend,
		"Destroy": b.Destroy,
		"Create": func(ctx context.Context) error {
			_, err := driver.Create(ctx, whisk.CreateSandbox{ID: "hanging", Spec: nodejsSpec})
			return err
		},
	}
	for _, name := range []string{"Suspend", "Create", "Destroy"} {
		ctx, cancel := short()
		ended := make(chan error, 1)
		go func() { ended <- calls[name](ctx) }()
		select {
		case err := <-ended:
			if _, user := errors.AsType[*whisk.CreateError](err); err == nil || user {
				t.Errorf("%s = %v", name, err)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s does not end with its context", name)
		}
		cancel()
	}
	between.resume()
	if err := b.Destroy(t.Context()); err != nil {
		t.Errorf("Destroy, once the engine is back = %v", err)
	}
	awaitContainers(t, newEngine(t), config.Instance, 0)
}

// TestLatePause lets the engine carry out requests whose maker gave up long ago: a
// sandbox that may be frozen or thawed at any moment is of no more use.
func TestLatePause(t *testing.T) {
	t.Parallel()
	for _, request := range []string{"/pause", "/unpause"} {
		t.Run(request[1:], func(t *testing.T) {
			between, host := newMiddleman(t)
			config := testConfig(t)
			config.Host, config.Freezer = host, docker.FreezeEngine
			driver := openDriver(t, config)
			b := newBox(t, driver, whisk.CreateSandbox{Spec: nodejsSpec})
			change := b.Suspend
			if request == "/unpause" {
				if err := b.Suspend(t.Context()); err != nil {
					t.Fatal(err)
				}
				change = b.Resume
			}
			between.delay(request)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := change(ctx); err == nil || errors.Is(err, whisk.ErrStaysFrozen) {
				t.Errorf("what the engine may do yet ended with %v", err)
			}
			if err := b.Suspend(t.Context()); err == nil {
				t.Error("Suspend has nothing against it")
			}
			if err := b.Resume(t.Context()); err == nil || errors.Is(err, whisk.ErrStaysFrozen) {
				t.Errorf("Resume = %v", err)
			}
			between.resume()
			want := request == "/pause"
			for deadline := time.Now().Add(20 * time.Second); inspect(t, config, b).State.Paused != want; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("the engine does not carry out the late request")
				}
			}
			if err := b.Destroy(t.Context()); err != nil {
				t.Errorf("Destroy = %v", err)
			}
		})
	}
}

// TestAnswerThatNeverComes lets the engine make a container whose maker never
// learns of it.
func TestAnswerThatNeverComes(t *testing.T) {
	t.Parallel()
	between, host := newMiddleman(t)
	config := testConfig(t)
	config.Host, config.Grace = host, 5*time.Second
	driver, engine := openDriver(t, config), newEngine(t)
	between.mu.Lock()
	between.after = "/containers/create"
	between.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		between.awaitStall(ctx)
		cancel()
	}()
	_, err := driver.Create(ctx, whisk.CreateSandbox{ID: "unheard", Spec: nodejsSpec})
	if _, user := errors.AsType[*whisk.CreateError](err); err == nil || user {
		t.Errorf("Create = %v", err)
	}
	awaitContainers(t, engine, config.Instance, 1)
	between.resume()
	awaitContainers(t, engine, config.Instance, 0)
}

// awaitContainers waits until the instance has that many.
func awaitContainers(t *testing.T, engine *client.Client, instance string, want int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		left, err := engine.ContainerList(t.Context(), client.ContainerListOptions{
			All: true, Filters: client.Filters{}.Add("label", "whirl.instance="+instance),
		})
		if err == nil && len(left.Items) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("there are %d containers, %v; want %d", len(left.Items), err, want)
		}
	}
}

// TestBrokenConnections cuts all that the driver has with the engine, in the
// midst of output: the output stays exact, and the end is noticed all the same.
func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	between, host := newMiddleman(t)
	config := testConfig(t)
	config.Host = host
	driver := openDriver(t, config)
	b := newBox(t, driver, whisk.CreateSandbox{Spec: nodejsSpec})
	b.MustInit(t, runtimetest.Code{Code: printing}, nil)
	const lines = 10_000
	answered := make(chan runtimetest.Reply, 1)
	go func() { answered <- b.Run(t, map[string]int{"lines": lines}, nil) }()
	for _, line := range []string{"out 2000\n", "out 6000\n"} {
		b.Stdout.Await(t, line)
		between.cut()
	}
	if reply := <-answered; reply.Status != 200 {
		t.Fatalf("the run answered %+v", reply)
	}
	for which, output := range map[string]*runtimetest.Output{"out": b.Stdout, "err": b.Stderr} {
		var want strings.Builder
		for i := range lines {
			want.WriteString(which + " " + strconv.Itoa(i) + "\n")
		}
		if got := output.Activations(t, 1)[0]; got != want.String() {
			t.Errorf("%s: %d bytes, want %d, or they differ", which, len(got), want.Len())
		}
	}
	between.cut()
	if _, err := newEngine(t).ContainerKill(t.Context(), inspect(t, config, b).ID, client.ContainerKillOptions{}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-b.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("its end was not noticed")
	}
	if exit := b.Exit(); exit.Code != -9 || exit.OutOfMemory {
		t.Errorf("Exit = %+v, want killed", exit)
	}
}

// TestRemovedBehindOurBack has an operator remove containers, one that runs and one
// that is suspended: their ends are noticed, and nothing of them is left.
func TestRemovedBehindOurBack(t *testing.T) {
	t.Parallel()
	engine, config := newEngine(t), testConfig(t)
	driver := openDriver(t, config)
	for _, suspended := range []bool{false, true} {
		b := newBox(t, driver, whisk.CreateSandbox{Spec: nodejsSpec})
		if suspended {
			if err := b.Suspend(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := engine.ContainerRemove(t.Context(), inspect(t, config, b).ID, client.ContainerRemoveOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-b.Done():
		case <-time.After(20 * time.Second):
			t.Fatalf("suspended %t: its end was not noticed", suspended)
		}
		if err := b.Destroy(t.Context()); err != nil {
			t.Errorf("suspended %t: Destroy = %v", suspended, err)
		}
	}
	wantContainers(t, engine, config.Instance, 0)
}

func TestNoEngine(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	config.Host = "unix://" + filepath.Join(t.TempDir(), "nobody.sock")
	_, err := docker.Open(config)
	if whisk.KindOf(err) != whisk.Unavailable || !strings.Contains(err.Error(), config.Host) {
		t.Errorf("Open = %v, want unavailable and the engine's address", err)
	}
}

func TestOneProcessHoldsAnInstance(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	openDriver(t, config)
	if _, err := docker.Open(config); whisk.KindOf(err) != whisk.Conflict {
		t.Errorf("a second Open = %v, want a conflict", err)
	}
}

func inspect(t testing.TB, config docker.Config, b *box) container.InspectResponse {
	t.Helper()
	found, err := newEngine(t).ContainerInspect(t.Context(), "whirl_"+config.Instance+"_"+string(b.ID()), client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return found.Container
}
