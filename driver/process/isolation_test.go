// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/whirl-faas/whirl/driver/process"
	"github.com/whirl-faas/whirl/whisk"
	"golang.org/x/sys/unix"
)

// checkFacts holds what must be true of every sandbox, whoever made it.
func checkFacts(t *testing.T, f sandboxFacts) {
	t.Helper()
	if f.Pid != 1 || f.Session != 1 {
		t.Errorf("pid %d, session %d: want both 1", f.Pid, f.Session)
	}
	if !slices.Equal(f.Processes, []int{1}) {
		t.Errorf("it sees the processes %v, want itself alone", f.Processes)
	}
	for _, want := range []string{
		"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000",
		"CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2",
	} {
		if !strings.Contains(f.Status, want+"\n") {
			t.Errorf("/proc/self/status lacks %q", want)
		}
	}
	if f.NoFile != 4096 || f.Core != 1 || f.RealTime != 0 {
		t.Errorf("limits: %d open files, cores of %d, real-time priority %d; want 4096, 1 and 0", f.NoFile, f.Core, f.RealTime)
	}
	for _, file := range f.Files {
		if _, target, _ := strings.Cut(file, " "); strings.HasPrefix(target, "/") && target != "/dev/null" && !strings.HasPrefix(target, "/proc/") {
			t.Errorf("the descriptor %s leads out of the sandbox", file)
		}
	}
	if slices.ContainsFunc(f.Root, func(name string) bool {
		return slices.Contains([]string{"root", "home", "var", "sys", "run", "boot"}, name)
	}) {
		t.Errorf("the root holds %v", f.Root)
	}
	for line := range strings.Lines(f.Mounts) {
		fields := strings.Fields(line)
		writable := slices.Contains([]string{"/tmp", "/dev/shm", "/proc"}, fields[4]) || strings.HasPrefix(fields[4], "/dev/") || covered(fields[4])
		if options := strings.Split(fields[5], ","); !writable && !slices.Contains(options, "ro") || !slices.Contains(options, "nosuid") {
			t.Errorf("mount %s has the options %s", fields[4], fields[5])
		}
	}
	for line := range strings.Lines(f.Cgroups) {
		if !strings.HasSuffix(line, ":/\n") {
			t.Errorf("it sees its place among the cgroups: %s", line)
		}
	}
}

// covered paths of /proc have /dev/null on them.
func covered(path string) bool { return strings.HasPrefix(path, "/proc/") }

func TestSandboxSeesOnlyItself(t *testing.T) {
	needRoot(t)
	driver := openDriver(t, testConfig(t))
	one := newBoxEnv(t, driver, testSpec, map[string]string{"WANTED": "yes", "HOME": "/tmp/home"})
	two := newBox(t, driver, testSpec)
	var a, b sandboxFacts
	one.do("facts", nil, &a)
	two.do("facts", nil, &b)
	checkFacts(t, a)
	checkFacts(t, b)
	if a.UID == b.UID || a.UID < 1_000_000 || a.UID != a.GID || len(a.Groups) != 0 {
		t.Errorf("users %d and %d, group %d, groups %v: want users of their own, far up, and no groups", a.UID, b.UID, a.GID, a.Groups)
	}
	if a.Host != string(one.ID()) {
		t.Errorf("host name %q, want %q", a.Host, one.ID())
	}
	slices.Sort(a.Environment)
	want := []string{
		"HOME=/tmp/home", "LANG=C.UTF-8", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"TMPDIR=/tmp", "WANTED=yes", "WHIRL_LISTEN_FD=3",
	}
	if !slices.Equal(a.Environment, want) {
		t.Errorf("environment %q, want %q", a.Environment, want)
	}
	if len(a.Interfaces) != 1 || !strings.HasPrefix(a.Interfaces[0], "lo up|loopback") {
		t.Errorf("interfaces %q, want lo alone and up", a.Interfaces)
	}
}

