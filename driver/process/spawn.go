// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/driver/process/internal/keeper"
)

// InitKeeper turns this process into the keeper of sandboxes, if it was started to be
// one, and then does not return. In any other process it returns at once. It must be
// the first call of main, and of TestMain. What was started to be the first process
// of a sandbox does not get as far as main: see package stage.
func InitKeeper() {
	if keeper.Asked() {
		keeper.Main()
	}
}

// firstProcess is process 1 of a sandbox, a child of the keeper.
type firstProcess struct {
	id     string
	pid    int // 0 if a former agent started it
	keeper *keeper.Keeper
	file   *os.File     // its pidfd, on the poller: waiting for an end costs no thread. nil once it was reaped
	exit   *keeper.Exit // how it ended before we came; nil otherwise
}

// kill is safe at any time: the descriptor never names another process.
func (p *firstProcess) kill() error {
	if p.file == nil {
		return nil
	}
	conn, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	err = conn.Control(func(fd uintptr) { failure = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) })
	if err != nil || errors.Is(failure, unix.ESRCH) {
		return nil // the descriptor is closed once the process was reaped
	}
	return failure
}

// wait waits for the process's end and has it reaped. It is called once. It returns
// false if the process is left to another agent before.
func (p *firstProcess) wait() (exit keeper.Exit, ended bool) {
	if p.exit != nil {
		return *p.exit, true
	}
	conn, err := p.file.SyscallConn()
	if err != nil {
		return exit, false
	}
	var known *keeper.Exit
	err = conn.Read(func(fd uintptr) bool {
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(polled, 0); n <= 0 && err != unix.EINTR {
			return false
		}
		var reaped error
		if known, reaped = p.keeper.Reap(p.id); reaped != nil {
			known = &keeper.Exit{Status: syscall.WaitStatus(syscall.SIGKILL)} // with its keeper, and somebody else reaps it
		}
		return known != nil
	})
	if err != nil || known == nil {
		return exit, false
	}
	return *known, true
}

func (p *firstProcess) close() {
	if p.file != nil {
		p.file.Close()
	}
}
