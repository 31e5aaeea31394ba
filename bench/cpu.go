// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// tick is the unit of CPU time in /proc/PID/stat. Linux fixes it for user space
// on every machine that Go runs on.
const tick = 10 * time.Millisecond

// CPU is the CPU time that one activation took on average, in user and kernel.
// In JSON it is in microseconds.
type CPU struct {
	Process   string        // as the configuration names it
	Own       time.Duration // of the process itself
	Children  time.Duration // of all processes it started, such as sandboxes
	Processes int           // that the name stands for; 0 if none was found
}

// meter reads the CPU time of processes from a proc file system.
type meter struct {
	proc      fs.FS
	processes []Process
	self      int
}

// usage is the CPU time that a process has used so far.
type usage struct {
	own, children time.Duration
	found         int
}

// stat is a line of /proc/PID/stat.
type stat struct {
	pid, parent int
	name        string
	own         time.Duration // user and kernel
	reaped      time.Duration // of children that have ended and were waited for
}

// read returns the usage of each process by its name. Readings of the same
// processes only grow, as long as what they start is waited for by its parent.
func (m meter) read() (map[string]usage, error) {
	if len(m.processes) == 0 {
		return nil, nil
	}
	all, err := m.stats()
	if err != nil {
		return nil, err
	}
	named := m.named(all)
	sums := map[string]usage{}
	for pid, s := range all {
		if name, ok := named[pid]; ok {
			sum := sums[name]
			sum.own += s.own
			sum.children += s.reaped
			sum.found++
			sums[name] = sum
		} else if ancestor, ok := above(all, named, s.parent); ok {
			sum := sums[ancestor]
			sum.children += s.own + s.reaped
			sums[ancestor] = sum
		}
	}
	return sums, nil
}

// named finds the configured processes. One that was looked for by its name and
// was started by another of that name is a child: a program that starts itself
// again, such as for a sandbox's first process. This process and what it started, such
// as a bare hop, are not found by a name.
func (m meter) named(all map[int]stat) map[int]string {
	named, own := map[int]string{}, map[int]string{m.self: ""}
	for _, process := range m.processes {
		found := map[int]string{}
		for pid, s := range all {
			if pid == process.PID {
				found[pid] = process.Name
			} else if process.PID == 0 && s.name == process.Name {
				if _, ours := above(all, own, pid); !ours {
					found[pid] = process.Name
				}
			}
		}
		for pid := range found {
			if _, child := above(all, found, all[pid].parent); !child {
				named[pid] = process.Name
			}
		}
	}
	return named
}

// above finds the closest named process at or above pid.
func above(all map[int]stat, named map[int]string, pid int) (string, bool) {
	// Processes come and go while they are read, so a cycle is possible in theory.
	for range len(all) {
		if name, ok := named[pid]; ok {
			return name, true
		}
		parent, ok := all[pid]
		if !ok {
			return "", false
		}
		pid = parent.parent
	}
	return "", false
}

func (m meter) stats() (map[int]stat, error) {
	entries, err := fs.ReadDir(m.proc, ".")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	all := map[int]stat{}
	for _, entry := range entries {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		line, err := fs.ReadFile(m.proc, entry.Name()+"/stat")
		if err != nil {
			continue // it has ended meanwhile
		}
		s, err := parseStat(line)
		if err != nil {
			return nil, err
		}
		all[s.pid] = s
	}
	return all, nil
}

// parseStat reads "pid (name) state ppid ...". The name may hold spaces and
// brackets, so the last bracket ends it.
func parseStat(line []byte) (stat, error) {
	open, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return stat{}, whisk.Errorf(whisk.Internal, "no process name in %.100q", line)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(line[:open])))
	if err != nil {
		return stat{}, whisk.Errorf(whisk.Internal, "no process id in %.100q", line)
	}
	const parent, user, kernel, reapedUser, reapedKernel = 1, 11, 12, 13, 14 // counted after the name
	fields := bytes.Fields(line[end+1:])
	if len(fields) <= reapedKernel {
		return stat{}, whisk.Errorf(whisk.Internal, "only %d fields in %.100q", len(fields), line)
	}
	var numbers [reapedKernel + 1]int64
	for _, i := range []int{parent, user, kernel, reapedUser, reapedKernel} {
		if numbers[i], err = strconv.ParseInt(string(fields[i]), 10, 64); err != nil {
			return stat{}, whisk.Errorf(whisk.Internal, "bad field %d in %.100q", i, line)
		}
	}
	return stat{
		pid:    pid,
		parent: int(numbers[parent]),
		name:   string(line[open+1 : end]),
		own:    time.Duration(numbers[user]+numbers[kernel]) * tick,
		reaped: time.Duration(numbers[reapedUser]+numbers[reapedKernel]) * tick,
	}, nil
}

// ownCPU is the CPU time that this process has used.
func ownCPU() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// newMeter reads the processes of this machine.
func newMeter(processes []Process) meter {
	return meter{proc: os.DirFS("/proc"), processes: processes, self: os.Getpid()}
}
