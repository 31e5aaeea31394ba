// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"github.com/whirl-faas/whirl/whisk"
)

// watchLoop learns of the ends of containers and of the network's from one stream of
// events, and by asking whenever the stream has begun anew.
func (d *Driver) watchLoop(ctx context.Context) {
	for pause := 50 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 2*time.Second) {
		if d.watchOnce(ctx) {
			pause = 50 * time.Millisecond
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// watchOnce follows one stream until it breaks. It returns whether there was any.
func (d *Driver) watchOnce(ctx context.Context) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Events of networks have no labels to ask for.
	stream := d.engine.Events(ctx, client.EventsListOptions{Filters: client.Filters{}.
		Add("type", string(events.ContainerEventType), string(events.NetworkEventType)).
		Add("event", string(events.ActionDie), string(events.ActionOOM), string(events.ActionDestroy))})
	d.mendNetwork()
	d.checkAll(ctx)
	followed := false
	for {
		select {
		case event := <-stream.Messages:
			followed = true
			d.note(event)
		case err := <-stream.Err:
			level := slog.LevelDebug // of trying again in vain
			if followed {
				level = slog.LevelWarn
			}
			if ctx.Err() == nil {
				d.log.Log(ctx, level, "engine's events broke off", "err", err)
			}
			return followed
		}
	}
}

func (d *Driver) note(event events.Message) {
	if event.Type == events.NetworkEventType {
		if event.Actor.Attributes["name"] == d.network {
			d.mendNetwork()
		}
		return
	}
	s := d.byEngineID(event.Actor.ID)
	if s == nil || event.Action == events.ActionDestroy { // that it died was told before
		return
	}
	if event.Action == events.ActionOOM {
		s.outOfMemory.Store(true)
		// What is left of it could not be trusted.
		d.loops.Go(s.killOutOfMemory)
		return
	}
	code, err := strconv.Atoi(event.Actor.Attributes["exitCode"])
	if err != nil {
		code = -1
	}
	d.loops.Go(func() { s.ended(code, false) })
}

// checkAll looks for ends that no event told.
func (d *Driver) checkAll(ctx context.Context) {
	for _, s := range d.known() {
		inspected, err := d.engine.ContainerInspect(ctx, s.engineID, client.ContainerInspectOptions{})
		switch {
		case errdefs.IsNotFound(err):
			s.finish(whisk.Exit{Code: -9})
		case err == nil && isOver(inspected.Container.State):
			s.ended(inspected.Container.State.ExitCode, inspected.Container.State.OOMKilled)
		}
	}
}

func isOver(state *container.State) bool {
	return state != nil && (state.Status == container.StateExited || state.Status == container.StateDead)
}

// killed is the status of a process that got a SIGKILL.
const killed = 128 + 9

// ended takes in the end of the container with that status. A kill that we did
// not order may be for want of memory, which the engine may learn a moment later.
func (s *sandbox) ended(status int, outOfMemory bool) {
	const looks = 10
	for range looks {
		if outOfMemory || status != killed || s.killed.Load() || s.outOfMemory.Load() {
			break
		}
		inspected, err := s.driver.engine.ContainerInspect(s.life, s.engineID, client.ContainerInspectOptions{})
		if err != nil || inspected.Container.State == nil {
			break
		}
		outOfMemory = inspected.Container.State.OOMKilled
		select {
		case <-time.After(30 * time.Millisecond):
		case <-s.life.Done():
		}
	}
	s.finish(whisk.Exit{Code: exitCode(status), OutOfMemory: outOfMemory})
}

// exitCode turns a status as shells write it into ours, which is negative for
// signals. A process that ends itself with such a status looks the same.
func exitCode(status int) int {
	if status > 128 && status <= 128+64 {
		return 128 - status
	}
	return status
}

func (s *sandbox) killOutOfMemory() {
	if s.life.Err() != nil {
		return // the end has other reasons, or has come already
	}
	ctx, cancel := context.WithTimeout(s.life, s.driver.config.Grace)
	defer cancel()
	if s.placed.Load() { // before that, nobody has frozen it
		s.group.Doom()
		if err := s.group.ThawAll(); err != nil {
			s.driver.log.Warn("sandbox out of memory not thawed", "container", string(s.id), "err", err)
		}
	}
	_, err := s.driver.engine.ContainerKill(ctx, s.engineID, client.ContainerKillOptions{Signal: "KILL"})
	if err != nil && s.life.Err() == nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
		s.driver.log.Warn("sandbox out of memory not killed", "container", string(s.id), "err", err)
	}
}
