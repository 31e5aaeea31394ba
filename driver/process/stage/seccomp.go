// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The offsets of struct seccomp_data that the filter reads. The low half of an
// argument comes first on the little-endian machines that we run on.
const (
	offsetCall     = 0
	offsetArch     = 4
	offsetFirstArg = 16
)

// namespaceFlags are the clone flags that make namespaces.
const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// families are the socket families that a sandbox may use, beside a part of
// netlink. The others reach the hypervisor, raw devices, or kernel code that
// nobody needs here.
var families = [...]uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6}

// filterSyscalls installs the filter on the calling thread; it lasts through exec.
func filterSyscalls() error {
	filter := deniedFilter()
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
	runtime.KeepAlive(filter)
	if err != nil {
		return fmt.Errorf("install seccomp filter: %w", err)
	}
	return nil
}

// deniedFilter refuses the calls of the list below, some uses of those that
// follow it, and lets all others pass. What it refuses needs a privilege that the
// sandbox lacks anyway, or is a part of the kernel with a history of holes that
// no action needs, or would undo a promise of the driver.
func deniedFilter() []unix.SockFilter {
	filter := []unix.SockFilter{
		load(offsetArch),
		jump(unix.BPF_JEQ, auditArch, 1, 0),
		deny(unix.ENOSYS), // calls in the manner of another architecture
		load(offsetCall),
	}
	if x32Bit != 0 {
		filter = append(filter, jump(unix.BPF_JGE, x32Bit, 0, 1), deny(unix.ENOSYS))
	}
	for _, call := range slices.Concat(deniedCalls, deniedArchCalls) {
		filter = append(filter, jump(unix.BPF_JEQ, uint32(call), 0, 1), deny(unix.EPERM))
	}
	// The flags of clone3 lie in memory, where no filter can look. Libraries
	// use clone where there is no clone3.
	filter = append(filter, jump(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1), deny(unix.ENOSYS))
	for _, part := range [][]unix.SockFilter{cloneFilter(), lifeFilter(), socketFilter()} {
		filter = append(filter, part...)
	}
	return append(filter, allow())
}

// cloneFilter refuses clone with namespaces. Like the filters below it ends
// with the word for its call, and leaves others to what follows.
func cloneFilter() []unix.SockFilter {
	return []unix.SockFilter{
		jump(unix.BPF_JEQ, unix.SYS_CLONE, 0, 4),
		load(argument(0)),
		jump(unix.BPF_JSET, namespaceFlags, 0, 1),
		deny(unix.EPERM),
		allow(),
	}
}

// lifeFilter keeps the sandbox's first process from undoing that it dies with the
// agent. The others may choose to die with their parent, in the same manner only.
func lifeFilter() []unix.SockFilter {
	return []unix.SockFilter{
		jump(unix.BPF_JEQ, unix.SYS_PRCTL, 0, 6),
		load(argument(0)),
		jump(unix.BPF_JEQ, unix.PR_SET_PDEATHSIG, 0, 3),
		load(argument(1)),
		jump(unix.BPF_JEQ, uint32(unix.SIGKILL), 1, 0),
		deny(unix.EPERM),
		allow(),
	}
}

// socketFilter refuses socket families, however a socket is made, and of netlink
// all but what programs learn of their interfaces and addresses by.
func socketFilter() []unix.SockFilter {
	filter := []unix.SockFilter{
		jump(unix.BPF_JEQ, unix.SYS_SOCKETPAIR, 1, 0),
		jump(unix.BPF_JEQ, unix.SYS_SOCKET, 0, uint8(len(families)+7)),
		load(argument(0)),
	}
	for i, family := range families {
		filter = append(filter, jump(unix.BPF_JEQ, family, uint8(len(families)-i+4), 0))
	}
	return append(filter,
		jump(unix.BPF_JEQ, unix.AF_NETLINK, 1, 0),
		deny(unix.EAFNOSUPPORT),
		load(argument(2)),
		jump(unix.BPF_JEQ, unix.NETLINK_ROUTE, 1, 0),
		deny(unix.EPROTONOSUPPORT),
		allow(),
	)
}

func load(offset uint32) unix.SockFilter {
	return statement(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset)
}

// argument is the offset of an argument's low half.
func argument(n uint32) uint32 { return offsetFirstArg + 8*n }

func deny(errno unix.Errno) unix.SockFilter {
	return statement(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ERRNO|uint32(errno))
}

func allow() unix.SockFilter { return statement(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ALLOW) }

func statement(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }

// jump compares the loaded word with k and skips yes or no instructions.
func jump(test uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: k, Jt: yes, Jf: no}
}

// deniedCalls exist on every architecture.
var deniedCalls = []uintptr{
	// Mounts and roots.
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_FSOPEN, unix.SYS_FSCONFIG,
	unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_OPEN_TREE_ATTR, unix.SYS_MOUNT_SETATTR,
	unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_SWAPON, unix.SYS_SWAPOFF,
	// Namespaces.
	unix.SYS_UNSHARE, unix.SYS_SETNS,
	// Other processes.
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_KCMP, unix.SYS_PIDFD_GETFD,
	unix.SYS_PROCESS_MADVISE, unix.SYS_MOVE_PAGES,
	// Keys, which no namespace holds apart.
	unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL,
	// Large and risky parts of the kernel.
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP,
	unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER, unix.SYS_FANOTIFY_INIT, unix.SYS_LOOKUP_DCOOKIE,
	// Asynchronous I/O: all users of the machine share one small count of contexts.
	unix.SYS_IO_SETUP,
	// The machine itself.
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD,
	unix.SYS_REBOOT, unix.SYS_SYSLOG, unix.SYS_ACCT, unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME,
	unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX, unix.SYS_VHANGUP, unix.SYS_NFSSERVCTL, unix.SYS_PERSONALITY,
	unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME,
}
