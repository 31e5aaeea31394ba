// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/whisk"
	"golang.org/x/sys/unix"
)

// What cgroups do, done by reading /proc and by signals, for users who have no
// cgroups of their own. It is slower and looser; Capabilities says so.

// processesOf lists the processes of a pid namespace.
func processesOf(namespace string) []int { return census()[namespace] }

// census lists the processes of this machine by pid namespace, as far as we may
// look at them. Those that nobody lets us see are not of our sandboxes.
func census() map[string][]int {
	found := map[string][]int{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return found
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if namespace := pidNamespace(pid); namespace != "" {
			found[namespace] = append(found[namespace], pid)
		}
	}
	return found
}

// pidNamespace names a process's pid namespace, "" if there is no such process.
func pidNamespace(pid int) string {
	name, err := os.Readlink(procPath(pid, "ns/pid"))
	if err != nil {
		return ""
	}
	return name
}

func procPath(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

// stopAll stops all processes of a sandbox. New ones may be born meanwhile, of
// parents that were not stopped yet, so it looks until it finds nothing new.
func stopAll(ctx context.Context, namespace string) error {
	var stopped []int
	for {
		fresh := slices.DeleteFunc(processesOf(namespace), func(p int) bool { return slices.Contains(stopped, p) })
		if len(fresh) == 0 {
			return nil
		}
		for _, p := range fresh {
			if err := signal(p, unix.SIGSTOP); err != nil {
				return errors.Join(err, continueAll(namespace))
			}
		}
		stopped = append(stopped, fresh...)
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), continueAll(namespace))
		}
	}
}

// anyStopped reports whether a process of a sandbox was stopped.
func anyStopped(namespace string) bool {
	return slices.ContainsFunc(processesOf(namespace), func(pid int) bool {
		stat := readProc(pid, "stat")
		return strings.HasPrefix(stat[strings.LastIndexByte(stat, ')')+1:], " T")
	})
}

// continueAll undoes stopAll. Stopped processes do not multiply: one look is enough.
func continueAll(namespace string) error {
	var errs []error
	for _, p := range processesOf(namespace) {
		errs = append(errs, signal(p, unix.SIGCONT))
	}
	return errors.Join(errs...)
}

func signal(pid int, number unix.Signal) error {
	if err := unix.Kill(pid, number); err != nil && err != unix.ESRCH {
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	return nil
}

// usage is what the processes of a sandbox use together.
type usage struct {
	pids     []int
	resident whisk.Bytes // counts memory that processes share several times
	cpu      time.Duration
}

func usageOf(pids []int) usage {
	u := usage{pids: pids}
	for _, pid := range pids {
		if fields := strings.Fields(readProc(pid, "statm")); len(fields) > 1 {
			pages, _ := strconv.ParseInt(fields[1], 10, 64)
			u.resident += whisk.Bytes(pages * int64(os.Getpagesize()))
		}
		// The name in the second field may hold spaces and brackets.
		stat := readProc(pid, "stat")
		if fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]); len(fields) > 12 {
			user, _ := strconv.ParseInt(fields[11], 10, 64)
			system, _ := strconv.ParseInt(fields[12], 10, 64)
			u.cpu += time.Duration(user+system) * clockTick
		}
	}
	return u
}

// clockTick is the unit of CPU times in /proc, 1/100 s on every Linux.
const clockTick = 10 * time.Millisecond

// exact is the proportional share of memory, which costs the kernel a walk
// through all page tables, and what belongs to no process.
func (u usage) exact() whisk.Bytes {
	var total whisk.Bytes
	for _, pid := range u.pids {
		for line := range strings.Lines(readProc(pid, "smaps_rollup")) {
			if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
				kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
				total += whisk.Bytes(kilobytes) * whisk.KB
			}
		}
	}
	return total + u.temporary()
}

// temporary is what lies in the sandbox's file systems, all of them in memory.
func (u usage) temporary() whisk.Bytes {
	if len(u.pids) == 0 {
		return 0
	}
	var total whisk.Bytes
	for _, dir := range []string{"root/tmp", "root/dev/shm"} {
		var space unix.Statfs_t
		if err := unix.Statfs(procPath(u.pids[0], dir), &space); err == nil {
			total += whisk.Bytes(int64(space.Blocks-space.Bfree) * space.Bsize)
		}
	}
	return total
}

func readProc(pid int, name string) string {
	data, err := os.ReadFile(procPath(pid, name))
	if err != nil {
		return "" // it has ended
	}
	return string(data)
}

// watchdogLoop stands in for the kernel's memory limit: it looks at all
// sandboxes again and again and kills those above theirs.
func (d *Driver) watchdogLoop(ctx context.Context) {
	ticker := time.NewTicker(watchdogPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			d.watchdogOnce()
		}
	}
}

const watchdogPeriod = 100 * time.Millisecond

func (d *Driver) watchdogOnce() {
	sandboxes := slices.DeleteFunc(d.running(), func(s *sandbox) bool { return s.support.Memory })
	if len(sandboxes) == 0 {
		return
	}
	all := census()
	for _, s := range sandboxes {
		used := usageOf(all[s.namespace])
		if used.resident+used.temporary() > s.spec.Memory && used.exact() > s.spec.Memory {
			s.killOutOfMemory()
		}
	}
}
