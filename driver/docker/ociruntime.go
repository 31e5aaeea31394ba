// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/system"
)

// ociRuntime is the program by which the engine made a container, to be used
// behind the engine's back: it saves the way through the engine and its shim.
type ociRuntime struct {
	program string
	root    string // the directory of its containers' states
	id      string // of the container
}

// engineNamespace is what the engine calls itself towards containerd.
const engineNamespace = "moby"

// runtimeOf finds the runtime of a container, nil if its program or its state are
// not within reach.
func (d *Driver) runtimeOf(c container.InspectResponse) *ociRuntime {
	name := d.usualRuntime
	if c.HostConfig != nil && c.HostConfig.Runtime != "" {
		name = c.HostConfig.Runtime
	}
	program, err := exec.LookPath(programOf(d.runtimes[name], name))
	if err != nil {
		return nil
	}
	for _, dir := range execRoots(c) {
		root := filepath.Join(dir, "runtime-"+name, engineNamespace)
		if _, err := os.Stat(filepath.Join(root, c.ID)); err == nil {
			return &ociRuntime{program, root, c.ID}
		}
	}
	return nil
}

func programOf(runtime system.RuntimeWithStatus, name string) string {
	if runtime.Path != "" {
		return runtime.Path
	}
	return name
}

// execRoots is where the engine may keep what runs: beside the network of the
// container, beside the socket of the engine's own containerd, or in the usual place.
func execRoots(c container.InspectResponse) []string {
	roots := []string{"/run/docker"}
	if c.NetworkSettings != nil && filepath.IsAbs(c.NetworkSettings.SandboxKey) {
		roots = append([]string{filepath.Dir(filepath.Dir(c.NetworkSettings.SandboxKey))}, roots...)
	}
	if c.State != nil && c.State.Pid != 0 {
		if socket := shimAddress(c.State.Pid); filepath.IsAbs(socket) {
			roots = append([]string{filepath.Dir(filepath.Dir(socket))}, roots...)
		}
	}
	return roots
}

// shimAddress is the socket of the containerd that the parent of a container's first
// process belongs to, "" if it cannot be told.
func shimAddress(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // from the state on, then the parent
	if len(fields) < 2 {
		return ""
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%s/cmdline", fields[1]))
	if err != nil {
		return ""
	}
	words := strings.Split(string(line), "\x00")
	for i, word := range words[:len(words)-1] {
		if word == "-address" {
			return words[i+1]
		}
	}
	return ""
}

// runtimePatience bounds one call of the runtime. Callers do not break one off: half
// of its work would be done.
const runtimePatience = 10 * time.Second

// call runs the program. When it returns, the program has ended: nothing comes
// later.
func (r *ociRuntime) call(ctx context.Context, arguments ...string) (said []byte, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), runtimePatience)
	defer cancel()
	var complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, r.program, append([]string{"--root", r.root}, arguments...)...)
	cmd.Stderr, cmd.WaitDelay = &complaint, time.Second
	if said, err = cmd.Output(); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", r.program, arguments[0], err, bytes.TrimSpace(complaint.Bytes()))
	}
	return said, nil
}

// freeze stops the container's processes; if that fails they run. It tries some
// times: the runtime gives up on a container that is busy.
func (r *ociRuntime) freeze(ctx context.Context) (err error) {
	for range pauseTries {
		if _, err = r.call(ctx, "pause", r.id); err == nil || r.paused(ctx) {
			return nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(err, r.resume(ctx))
}

// thaw lets them run again. Its error wraps [whisk.ErrStaysFrozen] if they do not.
func (r *ociRuntime) thaw(ctx context.Context) error {
	err := r.resume(ctx)
	if err != nil && r.paused(ctx) {
		return staysFrozen(err)
	}
	return err
}

func (r *ociRuntime) resume(ctx context.Context) error {
	_, err := r.call(ctx, "resume", r.id)
	if err != nil && strings.Contains(err.Error(), "not paused") {
		return nil
	}
	return err
}

// letDie kills all of the container's processes and thaws them then.
func (r *ociRuntime) letDie(ctx context.Context) error {
	_, _ = r.call(ctx, "kill", "--all", r.id, "KILL") // who is not killed here the engine kills
	err := r.resume(ctx)
	if err != nil && strings.Contains(err.Error(), "does not exist") {
		return nil // it has died of it
	}
	return err
}

// paused reports whether the runtime says so; nil never does.
func (r *ociRuntime) paused(ctx context.Context) bool {
	if r == nil {
		return false
	}
	var state struct{ Status string }
	said, err := r.call(ctx, "state", r.id)
	return err == nil && json.Unmarshal(said, &state) == nil && state.Status == "paused"
}
