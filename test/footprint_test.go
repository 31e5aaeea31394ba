// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// footprint is what a platform has on the machine besides its own process: the
// processes it started, itself or by a keeper of sandboxes, their cgroups, and mounts in the machine's namespace.
type footprint struct {
	processes []process
	cgroups   []string // directories
	data      string   // mounts below it belong to the platform
}

// process is told from a later one of the same id by its start.
type process struct {
	pid, parent int
	start       string // in clock ticks after boot
	name        string
}

// footprint reads what the platform has now.
func (p *platform) footprint(t testing.TB) footprint {
	t.Helper()
	var (
		print = footprint{data: p.data}
		own   = cgroupsOf(p.cmd.Process.Pid)
		dirs  = map[string]bool{}
	)
	print.processes = descendants(p.cmd.Process.Pid)
	for _, keeper := range keepers(p.cmd.Process.Pid) {
		print.processes = append(append(print.processes, keeper), descendants(keeper.pid)...)
	}
	for _, one := range print.processes {
		for _, dir := range cgroupsOf(one.pid) {
			// The group of what starts is the instance's, which the next platform may be again.
			if !slices.Contains(own, dir) && !strings.Contains(dir, "/whirl-starting/") {
				dirs[dir] = true
			}
		}
	}
	print.cgroups = slices.Sorted(maps.Keys(dirs))
	return print
}

// checkGone wants nothing of it to be there any more, at the latest after within.
func (f footprint) checkGone(t testing.TB, within time.Duration) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(within); time.Now().Before(deadline); {
		if left = f.left(); len(left) == 0 {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Errorf("left behind after %v: %s", within, strings.Join(left, ", "))
}

// left names what is still there.
func (f footprint) left() []string {
	var left []string
	for _, one := range f.processes {
		if now, ok := readProcess(one.pid); ok && now.start == one.start {
			left = append(left, fmt.Sprintf("process %d (%s)", one.pid, one.name))
		}
	}
	for _, dir := range f.cgroups {
		if _, err := os.Stat(dir); err == nil {
			left = append(left, "cgroup "+dir)
		}
	}
	for _, mount := range mountPoints() {
		if strings.HasPrefix(mount, f.data+"/") {
			left = append(left, "mount "+mount)
		}
	}
	return left
}

// descendants returns all processes below pid.
func descendants(pid int) []process {
	all := map[int]process{}
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		if id, err := strconv.Atoi(entry.Name()); err == nil {
			if one, ok := readProcess(id); ok {
				all[id] = one
			}
		}
	}
	var below []process
	for _, one := range all {
		for up, steps := one.parent, 0; up > 1 && steps < len(all); up, steps = all[up].parent, steps+1 {
			if up == pid {
				below = append(below, one)
				break
			}
		}
	}
	return below
}

// keepers returns the keepers of an agent's sandboxes, which are nobody's children: those of
// the directories that it has locked.
func keepers(agent int) (found []process) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", agent))
	for _, file := range files {
		locked, _ := os.Readlink(file)
		dir, ok := strings.CutSuffix(locked, "/lock")
		if !ok {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, "keeper.lock"))
		if err != nil {
			continue // the directory has none
		}
		if pid, err := strconv.Atoi(string(text)); err == nil {
			if one, ok := readProcess(pid); ok {
				found = append(found, one)
			}
		}
	}
	return found
}

// readProcess reads a process that has not ended; a zombie counts as ended.
func readProcess(pid int) (process, bool) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, false
	}
	open, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	fields := strings.Fields(string(line[end+1:]))
	const state, parent, started = 0, 1, 19
	if open < 0 || len(fields) <= started || fields[state] == "Z" || fields[state] == "X" {
		return process{}, false
	}
	up, err := strconv.Atoi(fields[parent])
	return process{pid, up, fields[started], string(line[open+1 : end])}, err == nil
}

// cgroupsOf returns the directories of a process's cgroups in all hierarchies.
func cgroupsOf(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil
	}
	var dirs []string
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, mount := range cgroupMounts(parts[1]) {
			dir := filepath.Join(mount, parts[2])
			// A process that is just being made may still be at the root.
			if _, err := os.Stat(dir); err == nil && dir != mount {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

// cgroupMounts finds where a hierarchy is mounted: that of the given v1
// controllers, or the unified one for none.
func cgroupMounts(controllers string) []string {
	var points []string
	for _, mount := range mounts() {
		switch {
		case controllers == "" && mount.kind == "cgroup2",
			controllers != "" && mount.kind == "cgroup" && hasOptions(mount.options, controllers):
			points = append(points, mount.point)
		}
	}
	return points
}

func hasOptions(options, wanted string) bool {
	given := strings.Split(options, ",")
	for want := range strings.SplitSeq(wanted, ",") {
		if !slices.Contains(given, want) {
			return false
		}
	}
	return true
}

type mount struct{ point, kind, options string }

// mounts reads the mounts of this process's namespace.
func mounts() []mount {
	text, _ := os.ReadFile("/proc/self/mountinfo")
	var all []mount
	for line := range strings.Lines(string(text)) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		fields, super := strings.Fields(before), strings.Fields(after)
		if ok && len(fields) > 4 && len(super) > 2 {
			all = append(all, mount{fields[4], super[0], super[2]})
		}
	}
	return all
}

func mountPoints() []string {
	var points []string
	for _, one := range mounts() {
		points = append(points, one.point)
	}
	return points
}
