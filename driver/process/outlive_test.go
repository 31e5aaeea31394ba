// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/driver/process"
	"github.com/whirl-faas/whirl/whisk"
)

// recoverAll opens the driver of a dead agent's successor and takes over what there is.
func recoverAll(t testing.TB, config process.Config) (*process.Driver, map[whisk.ContainerID]*box) {
	t.Helper()
	driver := openDriver(t, config)
	found, err := driver.Recover(t.Context())
	if err != nil {
		t.Fatalf("Recover = %v", err)
	}
	boxes := map[whisk.ContainerID]*box{}
	for _, sandbox := range found {
		boxes[sandbox.ID()] = adopt(t, sandbox)
	}
	return driver, boxes
}

// readOutput collects what a sandbox writes to stdout, until told holds or it ends.
func readOutput(t testing.TB, sandbox whisk.Sandbox, told func(text string) bool) string {
	t.Helper()
	stdout, stderr := sandbox.Output()
	t.Cleanup(func() { stdout.Close(); stderr.Close() })
	if err := stdout.(*os.File).SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	chunk := make([]byte, 4096)
	for !told(text.String()) {
		n, err := stdout.Read(chunk)
		text.Write(chunk[:n])
		if err != nil {
			t.Fatalf("after %q: %v", text.String(), err)
		}
	}
	return text.String()
}

// awaitEnd waits for the end of a process, which is not ours.
func awaitEnd(t testing.TB, pid int) {
	t.Helper()
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	polled := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(20 * time.Second); ; {
		n, err := unix.Poll(polled, int(time.Until(deadline).Milliseconds()))
		if n > 0 {
			return
		}
		if err != unix.EINTR {
			t.Fatalf("process %d does not end: %v", pid, err)
		}
	}
}

// TestKilledAgentsSandboxesGoOn kills a real agent with a run under way, one sandbox frozen.
func TestKilledAgentsSandboxesGoOn(t *testing.T) {
	needRoot(t)
	config := keptConfig(t)
	reports, kill := startAgent(t, config)
	busy := reach(t, reports[1].Address)
	busy.do("print", values{"lines": 2}, nil)
	patient := reach(t, reports[2].Address)
	patient.do("print", values{"lines": 10_000}, nil) // 100 KB on each stream, which nobody reads
	answered := make(chan error, 1)
	go func() { answered <- busy.try("sleep", values{"ms": 1500}, nil) }()
	kill()
	if _, err := os.Stat(reports[1].Address.Address); err != nil {
		t.Errorf("the socket is gone with the agent: %v", err)
	}
	frozen := make(chan error, 1)
	driver, boxes := recoverAll(t, config)
	if len(boxes) != 3 {
		t.Fatalf("recovered are %d sandboxes, want 3", len(boxes))
	}
	go func() { frozen <- boxes["left_0"].try("echo", values{}, nil) }()
	if err := <-answered; err != nil {
		t.Errorf("the run that was under way: %v", err)
	}
	boxes["left_1"].do("print", values{"lines": 1}, nil)
	ends := func(text string) bool { return strings.Count(text, whisk.LogSentinel) == 3 }
	if text := readOutput(t, boxes["left_1"], ends); strings.Count(text, "out 0\n") != 2 || strings.Count(text, "out 1\n") != 1 {
		t.Errorf("the output is %q", text)
	}
	if stats, err := boxes["left_0"].Stats(t.Context()); err != nil || !stats.Suspended {
		t.Errorf("Stats of the frozen one = %+v, %v", stats, err)
	}
	select {
	case err := <-frozen:
		t.Errorf("the frozen sandbox answered: %v", err)
	default:
	}
	if err := boxes["left_0"].Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-frozen; err != nil {
		t.Errorf("the resumed sandbox: %v", err)
	}
	stats, err := boxes["left_2"].Stats(t.Context())
	if err != nil || stats.Memory == 0 || stats.Suspended {
		t.Errorf("Stats = %+v, %v", stats, err)
	}
	if _, err := driver.Create(t.Context(), whisk.CreateSandbox{ID: "left_2", Spec: testSpec}); whisk.KindOf(err) != whisk.Conflict {
		t.Errorf("Create of an id that is in use = %v", err)
	}
	newBox(t, driver, testSpec).do("echo", values{}, nil)
}

// TestOutOfMemoryWithoutAnAgent has the kernel kill a process of a sandbox while nobody watches. What
// is left of it is not to be trusted.
func TestOutOfMemoryWithoutAnAgent(t *testing.T) {
	needRoot(t)
	config := keptConfig(t)
	reports, kill := startAgent(t, config)
	kill()
	_ = reach(t, reports[1].Address).try("childAllocates", values{"mb": 500}, nil) // it may take all with it
	_, boxes := recoverAll(t, config)
	b := boxes["left_1"]
	if b == nil {
		t.Fatal("it was not recovered")
	}
	select {
	case <-b.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("it lives on")
	}
	if exit := b.Exit(); !exit.OutOfMemory {
		t.Errorf("Exit = %+v, want out of memory", exit)
	}
}

// testCreator is an agent that makes and destroys sandboxes as fast as it can.
func testCreator(args []string) {
	config := process.Default()
	if err := json.Unmarshal([]byte(args[0]), &config); err != nil {
		panic(err)
	}
	driver, err := process.Open(config)
	if err != nil {
		panic(err)
	}
	if _, err := driver.Recover(context.Background()); err != nil {
		panic(err)
	}
	var lanes sync.WaitGroup
	for lane := range 3 {
		lanes.Go(func() {
			for i := 0; ; i++ {
				id := whisk.ContainerID(fmt.Sprintf("c%d_%d", lane, i))
				s, err := driver.Create(context.Background(), whisk.CreateSandbox{ID: id, Spec: testSpec})
				if err == nil && i%3 > 0 {
					err = s.Destroy(context.Background())
				} else if err == nil && i%2 == 0 {
					err = s.Suspend(context.Background())
				}
				if err != nil {
					panic(err)
				}
				fmt.Println(id)
			}
		})
	}
	lanes.Wait()
}

