// SPDX-License-Identifier: Apache-2.0

//go:build docker

package docker_test

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/whirl-faas/whirl/runtimes/runtimetest"
	"github.com/whirl-faas/whirl/whisk"
)

// The tests here kill the engine, which keeps its containers alive, and start it
// again. They are not parallel: no other test may need the engine meanwhile.

// TestTheEnginesDeath kills the engine while there is no output on its way, and has a
// container write before there is one again.
func TestTheEnginesDeath(t *testing.T) {
	config := testConfig(t)
	driver := openDriver(t, config)
	b := newBox(t, driver, whisk.CreateSandbox{Spec: nodejsSpec})
	b.MustInit(t, runtimetest.Code{Code: printing}, nil)
	if reply := b.Run(t, map[string]int{"lines": 2_000}, nil); reply.Status != 200 {
		t.Fatalf("the run before answered %+v", reply)
	}
	for _, output := range []*runtimetest.Output{b.Stdout, b.Stderr} {
		output.Activations(t, 1)
	}
	awaitJournal(t, inspect(t, config, b).ID)
	killEngine(t)

	const lines = 20_000
	answered := make(chan runtimetest.Reply, 1)
	go func() { answered <- b.Run(t, map[string]int{"lines": lines}, nil) }()
	if _, err := driver.Create(t.Context(), whisk.CreateSandbox{ID: "early", Spec: nodejsSpec}); err == nil {
		t.Error("Create works without an engine")
	}
	// What needs no engine goes on.
	if err := b.Suspend(t.Context()); err != nil {
		t.Errorf("Suspend without the engine = %v", err)
	}
	if err := b.Resume(t.Context()); err != nil {
		t.Errorf("Resume without the engine = %v", err)
	}
	startEngine(t)
	if reply := <-answered; reply.Status != 200 {
		t.Fatalf("the run answered %+v", reply)
	}
	for which, output := range map[string]*runtimetest.Output{"out": b.Stdout, "err": b.Stderr} {
		got := strings.Split(output.Activations(t, 2)[1], "\n")
		for i := range lines {
			if i >= len(got) || got[i] != fmt.Sprint(which, " ", i) {
				t.Fatalf("%s: line %d of %d is wrong: %q", which, i, len(got), got[min(i, len(got)-1)])
			}
		}
	}
	if reply := b.Run(t, map[string]int{"lines": 1}, nil); reply.Status != 200 {
		t.Errorf("a run after the restart answered %+v", reply)
	}
	start := time.Now()
	if err := b.Destroy(t.Context()); err != nil {
		t.Errorf("Destroy = %v", err)
	}
	t.Logf("Destroy took %s", time.Since(start))
}

// TestTheEnginesDeathInTheMidstOfOutput allows for what nobody can save: what the
// engine had read and neither passed on nor written down. It is little, and in one
// place, at which a line may be torn. All else comes once, in its order.
func TestTheEnginesDeathInTheMidstOfOutput(t *testing.T) {
	b := newBox(t, openDriver(t, testConfig(t)), whisk.CreateSandbox{Spec: nodejsSpec})
	b.MustInit(t, runtimetest.Code{Code: printing}, nil)
	const lines, most = 20_000, 1_000
	answered := make(chan runtimetest.Reply, 1)
	go func() { answered <- b.Run(t, map[string]int{"lines": lines}, nil) }()
	b.Stdout.Await(t, "out 2000\n")
	killEngine(t)
	startEngine(t)
	if reply := <-answered; reply.Status != 200 {
		t.Fatalf("the run answered %+v", reply)
	}
	for which, output := range map[string]*runtimetest.Output{"out": b.Stdout, "err": b.Stderr} {
		next, gaps, torn := 0, 0, 0
		for line := range strings.Lines(output.Activations(t, 1)[0]) {
			number, whole := strings.CutPrefix(strings.TrimSuffix(line, "\n"), which+" ")
			i, err := strconv.Atoi(number)
			if !whole || err != nil {
				t.Logf("%s: after line %d comes %q", which, next-1, line)
				if torn++; torn > 1 {
					t.Fatalf("%s: more is torn than the line at the gap", which)
				}
				continue
			}
			if i != next {
				t.Logf("%s: after line %d comes line %d", which, next-1, i)
				if gaps++; gaps > 1 || i < next || i > next+most {
					t.Fatalf("%s: it may miss %d lines in one place, and has none twice", which, most)
				}
			}
			next = i + 1
		}
		if next != lines || torn > gaps {
			t.Errorf("%s: it ends with line %d, with %d gaps and %d torn lines", which, next-1, gaps, torn)
		}
	}
}

// killEngine kills the engine of scripts/docker-engine.
func killEngine(t *testing.T) {
	t.Helper()
	if os.Getenv("WHIRL_PRIVATE_NETWORK") == "" {
		t.Fatal("this test kills the engine: run it by scripts/docker-engine run")
	}
	dir := cmp.Or(os.Getenv("WHIRL_DOCKER_DIR"), "/var/tmp/whirl-docker")
	text, err := os.ReadFile(dir + "/run/docker.pid")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// startEngine has scripts/docker-engine start it again, and waits until it answers.
func startEngine(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("../../scripts/docker-engine", "start").CombinedOutput(); err != nil {
		t.Fatalf("start the engine again: %v: %s", err, out)
	}
}

// awaitJournal waits until the engine has written down the sentinels of a first activation.
func awaitJournal(t *testing.T, id string) {
	t.Helper()
	stream, err := newEngine(t).ContainerLogs(t.Context(), id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr runtimetest.Output
	var copying sync.WaitGroup
	copying.Go(func() { _, _ = stdcopy.StdCopy(&stdout, &stderr, stream) }) // until it is closed
	defer copying.Wait()
	defer stream.Close()
	stdout.Activations(t, 1)
	stderr.Activations(t, 1)
}
