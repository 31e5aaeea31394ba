// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"github.com/whirl-faas/whirl/driver/internal/cgroup"
	"github.com/whirl-faas/whirl/whisk"
)

// findings are what a trial found out.
type findings struct {
	Image string                    // that it ran, "" if there was none to run
	Took  map[Freezer]time.Duration // one suspend and resume, of the ways that work
}

// trialID is the container that a trial makes. A former trial may have died.
const trialID whisk.ContainerID = "trial"

// findOut makes a trial, unless a former process of the instance made one with this engine and left
// containers. Those have to be taken over before their leases end; a trial may take seconds of that.
func (d *Driver) findOut(ctx context.Context, info system.Info) (found findings, err error) {
	engine := fmt.Sprintf("%s %s %s cgroup v%s", info.ID, info.ServerVersion, info.DefaultRuntime, info.CgroupVersion)
	if found, ok := d.state.recall(engine); ok && d.config.Trial {
		d.choose(found)
		return found, nil
	}
	if found, err = d.try(ctx); err == nil && found.Image != "" {
		d.choose(found)
		if err := d.state.note(engine, found); err != nil {
			d.log.Debug("what the trial found out is not noted", "err", err)
		}
	}
	return found, err
}

// choose takes the fastest way to suspend, if none is prescribed.
func (d *Driver) choose(found findings) {
	if d.config.Freezer == FreezeAuto {
		d.freezer = found.fastest()
	}
}

// try starts a container of an image that is there, to find out now that the
// engine can, and which ways to suspend it work and are the fastest.
func (d *Driver) try(ctx context.Context) (found findings, err error) {
	found.Took = map[Freezer]time.Duration{}
	image := ""
	if d.config.Trial {
		image = d.anyImage(ctx)
	}
	if image == "" {
		return found, nil
	}
	req := whisk.CreateSandbox{ID: trialID, Spec: whisk.ContainerSpec{Image: image, Memory: 256 * whisk.MB}}
	s := newSandbox(d, req)
	l := &launch{sandbox: s, req: req, name: containerName(d.config.Instance, trialID, "")}
	if err := errors.Join(d.removeByName(ctx, l.name), d.enter(s)); err != nil {
		return found, fmt.Errorf("make a container as a trial: %w", err)
	}
	defer func() { err = errors.Join(err, l.undo(ctx)) }()
	l.picture = picture{name: image}
	for _, step := range []func(context.Context) error{l.create, l.start, l.find} {
		if err := step(ctx); err != nil {
			if _, broken := errors.AsType[*whisk.CreateError](err); broken {
				return found, nil // the image's fault tells nothing of the engine
			}
			return found, fmt.Errorf("make a container as a trial: %w", err)
		}
	}
	found.Image = image
	found.Took = d.timeFreezers(ctx, s)
	return found, nil
}

// fastest returns the first way that is not much slower than the best; one
// measurement tells no more. It is FreezeAuto if none was measured.
func (f findings) fastest() Freezer {
	const near = 4
	best := time.Hour
	for _, took := range f.Took {
		best = min(best, took)
	}
	for _, way := range []Freezer{FreezeUnified, FreezeLegacy, FreezeRuntime, FreezeEngine} {
		if took, ok := f.Took[way]; ok && took <= near*best {
			return way
		}
	}
	return FreezeAuto
}

// anyImage returns one of the configured images that is here.
func (d *Driver) anyImage(ctx context.Context) string {
	for _, kind := range slices.Sorted(maps.Keys(d.config.Images)) {
		if _, err := d.engine.ImageInspect(ctx, d.config.Images[kind]); err == nil {
			return d.config.Images[kind]
		}
	}
	return ""
}

// timeFreezers tries all ways on a running container.
func (d *Driver) timeFreezers(ctx context.Context, s *sandbox) map[Freezer]time.Duration {
	took := map[Freezer]time.Duration{}
	for _, way := range []Freezer{FreezeUnified, FreezeLegacy} {
		if s.group == nil {
			break
		}
		if group := freezerOf(way, s.group); group != nil {
			if best, err := timeGroup(ctx, group); err == nil {
				took[way] = best
			}
		}
	}
	if s.runtime != nil {
		start := time.Now()
		if err := errors.Join(s.runtime.freeze(ctx), s.runtime.thaw(ctx)); err == nil {
			took[FreezeRuntime] = time.Since(start)
		}
	}
	start := time.Now()
	_, err := s.pause(ctx)
	if err == nil {
		_, err = d.engine.ContainerUnpause(ctx, s.engineID, client.ContainerUnpauseOptions{})
	}
	if err == nil {
		took[FreezeEngine] = time.Since(start)
	}
	return took
}

// timeGroup returns the best of some suspends and resumes.
func timeGroup(ctx context.Context, group *cgroup.Group) (time.Duration, error) {
	const tries = 5
	best := time.Hour
	for range tries {
		start := time.Now()
		if err := group.Freeze(ctx); err != nil {
			return 0, err
		}
		if err := group.Thaw(); err != nil {
			return 0, err
		}
		best = min(best, time.Since(start))
	}
	return best, nil
}
