// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Group holds the processes of one sandbox.
type Group struct {
	unified  string            // "" if the tree has no version 2 part
	hosts    map[string]bool   // controllers of the unified directory
	legacy   map[string]string // controller to directory
	starting string            // of the tree, where the group's processes begin; "" where they begin in the group
}

// Limits bound a group. All are enforced as far as the tree supports them.
type Limits struct {
	Memory int64 // bytes, swap included
	PIDs   int   // processes and threads
	Share  int   // of the CPU once it has started, in thousandths of what a 256 MB sandbox gets
}

// startPart says what a group has that starts, where processes cannot leave their group: one
// in so many of its share.
const startPart = 8

// tcpShare is the part of its memory that a group may have in TCP buffers on top,
// where the kernel counts those apart.
const tcpShare = 8

// place is a group as it is written down for another process.
type place struct {
	Unified     string            `json:",omitempty"`
	Controllers []string          `json:",omitempty"` // of the unified directory
	Legacy      map[string]string `json:",omitempty"`
}

// MarshalJSON writes down where the group is, for a process that takes it over.
func (g *Group) MarshalJSON() ([]byte, error) {
	return json.Marshal(place{g.unified, slices.Sorted(maps.Keys(g.hosts)), g.legacy})
}

// UnmarshalJSON finds the group that another process wrote down.
func (g *Group) UnmarshalJSON(text []byte) error {
	p := place{Legacy: map[string]string{}}
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	g.unified, g.legacy, g.hosts = p.Unified, p.Legacy, map[string]bool{}
	for _, controller := range p.Controllers {
		g.hosts[controller] = true
	}
	return nil
}

// Usage is what a group uses.
type Usage struct {
	Memory int64         // bytes, without file pages that the kernel can drop at once
	CPU    time.Duration // since the group was made; where version 1 has "cpu" and "cpuacct" in one hierarchy, since it started
}

// Create makes a group of what starts; see [Group.Started]. On an error nothing of it is left.
func (t *Tree) Create(name string, limits Limits) (*Group, error) {
	g := t.group(name)
	for _, dir := range g.dirs() {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, errors.Join(fmt.Errorf("create cgroup: %w", err), g.rmdirs())
		}
	}
	if len(g.dirs()) > 1 { // another directory tells whose the processes are
		g.starting = t.starting
	}
	if err := g.limit(limits); err != nil {
		return nil, errors.Join(fmt.Errorf("limit cgroup: %w", err), g.rmdirs())
	}
	return g, nil
}

// group names a group without touching it.
func (t *Tree) group(name string) *Group {
	g := &Group{hosts: t.hosts, legacy: make(map[string]string, len(t.legacy))}
	if t.unified != "" {
		g.unified = filepath.Join(t.unified, name)
	}
	for controller, dir := range t.legacy {
		g.legacy[controller] = filepath.Join(dir, name)
	}
	return g
}

func (g *Group) limit(limits Limits) error {
	memory, pids := strconv.FormatInt(limits.Memory, 10), strconv.Itoa(limits.PIDs)
	var errs []error
	if g.hosts["memory"] {
		errs = append(errs, write(g.unified, "memory.max", memory),
			ignoreMissing(write(g.unified, "memory.swap.max", "0")), // missing without swap accounting
			ignoreMissing(write(g.unified, "memory.oom.group", "1")))
	} else if dir := g.legacy["memory"]; dir != "" {
		errs = append(errs, write(dir, "memory.limit_in_bytes", memory),
			ignoreMissing(write(dir, "memory.memsw.limit_in_bytes", memory)),
			// Version 1 counts the buffers of TCP apart, and not at all without a limit.
			ignoreMissing(write(dir, "memory.kmem.tcp.limit_in_bytes", strconv.FormatInt(limits.Memory/tcpShare, 10))))
	}
	if g.hosts["pids"] {
		errs = append(errs, write(g.unified, "pids.max", pids))
	} else if dir := g.legacy["pids"]; dir != "" {
		errs = append(errs, write(dir, "pids.max", pids))
	}
	share := limits.Share
	if g.starting == "" {
		share /= startPart
	}
	return errors.Join(append(errs, g.setShare(share))...)
}

// Started gives the group its whole share of the CPU, which [Limits] describes. Until then
// its processes have little of it while others want the processors. Calling it again, or
// for a group that another process made, is no error.
//
// In version 1 they share a group with all others of the tree that start, beside that of
// the tree: what those took of the processors is held against none that has started. In version 2 a
// process that changes its group leaves its memory behind, so each stays where it is and
// has a part of its share alone, and what it takes counts against the whole tree.
func (g *Group) Started(share int) error {
	if err := g.setShare(share); err != nil {
		return err
	}
	if g.legacy["cpu"] == "" {
		return nil
	}
	return g.gather()
}

