// SPDX-License-Identifier: Apache-2.0

package keeper

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain gives the test binary its other lives: the keeper, a child, and a client
// of another user.
func TestMain(m *testing.M) {
	if Asked() {
		Main()
	}
	switch os.Args[0] {
	case childName:
		_, _ = os.Stdin.Read(make([]byte, 1)) // until it is killed, or told to end
		os.Exit(7)
	case strangerName:
		os.Exit(strange(os.Args[1]))
	}
	os.Exit(m.Run())
}

const childName, strangerName = "keeper-test-child", "keeper-test-stranger"

func testConfig(t testing.TB) Config {
	dir, err := os.MkdirTemp("", "keep")
	if err != nil {
		t.Fatal(err)
	}
	config := Config{Dir: dir, Program: thisProgram(t), Grace: time.Minute, Logger: slog.New(slog.DiscardHandler)}
	t.Cleanup(func() {
		if err := errors.Join(Clear(dir), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return config
}

func attach(t testing.TB, config Config) (*Keeper, map[string]Left) {
	t.Helper()
	k, left, err := Attach(config)
	if err != nil {
		t.Fatalf("Attach = %v", err)
	}
	t.Cleanup(k.Close)
	found := map[string]Left{}
	for _, one := range left {
		found[one.ID] = one
		t.Cleanup(one.Close)
	}
	return k, found
}

// startChild returns a child's pidfd, and a file whose end the child waits for.
func startChild(t testing.TB, k *Keeper, id string) (pidfd, told *os.File) {
	t.Helper()
	in, told, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, pidfd, err = k.Start(id, Order{Argv: []string{childName}}, []*os.File{in, null, null}, nil)
	if err = errors.Join(err, in.Close(), null.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pidfd.Close(); told.Close() })
	return pidfd, told
}

// awaitExit waits for a process's end.
func awaitExit(t testing.TB, pidfd *os.File) {
	t.Helper()
	conn, err := pidfd.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := pidfd.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	err = conn.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 && err == nil
	})
	if err != nil {
		t.Fatalf("it does not end: %v", err)
	}
}

// thisProgram is the file of the program that runs, open as long as the test.
func thisProgram(t testing.TB) *os.File {
	t.Helper()
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return program
}

func runs(t testing.TB, pidfd *os.File) bool {
	t.Helper()
	conn, err := pidfd.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var ready int
	if err := conn.Control(func(fd uintptr) { ready, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) }); err != nil {
		t.Fatal(err)
	}
	return ready == 0
}

func gone(t testing.TB, k *Keeper) {
	t.Helper()
	select {
	case <-k.Gone():
	case <-time.After(20 * time.Second):
		t.Fatal("the keeper goes on")
	}
}

// TestBothAreAlike takes a thread and a process through the life of a child.
func TestBothAreAlike(t *testing.T) {
	local := Local(thisProgram(t))
	t.Cleanup(local.Close)
	process, _ := attach(t, testConfig(t))
	for name, k := range map[string]*Keeper{"thread": local, "process": process} {
		t.Run(name, func(t *testing.T) {
			pidfd, told := startChild(t, k, "one")
			if exit, err := k.Reap("one"); exit != nil || err != nil {
				t.Errorf("Reap of a running child = %+v, %v", exit, err)
			}
			if _, _, err := k.Start("one", Order{Argv: []string{childName}}, nil, nil); err == nil {
				t.Error("two children have one name")
			}
			_ = told.Close()
			awaitExit(t, pidfd)
			for range 2 {
				if exit, err := k.Reap("one"); err != nil || exit == nil || exit.Status.ExitStatus() != 7 || exit.CPU <= 0 {
					t.Errorf("Reap = %+v, %v", exit, err)
				}
			}
			if err := errors.Join(k.Release("one"), k.Release("one")); err != nil {
				t.Errorf("Release = %v", err)
			}
			if _, err := k.Reap("one"); err == nil {
				t.Error("a released child is known")
			}
			running, _ := startChild(t, k, "one")
			if err := k.Release("one"); err != nil {
				t.Errorf("Release = %v", err)
			}
			awaitExit(t, running)
			_, _, err := k.Start("bad", Order{Argv: []string{childName}, Cloneflags: unix.CLONE_THREAD}, nil, nil)
			if !errors.Is(err, unix.EINVAL) {
				t.Errorf("Start with impossible flags = %v", err)
			}
			last, _ := startChild(t, k, "last")
			k.Close()
			awaitExit(t, last)
			if err := k.Release("last"); err != nil {
				t.Errorf("Release by who is closed = %v", err)
			}
		})
	}
}

