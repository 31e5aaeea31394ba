// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/whirl-faas/whirl/driver/internal/cgroup"
	"github.com/whirl-faas/whirl/whisk"
)

// errEnded is what calls get that come after a sandbox's end.
var errEnded = errors.New("the sandbox has ended")

// sandbox is one container, or one that is being made: fields that launch has
// not filled yet are empty, and Destroy copes with that.
type sandbox struct {
	driver   *Driver
	id       whisk.ContainerID
	spec     whisk.ContainerSpec
	engineID string // set under driver.mu, once; "" before the engine knows it

	ip        netip.Addr
	private   whisk.Address  // on the bridge
	published netip.AddrPort // for other hosts; not valid if it is not published
	port      netip.AddrPort // the same, until it was given back
	group     *cgroup.Group  // nil if its cgroup is out of our reach
	runtime   *ociRuntime    // likewise
	tap       *tap           // nil before it is attached to

	life   context.Context // ends with the sandbox, or when Destroy begins
	end    context.CancelCauseFunc
	turn   chan struct{} // holds one token: who changes the state takes it
	frozen suspension    // owned by who has the turn

	removed     bool        // owned by who has the turn
	placed      atomic.Bool // group is set, for who does not know that creation is over
	killed      atomic.Bool
	outOfMemory atomic.Bool

	finishing sync.Once
	done      chan struct{} // closed by finish
	exit      whisk.Exit    // set before done is closed
}

func newSandbox(driver *Driver, req whisk.CreateSandbox) *sandbox {
	s := &sandbox{driver: driver, id: req.ID, spec: req.Spec, turn: make(chan struct{}, 1), done: make(chan struct{})}
	s.life, s.end = context.WithCancelCause(context.Background())
	s.turn <- struct{}{}
	return s
}

func (s *sandbox) ID() whisk.ContainerID     { return s.id }
func (s *sandbox) Spec() whisk.ContainerSpec { return s.spec }
func (s *sandbox) Done() <-chan struct{}     { return s.done }
func (s *sandbox) Exit() whisk.Exit          { return s.exit }

func (s *sandbox) Address() whisk.Address {
	if s.published.IsValid() {
		return whisk.Address{Network: "tcp", Address: s.published.String()}
	}
	return s.private
}

// giveBack frees the published port, if there is one, once.
func (s *sandbox) giveBack() error {
	if !s.port.IsValid() {
		return nil
	}
	err := s.driver.config.Ports.GiveBack(s.port)
	if err == nil {
		s.port = netip.AddrPort{}
	}
	return err
}

func (s *sandbox) Output() (stdout, stderr io.ReadCloser) { return s.tap.readers[0], s.tap.readers[1] }

// Settled implements [whisk.Sandbox]. The engine's own work is most of a container's
// start, and that is not in its cgroup.
func (s *sandbox) Settled() {}

// Suspend implements [whisk.Sandbox].
func (s *sandbox) Suspend(ctx context.Context) error {
	return s.change(ctx, "suspend", s.freeze)
}

// Resume implements [whisk.Sandbox].
func (s *sandbox) Resume(ctx context.Context) error {
	return s.change(ctx, "resume", s.thaw)
}

// change does something to the living sandbox when it is its turn. The context
// that it gets ends with the sandbox as well.
func (s *sandbox) change(ctx context.Context, what string, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.life, func() { cancel(errEnded) })()
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
	case <-ctx.Done():
	}
	err := context.Cause(ctx)
	if s.life.Err() != nil {
		err = errEnded
	}
	if err == nil {
		err = do(ctx)
	}
	if err == nil {
		return nil
	}
	if (s.life.Err() != nil || errdefs.IsNotFound(err)) && !errors.Is(err, whisk.ErrStaysFrozen) {
		return whisk.Errorf(whisk.NotFound, "%s sandbox %s: %w", what, s.id, errEnded)
	}
	return fmt.Errorf("%s sandbox %s: %w", what, s.id, err)
}

