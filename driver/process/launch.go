// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/whirl-faas/whirl/driver/internal/cgroup"
	"github.com/whirl-faas/whirl/driver/process/internal/keeper"
	"github.com/whirl-faas/whirl/driver/process/internal/usernet"
	"github.com/whirl-faas/whirl/driver/process/stage"
	"github.com/whirl-faas/whirl/whisk"
	"golang.org/x/sys/unix"
)

// launch is the making of one sandbox. What it opens for the child only is
// closed at its end; all else belongs to the sandbox, whose Destroy undoes a
// launch that failed half way.
type launch struct {
	*sandbox
	recipe   recipe
	env      map[string]string // of the request
	probe    bool
	children []*os.File // the child's descriptors from 0 on
	control  *os.File
	device   *os.File // for the network stack; nil before there is one, and if there is none
}

func (l *launch) run(ctx context.Context) error {
	defer l.closeChildren()
	steps := []struct {
		name string
		do   func() error
	}{
		{"open pipes", l.pipes},
		{"listen", l.listen},
		{"open control stream", l.openControl},
		{"make cgroup", l.place},
		{"clone", l.spawn},
		{"enter cgroup", l.admit},
		{"build", func() error { return l.build(ctx) }},
		{"keep", l.keep},
	}
	for _, step := range steps {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// pipes opens what the child has as standard input, output and error.
func (l *launch) pipes() error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	l.children = append(l.children, null)
	for _, end := range []**os.File{&l.stdout, &l.stderr} {
		if *end, err = l.pipe(); err != nil {
			return err
		}
	}
	return nil
}

// pipe opens a pipe whose reading end is on the poller and whose writing end
// blocks, as programs expect. The sandbox's user owns it, so that it can open
// /dev/stdout.
func (l *launch) pipe() (*os.File, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	l.children = append(l.children, os.NewFile(uintptr(fds[1]), "output"))
	err := unix.SetNonblock(fds[0], true)
	reader := os.NewFile(uintptr(fds[0]), "output")
	if err == nil && !l.driver.rootless {
		err = unix.Fchown(fds[1], l.uid, l.uid)
		if l.keeper.Outlives() {
			_, _ = unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, unread) // or it stays at the usual 64 KB
		}
	}
	if err != nil {
		reader.Close()
		return nil, err
	}
	return reader, nil
}

// unread is how much a sandbox may write to a stream while it has no agent, before it has to
// wait: enough for what controllers have it run until the lease ends. It takes memory as
// it fills, and counts against the sandbox's. An ordinary user may not have many such
// pipes: above a bound the kernel makes all of the user's small.
const unread = 1 << 20

// listen makes the socket on which the runtime will accept. Connections wait in
// its queue until the runtime is up.
func (l *launch) listen() error {
	if l.driver.config.Ports != nil && !l.probe {
		return l.listenPublished()
	}
	path := l.driver.state.socketPath(l.id)
	if len(path) > maxSocketPath {
		return whisk.Errorf(whisk.Invalid, "socket path %s has %d bytes, %d are possible: choose a shorter state directory", path, len(path), maxSocketPath)
	}
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	l.children = append(l.children, os.NewFile(uintptr(socket), "listener"))
	if err := unix.Bind(socket, &unix.SockaddrUnix{Name: path}); err != nil {
		return fmt.Errorf("bind %s: %w", path, err)
	}
	l.socket = path
	return unix.Listen(socket, backlog)
}

// listenPublished makes a socket that other hosts reach. It is of the host's network, also
// in the sandbox: who owns it must be able to answer there and nothing else.
func (l *launch) listenPublished() error {
	const tries = 3
	for try := 1; ; try++ {
		socket, at, err := l.driver.config.Ports.Take(l.owner())
		if err != nil {
			return err
		}
		err = unix.Listen(int(socket.Fd()), backlog)
		if err == nil {
			l.published = at
			l.children = append(l.children, socket)
			return nil
		}
		err = errors.Join(fmt.Errorf("listen on %s: %w", at, err), socket.Close(), l.driver.config.Ports.GiveBack(at))
		if try == tries || !errors.Is(err, unix.EADDRINUSE) { // somebody was faster
			return err
		}
	}
}

// backlog is how many connections may wait for the runtime to accept them. The
// kernel lowers it to net.core.somaxconn.
const backlog = 4096

func (l *launch) openControl() error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	l.children = append(l.children, os.NewFile(uintptr(fds[1]), "control"))
	err = unix.SetNonblock(fds[0], true) // ours alone: it goes on the poller
	l.control = os.NewFile(uintptr(fds[0]), "control")
	return err
}

func (l *launch) place() error {
	if l.support == (cgroup.Support{}) {
		return nil
	}
	group, err := l.driver.tree.Create(string(l.id), cgroup.Limits{
		Memory: int64(l.spec.Memory),
		PIDs:   l.driver.config.PIDs,
		Share:  l.share(),
	})
	if err != nil {
		return err
	}
	l.group = group
	l.memoryEvent, err = group.WatchMemory()
	return err
}

