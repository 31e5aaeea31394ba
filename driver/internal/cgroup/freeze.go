// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Freeze stops all processes of the group and returns when they have stopped.
// If ctx ends first, they are thawed again.
func (g *Group) Freeze(ctx context.Context) error {
	start := g.freezeLegacy
	if g.unified != "" {
		start = g.freezeUnified
	}
	var frozen bool
	var failure error
	err := waitFor(ctx, func() bool {
		frozen, failure = start()
		return frozen || failure != nil
	})
	if err = errors.Join(err, failure); err != nil {
		return fmt.Errorf("freeze: %w", errors.Join(err, g.Thaw()))
	}
	return nil
}

func (g *Group) freezeUnified() (frozen bool, err error) {
	if err := write(g.unified, "cgroup.freeze", "1"); err != nil {
		return false, err
	}
	return field(g.unified, "cgroup.events", "frozen") == 1, nil
}

// freezeLegacy writes each time that it looks: the version 1 freezer may stop
// half way, and a new write goes on from there.
func (g *Group) freezeLegacy() (frozen bool, err error) {
	if err := write(g.legacy["freezer"], "freezer.state", "FROZEN"); err != nil {
		return false, err
	}
	return strings.TrimSpace(read(g.legacy["freezer"], "freezer.state")) == "FROZEN", nil
}

// Thaw lets the group's processes run again. It does nothing if the group does
// not exist.
func (g *Group) Thaw() error {
	var err error
	switch {
	case g.unified != "":
		err = write(g.unified, "cgroup.freeze", "0")
	case g.legacy["freezer"] != "":
		err = write(g.legacy["freezer"], "freezer.state", "THAWED")
	}
	if err = ignoreMissing(err); err != nil {
		return fmt.Errorf("thaw: %w", err)
	}
	return nil
}

// OutOfMemory reports whether the kernel killed a process of the group because
// the group used more memory than its limit.
func (g *Group) OutOfMemory() bool {
	if g.hosts["memory"] {
		return field(g.unified, "memory.events", "oom_kill") > 0
	}
	return g.legacy["memory"] != "" && field(g.legacy["memory"], "memory.oom_control", "oom_kill") > 0
}

// WatchMemory returns a file from which a read returns when the group is out of
// memory and the kernel is about to kill one of its processes, or when the
// group is removed. It is nil where the kernel kills the whole group by itself.
func (g *Group) WatchMemory() (*os.File, error) {
	dir := g.legacy["memory"]
	if g.hosts["memory"] || dir == "" {
		return nil, nil
	}
	control, err := os.Open(filepath.Join(dir, "memory.oom_control"))
	if err != nil {
		return nil, err
	}
	defer control.Close()
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make eventfd: %w", err)
	}
	file := os.NewFile(uintptr(event), "memory event")
	if err := write(dir, "cgroup.event_control", fmt.Sprintf("%d %d", event, control.Fd())); err != nil {
		file.Close()
		return nil, fmt.Errorf("watch memory: %w", err)
	}
	return file, nil
}