// Stats implements [whisk.Sandbox]. After the end all is zero.
func (s *sandbox) Stats(ctx context.Context) (whisk.SandboxStats, error) {
	if s.life.Err() != nil {
		return whisk.SandboxStats{}, nil
	}
	if s.group != nil {
		usage := s.group.Usage()
		return whisk.SandboxStats{Memory: whisk.Bytes(usage.Memory), CPU: usage.CPU, Suspended: s.group.Frozen()}, nil
	}
	answer, err := s.driver.engine.ContainerStats(ctx, s.engineID, client.ContainerStatsOptions{})
	if err != nil {
		return whisk.SandboxStats{}, fmt.Errorf("read the statistics of sandbox %s: %w", s.id, err)
	}
	defer answer.Body.Close()
	var stats container.StatsResponse
	if err := json.NewDecoder(answer.Body).Decode(&stats); err != nil {
		return whisk.SandboxStats{}, fmt.Errorf("read the statistics of sandbox %s: %w", s.id, err)
	}
	idle := stats.MemoryStats.Stats["inactive_file"] + stats.MemoryStats.Stats["total_inactive_file"]
	return whisk.SandboxStats{
		Memory:    whisk.Bytes(stats.MemoryStats.Usage - min(idle, stats.MemoryStats.Usage)),
		CPU:       time.Duration(stats.CPUStats.CPUUsage.TotalUsage),
		Suspended: s.paused(ctx) || s.runtime.paused(ctx),
	}, nil
}

// Destroy implements [whisk.Sandbox].
func (s *sandbox) Destroy(ctx context.Context) error {
	s.killed.Store(true)
	s.end(errEnded)
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
	case <-ctx.Done():
		return fmt.Errorf("destroy sandbox %s: %w", s.id, context.Cause(ctx))
	}
	if s.removed {
		return nil
	}
	if err := s.remove(ctx); err != nil {
		return fmt.Errorf("destroy sandbox %s: %w", s.id, err)
	}
	s.removed = true
	s.driver.forget(s)
	return nil
}

// remove has the engine kill and forget the container. It may be repeated.
func (s *sandbox) remove(ctx context.Context) error {
	if err := s.letDie(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := s.driver.removeContainer(ctx, s.engineID); err != nil {
		return err
	}
	s.driver.log.Debug("container removed", "container", string(s.id), "took", time.Since(began))
	s.finish(whisk.Exit{Code: -9})
	if s.tap != nil {
		s.tap.discard()
	}
	return s.giveBack()
}

// letDie thaws what the engine does not know to be frozen: the version 1 freezer
// holds even a killed process. It is killed before, and so does not run on.
func (s *sandbox) letDie(ctx context.Context) error {
	switch {
	case s.group != nil:
		if s.frozen != running || s.group.Frozen() {
			s.group.Doom()
		}
		return s.group.ThawAll()
	case s.frozen == byRuntime, s.frozen == found && s.runtime != nil:
		return s.runtime.letDie(ctx)
	}
	return nil
}

// finish is the end of the container, however it is learned of.
func (s *sandbox) finish(exit whisk.Exit) {
	s.finishing.Do(func() {
		exit.OutOfMemory = exit.OutOfMemory || s.outOfMemory.Load()
		s.exit = exit
		close(s.done)
		s.end(errEnded)
	})
}

// removeContainer kills a container and waits until the engine has forgotten it.
func (d *Driver) removeContainer(ctx context.Context, id string) error {
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		_, err := d.engine.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if err == nil || errdefs.IsNotFound(err) {
			return nil
		}
		// Somebody else may be removing it, which the engine calls a conflict.
		if !errdefs.IsConflict(err) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// removeByName removes a container of our instance, of which only the name is
// known for sure.
func (d *Driver) removeByName(ctx context.Context, name string) error {
	found, err := d.engine.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for the container %s: %w", name, err)
	}
	if found.Container.Config == nil || found.Container.Config.Labels[labelInstance] != d.config.Instance {
		return nil
	}
	return d.removeContainer(ctx, found.Container.ID)
}
