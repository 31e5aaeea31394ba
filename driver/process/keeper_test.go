// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/whisk"
)

// TestKilledKeeper holds that its sandboxes end with it, the frozen ones too, that this is
// noticed, and that there is another one soon.
func TestKilledKeeper(t *testing.T) {
	needRoot(t)
	config := keptConfig(t)
	driver := openDriver(t, config)
	running, frozen := newBox(t, driver, testSpec), newBox(t, driver, testSpec)
	running.do("echo", values{}, nil)
	if err := frozen.Suspend(t.Context()); err != nil {
		t.Fatal(err)
	}
	former := keeperOf(t, config.StateDir)
	if err := unix.Kill(former, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*box{running, frozen} {
		select {
		case <-b.Done():
		case <-time.After(20 * time.Second):
			t.Fatal("a sandbox is not known to be dead")
		}
		if b.Exit().Code != -int(unix.SIGKILL) {
			t.Errorf("Exit = %+v", b.Exit())
		}
		if err := b.Destroy(t.Context()); err != nil {
			t.Errorf("Destroy = %v", err)
		}
	}
	if !within(20*time.Second, func() bool { next := keeperOf(t, config.StateDir); return next != 0 && next != former }) {
		t.Fatal("there is no other keeper")
	}
	var err error
	created := func() bool {
		var s whisk.Sandbox
		if s, err = driver.Create(t.Context(), whisk.CreateSandbox{ID: "next", Spec: testSpec}); err != nil {
			return false
		}
		adopt(t, s).do("echo", values{}, nil)
		return true
	}
	if !within(20*time.Second, created) {
		t.Errorf("Create with the next keeper = %v", err)
	}
}

// TestKeeperAlone has no agent come before the grace ends.
func TestKeeperAlone(t *testing.T) {
	needRoot(t)
	config := keptConfig(t)
	config.Grace = 50 * time.Millisecond
	reports, kill := startAgent(t, config) // one of its sandboxes is frozen
	pid := keeperOf(t, config.StateDir)
	if pid == 0 {
		t.Fatal("there is no keeper")
	}
	kill()
	awaitEnd(t, pid)
	for _, report := range reports {
		if err := reach(t, report.Address).try("echo", values{}, nil); err == nil {
			t.Errorf("%s still answers", report.Address.Address)
		}
	}
	for _, dir := range cgroupsOf(t, config.Instance) {
		if strings.Contains(dir, "/left_") {
			t.Errorf("the cgroup %s is left", dir)
		}
	}
	words := &bytes.Buffer{}
	config.Logger = slog.New(slog.NewTextHandler(words, nil))
	driver, boxes := recoverAll(t, config)
	if len(boxes) > 0 {
		t.Errorf("recovered are %d sandboxes of a keeper that ended", len(boxes))
	}
	if !strings.Contains(words.String(), "3 sandboxes were ended") {
		t.Errorf("the next agent says %q", words)
	}
	newBox(t, driver, testSpec).do("echo", values{}, nil)
}

// TestStoppedKeeper stands for one that hangs: it is replaced.
func TestStoppedKeeper(t *testing.T) {
	needRoot(t)
	config := keptConfig(t)
	_, kill := startAgent(t, config)
	former := keeperOf(t, config.StateDir)
	kill()
	if err := unix.Kill(former, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	driver, boxes := recoverAll(t, config)
	if len(boxes) > 0 {
		t.Errorf("recovered are %d sandboxes", len(boxes))
	}
	awaitEnd(t, former)
	newBox(t, driver, testSpec).do("echo", values{}, nil)
	for _, dir := range cgroupsOf(t, config.Instance) {
		if strings.Contains(dir, "/left_") {
			t.Errorf("the cgroup %s is left", dir)
		}
	}
}

// TestKeeperThatMakesNoSandboxes is one whose limits were set too low since: the next agent
// does without it.
func TestKeeperThatMakesNoSandboxes(t *testing.T) {
	needRoot(t)
	config := keptConfig(t)
	_, kill := startAgent(t, config)
	former := keeperOf(t, config.StateDir)
	kill()
	limit := unix.Rlimit{Cur: 24, Max: 24} // descriptors: enough to give some back, not to take more
	if err := unix.Prlimit(former, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	words := &bytes.Buffer{}
	config.Logger = slog.New(slog.NewTextHandler(words, nil))
	driver, boxes := recoverAll(t, config)
	if len(boxes) > 0 || !strings.Contains(words.String(), "makes no sandboxes here") {
		t.Errorf("recovered are %d sandboxes; it says %q", len(boxes), words)
	}
	newBox(t, driver, testSpec).do("echo", values{}, nil)
}

// otherVersion plays a keeper of another version: it locks, listens, and answers with a number.
func otherVersion(args []string) {
	dir := args[0]
	lock, err := os.OpenFile(dir+"/keeper.lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err == nil {
		_, err = lock.WriteString(strconv.Itoa(os.Getpid()))
	}
	if err != nil {
		panic(err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err == nil {
		err = errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: dir + "/keeper"}), unix.Listen(fd, 1))
	}
	if err != nil {
		panic(err)
	}
	fmt.Println("ready")
	for {
		conn, _, err := unix.Accept(fd)
		if err == nil {
			_, err = unix.Write(conn, []byte(`{"Version":99}`))
		}
		if err != nil {
			panic(err)
		}
	}
}

func TestKeeperOfAnotherVersion(t *testing.T) {
	needRoot(t)
	config := keptConfig(t)
	if err := os.MkdirAll(config.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	other := exec.Command("/proc/self/exe", "whirl-test-other-version", config.StateDir)
	stdout, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Process.Kill() })
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatal(line, err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = other.Wait() }()
	words := &bytes.Buffer{}
	config.Logger = slog.New(slog.NewTextHandler(words, nil))
	driver, _ := recoverAll(t, config)
	<-ended
	if status, ok := other.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Errorf("the other keeper ended with %v", other.ProcessState)
	}
	if !strings.Contains(words.String(), "it is of version 99") {
		t.Errorf("the agent says %q", words)
	}
	newBox(t, driver, testSpec).do("echo", values{}, nil)
}