// TestTheNextAgent gets what the last one said to keep, and nothing else goes on.
func TestTheNextAgent(t *testing.T) {
	config := testConfig(t)
	first, left := attach(t, config)
	if len(left) > 0 || first.Former() {
		t.Errorf("a new keeper has %v", left)
	}
	type note struct{ Says string }
	kept, _ := startChild(t, first, "kept")
	dead, told := startChild(t, first, "dead")
	loose, _ := startChild(t, first, "loose")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"kept", "dead"} {
		if err := first.Keep(id, note{id}, nil, reader, writer); err != nil {
			t.Fatalf("Keep = %v", err)
		}
	}
	if err := first.Keep("kept", nil, nil); err == nil {
		t.Error("Keep twice = nil")
	}
	if _, err := writer.WriteString("words"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(reader.Close(), writer.Close()); err != nil {
		t.Fatal(err)
	}
	first.Close()
	awaitExit(t, loose)
	_ = told.Close()
	awaitExit(t, dead)

	next, left := attach(t, config)
	if !next.Former() || len(left) != 2 || !runs(t, kept) {
		t.Fatalf("left are %v", left)
	}
	for id, one := range left {
		var said note
		if err := json.Unmarshal(one.Note, &said); err != nil || said.Says != id || len(one.Files) != 2 {
			t.Errorf("%s has the note %s and %d files", id, one.Note, len(one.Files))
		}
	}
	if exit := left["dead"].Exit; exit == nil || exit.Status.ExitStatus() != 7 || left["dead"].PID != nil {
		t.Errorf("the dead one is %+v", left["dead"])
	}
	words := make([]byte, 5)
	if _, err := io.ReadFull(left["kept"].Files[0], words); err != nil || string(words) != "words" {
		t.Errorf("the pipe has %q, %v", words, err)
	}
	if err := errors.Join(next.Release("kept"), next.Release("dead"), next.End()); err != nil {
		t.Error(err)
	}
	awaitExit(t, kept)
	gone(t, next)
	if Lives(config.Dir) {
		t.Error("a keeper without anything to keep lives on")
	}
}

// TestSignals holds that a keeper ends by SIGTERM only where it has no agent, and not with
// its agent's process group.
func TestSignals(t *testing.T) {
	config := testConfig(t)
	k, _ := attach(t, config)
	child, _ := startChild(t, k, "child")
	if err := k.Keep("child", nil, nil); err != nil {
		t.Fatal(err)
	}
	pid := pidOf(t, config.Dir)
	if session, err := unix.Getsid(pid); err != nil || session != pid {
		t.Errorf("its session is %d, %v; want its own", session, err)
	}
	for _, signal := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP} {
		if err := unix.Kill(pid, signal); err != nil {
			t.Fatal(err)
		}
		for range 1000 { // answers, until another goroutine of its has surely told it of the signal
			if _, err := k.Reap("child"); err != nil || !runs(t, child) {
				t.Fatalf("after %s: %v", signal, err)
			}
		}
	}
	k.Close()
	next, left := attach(t, config)
	if len(left) != 1 {
		t.Errorf("left are %v", left)
	}
	next.Close()
	for runs(t, child) { // it may not have noticed yet that its agent is gone
		if err := unix.Kill(pid, unix.SIGTERM); err != nil && err != unix.ESRCH {
			t.Fatal(err)
		}
	}
	awaitExit(t, child)
}

func pidOf(t testing.TB, dir string) (pid int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, lockName))
	if err == nil {
		err = json.Unmarshal(text, &pid)
	}
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// TestLives tells a keeper's directory from a dead one's, and from one that never had any.
func TestLives(t *testing.T) {
	config := testConfig(t)
	if Lives(config.Dir) {
		t.Error("nobody lives")
	}
	k, _ := attach(t, config)
	startChild(t, k, "child")
	if err := k.Keep("child", nil, nil); err != nil {
		t.Fatal(err)
	}
	k.Close()
	if !Lives(config.Dir) {
		t.Error("a keeper without an agent is taken for dead")
	}
	if err := Clear(config.Dir); err != nil || Lives(config.Dir) {
		t.Errorf("Clear = %v", err)
	}
}
