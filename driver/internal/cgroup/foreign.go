// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Of finds the group that a container engine made for the process pid. Only
// directories whose path holds mark, such as the container's id, count: what
// else the process is in belongs to others. It fails if there is no such
// directory, for instance because the engine runs elsewhere.
func Of(pid int, mark string) (*Group, error) {
	mounts, err := findMounts()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil, fmt.Errorf("find the cgroups of process %d: %w", pid, err)
	}
	g := mounts.of(string(text), mark)
	if g.unified == "" && len(g.legacy) == 0 {
		return nil, fmt.Errorf("process %d is in no cgroup named after %s that this process sees", pid, mark)
	}
	return g, nil
}

// of reads the format of /proc/PID/cgroup, see cgroups(7).
func (m mounts) of(text, mark string) *Group {
	g := &Group{hosts: map[string]bool{}, legacy: map[string]string{}}
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) < 3 || !strings.Contains(fields[2], mark) {
			continue
		}
		if fields[1] == "" {
			if dir := filepath.Join(m.unified, fields[2]); m.unified != "" && isDir(dir) {
				g.unified = dir
			}
			continue
		}
		for controller := range strings.SplitSeq(fields[1], ",") {
			if dir := filepath.Join(m.legacy[controller], fields[2]); m.legacy[controller] != "" && isDir(dir) {
				g.legacy[controller] = dir
			}
		}
	}
	if g.unified != "" {
		for controller := range strings.FieldsSeq(read(g.unified, "cgroup.controllers")) {
			g.hosts[controller] = true
		}
	}
	return g
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// Unified returns the group's version 2 part alone, nil if it has none.
func (g *Group) Unified() *Group {
	if g.unified == "" {
		return nil
	}
	return &Group{unified: g.unified, hosts: g.hosts}
}

// Legacy returns the group's version 1 part alone, nil if it has no freezer.
func (g *Group) Legacy() *Group {
	if g.legacy["freezer"] == "" {
		return nil
	}
	return &Group{legacy: g.legacy}
}

// MayFreeze reports whether this process is allowed to freeze the group.
func (g *Group) MayFreeze() bool {
	file := filepath.Join(g.legacy["freezer"], "freezer.state")
	if g.unified != "" {
		file = filepath.Join(g.unified, "cgroup.freeze")
	}
	return unix.Access(file, unix.W_OK) == nil
}

// Frozen reports whether the group is frozen, or about to be, in either hierarchy.
func (g *Group) Frozen() bool {
	if g.unified != "" && number(read(g.unified, "cgroup.freeze")) == 1 {
		return true
	}
	dir := g.legacy["freezer"]
	if dir == "" {
		return false
	}
	state := strings.TrimSpace(read(dir, "freezer.state"))
	return state != "" && state != "THAWED"
}

// ThawAll thaws the group in both hierarchies, whoever froze it.
func (g *Group) ThawAll() error {
	var errs []error
	for _, part := range []*Group{g.Unified(), g.Legacy()} {
		if part != nil {
			errs = append(errs, part.Thaw())
		}
	}
	return errors.Join(errs...)
}

// Frost keeps a group of its own frozen in the version 1 freezer, so that
// freezing others is cheap (see [Tree]).
type Frost struct{ dir string }

// KeepFrozen begins a frost of that name. Without a version 1 freezer it does nothing.
func KeepFrozen(name string) (*Frost, error) {
	mounts, err := findMounts()
	if err != nil || mounts.legacy["freezer"] == "" {
		return &Frost{}, err
	}
	dir := filepath.Join(mounts.legacy["freezer"], "whirl", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("keep a cgroup frozen: %w", err)
	}
	if err := keepFrozen(dir); err != nil {
		return nil, fmt.Errorf("keep a cgroup frozen: %w", err)
	}
	return &Frost{dir}, nil
}

// Close ends the frost.
func (f *Frost) Close() error {
	if f.dir == "" {
		return nil
	}
	err := errors.Join(endFrozen(f.dir), ignoreMissing(rmdir(f.dir)))
	_ = rmdir(filepath.Dir(f.dir)) // another instance may need it
	return err
}
