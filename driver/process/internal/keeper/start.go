// SPDX-License-Identifier: Apache-2.0

package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// argument is what a keeper is started with, as its name; its directory follows.
	argument = "whirl-sandbox-keeper"
	// forkVariable tells it to start another one and end, so that it has no parent.
	forkVariable = "WHIRL_KEEPER_FORK"
)

// start starts a keeper that holds the lock and listens when this returns.
func start(config Config, lock *os.File) error {
	tellLastWords(config)
	words, err := os.OpenFile(filepath.Join(config.Dir, logName), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer words.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	listener, err := listen(filepath.Join(config.Dir, socketName))
	if err != nil {
		return err
	}
	defer unix.Close(listener)
	pid, err := syscall.ForkExec("/proc/self/exe", []string{argument, config.Dir}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   append(environment(), forkVariable+"=1"),
		Files: []uintptr{null.Fd(), null.Fd(), words.Fd(), lock.Fd(), uintptr(listener)},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	var status syscall.WaitStatus
	for {
		if _, err = syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
			break
		}
	}
	if err != nil || status != 0 {
		return fmt.Errorf("its first process ended with status %d, %v", status.ExitStatus(), err)
	}
	return nil
}

// environment is a keeper's. It is small, and has nothing of ours.
func environment() []string { return []string{"GOMAXPROCS=1", "GOGC=25", "GOMEMLIMIT=32MiB"} }

func tellLastWords(config Config) {
	words, err := os.ReadFile(filepath.Join(config.Dir, logName))
	if err == nil && len(words) > 0 {
		config.Logger.Warn("last words of the former keeper of sandboxes", "words", strings.TrimSpace(string(words[:min(len(words), 4096)])))
	}
}

func listen(path string) (int, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err = unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err == nil {
		err = unix.Listen(fd, 16)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("listen on %s: %w", path, err)
	}
	return fd, nil
}

// forkAgain starts the keeper proper from its first process, which then ends and
// leaves it without a parent. What whoever started the agent may have left open
// stays here.
func forkAgain() int {
	_ = unix.CloseRange(listenFD+1, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC)
	_, err := syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{
		Env:   environment(),
		Files: []uintptr{0, 1, 2, lockFD, listenFD},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "keeper: start it:", err)
		return 1
	}
	return 0
}
