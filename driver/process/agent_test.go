// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/driver/process"
	"github.com/whirl-faas/whirl/whisk"
)

// agentReport is what a test agent says of a sandbox that it made.
type agentReport struct {
	Address whisk.Address
}

// testAgent makes sandboxes, freezes one of them, tells about them and then
// waits to be killed.
func testAgent(args []string) {
	config := process.Default()
	if err := json.Unmarshal([]byte(args[0]), &config); err != nil {
		panic(err)
	}
	driver, err := process.Open(config)
	if err != nil {
		panic(err)
	}
	for i := range 3 {
		s, err := driver.Create(context.Background(), whisk.CreateSandbox{ID: whisk.ContainerID(fmt.Sprint("left_", i)), Spec: testSpec})
		if err != nil {
			panic(err)
		}
		if i == 0 {
			err = s.Suspend(context.Background())
		}
		if err != nil {
			panic(err)
		}
		if err := json.NewEncoder(os.Stdout).Encode(agentReport{Address: s.Address()}); err != nil {
			panic(err)
		}
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// startAgent starts a test agent and waits for its sandboxes. It is killed at
// the end of the test, or by kill.
func startAgent(t *testing.T, config process.Config) (reports []agentReport, kill func()) {
	t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	agent := exec.Command("/proc/self/exe", "whirl-test-agent", string(text))
	agent.Stderr = os.Stderr
	stdout, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := agent.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = agent.Process.Kill()
		_ = agent.Wait()
	}
	t.Cleanup(kill)
	lines := bufio.NewScanner(stdout)
	for len(reports) < 3 && lines.Scan() {
		var report agentReport
		if err := json.Unmarshal(lines.Bytes(), &report); err != nil {
			t.Fatal(err)
		}
		reports = append(reports, report)
	}
	if len(reports) < 3 {
		t.Fatal("the agent did not make its sandboxes")
	}
	return reports, kill
}

func TestKilledAgentLeavesNothing(t *testing.T) {
	needRoot(t)
	config := testConfig(t)
	reports, kill := startAgent(t, config)
	if _, err := process.Open(config); err == nil || whisk.KindOf(err) != whisk.Conflict {
		t.Fatalf("Open beside a living agent = %v, want a conflict", err)
	}
	if len(cgroupsOf(t, config.Instance)) == 0 {
		lacking(t, "this machine has no cgroups for us")
	}
	kill()
	driver := openDriver(t, config)
	if found, err := driver.Recover(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("Recover = %v, %v; want nothing", found, err)
	}
	for _, report := range reports {
		if _, err := os.Stat(report.Address.Address); err == nil {
			t.Errorf("the socket %s is left", report.Address.Address)
		}
	}
	for _, dir := range cgroupsOf(t, config.Instance) {
		if strings.Contains(dir, "/left_") {
			t.Errorf("the cgroup %s is left", dir)
		}
	}
	newBox(t, driver, testSpec).do("echo", values{}, nil)
}

// cgroupsOf lists the directories of an instance in all hierarchies.
func cgroupsOf(t testing.TB, instance string) []string {
	t.Helper()
	var dirs []string
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && strings.Contains(path, "/whirl/"+instance) {
			dirs = append(dirs, path)
		}
		return nil // what vanishes meanwhile is not of this instance
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// belongings counts what a driver could leave behind in this process and on
// this machine.
type belongings struct {
	Files, Mounts, Children, Namespaces, Goroutines int
	Cgroups                                         []string
}

func countBelongings(t testing.TB, instance string) belongings {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	namespaces := map[string]bool{}
	children := 0
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, process := range processes {
		if name, err := os.Readlink(process + "/ns/net"); err == nil {
			namespaces[name] = true
		}
		if stat, err := os.ReadFile(process + "/stat"); err == nil {
			rest := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
			if rest[1] == fmt.Sprint(os.Getpid()) {
				children++
			}
		}
	}
	return belongings{
		Files: len(files), Mounts: strings.Count(string(mounts), "\n"), Children: children,
		Namespaces: len(namespaces), Goroutines: runtime.NumGoroutine(), Cgroups: cgroupsOf(t, instance),
	}
}

func TestFiftySandboxesLeaveNothing(t *testing.T) {
	needRoot(t)
	config := testConfig(t)
	config.Network = process.Outbound
	driver := openDriver(t, config)
	cycle := func(i int) error {
		s, err := driver.Create(t.Context(), whisk.CreateSandbox{ID: whisk.ContainerID(fmt.Sprint("cycle_", i)), Spec: testSpec})
		if err != nil {
			return err
		}
		stdout, stderr := s.Output()
		if i%3 == 0 {
			err = s.Suspend(t.Context())
		}
		return errors.Join(err, s.Destroy(t.Context()), stdout.Close(), stderr.Close())
	}
	if err := cycle(0); err != nil { // what is made once is made now
		t.Fatal(err)
	}
	before := countBelongings(t, config.Instance)
	var lanes sync.WaitGroup
	for lane := range 5 {
		lanes.Go(func() {
			for i := range 10 {
				if err := cycle(1 + 10*lane + i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	lanes.Wait()
	var after belongings
	same := func() bool {
		after = countBelongings(t, config.Instance)
		return after.Files <= before.Files && after.Mounts <= before.Mounts && after.Children <= before.Children &&
			after.Goroutines <= before.Goroutines && slices.Equal(after.Cgroups, before.Cgroups)
	}
	if !within(5*time.Second, same) {
		t.Fatalf("before %+v\nafter %+v", before, after)
	}
}

const nobody = 65534

// TestRootless runs TestAsOrdinaryUser as the user nobody, once without any
// cgroup and once with a version 2 group that was delegated to the user.
func TestRootless(t *testing.T) {
	needRoot(t)
	binary := publicCopy(t)
	run := func(t *testing.T, attributes *syscall.SysProcAttr) {
		test := exec.Command(binary, "-test.run=^TestAsOrdinaryUser$", "-test.v")
		test.Dir = "/"
		test.Env = []string{"PATH=/usr/bin:/bin", "TMPDIR=/tmp", "HOME=/", "CI=" + os.Getenv("CI")}
		attributes.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		test.SysProcAttr = attributes
		output, err := test.CombinedOutput()
		t.Logf("as nobody:\n%s", output)
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Run("WithoutCgroups", func(t *testing.T) { run(t, &syscall.SysProcAttr{}) })
	t.Run("Delegated", func(t *testing.T) {
		group := delegatedGroup(t)
		run(t, &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())})
	})
}

// publicCopy copies the test binary to where nobody can run it.
func publicCopy(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for path := dir; path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "process.test")
	if err := os.WriteFile(binary, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return binary
}

// delegatedGroup makes a version 2 group that belongs to nobody, as systemd does
// with Delegate=yes.
func delegatedGroup(t *testing.T) *os.File {
	t.Helper()
	mount := "/sys/fs/cgroup"
	if _, err := os.Stat(mount + "/cgroup.controllers"); err != nil {
		mount += "/unified"
	}
	dir, err := os.MkdirTemp(mount, "whirl_test_")
	if err != nil {
		lacking(t, "no version 2 cgroups: "+err.Error())
	}
	t.Cleanup(func() {
		for _, sub := range []string{"/whirl-agent", "/whirl", ""} {
			if err := syscall.Rmdir(dir + sub); err != nil && err != syscall.ENOENT {
				t.Errorf("the cgroup %s%s is left: %v", dir, sub, err)
			}
		}
	})
	for _, name := range []string{"", "/cgroup.procs", "/cgroup.subtree_control", "/cgroup.threads"} {
		if err := os.Chown(dir+name, nobody, nobody); err != nil {
			lacking(t, "cannot delegate a cgroup: "+err.Error())
		}
	}
	group, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { group.Close() })
	return group
}

// TestAsOrdinaryUser is the part of the tests that holds without any privilege.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("TestRootless runs this as an ordinary user")
	}
	config := testConfig(t)
	config.PIDs = 40
	driver, err := process.Open(config)
	if err != nil && whisk.KindOf(err) == whisk.Unavailable && os.Getenv("CI") != "true" {
		t.Skipf("this machine says no: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := driver.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	weak := strings.Join(driver.Capabilities().Weak, "\n")
	t.Run("Isolation", func(t *testing.T) {
		b := newBox(t, driver, testSpec)
		var f sandboxFacts
		b.do("facts", nil, &f)
		checkFacts(t, f)
		if f.UID != 1000 || f.GID != 1000 {
			t.Errorf("user %d, group %d; want 1000", f.UID, f.GID)
		}
	})
	t.Run("Suspend", func(t *testing.T) { testSuspend(t, newBox(t, driver, testSpec)) })
	t.Run("Memory", func(t *testing.T) {
		b := newBox(t, driver, testSpec)
		if err := b.try("childAllocates", values{"mb": 1000}, nil); err == nil {
			t.Error("the child got 1000 MB of 128")
		}
		<-b.Done()
		if exit := b.Exit(); !exit.OutOfMemory {
			t.Errorf("Exit = %+v, want out of memory", exit)
		}
	})
	t.Run("SharedMemory", func(t *testing.T) {
		// Only all three together are above its limit.
		b := newBox(t, driver, testSpec)
		b.do("write", values{"path": "/dev/shm/x", "size": 30 << 20}, nil)
		b.do("write", values{"path": "/tmp/x", "size": 60 << 20}, nil)
		_ = b.try("allocate", values{"mb": 45}, nil) // it may be killed before it answers
		select {
		case <-b.Done():
		case <-time.After(10 * time.Second):
			t.Fatal("it may have 135 MB of 128")
		}
		if exit := b.Exit(); !exit.OutOfMemory {
			t.Errorf("Exit = %+v, want out of memory", exit)
		}
	})
	t.Run("Processes", func(t *testing.T) {
		var got struct{ Started int }
		b := newBox(t, driver, testSpec)
		if b.do("forks", nil, &got); got.Started > 40 {
			t.Errorf("it started %d processes, want at most 40", got.Started)
		}
		newBox(t, driver, testSpec).do("echo", values{}, nil)
	})
	t.Run("Recover", func(t *testing.T) {
		config := keptConfig(t)
		former := openDriver(t, config)
		for _, id := range []whisk.ContainerID{"runs", "frozen"} {
			s, err := former.Create(t.Context(), whisk.CreateSandbox{ID: id, Spec: testSpec})
			if err == nil && id == "frozen" {
				err = s.Suspend(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := former.Die(); err != nil {
			t.Fatal(err)
		}
		next, boxes := recoverAll(t, config)
		if len(boxes) != 2 {
			t.Fatalf("recovered are %d sandboxes, want 2", len(boxes))
		}
		boxes["runs"].do("echo", values{}, nil)
		if stats, err := boxes["frozen"].Stats(t.Context()); err != nil || !stats.Suspended {
			t.Errorf("Stats of the frozen one = %+v, %v", stats, err)
		}
		if err := boxes["frozen"].Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		boxes["frozen"].do("echo", values{}, nil)
		_ = boxes["runs"].try("allocate", values{"mb": 500}, nil)
		<-boxes["runs"].Done()
		if exit := boxes["runs"].Exit(); !exit.OutOfMemory {
			t.Errorf("Exit = %+v, want out of memory", exit)
		}
		newBox(t, next, testSpec).do("echo", values{}, nil)
	})
	t.Run("Weak", func(t *testing.T) {
		if !strings.Contains(weak, "your own user") {
			t.Errorf("the weak points are not told:\n%s", weak)
		}
	})
}
