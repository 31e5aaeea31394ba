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
	Processes int           // that the name stands for, at the end; 0 if there is none
	Ended     int           // processes of the name that ended meanwhile; their last CPU time is not in the figures
}

// meter reads the CPU time of processes from a proc file system.
type meter struct {
	proc      fs.FS
	processes []Process
	self      int
}

// processID tells a process from a later one with the same number.
type processID struct {
	pid   int
	began int64 // as the kernel counts
}

// reading is what the processes of a machine had used at an instant.
type reading map[processID]spent

// spent is what one process had used, and for whom.
type spent struct {
	name   string        // of the configured process that it is or that is the closest above it; "" for all others
	child  bool          // it is not a configured one itself
	above  processID     // the closest configured process above it; zero if there is none
	own    time.Duration // user and kernel
	reaped time.Duration // of children that have ended and were waited for
}

// usage is the CPU time that the processes of a name used between two readings.
type usage struct {
	own, children time.Duration
	found         int // at the later reading
	ended         int // between the two: what they used after the first is not known
}

// stat is a line of /proc/PID/stat.
type stat struct {
	pid, parent int
	name        string
	began       int64         // when it was started, in ticks since the machine was
	own         time.Duration // user and kernel
	reaped      time.Duration // of children that have ended and were waited for
}

func (s stat) id() processID { return processID{s.pid, s.began} }

// read returns what the processes have used so far; nil if none is configured.
func (m meter) read() (reading, error) {
	if len(m.processes) == 0 {
		return nil, nil
	}
	all, err := m.stats()
	if err != nil {
		return nil, err
	}
	named, now := m.named(all), reading{}
	for pid, s := range all {
		one := spent{name: named[pid], own: s.own, reaped: s.reaped}
		if ancestor, ok := above(all, named, s.parent); ok {
			one.above = all[ancestor].id()
			if _, itself := named[pid]; !itself {
				one.name, one.child = named[ancestor], true
			}
		}
		now[s.id()] = one
	}
	return now, nil
}

// since returns the usage by name from an earlier reading to this one. Time does
// not run back when processes end: a configured one that did is counted as such,
// and adds nothing. What others had used when they ended is in the reaped time of
// who waited for them, and so much of it is left out as the earlier reading has
// already. A parent that does not wait loses it.
func (r reading) since(before reading) map[string]usage {
	sums, reaped := map[string]usage{}, map[processID]time.Duration{} // of each configured process and what it started
	for id, now := range r {
		if now.name == "" {
			continue
		}
		then, sum := before[id], sums[now.name]
		if now.child {
			sum.children += now.own - then.own
			reaped[now.above] += now.reaped - then.reaped
		} else {
			sum.own += now.own - then.own
			sum.found++
			reaped[id] += now.reaped - then.reaped
		}
		sums[now.name] = sum
	}
	for id, then := range before {
		if _, lives := r[id]; lives || then.name == "" {
			continue
		}
		if heir, ok := before.heir(id, r); ok {
			reaped[heir] -= then.own + then.reaped
		}
		if !then.child {
			sum := sums[then.name]
			sum.ended++
			sums[then.name] = sum
		}
	}
	for id, time := range reaped {
		sum := sums[r[id].name]
		sum.children += max(time, 0)
		sums[r[id].name] = sum
	}
	return sums
}

// heir finds the configured process that the time of one that ended went to.
func (r reading) heir(id processID, later reading) (processID, bool) {
	for range len(r) { // as in above
		id = r[id].above
		if one, lives := later[id]; lives {
			return id, one.name != ""
		}
	}
	return processID{}, false
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
func above(all map[int]stat, named map[int]string, pid int) (int, bool) {
	// Processes come and go while they are read, so a cycle is possible in theory.
	for range len(all) {
		if _, ok := named[pid]; ok {
			return pid, true
		}
		parent, ok := all[pid]
		if !ok {
			return 0, false
		}
		pid = parent.parent
	}
	return 0, false
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
	const parent, user, kernel, reapedUser, reapedKernel, began = 1, 11, 12, 13, 14, 19 // counted after the name
	fields := bytes.Fields(line[end+1:])
	if len(fields) <= began {
		return stat{}, whisk.Errorf(whisk.Internal, "only %d fields in %.100q", len(fields), line)
	}
	var numbers [began + 1]int64
	for _, i := range []int{parent, user, kernel, reapedUser, reapedKernel, began} {
		if numbers[i], err = strconv.ParseInt(string(fields[i]), 10, 64); err != nil {
			return stat{}, whisk.Errorf(whisk.Internal, "bad field %d in %.100q", i, line)
		}
	}
	return stat{
		pid:    pid,
		parent: int(numbers[parent]),
		name:   string(line[open+1 : end]),
		began:  numbers[began],
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