func TestSandboxWritesToItsOwnTmpOnly(t *testing.T) {
	needRoot(t)
	driver := openDriver(t, testConfig(t))
	one, two := newBox(t, driver, testSpec), newBox(t, driver, testSpec)
	for _, path := range []string{"/x", "/etc/x", "/usr/x", "/dev/x", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/whirl/x"} {
		if err := one.try("write", values{"path": path, "size": 1}, nil); err == nil {
			t.Errorf("it can write to %s", path)
		}
	}
	for _, path := range []string{"/tmp/x", "/dev/shm/x", "/dev/null", "/dev/stdout"} {
		one.do("write", values{"path": path, "size": 1}, nil)
	}
	if err := two.try("read", values{"path": "/tmp/x"}, nil); err == nil {
		t.Error("a sandbox reads what another one wrote")
	}
	// Half of its memory is for /tmp; more is an error and not its end.
	if err := one.try("write", values{"path": "/tmp/big", "size": 70 << 20}, nil); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("writing 70 MB to /tmp of 64 MB = %v, want no space", err)
	}
	if err := one.try("read", values{"path": "/etc/shadow"}, nil); err == nil {
		t.Error("it reads /etc/shadow")
	}
	var content string
	if one.do("read", values{"path": "/etc/passwd"}, &content); !strings.Contains(content, "sandbox:x:") || strings.Contains(content, "daemon") {
		t.Errorf("/etc/passwd is %q", content)
	}
}