// spawn clones the stage. It is a member of the unified cgroup from its first
// instruction.
func (l *launch) spawn() error {
	order := keeper.Order{
		Argv:       []string{stage.Argument},
		Env:        []string{"GOMAXPROCS=1"},
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
	}
	if l.network != Host {
		order.Cloneflags |= unix.CLONE_NEWNET
	}
	if l.driver.rootless {
		order.Cloneflags |= unix.CLONE_NEWUSER
		order.Users = []syscall.SysProcIDMap{{ContainerID: sandboxUID, HostID: os.Geteuid(), Size: 1}}
		order.Groups = []syscall.SysProcIDMap{{ContainerID: sandboxUID, HostID: os.Getegid(), Size: 1}}
		order.AmbientCaps = boundingSet()
	}
	var dir *os.File
	if l.group != nil {
		var err error
		if dir, err = l.group.OpenUnified(); err != nil {
			return err
		}
		if dir != nil {
			defer dir.Close()
		}
	}
	pid, pidfd, err := l.keeper.Start(string(l.id), order, l.children, dir)
	if err != nil {
		return err
	}
	l.first = &firstProcess{id: string(l.id), pid: pid, keeper: l.keeper, file: pidfd}
	l.namespace = pidNamespace(pid)
	l.watch()
	return nil
}

// boundingSet lists the capabilities that there are. Only root of a user namespace would
// keep its privileges through exec without more ado, and the stage is to be nobody's root.
func boundingSet() (set []uintptr) {
	for capability := range uintptr(unix.CAP_LAST_CAP + 1) {
		if held, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, capability, 0, 0, 0); err == nil && held == 1 {
			set = append(set, capability)
		}
	}
	return set
}

func (l *launch) admit() error {
	if l.group == nil {
		return nil
	}
	return l.group.Admit(l.first.pid)
}

// build hands the plan to the stage and waits until it became the runtime.
func (l *launch) build(ctx context.Context) error {
	defer l.control.Close()
	// Otherwise a stage that dies would leave its end open here.
	l.closeChildren()
	ctx, cancel := context.WithTimeoutCause(ctx, l.driver.config.StartTimeout,
		whisk.Errorf(whisk.Timeout, "the sandbox was not built within %s", l.driver.config.StartTimeout))
	defer cancel()
	plan := l.plan()
	var err error
	if plan.Self, err = l.driver.self.shown(l.driver.state, l.driver.log); err != nil && l.recipe.needsSelf() {
		return err
	}
	l.device, err = stage.Build(ctx, l.control, plan)
	return err
}

// keep has the sandbox outlive this process, if any of ours are to, and connects it. From then on
// it is what the next agent finds.
func (l *launch) keep() error {
	if !l.probe {
		if err := l.sandbox.keep(l.recipe.files, l.device); err != nil {
			return err
		}
	}
	if l.device != nil {
		l.connect(l.device)
		l.device = nil
	}
	if l.support.CPU {
		l.loops.Go(l.shareLoop)
	}
	return nil
}

// plan describes the inside of the sandbox.
func (l *launch) plan() stage.Plan {
	d := l.driver
	plan := stage.Plan{
		Base:      d.state.rootBase(),
		Hostname:  string(l.id[:min(len(l.id), 63)]),
		Argv:      l.recipe.Argv,
		Env:       l.environment(),
		Files:     l.recipe.files,
		Mounts:    l.recipe.Mounts,
		UID:       l.uid,
		Mapped:    d.rootless,
		Tmp:       int64(l.spec.Memory / 2), // so that a full /tmp is an error of a write, not the end
		Shm:       int64(min(l.spec.Memory/4, 64*whisk.MB)),
		OpenFiles: uint64(d.config.OpenFiles),
		Probe:     l.probe,
	}
	if !l.support.PIDs {
		plan.Processes = uint64(d.config.PIDs)
	}
	plan.Network.Own = l.network != Host
	switch l.network {
	case Outbound:
		plan.Network.Device, plan.Network.MTU = "tun0", usernet.MTU
		plan.Network.Address, plan.Network.Mask = usernet.Guest()
		plan.Resolv = usernet.ResolvConf()
	case Host:
		if data, err := os.ReadFile("/etc/resolv.conf"); err == nil {
			plan.Resolv = string(data)
		}
	}
	return plan
}

// needsSelf reports whether the runtime is the program of [Config.Self].
func (r recipe) needsSelf() bool { return len(r.Argv) > 0 && r.Argv[0] == "/whirl-self" }

// environment is all that the runtime gets to see, sorted.
func (l *launch) environment() []string {
	env := map[string]string{
		"PATH":            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME":            "/tmp",
		"TMPDIR":          "/tmp",
		"LANG":            "C.UTF-8",
		"WHIRL_LISTEN_FD": fmt.Sprint(stage.ListenFD),
	}
	if l.driver.apiHost != "" {
		env["__OW_API_HOST"] = l.driver.apiHost
	}
	maps.Copy(env, l.recipe.Env)
	maps.Copy(env, l.env)
	var list []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

func (l *launch) closeChildren() {
	for _, file := range l.children {
		file.Close()
	}
	l.children = nil
}

// undo removes what a failed launch left. It does not give up when the caller
// did, but it does not wait for ever either.
func (l *launch) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	var errs []error
	for _, pipe := range []*os.File{l.stdout, l.stderr, l.device} {
		if pipe != nil {
			errs = append(errs, pipe.Close())
		}
	}
	if l.control != nil {
		l.control.Close() // closed already if build was reached
	}
	if l.first == nil && l.memoryEvent != nil {
		errs = append(errs, l.memoryEvent.Close())
	}
	return errors.Join(append(errs, l.Destroy(ctx))...)
}
