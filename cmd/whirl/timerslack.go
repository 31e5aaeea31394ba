// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Timer slack, in nanoseconds: how late the kernel may wake a thread that sleeps.
const (
	kernelSlack = 50_000
	ownSlack    = 1_000_000
)

// loosenTimers has the kernel wake this process's threads up to a millisecond late,
// if it is to serve and nobody else has chosen another slack.
//
// Go has a thread that looks for others that are stuck in system calls, every 20 µs
// while there is work, so that goroutines do not wait behind them. Where calls are as short as ours, that
// thread takes more of the processor than the balancer, and what it moves to other
// threads is hardly worth the move (docs/adr/0023). Slack is inherited, and that thread is
// there before main is: so the program starts anew, in the same process. If that
// fails, it goes on as it is. Sandboxes get the kernel's slack back.
func loosenTimers(args []string) {
	if len(args) < 2 || !slices.Contains([]string{"standalone", "controller", "scheduler", "agent"}, args[1]) {
		return
	}
	runtime.LockOSThread() // slack is of a thread
	defer runtime.UnlockOSThread()
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || slack != kernelSlack || unix.Prctl(unix.PR_SET_TIMERSLACK, ownSlack, 0, 0, 0) != nil {
		return
	}
	if path, err := os.Executable(); err == nil { // by its name, by which ps and pgrep know it from then on
		_ = syscall.Exec(path, args, os.Environ())
	}
}