func TestRecipe(t *testing.T) {
	needRoot(t)
	config := testConfig(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "host"), []byte("from the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	recipe := &config.Runtimes[0]
	recipe.Files = fstest.MapFS{"lib/a.txt": {Data: []byte("from the recipe"), Mode: 0o444}, "run": {Data: []byte("#!/bin/sh"), Mode: fs.FileMode(0o555)}}
	recipe.Mounts = []string{dir}
	recipe.Env = map[string]string{"A": "recipe", "B": "recipe"}
	b := newBoxEnv(t, openDriver(t, config), testSpec, map[string]string{"A": "request"})
	for path, want := range map[string]string{"/whirl/lib/a.txt": "from the recipe", "/whirl/run": "#!/bin/sh", dir + "/host": "from the host"} {
		var got string
		if b.do("read", values{"path": path}, &got); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
		if err := b.try("write", values{"path": path, "size": 1}, nil); err == nil {
			t.Errorf("it can write to %s", path)
		}
	}
	var f sandboxFacts
	b.do("facts", nil, &f)
	if !slices.Contains(f.Environment, "A=request") || !slices.Contains(f.Environment, "B=recipe") {
		t.Errorf("environment %q, want the request's A and the recipe's B", f.Environment)
	}
}

func TestSystemCallFilter(t *testing.T) {
	needRoot(t)
	b := newBox(t, openDriver(t, testConfig(t)), testSpec)
	for _, tt := range []struct {
		what    string
		number  uintptr
		a, b, c uintptr
		want    unix.Errno
	}{
		{"unshare a user namespace", unix.SYS_UNSHARE, unix.CLONE_NEWUSER, 0, 0, unix.EPERM},
		{"clone a user namespace", unix.SYS_CLONE, unix.CLONE_NEWUSER, 0, 0, unix.EPERM},
		{"clone3", unix.SYS_CLONE3, 0, 0, 0, unix.ENOSYS},
		{"mount", unix.SYS_MOUNT, 0, 0, 0, unix.EPERM},
		{"keyctl", unix.SYS_KEYCTL, 0, 0, 0, unix.EPERM},
		{"bpf", unix.SYS_BPF, 0, 0, 0, unix.EPERM},
		{"io_uring", unix.SYS_IO_URING_SETUP, 1, 0, 0, unix.EPERM},
		{"trace", unix.SYS_PTRACE, unix.PTRACE_TRACEME, 0, 0, unix.EPERM},
		{"vsock", unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM, 0, unix.EAFNOSUPPORT},
		{"alg", unix.SYS_SOCKET, unix.AF_ALG, unix.SOCK_SEQPACKET, 0, unix.EAFNOSUPPORT},
		{"pair of alg", unix.SYS_SOCKETPAIR, unix.AF_ALG, unix.SOCK_SEQPACKET, 0, unix.EAFNOSUPPORT},
		{"audit", unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT, unix.EPROTONOSUPPORT},
		{"netfilter", unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER, unix.EPROTONOSUPPORT},
		{"asynchronous I/O", unix.SYS_IO_SETUP, 1, 0, 0, unix.EPERM},
		{"quota", unix.SYS_QUOTACTL_FD, 0, 0, 0, unix.EPERM},
		{"outlive the agent", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, 0, 0, unix.EPERM},
		{"die with the parent", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0},
		{"name itself", unix.SYS_PRCTL, unix.PR_GET_DUMPABLE, 0, 0, 0},
		{"unix", unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0, 0},
		{"netlink", unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, 0, 0},
		{"getpid", unix.SYS_GETPID, 0, 0, 0, 0},
	} {
		var got int
		b.do("call", values{"Number": tt.number, "A": tt.a, "B": tt.b, "C": tt.c}, &got)
		if unix.Errno(got) != tt.want {
			t.Errorf("%s = %v, want %v", tt.what, unix.Errno(got), tt.want)
		}
	}
}

func TestForkBombIsHeld(t *testing.T) {
	needRoot(t)
	config := testConfig(t)
	config.PIDs = 40
	driver := openDriver(t, config)
	b := newBox(t, driver, testSpec)
	var got struct{ Started int }
	if b.do("forks", nil, &got); got.Started < 5 || got.Started > 40 {
		t.Errorf("it started %d processes, want at most 40", got.Started)
	}
	newBox(t, driver, testSpec).do("echo", values{}, nil) // its neighbour is well
}

func TestOutOfMemoryOfAChildEndsTheSandbox(t *testing.T) {
	needRoot(t)
	b := newBox(t, openDriver(t, testConfig(t)), testSpec)
	if err := b.try("childAllocates", values{"mb": 500}, nil); err == nil {
		t.Error("the child got 500 MB of 128")
	}
	<-b.Done()
	if exit := b.Exit(); !exit.OutOfMemory {
		t.Errorf("Exit = %+v, want out of memory", exit)
	}
}

func TestSuspendStopsTheClock(t *testing.T) {
	needRoot(t)
	testSuspend(t, newBox(t, openDriver(t, testConfig(t)), testSpec))
}

// testSuspend watches the CPU time of a sandbox that uses all it can get.
func testSuspend(t *testing.T, b *box) {
	b.do("spin", nil, nil)
	cpu := func() int64 {
		stats, err := b.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return int64(stats.CPU)
	}
	advances := func(patience time.Duration) bool {
		before := cpu()
		// A frozen process may still be charged for its last moments.
		return within(patience, func() bool { return cpu() > before+int64(30*time.Millisecond) })
	}
	for range 2 {
		if !advances(10 * time.Second) {
			t.Fatal("it does not run")
		}
		if err := b.Suspend(t.Context()); err != nil {
			t.Fatal(err)
		}
		if advances(200 * time.Millisecond) {
			t.Error("it runs although it is suspended")
		}
		if err := b.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.do("echo", values{}, nil)
}

func TestImpossibleRequests(t *testing.T) {
	needRoot(t)
	driver := openDriver(t, testConfig(t))
	taken := newBox(t, driver, testSpec)
	for _, tt := range []struct {
		name string
		req  whisk.CreateSandbox
		want whisk.Kind
	}{
		{"id in use", whisk.CreateSandbox{ID: taken.ID(), Spec: testSpec}, whisk.Conflict},
		{"id with a slash", whisk.CreateSandbox{ID: "../x", Spec: testSpec}, whisk.Invalid},
		{"id too long for a socket", whisk.CreateSandbox{ID: whisk.ContainerID(strings.Repeat("x", 100)), Spec: testSpec}, whisk.Invalid},
	} {
		if _, err := driver.Create(t.Context(), tt.req); err == nil || whisk.KindOf(err) != tt.want {
			t.Errorf("%s: Create = %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestFailureNamesItsStep(t *testing.T) {
	needRoot(t)
	config := testConfig(t)
	config.Runtimes[0].Argv = []string{"/nosuch/runtime"}
	config.Runtimes = append(config.Runtimes, process.Runtime{Kind: "mount:1", Argv: []string{"/whirl-self"}, Mounts: []string{"/nosuch/mount"}})
	driver := openDriver(t, config)
	for kind, want := range map[string]string{kind: "exec /nosuch/runtime: no such file", "mount:1": "show the runtime's files: stat /nosuch/mount: no such file"} {
		_, err := driver.Create(t.Context(), whisk.CreateSandbox{ID: "fails", Spec: whisk.ContainerSpec{Kind: kind, Memory: 128 * whisk.MB}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Create = %v, want it to say %q", err, want)
		}
	}
}

func TestInstanceHasOneHolder(t *testing.T) {
	needRoot(t)
	config := testConfig(t)
	openDriver(t, config)
	if _, err := process.Open(config); err == nil || whisk.KindOf(err) != whisk.Conflict {
		t.Errorf("second Open = %v, want a conflict", err)
	}
}
