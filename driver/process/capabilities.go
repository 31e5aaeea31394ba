// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/whirl-faas/whirl/driver/process/stage"
	"github.com/whirl-faas/whirl/whisk"
	"golang.org/x/sys/unix"
)

// describe says in words what the driver does here. Weak begins with what the
// trials found.
func (d *Driver) describe(weak []string) whisk.Capabilities {
	isolation := []string{
		"namespaces of its own for mounts, processes, IPC and host name, and a view of no cgroup but its own",
		"a read-only root made of the host's /usr, with a private /tmp of half the action's memory",
		"no capabilities, no new privileges, a seccomp filter over mounts, namespaces, tracing, keys, bpf, io_uring and modules",
	}
	if d.rootless {
		isolation = append(isolation, "a user namespace in which the action is an ordinary user")
		weak = append(weak, d.weakRootless()...)
	} else {
		isolation = append(isolation, fmt.Sprintf("an unprivileged user id for each sandbox, from %d on", d.firstUID()))
	}
	switch d.config.Network {
	case Outbound:
		isolation = append(isolation, "a network of its own; connections to the outside go through this process, none to this machine but to the API")
	case None:
		isolation = append(isolation, "a network of its own that reaches nothing")
	case Host:
		weak = append(weak, "sandboxes share the host's network and reach its local services, abstract Unix sockets included: choose the network outbound or none")
	}
	if d.config.Ports != nil {
		isolation = append(isolation, "a published port for each sandbox, which the controller that holds it reaches and nobody else, and by which nothing leaves")
	}
	limits, missing := d.describeLimits()
	return whisk.Capabilities{
		Name:      "process",
		Isolation: append(isolation, limits...),
		Weak:      append(weak, missing...),
		Kinds:     slices.Sorted(maps.Keys(d.recipes)),
		Suspend:   true,
		Recovers:  d.config.Grace > 0,
	}
}

func (d *Driver) describeLimits() (limits, weak []string) {
	const mend = ": run as root, or under `systemd-run --user --scope -p Delegate=yes`"
	var has []string
	if d.support.Memory {
		has = append(has, "memory without swap")
	} else {
		weak = append(weak, "no memory cgroup: sandboxes above their limit are found and killed within about 0.1 s, and may use more until then; "+
			"memory that processes can keep out of sight, in sockets, pipes, memfds and shared mappings, is not counted"+mend)
	}
	if d.support.PIDs {
		has = append(has, fmt.Sprintf("%d processes", d.config.PIDs))
	} else {
		weak = append(weak, fmt.Sprintf("no pids cgroup: the %d processes of a sandbox are bounded by RLIMIT_NPROC, before Linux 5.14 together with those of the user", d.config.PIDs)+mend)
	}
	if d.support.CPU {
		has = append(has, "a CPU share in proportion to memory")
	} else {
		weak = append(weak, "no cpu cgroup: a busy sandbox may slow its neighbours"+mend)
	}
	if !d.support.Freeze {
		weak = append(weak, "no freezer: idle sandboxes are stopped by signals, which their processes' parents notice"+mend)
	}
	if len(has) > 0 {
		limits = append(limits, "cgroup limits: "+strings.Join(has, ", "))
	}
	return limits, weak
}

func (d *Driver) weakRootless() []string {
	weak := []string{"sandboxes run as your own user outside of their namespaces, all as the same: run as root to give each a user of its own"}
	if groups, err := os.Getgroups(); err == nil && len(groups) > 1 {
		weak = append(weak, "sandboxes keep your supplementary groups, because an ordinary user cannot drop them: run as root, or as a user without any")
	}
	return weak
}

// adviseNetwork tells how to get the outbound network that the trial could not have.
func adviseNetwork(failure *stage.Failure) string {
	mend := "load the module with `sudo modprobe tun`"
	if errors.Is(failure, unix.EACCES) || errors.Is(failure, unix.EPERM) {
		mend = "allow it with `sudo chmod 0666 /dev/net/tun`, in a container add --device /dev/net/tun"
	}
	return fmt.Sprintf("sandboxes have no network (%s): %s, or choose the network host or none", failure.Text, mend)
}

// advise adds to the error of a trial what to change on the machine.
func (d *Driver) advise(err error) error {
	if errors.Is(err, unix.ENOSYS) {
		return whisk.Errorf(whisk.Unavailable, "this kernel is too old, Linux 5.12 or newer is needed: %w", err)
	}
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EUSERS) {
		return err
	}
	if !d.rootless {
		return whisk.Errorf(whisk.Unavailable, "root lacks privileges here, as in a container; give it CAP_SYS_ADMIN and, in docker, --privileged: %w", err)
	}
	for _, setting := range []struct{ name, bad, good string }{
		{"kernel.unprivileged_userns_clone", "0", "1"},
		{"user.max_user_namespaces", "0", "15000"},
		{"kernel.apparmor_restrict_unprivileged_userns", "1", "0"},
	} {
		data, readErr := os.ReadFile("/proc/sys/" + strings.ReplaceAll(setting.name, ".", "/"))
		if readErr == nil && strings.TrimSpace(string(data)) == setting.bad {
			return whisk.Errorf(whisk.Unavailable,
				"this machine forbids ordinary users to make user namespaces; allow it with `sudo sysctl -w %s=%s`"+
					" (for good: in a file of /etc/sysctl.d), or run as root: %w", setting.name, setting.good, err)
		}
	}
	return whisk.Errorf(whisk.Unavailable, "an ordinary user may not make sandboxes here; run as root, in docker with --privileged: %w", err)
}
