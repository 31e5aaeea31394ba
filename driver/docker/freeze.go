// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/whirl-faas/whirl/driver/internal/cgroup"
	"github.com/whirl-faas/whirl/whisk"
)

// suspension says how a sandbox was suspended, and so how it is resumed.
type suspension uint8

const (
	running   suspension = iota
	inGroup              // through its cgroup, without the engine's knowledge
	byRuntime            // by the OCI runtime, likewise
	byEngine             // by the engine
	found                // by a former agent; nobody knows how
	unsure               // a request to the engine was broken off and may be carried out yet
)

// errUnsure has the sandbox destroyed: it may be frozen or thawed at any moment.
var errUnsure = errors.New("a request to the engine was broken off and may be carried out yet")

// freezer returns the part of a sandbox's cgroup to freeze it by, nil if that is
// for others to do.
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

// runtimeFreezes reports whether the OCI runtime is to suspend what has no freezer.
func (s *sandbox) runtimeFreezes() bool {
	return s.runtime != nil && (s.driver.freezer == FreezeAuto || s.driver.freezer == FreezeRuntime)
}

// freeze needs the turn.
func (s *sandbox) freeze(ctx context.Context) error {
	switch s.frozen {
	case unsure:
		return errUnsure
	case inGroup, byRuntime, byEngine, found:
		return nil
	}
	if group := s.freezer(); group != nil {
		if err := group.Freeze(ctx); err != nil {
			return err
		}
		s.frozen = inGroup
		return nil
	}
	if s.runtimeFreezes() {
		if err := s.runtime.freeze(ctx); err != nil {
			return err
		}
		s.frozen = byRuntime
		return nil
	}
	settled, err := s.pause(ctx)
	if err != nil {
		return errors.Join(err, s.undoPause(context.WithoutCancel(ctx), settled))
	}
	s.frozen = byEngine
	return nil
}

// pauseTries is how often a pause is tried before it counts as failed.
const pauseTries = 5

// pause tries some times: the OCI runtime gives up on a container that is busy.
// settled says that no try may be carried out yet.
func (s *sandbox) pause(ctx context.Context) (settled bool, err error) {
	settled = true
	for range pauseTries {
		_, err = s.driver.engine.ContainerPause(ctx, s.engineID, client.ContainerPauseOptions{})
		if err == nil || already(err, "paused") {
			return true, nil
		}
		settled = settled && isSettled(err)
		if ctx.Err() != nil || errdefs.IsNotFound(err) {
			break
		}
	}
	return settled, err
}

// undoPause makes sure that a container is not paused whose pause failed, or
// has it stay unsure.
func (s *sandbox) undoPause(ctx context.Context, settled bool) error {
	ctx, cancel := context.WithTimeout(ctx, s.driver.config.Grace)
	defer cancel()
	_, err := s.driver.engine.ContainerUnpause(ctx, s.engineID, client.ContainerUnpauseOptions{})
	switch {
	case err == nil: // so the pause was carried out, and is undone
		s.frozen = running
		return nil
	case settled && (already(err, "not paused") || isUnsent(err)):
		s.frozen = running
		return nil
	}
	s.frozen = unsure
	return err
}

// thaw needs the turn. Its error wraps [whisk.ErrStaysFrozen] if that is so.
func (s *sandbox) thaw(ctx context.Context) error {
	switch s.frozen {
	case running:
		return nil
	case unsure:
		return errUnsure
	case byEngine:
		return s.unpause(ctx)
	}
	if err := s.thawUnknown(ctx); err != nil {
		return err
	}
	if s.frozen == found {
		return s.unpause(ctx)
	}
	s.frozen = running
	return nil
}

// thawUnknown undoes what was done without the engine's knowledge.
func (s *sandbox) thawUnknown(ctx context.Context) error {
	switch {
	case s.frozen == byRuntime, s.group == nil && s.runtime.paused(ctx):
		return s.runtime.thaw(ctx)
	case s.group == nil:
		return nil
	}
	err := s.group.ThawAll()
	if err != nil && s.group.Frozen() {
		return staysFrozen(err)
	}
	return err
}

func (s *sandbox) unpause(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, s.driver.config.Grace)
	defer cancel()
	_, err := s.driver.engine.ContainerUnpause(limited, s.engineID, client.ContainerUnpauseOptions{})
	switch {
	case err == nil || already(err, "not paused"):
		s.frozen = running
		return nil
	case !isSettled(err):
		s.frozen = unsure
	case s.frozen == byEngine && (isUnsent(err) || s.paused(ctx)):
		err = staysFrozen(err)
	}
	return err
}

func staysFrozen(err error) error { return fmt.Errorf("%w, and %w", err, whisk.ErrStaysFrozen) }

// isSettled reports whether a request that failed cannot be carried out later.
func isSettled(err error) bool { return answered(err) || isUnsent(err) }

// isUnsent reports whether a request never reached the engine.
func isUnsent(err error) bool {
	failed, ok := errors.AsType[*net.OpError](err)
	return ok && failed.Op == "dial"
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
