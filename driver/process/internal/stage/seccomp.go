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

// families are the socket families that a sandbox may use. The others reach the
// hypervisor, raw devices, or kernel code that nobody needs here.
var families = [...]uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}

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

// deniedFilter refuses the calls of the list below and lets all others pass.
// What it refuses needs a privilege that the sandbox lacks anyway, or is a part
// of the kernel with a history of holes that no action needs.
func deniedFilter() []unix.SockFilter {
	deny := func(errno uintptr) unix.SockFilter {
		return statement(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ERRNO|uint32(errno))
	}
	load := func(offset uint32) unix.SockFilter { return statement(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset) }
	filter := []unix.SockFilter{
		load(offsetArch),
		jump(unix.BPF_JEQ, auditArch, 1, 0),
		deny(uintptr(unix.ENOSYS)), // calls in the manner of another architecture
		load(offsetCall),
	}
	if x32Bit != 0 {
		filter = append(filter, jump(unix.BPF_JGE, x32Bit, 0, 1), deny(uintptr(unix.ENOSYS)))
	}
	for _, call := range slices.Concat(deniedCalls, deniedArchCalls) {
		filter = append(filter, jump(unix.BPF_JEQ, uint32(call), 0, 1), deny(uintptr(unix.EPERM)))
	}
	// The flags of clone3 lie in memory, where no filter can look. Libraries
	// use clone where there is no clone3.
	filter = append(filter, jump(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1), deny(uintptr(unix.ENOSYS)))
	filter = append(filter,
		jump(unix.BPF_JEQ, unix.SYS_CLONE, 0, 4),
		load(offsetFirstArg),
		jump(unix.BPF_JSET, namespaceFlags, 0, 1),
		deny(uintptr(unix.EPERM)),
		statement(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ALLOW),
		jump(unix.BPF_JEQ, unix.SYS_SOCKET, 0, uint8(2+len(families))),
		load(offsetFirstArg),
	)
	for i, family := range families {
		filter = append(filter, jump(unix.BPF_JEQ, family, uint8(len(families)-i), 0))
	}
	return append(filter,
		deny(uintptr(unix.EAFNOSUPPORT)),
		statement(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ALLOW),
	)
}

func statement(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }

// jump compares the loaded word with k and skips yes or no instructions.
func jump(test uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: k, Jt: yes, Jf: no}
}

// deniedCalls exist on every architecture.
var deniedCalls = []uintptr{
	// Mounts and roots.
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_FSOPEN, unix.SYS_FSCONFIG,
	unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_MOUNT_SETATTR,
	unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_QUOTACTL, unix.SYS_SWAPON, unix.SYS_SWAPOFF,
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
	// The machine itself.
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD,
	unix.SYS_REBOOT, unix.SYS_SYSLOG, unix.SYS_ACCT, unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME,
	unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX, unix.SYS_VHANGUP, unix.SYS_NFSSERVCTL, unix.SYS_PERSONALITY,
	unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME,
}
