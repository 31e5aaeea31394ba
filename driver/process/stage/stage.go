// SPDX-License-Identifier: Apache-2.0

// Package stage is the first program of a sandbox: cloned into fresh namespaces
// by the driver, it builds the sandbox around itself, gives up every privilege
// and becomes the runtime by exec.
//
// The driver starts a program that has this package in it with the argument [Argument], the
// listening socket as descriptor 3 and one end of a stream socket as descriptor
// 4, and hands it a [Plan]. Until the plan arrives the stage does nothing, so
// the driver has time to move it into its cgroups. The stage sends the tun
// device, if one was asked for, and then either the word that it is ready
// followed by the end of the stream, which only exec can close, or the step
// that went wrong. See [Build].
//
// All of it runs on one locked thread, because privileges belong to threads; the
// other threads of the Go runtime end with exec.
//
// # Before main
//
// A process that was started as a stage becomes one in this package's init. Go initialises
// packages one by one: of those whose imports all are, the one whose path comes first. To
// initialise all of a large program takes longer than what a stage has to do, and it
// needs none of that; for this reason whirl-sandbox is a program that has nothing else in it.
// And so this package imports only what is initialised early anyway, which package net, for
// one, is not. A test says when that has changed, docs/adr/0027 what it brings.
package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Argument is what the stage is started with, as its name. Whatever program has this package
// becomes a stage then, and its main never runs.
const Argument = "whirl-sandbox-stage"

// The descriptors of the stage.
const (
	ListenFD  = 3 // becomes the runtime's
	controlFD = 4
)

// Plan says what the sandbox looks like from inside.
type Plan struct {
	Base      string   // an empty directory of the host to build the root on
	Hostname  string   // at most 64 bytes
	Argv      []string // absolute path first
	Env       []string
	Files     string   // host directory that is shown at /whirl, "" for none
	Mounts    []string // host paths that are shown at the same place
	Self      string   // host path of a program that is shown at /whirl-self, "" for none
	UID       int      // of the runtime, and its group
	Mapped    bool     // a user namespace has given it UID already
	Tmp, Shm  int64    // sizes in bytes
	OpenFiles uint64
	Processes uint64 // 0 where a cgroup bounds them
	Resolv    string // content of /etc/resolv.conf
	Network   Network
	Probe     bool // end with success instead of exec: a trial
}

// Network says what the sandbox's network namespace holds.
type Network struct {
	Own     bool   // it has one; otherwise it shares the host's
	Device  string // a tun device to make, "" for none
	Address [4]byte
	Mask    [4]byte
	MTU     uint32
}

// Failure is the step of the stage that went wrong.
type Failure struct {
	Step  string
	Text  string
	Errno syscall.Errno // 0 if it was no system call
}

// Error returns the step and the cause.
func (f *Failure) Error() string { return f.Step + ": " + f.Text }

// Unwrap returns the system call's error, or nil.
func (f *Failure) Unwrap() error {
	if f.Errno == 0 {
		return nil
	}
	return f.Errno
}

func init() {
	if len(os.Args) == 1 && os.Args[0] == Argument {
		main()
	}
}

// main is the stage. It does not return.
func main() {
	runtime.LockOSThread()
	control := &control{file: os.NewFile(controlFD, "control")}
	plan, err := control.receive()
	if err != nil {
		os.Exit(2) // the driver is gone, and nobody reads
	}
	control.report(run(plan, control))
	os.Exit(1)
}

// kernelSlack is how late the kernel wakes a thread at most, in ns, if nobody has
// chosen otherwise. Agents have, for themselves.
const kernelSlack = 50_000

// NetworkStep is the step of a [Failure] to make the sandbox's network.
const NetworkStep = "set up the network"

