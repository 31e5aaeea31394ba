// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/whirl-faas/whirl/driver/internal/cgroup"
)

// suspension says how a sandbox was suspended, and so how it is resumed.
type suspension uint8

const (
	running  suspension = iota
	inGroup             // through its cgroup, without the engine's knowledge
	byEngine            // by the engine
	found               // by a former agent; nobody knows how
)

// freezer returns the part of a sandbox's cgroup to freeze it by, nil if that is
// for the engine to do.
func (s *sandbox) freezer() *cgroup.Group {
	if s.group == nil {
		return nil
	}
	return freezerOf(s.driver.freezer, s.group)
}

func freezerOf(way Freezer, group *cgroup.Group) *cgroup.Group {
	unified, legacy := group.Unified(), group.Legacy()
	switch {
	case (way == FreezeAuto || way == FreezeUnified) && unified != nil && unified.MayFreeze():
		return unified
	case (way == FreezeAuto || way == FreezeLegacy) && legacy != nil && legacy.MayFreeze():
		return legacy
	}
	return nil
}

// freeze needs the turn.
func (s *sandbox) freeze(ctx context.Context) error {
	if s.frozen != running {
		return nil
	}
	if group := s.freezer(); group != nil {
		if err := group.Freeze(ctx); err != nil {
			return err
		}
		s.frozen = inGroup
		return nil
	}
	// A pause that is broken off may still be carried out; a resume undoes it.
	s.frozen = byEngine
	if err := s.pause(ctx); err != nil {
		return errors.Join(err, s.unpause(context.WithoutCancel(ctx)))
	}
	return nil
}

// pause tries some times: the OCI runtime gives up on a container that is busy.
func (s *sandbox) pause(ctx context.Context) error {
	const tries = 5
	for try := 1; ; try++ {
		_, err := s.driver.engine.ContainerPause(ctx, s.engineID, client.ContainerPauseOptions{})
		if err == nil || already(err, "paused") {
			return nil
		}
		if try == tries || ctx.Err() != nil || errdefs.IsNotFound(err) {
			return err
		}
	}
}

// thaw needs the turn.
func (s *sandbox) thaw(ctx context.Context) error {
	var err error
	switch s.frozen {
	case running:
		return nil
	case inGroup:
		err = s.group.ThawAll()
	case byEngine:
		return s.unpause(ctx)
	case found:
		if s.group != nil {
			err = s.group.ThawAll()
		}
		if err == nil {
			return s.unpause(ctx)
		}
	}
	if err == nil {
		s.frozen = running
	}
	return err
}

func (s *sandbox) unpause(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.driver.config.Grace)
	defer cancel()
	_, err := s.driver.engine.ContainerUnpause(ctx, s.engineID, client.ContainerUnpauseOptions{})
	if err != nil && !already(err, "not paused") {
		return err
	}
	s.frozen = running
	return nil
}

// already reports whether the engine refuses because things are so.
func already(err error, state string) bool {
	return (errdefs.IsConflict(err) || errdefs.IsInternal(err)) && strings.Contains(err.Error(), state)
}

// paused asks the engine.
func (s *sandbox) paused(ctx context.Context) bool {
	inspected, err := s.driver.engine.ContainerInspect(ctx, s.engineID, client.ContainerInspectOptions{})
	return err == nil && inspected.Container.State != nil && inspected.Container.State.Paused
}
