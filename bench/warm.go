// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/whirl-faas/whirl/client"
)

const warmupRounds = 20 // at most, while cold starts still happen

// warmLoads measures a workload of one kind at every pace, beside the same code
// in sandboxes without the platform if there are any.
func (r *runner) warmLoads(ctx context.Context, kind string, w Workload) error {
	paces := r.config.paces()
	if len(paces) == 0 {
		return nil
	}
	var stages []*stage
	for _, e := range r.endpoints {
		stage, err := r.deployWorkload(ctx, e, kind, w)
		if err != nil {
			return err
		}
		defer stage.remove()
		stages = append(stages, stage)
	}
	direct, stop, err := r.direct(ctx, kind, stages[0].kind, w)
	if err != nil {
		return err
	}
	defer stop()
	for _, pace := range paces {
		if err := r.warmLoad(ctx, course{kind: kind, workload: w, pace: pace, stages: stages, direct: direct}); err != nil {
			return err
		}
	}
	for _, stage := range stages {
		of := describe(kind, w)
		if stage.endpoint != r.endpoints[0] {
			of += ", " + stage.endpoint.name
		}
		if err := r.countRecords(ctx, stage.endpoint, of, stage.names, stage.answered); err != nil {
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

// stage is what was deployed for a workload at an endpoint.
type stage struct {
	endpoint *endpoint
	kind     string   // as the server has it, such as "nodejs:20"
	names    []string // of the actions to call
	removes  []func()
	answered int64 // good answers, warm-up included
}

func (s *stage) remove() {
	for _, remove := range slices.Backward(s.removes) {
		remove()
	}
}

// deployWorkload makes the actions of a workload at an endpoint.
func (r *runner) deployWorkload(ctx context.Context, e *endpoint, kind string, w Workload) (*stage, error) {
	s := &stage{endpoint: e}
	purpose := ""
	if w != (Workload{}) {
		purpose = w.slug()
	}
	add := func(name string, spec client.ActionSpec) error {
		action, remove, err := e.deploy(ctx, name, spec)
		if err != nil {
			s.remove()
			return err
		}
		s.kind, s.names, s.removes = action.Exec.Kind, append(s.names, name), append(s.removes, remove)
		return nil
	}
	for i := range w.actions() {
		name := e.actionName(kind, purpose)
		if w.actions() > 1 {
			name = fmt.Sprintf("%s-%d", name, i)
		}
		if err := add(name, r.spec(kind, w.task())); err != nil {
			return nil, err
		}
	}
	if w.name != "sequence" {
		return s, nil
	}
	parts := slices.Repeat([]string{"/_/" + s.names[0]}, w.count)
	s.names = nil // only the sequence is called
	return s, add(e.actionName(kind, purpose+"-whole"), client.ActionSpec{Exec: &client.Exec{Kind: "sequence", Components: parts}})
}

// course is one workload of one kind at one pace.
type course struct {
	kind     string
	workload Workload
	pace     pace
	stages   []*stage // the platform's, and that of what it is compared with
	direct   *target  // nil if no sandbox is hit directly
}

func (c course) String() string {
	return fmt.Sprintf("%s, %s", describe(c.kind, c.workload), c.pace)
}

// warmLoad measures one course. It reports nothing if not even one round of each
// side was finished.
func (r *runner) warmLoad(ctx context.Context, c course) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // breaks the connections that are still open
	parameters, want := c.workload.parameters()
	var sides []*side
	for _, stage := range c.stages {
		load := r.newLoad(ctx, stage.endpoint.target(stage.names, parameters, want), r.config.connections(c.pace))
		defer load.close()
		r.warmUp(ctx, c, stage, r.loop(load, c.pace))
		sides = append(sides, newSide(stage.endpoint.name, r.loop(load, c.pace), c.pace.connections, nil))
	}
	sides[0].meter = &r.meter
	if c.direct != nil && !c.pace.open() {
		connections := r.config.directConnections(c.pace.connections)
		load := r.newLoad(ctx, *c.direct, connections)
		defer load.close()
		sides = append(sides, newSide("direct", load.closed(connections), connections, nil))
	}
	err := r.rounds(ctx, c, sides)
	for i, stage := range c.stages {
		stage.answered += sides[i].total.good
	}
	if err != nil {
		return err
	}
	warm := figures(c, sides)
	r.report.addWarm(warm)
	r.display.note("%s", warm.summary())
	return nil
}

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
	random := rand.New(rand.NewPCG(r.config.Seed, 0))
	return openLoop{
		ctx: load.ctx, send: load.sender(0), outstanding: r.config.Outstanding, next: new(int),
		schedule: func() schedule { return p.schedule(random) },
	}
}

// warmUp drives an endpoint until no more containers are started for the load.
func (r *runner) warmUp(ctx context.Context, c course, stage *stage, loop loader) {
	if r.config.Warmup == 0 {
		return
	}
	for range warmupRounds {
		r.display.pending("%s: warming up, %s", c, stage.endpoint.name)
		sum := loop.round(r.config.Warmup)
		stage.answered += sum.good
		if ctx.Err() != nil || sum.cold == 0 {
			return
		}
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
		case "versus":
			warm.Versus, warm.Ratios = &figures, platform.compare(side)
		case "direct":
			warm.Direct = &figures
			if figures.Rate > 0 {
				warm.Share = warm.Platform.Rate / figures.Rate
			}
		}
	}
	return warm
}