// TestKilledAmidCreations kills agents that are making sandboxes. Each that is there must
// be found, and work; nothing else may run.
func TestKilledAmidCreations(t *testing.T) {
	needRoot(t)
	for _, enough := range []int{1, 2, 5, 9} {
		config := keptConfig(t)
		text, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		agent := exec.Command("/proc/self/exe", "whirl-test-creator", string(text))
		agent.Stderr = os.Stderr
		stdout, err := agent.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := agent.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stdout)
		for range enough {
			if !lines.Scan() {
				t.Error("the agent ended by itself")
			}
		}
		_ = agent.Process.Kill()
		_ = agent.Wait()
		driver, boxes := recoverAll(t, config)
		for id, b := range boxes {
			err := b.Resume(t.Context())
			if err == nil {
				err = b.try("echo", values{}, nil)
			}
			if err != nil { // then it was just being destroyed
				select {
				case <-b.Done():
				case <-time.After(20 * time.Second):
					t.Errorf("%s runs and does not work: %v", id, err)
				}
			}
			stdout, stderr := b.Output()
			if err := errors.Join(b.Destroy(t.Context()), stdout.Close(), stderr.Close()); err != nil {
				t.Error(err)
			}
		}
		for _, dir := range cgroupsOf(t, config.Instance) {
			if strings.Contains(dir, "/c") && filepath.Base(dir)[0] == 'c' {
				t.Errorf("with %d recovered, the cgroup %s is left", len(boxes), dir)
			}
		}
		newBox(t, driver, testSpec).do("echo", values{}, nil)
	}
}

// TestRecoverLeaksNothing makes, recovers and destroys a hundred sandboxes in all.
func TestRecoverLeaksNothing(t *testing.T) {
	needRoot(t)
	config := keptConfig(t)
	config.Network = process.Outbound
	round := func(i int) {
		driver := openDriver(t, config)
		if _, err := driver.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		var makers sync.WaitGroup
		for j := range 20 {
			makers.Go(func() {
				id := whisk.ContainerID(fmt.Sprintf("round_%d_%d", i, j))
				s, err := driver.Create(t.Context(), whisk.CreateSandbox{ID: id, Spec: testSpec})
				if err == nil && j == 0 {
					err = s.Suspend(t.Context())
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		makers.Wait()
		if err := driver.Die(); err != nil {
			t.Fatal(err)
		}
		next := mustOpenTB(t, config)
		found, err := next.Recover(t.Context())
		if err != nil || len(found) != 20 {
			t.Fatalf("Recover = %d sandboxes, %v", len(found), err)
		}
		for j, s := range found {
			stdout, stderr := s.Output()
			if err := errors.Join(s.Destroy(t.Context()), stdout.Close(), stderr.Close()); err != nil {
				t.Error(err)
			}
			if j == 3 {
				_, _ = io.Copy(io.Discard, stdout) // closed, and so at its end
			}
		}
		if err := next.Die(); err != nil { // the keeper goes on for a moment without anything to keep
			t.Fatal(err)
		}
	}
	round(0)
	before := countBelongings(t, config.Instance)
	for i := range 4 {
		round(i + 1)
	}
	var after belongings
	same := func() bool {
		after = countBelongings(t, config.Instance)
		return after.Files <= before.Files && after.Mounts <= before.Mounts && after.Children <= before.Children && after.Goroutines <= before.Goroutines
	}
	if !within(5*time.Second, same) {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	driver := openDriver(t, config)
	newBox(t, driver, testSpec)
	keeper := keeperOf(t, config.StateDir)
	count := func() int {
		files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", keeper))
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	held := count()
	for i := range 20 {
		s, err := driver.Create(t.Context(), whisk.CreateSandbox{ID: whisk.ContainerID(fmt.Sprint("again_", i)), Spec: testSpec})
		if err != nil {
			t.Fatal(err)
		}
		stdout, stderr := s.Output()
		if err := errors.Join(s.Destroy(t.Context()), stdout.Close(), stderr.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if now := count(); now > held {
		t.Errorf("the keeper holds %d descriptors, it was %d", now, held)
	}
}

func mustOpenTB(t testing.TB, config process.Config) *process.Driver {
	t.Helper()
	driver, err := process.Open(config)
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	return driver
}

// TestRecoveredNetwork uses the outbound network before and after a kill.
func TestRecoveredNetwork(t *testing.T) {
	needRoot(t)
	config := keptConfig(t)
	config.Network = process.Outbound
	var asked atomic.Int32
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, asked.Add(1)) }))
	t.Cleanup(api.Close)
	config.API = api.URL
	location, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	gateway := "http://10.0.2.2:" + location.Port()
	driver := openDriver(t, config)
	s, err := driver.Create(t.Context(), whisk.CreateSandbox{ID: "far", Spec: testSpec})
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Start string }
	reach(t, s.Address()).do("get", values{"url": gateway}, &got) // and keeps the connection
	if err := driver.Die(); err != nil {
		t.Fatal(err)
	}
	_, boxes := recoverAll(t, config)
	if boxes["far"] == nil {
		t.Fatal("it was not recovered")
	}
	if boxes["far"].do("get", values{"url": gateway}, &got); got.Start != "2" {
		t.Errorf("the second answer is %q", got.Start)
	}
}