// gather brings the group's processes from where they began into its own directory of the
// version 1 hierarchy of the processors. Those whose parent was still there when they were cloned
// are found by looking again.
func (g *Group) gather() error {
	const looks = 100 // more than any that does not clone itself without end
	home := g.legacy["cpu"]
	for range looks {
		there := pidsIn(home)
		missing := slices.DeleteFunc(g.pids(), func(pid int) bool { return slices.Contains(there, pid) })
		if len(missing) == 0 {
			return nil
		}
		for _, pid := range missing {
			if err := write(home, "cgroup.procs", strconv.Itoa(pid)); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("leave the cgroup of what starts: %w", err)
			}
		}
	}
	return errors.New("leave the cgroup of what starts: new processes come without end")
}

// setShare changes what the group has of the CPU. One without the control is left as it is.
func (g *Group) setShare(share int) error {
	if g.hosts["cpu"] {
		return write(g.unified, "cpu.weight", strconv.Itoa(min(max(share/10, 1), 10_000)))
	} else if dir := g.legacy["cpu"]; dir != "" {
		return write(dir, "cpu.shares", strconv.Itoa(max(share*1024/1000, 2)))
	}
	return nil
}

// OpenUnified opens the group's version 2 directory, so that a process can be
// cloned into it. The caller closes it. It is nil if there is none.
func (g *Group) OpenUnified() (*os.File, error) {
	if g.unified == "" {
		return nil, nil
	}
	return os.OpenFile(g.unified, unix.O_PATH|unix.O_DIRECTORY, 0)
}

// Admit moves a process into the group's version 1 directories, where cloning
// into a group is not possible.
func (g *Group) Admit(pid int) error {
	for _, dir := range g.dirs() {
		switch {
		case dir == g.unified:
			continue
		case dir == g.legacy["cpu"] && g.starting != "":
			dir = g.starting
		}
		if err := write(dir, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("enter cgroup: %w", err)
		}
	}
	return nil
}

// Usage reads what the group uses.
func (g *Group) Usage() Usage {
	var usage Usage
	if g.hosts["memory"] {
		usage.Memory = number(read(g.unified, "memory.current")) - field(g.unified, "memory.stat", "inactive_file")
	} else if dir := g.legacy["memory"]; dir != "" {
		usage.Memory = number(read(dir, "memory.usage_in_bytes")) - field(dir, "memory.stat", "total_inactive_file")
	}
	if dir := g.legacy["cpuacct"]; dir != "" {
		usage.CPU = time.Duration(number(read(dir, "cpuacct.usage")))
	} else if g.unified != "" {
		usage.CPU = time.Duration(field(g.unified, "cpu.stat", "usage_usec")) * time.Microsecond
	}
	usage.Memory = max(usage.Memory, 0)
	return usage
}

// Kill kills all processes of the group, frozen or not, and waits until none is
// left. A group that does not exist has none.
func (g *Group) Kill(ctx context.Context) error {
	if g.unified != "" && write(g.unified, "cgroup.kill", "1") == nil && len(g.legacy) == 0 {
		return waitFor(ctx, func() bool { return len(g.pids()) == 0 })
	}
	return waitFor(ctx, func() bool {
		doomed := g.Doom()
		if doomed > 0 {
			g.Thaw()
		}
		return doomed == 0
	})
}

// Doom sends all processes of the group the signal that kills, and returns how
// many there were. The version 1 freezer holds them all the same; once thawed
// they die before they do anything else.
func (g *Group) Doom() int {
	pids := g.pids()
	for _, pid := range pids {
		// One that has ended meanwhile is what we want.
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	return len(pids)
}

// pids lists the processes that any of the group's directories holds, each once.
func (g *Group) pids() []int {
	var pids []int
	for _, dir := range g.dirs() {
		pids = append(pids, pidsIn(dir)...)
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

func pidsIn(dir string) (pids []int) {
	for line := range strings.Lines(read(dir, "cgroup.procs")) {
		// 0 stands for a process of another pid namespace, and -1 would be everybody.
		if pid := int(number(line)); pid > 1 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Remove removes the group once its processes are gone. Calling it again is no error.
func (g *Group) Remove(ctx context.Context) error {
	var last error
	err := waitFor(ctx, func() bool {
		last = g.rmdirs()
		return !errors.Is(last, unix.EBUSY)
	})
	if err != nil {
		return fmt.Errorf("remove cgroup: %w", errors.Join(err, last))
	}
	return last
}

func (g *Group) rmdirs() error {
	var errs []error
	for _, dir := range g.dirs() {
		errs = append(errs, ignoreMissing(rmdir(dir)))
	}
	return errors.Join(errs...)
}

func (g *Group) dirs() []string {
	return (&Tree{unified: g.unified, legacy: g.legacy}).dirs()
}

// waitFor calls done until it is true, at once and then less and less often. The
// kernel offers no event for most of what a cgroup does, and it does it in
// microseconds.
func waitFor(ctx context.Context, done func() bool) error {
	for pause := 20 * time.Microsecond; !done(); pause = min(2*pause, 10*time.Millisecond) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
	return nil
}
