// SPDX-License-Identifier: Apache-2.0

//go:build docker

package docker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/whirl-faas/whirl/driver/docker"
	"github.com/whirl-faas/whirl/driver/internal/cgroup"
	"github.com/whirl-faas/whirl/runtimes/runtimetest"
	"github.com/whirl-faas/whirl/whisk"
)

// printing is an action that writes many numbered lines in a time.
const printing = `function main({lines}) {
  let i = 0;
  return new Promise((done) => {
    const timer = setInterval(() => {
      for (let n = 0; n < 50 && i < lines; n++, i++) { console.log('out', i); console.error('err', i) }
      if (i === lines) { clearInterval(timer); done({}) }
    }, 10);
  });
}`

var nodejsSpec = whisk.ContainerSpec{Kind: "nodejs:local", Memory: 256 * whisk.MB}

// TestOutputIsExactOverTheDeathOfItsReader has a container write while its agent
// dies, while there is none, and while the next one takes over.
func TestOutputIsExactOverTheDeathOfItsReader(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	first := mustOpen(t, config)
	sandbox, err := first.Create(t.Context(), whisk.CreateSandbox{ID: "writer", Spec: nodejsSpec})
	if err != nil {
		t.Fatal(err)
	}
	before := adoptLost(t, sandbox)
	before.MustInit(t, runtimetest.Code{Code: printing}, nil)
	const lines = 10_000
	answered := make(chan runtimetest.Reply, 1)
	go func() { answered <- before.Run(t, map[string]int{"lines": lines}, nil) }()
	before.Stdout.Await(t, "out 2000\n")
	if err := first.Die(); err != nil {
		t.Fatal(err)
	}
	before.ended()

	second := openDriver(t, config)
	left, err := second.Recover(t.Context())
	if err != nil || len(left) != 1 || left[0].ID() != "writer" || left[0].Spec() != nodejsSpec || left[0].Address() != sandbox.Address() {
		t.Fatalf("Recover = %v, %v", left, err)
	}
	after := adopt(t, left[0])
	if reply := <-answered; reply.Status != 200 {
		t.Fatalf("the run that lost its agent answered %+v", reply)
	}
	for which, streams := range map[string][2]*runtimetest.Output{
		"out": {before.Stdout, after.Stdout}, "err": {before.Stderr, after.Stderr},
	} {
		streams[1].Activations(t, 1) // waits for the sentinel
		got := strings.Split(streams[0].String()+streams[1].String(), "\n")
		for i := range lines {
			if got[i] != fmt.Sprint(which, " ", i) {
				t.Fatalf("line %d is %q; %d bytes came before the death", i, got[i], len(streams[0].String()))
			}
		}
	}
	// And what comes later comes once.
	if reply := after.Run(t, map[string]int{"lines": 1}, nil); reply.Status != 200 {
		t.Fatalf("a later run answered %+v", reply)
	}
	if runs := after.Stdout.Activations(t, 2); runs[1] != "out 0\n" {
		t.Errorf("the later run wrote %q", runs[1])
	}
}

// TestASuccessorMakesNoTrial holds that who has containers to take over believes what its
// predecessor found out, to the digit, and that it is found out anew once there are none.
func TestASuccessorMakesNoTrial(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	config.Trial = true
	measured := func(d *docker.Driver) string { return strings.Join(d.Capabilities().Isolation, "; ") }
	first := mustOpen(t, config)
	kept, err := first.Create(t.Context(), whisk.CreateSandbox{ID: "kept", Spec: nodejsSpec})
	if err != nil {
		t.Fatal(err)
	}
	found := measured(first)
	if err := first.Die(); err != nil {
		t.Fatal(err)
	}
	second := mustOpen(t, config)
	if got := measured(second); got != found || !strings.Contains(got, "suspend and resume took") {
		t.Errorf("the successor says %s; found out was %s", got, found)
	}
	left, err := second.Recover(t.Context())
	if err != nil || len(left) != 1 || left[0].ID() != kept.ID() {
		t.Fatalf("Recover = %v, %v", left, err)
	}
	if err := errors.Join(left[0].Suspend(t.Context()), left[0].Resume(t.Context()), left[0].Destroy(t.Context())); err != nil {
		t.Error(err)
	}
	if err := second.Die(); err != nil {
		t.Fatal(err)
	}
	if got := measured(openDriver(t, config)); got == found {
		t.Errorf("nothing was left, and yet it says %s", got)
	}
}

// lostBox is a box whose driver will die.
type lostBox struct {
	*runtimetest.Proxy
	ended func() // waits for the end of its output
}

// adoptLost reads the output of a sandbox that outlives this test's driver.
func adoptLost(t *testing.T, sandbox whisk.Sandbox) lostBox {
	address := sandbox.Address()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, address.Network, address.Address)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	proxy := &runtimetest.Proxy{Client: &http.Client{Transport: transport}, Stdout: new(runtimetest.Output), Stderr: new(runtimetest.Output)}
	var reads sync.WaitGroup
	stdout, stderr := sandbox.Output()
	reads.Go(func() { _, _ = io.Copy(proxy.Stdout, stdout) })
	reads.Go(func() { _, _ = io.Copy(proxy.Stderr, stderr) })
	return lostBox{proxy, reads.Wait}
}

