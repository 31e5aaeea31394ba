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
	"syscall"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/runtimes/runtimetest"
	"github.com/whirl-faas/whirl/whisk"
)

// TestTheEnginesDeath kills the engine, which keeps its containers alive, in the
// midst of output, and starts it again. It is not parallel: no other test may
// need the engine meanwhile.
func TestTheEnginesDeath(t *testing.T) {
	if os.Getenv("WHIRL_PRIVATE_NETWORK") == "" {
		t.Fatal("this test kills the engine: run it by scripts/docker-engine run")
	}
	config := testConfig(t)
	driver := openDriver(t, config)
	b := newBox(t, driver, whisk.CreateSandbox{Spec: nodejsSpec})
	b.MustInit(t, runtimetest.Code{Code: printing}, nil)
	const lines = 20_000
	answered := make(chan runtimetest.Reply, 1)
	go func() { answered <- b.Run(t, map[string]int{"lines": lines}, nil) }()
	b.Stdout.Await(t, "out 2000\n")

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
	if out, err := exec.Command("../../scripts/docker-engine", "start").CombinedOutput(); err != nil {
		t.Fatalf("start the engine again: %v: %s", err, out)
	}
	if reply := <-answered; reply.Status != 200 {
		t.Fatalf("the run answered %+v", reply)
	}
	for which, output := range map[string]*runtimetest.Output{"out": b.Stdout, "err": b.Stderr} {
		got := strings.Split(output.Activations(t, 1)[0], "\n")
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