// run carries the plan out, step by step. It returns only what went wrong.
func run(plan Plan, control *control) error {
	root := root{base: plan.Base}
	steps := []struct {
		name string
		do   func() error
	}{
		{"keep files from the runtime", closeFilesOnExec},
		{"prefer it for the out-of-memory killer", func() error { return os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0) }},
		{"have exact timers again", func() error { return unix.Prctl(unix.PR_SET_TIMERSLACK, kernelSlack, 0, 0, 0) }},
		{"hide the cgroups", func() error { return unix.Unshare(unix.CLONE_NEWCGROUP) }},
		{NetworkStep, func() error { return setNetwork(plan.Network, control) }},
		{"set the host name", func() error { return unix.Sethostname([]byte(plan.Hostname)) }},
		{"start an empty root", root.start},
		{"show the system's programs", root.addSystem},
		{"write /etc", func() error { return root.addEtc(plan) }},
		{"make /dev", func() error { return root.addDevices(plan.Shm) }},
		{"mount /proc", root.addProc},
		{"make /tmp", func() error { return root.addTmp(plan.Tmp) }},
		{"show the runtime's files", func() error { return root.addRuntime(plan) }},
		{"enter the root", root.enter},
		{"set resource limits", func() error { return setLimits(plan) }},
		{"give up privileges", func() error { return dropPrivileges(plan) }},
		{"die with the agent", control.bindLife},
		{"filter system calls", filterSyscalls},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return failure(step.name, err)
		}
	}
	control.ready()
	if plan.Probe {
		os.Exit(0)
	}
	return failure("exec "+plan.Argv[0], syscall.Exec(plan.Argv[0], plan.Argv, plan.Env))
}

func failure(step string, err error) *Failure {
	errno, _ := errors.AsType[syscall.Errno](err)
	return &Failure{Step: step, Text: err.Error(), Errno: errno}
}

// closeFilesOnExec leaves the runtime the listening socket and its standard
// streams. The agent opens no file that others inherit, but whoever started the
// agent may have, and a directory of the host would lead out of the root.
func closeFilesOnExec() error {
	return unix.CloseRange(controlFD, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
}

// setLimits sets what cgroups do not bound. Real-time priorities, which a user may
// have been granted, would let a sandbox take a CPU from the machine. A core limit
// of 1 is the only one at which the kernel does not start the host's handler of
// cores for a crash in a sandbox, as 0 lets it; see core(5).
func setLimits(plan Plan) error {
	limits := map[int]uint64{
		unix.RLIMIT_CORE:   1,
		unix.RLIMIT_NOFILE: plan.OpenFiles,
		unix.RLIMIT_RTPRIO: 0,
		unix.RLIMIT_NICE:   0,
	}
	if plan.Processes > 0 {
		limits[unix.RLIMIT_NPROC] = plan.Processes
	}
	for resource, limit := range limits {
		// Of package syscall: it knows that the limit of open files is not to be
		// put back by exec.
		if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("resource %d to %d: %w", resource, limit, err)
		}
	}
	return nil
}

// The words of the stage. A failure is a JSON object on a line of its own.
const (
	tunWord   = "tun\n"
	readyWord = "ready\n"
)

// control is the stage's end of the stream.
type control struct{ file *os.File }

func (c *control) receive() (Plan, error) {
	var plan Plan
	err := json.NewDecoder(c.file).Decode(&plan)
	return plan, err
}

func (c *control) sendTun(fd int) error {
	return unix.Sendmsg(controlFD, []byte(tunWord), unix.UnixRights(fd), nil, 0)
}

// The driver may be gone when words are sent; the death signal tells that better.
func (c *control) ready() { _, _ = c.file.WriteString(readyWord) }

func (c *control) report(err error) {
	_ = json.NewEncoder(c.file).Encode(err)
}

// bindLife makes the kernel kill the sandbox when the agent's thread that made
// it ends. The agent may have ended before that: then nobody holds the other
// end of the stream.
func (c *control) bindLife() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	fds := []unix.PollFd{{Fd: controlFD}}
	if _, err := unix.Poll(fds, 0); err != nil && err != unix.EINTR {
		return err
	}
	if fds[0].Revents&unix.POLLHUP != 0 {
		return errors.New("the agent has ended")
	}
	return nil
}
