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
	stage, err := r.deployWorkload(ctx, kind, w)
	if err != nil {
		return err
	}
	defer stage.remove()
	direct, stop, err := r.direct(ctx, kind, stage.kind, w)
	if err != nil {
		return err
	}
	defer stop()
	parameters, want := w.parameters()
	var answered int64
	for _, pace := range paces {
		result, all, err := r.warmLoad(ctx, course{
			kind: kind, workload: w, pace: pace,
			platform: r.platform.target(stage.names, parameters, want), direct: direct,
		})
		answered += all
		if result != nil {
			r.report.addWarm(*result)
		}
		if err != nil {
			return err
		}
	}
	return r.countRecords(ctx, r.platform, describe(kind, w), stage.names, answered)
}

// describe names a workload of a kind; the no-op needs no name.
func describe(kind string, w Workload) string {
	if w == (Workload{}) {
		return kind
	}
	return kind + ", " + w.String()
}

// stage is what was deployed for a workload.
type stage struct {
	kind    string   // as the server has it, such as "nodejs:20"
	names   []string // of the actions to call
	removes []func()
}

func (s *stage) remove() {
	for _, remove := range slices.Backward(s.removes) {
		remove()
	}
}

// deployWorkload makes the actions of a workload.
func (r *runner) deployWorkload(ctx context.Context, kind string, w Workload) (*stage, error) {
	s := &stage{}
	purpose := ""
	if w != (Workload{}) {
		purpose = w.slug()
	}
	add := func(name string, spec client.ActionSpec) error {
		action, remove, err := r.platform.deploy(ctx, name, spec)
		if err != nil {
			s.remove()
			return err
		}
		s.kind, s.names, s.removes = action.Exec.Kind, append(s.names, name), append(s.removes, remove)
		return nil
	}
	for i := range w.actions() {
		name := r.name(kind, purpose)
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
	return s, add(r.name(kind, purpose+"-whole"), client.ActionSpec{Exec: &client.Exec{Kind: "sequence", Components: parts}})
}

// course is one workload of one kind at one pace.
type course struct {
	kind     string
	workload Workload
	pace     pace
	platform target
	direct   *target // nil if only the platform is measured
}

func (c course) String() string {
	return fmt.Sprintf("%s, %s", describe(c.kind, c.workload), c.pace)
}

// warmLoad measures one course. It returns nil figures if not even one round
// of each side was finished, and the number of all good answers of the platform.
func (r *runner) warmLoad(ctx context.Context, c course) (*Warm, int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // breaks the connections that are still open
	load := newLoad(ctx, c.platform, r.config.connections(c.pace), r.config.Timeout)
	defer load.close()
	answered := r.warmUp(ctx, c, r.loop(load, c.pace))
	sides := []*side{newSide("platform", r.loop(load, c.pace), c.pace.connections, &r.meter)}
	if c.direct != nil && !c.pace.open() {
		connections := r.config.directConnections(c.pace.connections)
		direct := newLoad(ctx, *c.direct, connections, r.config.Timeout)
		defer direct.close()
		sides = append(sides, newSide("direct", direct.closed(connections), connections, nil))
	}
	turns := slices.Clone(sides)
	for round := range r.config.Rounds {
		for _, side := range turns {
			r.display.step("%s: round %d of %d, %s", c, round+1, r.config.Rounds, side.name)
			if err := side.round(r.config.Duration); err != nil {
				return nil, answered, err
			}
			if ctx.Err() != nil {
				return nil, answered, context.Cause(ctx)
			}
		}
		// Whoever goes second finds the machine as the first left it.
		slices.Reverse(turns)
	}
	warm := figures(c, sides)
	r.display.note("%s", warm.summary())
	return &warm, answered + sides[0].total.good, nil
}

// loop drives a load at a pace. Loops of the same pace send at the same times.
func (r *runner) loop(load *load, p pace) loader {
	if !p.open() {
		return load.closed(p.connections)
	}
	random := rand.New(rand.NewPCG(r.config.Seed, 0))
	return openLoop{
		ctx: load.ctx, send: load.sender(0), outstanding: r.config.Outstanding,
		schedule: func() schedule { return p.schedule(random) },
	}
}

// warmUp drives the platform until no more containers are started for the load.
func (r *runner) warmUp(ctx context.Context, c course, platform loader) (answered int64) {
	if r.config.Warmup == 0 {
		return 0
	}
	for range warmupRounds {
		r.display.pending("%s: warming up", c)
		sum := platform.round(r.config.Warmup)
		answered += sum.good
		if ctx.Err() != nil || sum.cold == 0 {
			break
		}
	}
	return answered
}

// figures makes the report of a workload; sides is the platform, and the direct
// side if there is one.
func figures(c course, sides []*side) Warm {
	platform := sides[0]
	warm := Warm{Kind: c.kind, Workload: c.workload.String(), Pace: c.pace.String(), Concurrency: c.pace.connections, Offered: c.pace.offered(), Platform: platform.figures()}
	warm.CPU, warm.Generator = platform.cpuEach()
	if len(sides) > 1 {
		direct := sides[1].figures()
		warm.Direct = &direct
		if direct.Rate > 0 {
			warm.Share = warm.Platform.Rate / direct.Rate
		}
	}
	return warm
}
