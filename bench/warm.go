// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
)

// warmLoads measures a workload of one kind at every pace, beside the same code
// in sandboxes without the platform if there are any.
func (r *runner) warmLoads(ctx context.Context, kind string, w Workload) error {
	paces := r.config.paces()
	if len(paces) == 0 {
		return nil
	}
	made := &leavings{}
	defer r.clean(ctx, made)
	var stages []*stage
	for _, e := range r.endpoints {
		stage, err := r.deployWorkload(ctx, made, e, kind, w)
		if err != nil {
			return err
		}
		stages = append(stages, stage)
	}
	sandboxes, stop, err := r.direct(ctx, kind, stages[0].kind, w)
	if err != nil {
		return err
	}
	defer stop()
	for _, pace := range paces {
		if err := r.warmLoad(ctx, course{kind: kind, workload: w, pace: pace, stages: stages, sandboxes: sandboxes}); err != nil {
			return err
		}
	}
	for _, stage := range stages {
		of := describe(kind, w)
		if stage.endpoint != r.endpoints[0] {
			of += ", " + stage.endpoint.name
		}
		if err := r.countRecords(ctx, of, stage.actions, stage.answered); err != nil {
			return err
		}
	}
	return nil
}

// describe names a workload of a kind; the no-op needs no name.
func describe(kind string, w Workload) string {
	if w == (Workload{}) {
		return kind
	}
	return kind + ", " + w.String()
}

// course is one workload of one kind at one pace.
type course struct {
	kind      string
	workload  Workload
	pace      pace
	stages    []*stage   // the platform's, and that of what it is compared with
	sandboxes *sandboxes // nil if none is hit directly
}

func (c course) String() string {
	return fmt.Sprintf("%s, %s", describe(c.kind, c.workload), c.pace)
}

// The sides of a course that are not named for an endpoint.
const (
	sideAlone  = "one action"
	sideDirect = "direct"
	sideHop    = "bare hop"
)

// warmLoad measures one course. It reports nothing if not all of its rounds could be
// finished.
func (r *runner) warmLoad(ctx context.Context, c course) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // breaks the connections that are still open
	sides, closeSides := r.platformSides(ctx, c)
	defer closeSides()
	if c.sandboxes != nil {
		direct, closeDirect := r.directSides(ctx, c)
		defer closeDirect()
		sides = append(sides, direct...)
	}
	err := r.rounds(ctx, c, sides)
	for _, side := range sides {
		if side.stage != nil {
			side.stage.answered += side.total.good
		}
	}
	if err != nil {
		return err
	}
	warm := figures(c, sides)
	r.report.addWarm(warm)
	r.display.note("%s", warm.summary())
	return nil
}

// platformSides are the endpoints' sides, warmed up, the platform's first. Where
// the workload has several actions one of the platform's alone is a side, too.
func (r *runner) platformSides(ctx context.Context, c course) (sides []*side, closeAll func()) {
	parameters, want := c.workload.parameters()
	var loads []*load
	add := func(name string, stage *stage, actions []deployed) {
		load := r.newLoad(ctx, stage.endpoint.target(actions, parameters, want), r.config.connections(c.pace))
		loads = append(loads, load)
		r.display.pending("%s: warming up, %s", c, name)
		warming := newSide(name, r.loop(load, c.pace), 0, nil)
		stage.answered += warming.warmUp(ctx, r.config.Warmup)
		side := newSide(name, r.loop(load, c.pace), c.pace.connections, r.meterOf(stage.endpoint))
		side.stage = stage
		sides = append(sides, side)
	}
	for _, stage := range c.stages {
		add(stage.endpoint.name, stage, stage.actions)
	}
	if c.workload.actions() > 1 {
		add(sideAlone, c.stages[0], c.stages[0].actions[:1])
	}
	return sides, func() {
		for _, load := range loads {
			load.close()
		}
	}
}

// directSides are the sandboxes' side and that of the bare hop before them.
func (r *runner) directSides(ctx context.Context, c course) (sides []*side, closeAll func()) {
	connections, count := r.config.directConnections(c.pace)
	target := c.sandboxes.target
	target.addresses = target.addresses[:count]
	direct := r.newLoad(ctx, target, connections)
	sides = append(sides, newSide(sideDirect, r.directLoop(direct, c.pace, connections), connections, nil))
	if c.sandboxes.hop == nil {
		return sides, direct.close
	}
	hop := r.newLoad(ctx, *c.sandboxes.hop, r.config.connections(c.pace))
	sides = append(sides, newSide(sideHop, r.loop(hop, c.pace), c.pace.connections, c.sandboxes.hopMeter))
	return sides, func() {
		direct.close()
		hop.close()
	}
}

// meterOf reads the CPU time of an endpoint's processes.
func (r *runner) meterOf(e *endpoint) *meter { return &r.meters[slices.Index(r.endpoints, e)] }

// rounds lets the sides of a course take turns.
func (r *runner) rounds(ctx context.Context, c course, sides []*side) error {
	turns := slices.Clone(sides)
	for round := range r.config.Rounds {
		for _, side := range turns {
			r.display.step("%s: round %d of %d, %s", c, round+1, r.config.Rounds, side.name)
			if err := side.round(r.config.Duration); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		// Whoever goes second finds the machine as the first left it.
		slices.Reverse(turns)
	}
	return nil
}

// loop drives a load at a pace. Loops of the same pace send at the same times.
func (r *runner) loop(load *load, p pace) loader {
	if !p.open() {
		return load.closed(p.connections)
	}
	return r.openLoop(load.ctx, load.sender(0), p)
}

// directLoop is loop for sandboxes. In an open loop a request waits for one that
// is free, as it does in the platform.
func (r *runner) directLoop(load *load, p pace, connections int) loader {
	if !p.open() {
		return load.closed(connections)
	}
	return r.openLoop(load.ctx, load.placed(connections), p)
}

func (r *runner) openLoop(ctx context.Context, send sender, p pace) openLoop {
	random := rand.New(rand.NewPCG(r.config.Seed, 0))
	return openLoop{
		ctx: ctx, send: send, outstanding: r.config.Outstanding, next: new(int),
		schedule: func() schedule { return p.schedule(random) },
	}
}

// figures makes the report of a course from its sides: the platform first.
func figures(c course, sides []*side) Warm {
	platform := sides[0]
	warm := Warm{
		Kind: c.kind, Workload: c.workload.String(),
		Pace: c.pace.String(), Concurrency: c.pace.connections, Offered: c.pace.offered(),
		Platform: platform.figures(),
	}
	warm.CPU, warm.Generator = platform.cpuEach()
	for _, side := range sides[1:] {
		figures := side.figures()
		switch side.name {
		case sideAlone:
			warm.Alone, warm.OfAlone = &figures, platform.compare(side)
		case sideDirect:
			warm.Direct = &figures
			if figures.Rate > 0 {
				warm.Share = warm.Platform.Rate / figures.Rate
			}
		case sideHop:
			warm.Hop, warm.OfHop = &figures, platform.compare(side)
			warm.HopCPU, _ = side.cpuEach()
		default:
			warm.Versus, warm.Ratios = &figures, platform.compare(side)
			warm.VersusCPU, _ = side.cpuEach()
		}
	}
	return warm
}