// TestCloseLeavesSandboxesToTheNext is an agent's upgrade.
func TestCloseLeavesSandboxesToTheNext(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	first := mustOpen(t, config)
	sandbox, err := first.Create(t.Context(), whisk.CreateSandbox{ID: "warm", Spec: nodejsSpec})
	if err != nil {
		t.Fatal(err)
	}
	before := adoptLost(t, sandbox)
	before.MustInit(t, runtimetest.NodeJS().Echo, nil)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	before.ended()
	// Nobody's driver lives now, and the container works all the same.
	if reply := before.Run(t, map[string]any{}, nil); reply.Status != 200 {
		t.Fatalf("/run answered %+v", reply)
	}
	left, err := openDriver(t, config).Recover(t.Context())
	if err != nil || len(left) != 1 {
		t.Fatalf("Recover = %v, %v", left, err)
	}
	after := adopt(t, left[0])
	if got := after.Stdout.Activations(t, 1)[0]; got != "hello stdout\n" {
		t.Errorf("what was written meanwhile came as %q", got)
	}
}

func TestRecoverKnowsWhatIsFrozen(t *testing.T) {
	t.Parallel()
	for _, freezer := range []docker.Freezer{docker.FreezeAuto, docker.FreezeRuntime, docker.FreezeEngine} {
		t.Run(string(freezer), func(t *testing.T) {
			config := testConfig(t)
			config.Freezer = freezer
			first := mustOpen(t, config)
			for _, id := range []whisk.ContainerID{"frozen", "running"} {
				sandbox, err := first.Create(t.Context(), whisk.CreateSandbox{ID: id, Spec: nodejsSpec})
				if err != nil {
					t.Fatal(err)
				}
				if id == "frozen" {
					if err := sandbox.Suspend(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := first.Die(); err != nil {
				t.Fatal(err)
			}
			second := openDriver(t, config)
			left, err := second.Recover(t.Context())
			if err != nil || len(left) != 2 {
				t.Fatalf("Recover = %d sandboxes, %v", len(left), err)
			}
			for _, sandbox := range left {
				b := adopt(t, sandbox)
				stats, err := b.Stats(t.Context())
				if err != nil || stats.Suspended != (b.ID() == "frozen") {
					t.Errorf("%s: Stats = %+v, %v", b.ID(), stats, err)
				}
				if err := b.Suspend(t.Context()); err != nil {
					t.Errorf("Suspend = %v", err)
				}
				if err := b.Resume(t.Context()); err != nil {
					t.Errorf("Resume = %v", err)
				}
				b.MustInit(t, runtimetest.NodeJS().Silent, nil)
			}
		})
	}
}

// TestRecoverClearsWhatIsOursAlone leaves containers of all kinds behind.
func TestRecoverClearsWhatIsOursAlone(t *testing.T) {
	t.Parallel()
	engine, config := newEngine(t), testConfig(t)
	ours := map[string]string{"whirl.instance": config.Instance, "whirl.container": "x", "whirl.memory": "1000"}
	makeContainer(t, engine, "never-started", ours, false)
	makeContainer(t, engine, "has-ended", ours, true)
	makeContainer(t, engine, "unreadable", map[string]string{"whirl.instance": config.Instance}, true)
	foreign := makeContainer(t, engine, "foreign", map[string]string{"whirl.instance": "another"}, false)
	driver := openDriver(t, config)
	left, err := driver.Recover(t.Context())
	if err != nil || len(left) != 0 {
		t.Errorf("Recover = %v, %v", left, err)
	}
	wantContainers(t, engine, config.Instance, 0)
	if _, err := engine.ContainerInspect(t.Context(), foreign, client.ContainerInspectOptions{}); err != nil {
		t.Errorf("the foreign container: %v", err)
	}
}

func makeContainer(t *testing.T, engine *client.Client, name string, labels map[string]string, start bool) string {
	t.Helper()
	made, err := engine.ContainerCreate(t.Context(), client.ContainerCreateOptions{
		Name:   "whirl_test_" + name,
		Config: &container.Config{Image: images["native:local"], Entrypoint: []string{"/bin/true"}, Labels: labels},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = engine.ContainerRemove(context.Background(), made.ID, client.ContainerRemoveOptions{Force: true}) // it may be gone
	})
	if start {
		_, _ = engine.ContainerStart(t.Context(), made.ID, client.ContainerStartOptions{}) // however it ends
	}
	return made.ID
}

// TestFrozenBehindTheEnginesBack destroys what others froze.
func TestFrozenBehindTheEnginesBack(t *testing.T) {
	t.Parallel()
	engine, config := newEngine(t), testConfig(t)
	driver := openDriver(t, config)
	freezers := map[string]func(id string, group *cgroup.Group) error{
		"cgroup v1": func(_ string, group *cgroup.Group) error { return freezePart(t, group.Legacy()) },
		"cgroup v2": func(_ string, group *cgroup.Group) error { return freezePart(t, group.Unified()) },
		"engine": func(id string, _ *cgroup.Group) error {
			var err error
			for range 10 { // runc gives up on a container that is busy
				if _, err = engine.ContainerPause(t.Context(), id, client.ContainerPauseOptions{}); err == nil {
					break
				}
			}
			return err
		},
	}
	for name, freeze := range freezers {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, driver, whisk.CreateSandbox{Spec: nodejsSpec, Label: "guest/hello world"})
			found, err := engine.ContainerInspect(t.Context(), "whirl_"+config.Instance+"_"+string(b.ID())+"_guest-hello-world", client.ContainerInspectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			group, err := cgroup.Of(found.Container.State.Pid, found.Container.ID)
			if err != nil {
				t.Fatal(err)
			}
			if err := freeze(found.Container.ID, group); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if err := b.Destroy(t.Context()); err != nil {
				t.Fatalf("Destroy = %v", err)
			}
			t.Logf("it took %s", time.Since(start))
		})
	}
	wantContainers(t, engine, config.Instance, 0)
}

func freezePart(t *testing.T, part *cgroup.Group) error {
	if part == nil {
		t.Skip("the machine has no such freezer")
	}
	return part.Freeze(t.Context())
}
