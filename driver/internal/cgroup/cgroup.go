// SPDX-License-Identifier: Apache-2.0

// Package cgroup limits, counts, freezes and kills the processes of sandboxes
// through the cgroup file systems: version 1, version 2, or both side by side.
//
// A [Tree] is the part of the hierarchies that one instance of a driver owns, a
// [Group] one sandbox in it, or a sandbox that a container engine made, found by
// [Of]. Whatever a machine lacks is left out and told by [Tree.Support]; nothing
// outside of the tree is changed but the list of controllers that version 2
// hands down to it.
//
// Methods of different groups may overlap; those of one group may not.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// frozenName is the group that stays frozen for ever. Freezing is much cheaper
// in version 1 while something else is frozen: the kernel keeps its slow path on.
const frozenName = ".frozen"

// Tree is where an instance keeps its groups.
type Tree struct {
	unified string            // its directory of the version 2 hierarchy, "" if it has none
	hosts   map[string]bool   // controllers that the unified directory gives to its groups
	legacy  map[string]string // controller to its directory of a version 1 hierarchy

	// For what starts, in the version 1 hierarchy of the processors; "" without one. See
	// [Group.Started].
	starting string
}

// Support says what a tree can do.
type Support struct {
	Memory, PIDs, CPU, Freeze bool
}

// Open makes the tree of that name, or finds it. It fails only if the machine's
// mounts cannot be read; a tree without any support is no error.
func Open(name string) (*Tree, error) {
	mounts, err := findMounts()
	if err != nil {
		return nil, err
	}
	return mounts.open(name)
}

func (m mounts) open(name string) (*Tree, error) {
	t := &Tree{hosts: map[string]bool{}, legacy: map[string]string{}}
	if m.unified != "" {
		t.openUnified(m.unified, name)
	}
	for _, controller := range []string{"memory", "pids", "cpu", "cpuacct", "freezer"} {
		mount, mounted := m.legacy[controller]
		if !mounted || controller == "freezer" && t.unified != "" {
			continue
		}
		if dir := filepath.Join(mount, "whirl", name); os.MkdirAll(dir, 0o755) == nil {
			t.legacy[controller] = dir
		}
	}
	if t.legacy["cpu"] != "" {
		if dir := filepath.Join(m.legacy["cpu"], "whirl-starting", name); os.MkdirAll(dir, 0o755) == nil {
			t.starting = dir
		}
	}
	if freezer, ok := t.legacy["freezer"]; ok {
		if err := keepFrozen(freezer); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func keepFrozen(freezer string) error {
	dir := filepath.Join(freezer, frozenName)
	return errors.Join(mkdir(dir), write(dir, "freezer.state", "FROZEN"))
}

func endFrozen(freezer string) error {
	dir := filepath.Join(freezer, frozenName)
	return errors.Join(ignoreMissing(write(dir, "freezer.state", "THAWED")), ignoreMissing(rmdir(dir)))
}

// openUnified takes a place in the version 2 hierarchy: below its top, or, where
// only that is allowed, below the group that was delegated to this process.
func (t *Tree) openUnified(mount, name string) {
	top := mount
	if err := mkdir(filepath.Join(top, "whirl")); err != nil {
		if top, err = delegated(mount); err != nil {
			return
		}
	}
	dir := filepath.Join(top, "whirl", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return
	}
	t.unified = dir
	for _, level := range []string{top, filepath.Dir(dir), dir} {
		for _, controller := range []string{"memory", "pids", "cpu"} {
			// A controller that is not to be had is seen below.
			_ = write(level, "cgroup.subtree_control", "+"+controller)
		}
	}
	for controller := range strings.FieldsSeq(read(dir, "cgroup.subtree_control")) {
		t.hosts[controller] = true
	}
}

// delegated makes room in the group that this process may manage: a group with
// processes of its own cannot hand controllers down, so the process moves into
// a group beside those of the sandboxes.
func delegated(mount string) (string, error) {
	const agent = "whirl-agent"
	var own string
	for line := range strings.Lines(read("/proc/self", "cgroup")) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			own = filepath.Join(mount, path)
		}
	}
	if own == "" {
		return "", fs.ErrNotExist
	}
	if filepath.Base(own) == agent {
		return filepath.Dir(own), nil
	}
	dir := filepath.Join(own, agent)
	if err := mkdir(dir); err != nil {
		return "", err
	}
	if err := write(dir, "cgroup.procs", "0"); err != nil {
		return "", errors.Join(err, os.Remove(dir))
	}
	return own, nil
}

// Support says what the tree's groups can do.
func (t *Tree) Support() Support {
	has := func(controller string) bool { return t.hosts[controller] || t.legacy[controller] != "" }
	return Support{
		Memory: has("memory"),
		PIDs:   has("pids"),
		CPU:    has("cpu"),
		Freeze: t.unified != "" || has("freezer"),
	}
}

// Sweep kills what is inside of all groups of the tree and removes them, but for
// those whose names are to be spared.
func (t *Tree) Sweep(ctx context.Context, spared ...string) error {
	var names []string
	for _, dir := range t.dirs() {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("list leftover cgroups: %w", err)
		}
		for _, entry := range entries {
			name := entry.Name()
			if entry.IsDir() && name != frozenName && !slices.Contains(names, name) && !slices.Contains(spared, name) {
				names = append(names, name)
			}
		}
	}
	var errs []error
	for _, name := range names {
		group := t.group(name)
		errs = append(errs, group.Kill(ctx), group.Remove(ctx))
	}
	return errors.Join(errs...)
}

// Close removes the tree. Its groups must be gone.
func (t *Tree) Close() error {
	var errs []error
	if freezer, ok := t.legacy["freezer"]; ok {
		errs = append(errs, endFrozen(freezer))
	}
	dirs := t.dirs()
	if t.starting != "" {
		dirs = append(dirs, t.starting)
	}
	for _, dir := range dirs {
		errs = append(errs, ignoreMissing(rmdir(dir)))
		_ = rmdir(filepath.Dir(dir)) // another instance may need it
	}
	return errors.Join(errs...)
}

// dirs returns the tree's directories, each once: version 1 controllers may share one.
func (t *Tree) dirs() []string {
	var dirs []string
	if t.unified != "" {
		dirs = append(dirs, t.unified)
	}
	for _, dir := range t.legacy {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}
