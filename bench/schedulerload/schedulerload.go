// SPDX-License-Identifier: Apache-2.0

package schedulerload

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// idleTime is how long the scheduler is watched while nobody asks for anything.
const idleTime = 3 * time.Second

// Run measures a scheduler that has just begun, and tells progress what it is
// doing, a line for each step (nil for silence). If ctx ends or something fails
// the report holds what was measured until then.
func Run(ctx context.Context, config Config, target Target, progress io.Writer) (Report, error) {
	if err := config.Validate(); err != nil {
		return Report{}, err
	}
	if progress == nil {
		progress = io.Discard
	}
	r := &runner{config: config, target: target, progress: progress}
	r.report = Report{Started: time.Now().UTC(), Setup: setupOf(config, target)}
	err := r.run(ctx)
	if err != nil {
		r.report.Incomplete = err.Error()
	}
	r.report.Took = time.Since(r.report.Started)
	return r.report, err
}

// runner carries out one run.
type runner struct {
	config   Config
	target   Target
	progress io.Writer
	cluster  *cluster
	next     atomic.Int64
	report   Report
}

func (r *runner) run(ctx context.Context) error {
	r.cluster = newCluster(ctx, r.config, r.target)
	defer r.cluster.close()
	if err := r.build(ctx); err != nil {
		return err
	}
	if err := r.idle(ctx); err != nil {
		return err
	}
	for _, workload := range Workloads() {
		if !slices.Contains(r.config.Workloads, workload) {
			continue
		}
		if err := r.prepare(workload); err != nil {
			return err
		}
		for _, took := range r.creationsOf(workload) {
			if err := r.measure(ctx, workload, took); err != nil {
				return err
			}
		}
	}
	return nil
}

// tell says what is being done. Progress that cannot be told is no reason to stop.
func (r *runner) tell(format string, args ...any) { fmt.Fprintf(r.progress, format+"\n", args...) }

// build connects the cluster in steps, and notes what each took.
func (r *runner) build(ctx context.Context) error {
	empty, err := r.target.Read(ctx, true)
	if err != nil {
		return fmt.Errorf("look at the scheduler: %w", err)
	}
	r.tell("connecting %d agents", r.config.Agents)
	start := time.Now()
	if err := r.cluster.connectAgents(); err != nil {
		return err
	}
	r.report.Connect.Took = time.Since(start)
	connected, err := r.target.Read(ctx, true)
	if err != nil {
		return fmt.Errorf("look at the scheduler: %w", err)
	}
	r.report.Connect.account(empty, connected, r.config.Agents)
	r.tell("reporting %d containers, registering %d controllers", r.config.Containers, r.config.Controllers)
	start = time.Now()
	if err := r.cluster.fill(); err != nil {
		return err
	}
	if err := r.cluster.await(func(now Reading) bool { return now.Settled }); err != nil {
		return err
	}
	r.report.Fill.Took = time.Since(start)
	filled, err := r.target.Read(ctx, true)
	if err != nil {
		return fmt.Errorf("look at the scheduler: %w", err)
	}
	r.report.Fill.account(connected, filled, r.config.Containers)
	return nil
}

// idle finds what the scheduler costs when nothing happens.
func (r *runner) idle(ctx context.Context) error {
	r.tell("watching it for %s without load", idleTime)
	before, err := r.target.Read(ctx, false)
	if err == nil {
		if err = sleep(r.cluster.ctx, idleTime); err != nil {
			return err
		}
	}
	after, err2 := r.target.Read(ctx, false)
	if err != nil || err2 != nil {
		return fmt.Errorf("look at the scheduler: %w", firstOf(err, err2))
	}
	r.report.Idle = float64(after.CPU-before.CPU) / float64(idleTime)
	return nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// prepare gives the nodes as much memory as the workload wants them to have.
func (r *runner) prepare(workload Workload) error {
	room := 0
	if workload == Create {
		room = creationRoom
	}
	return r.cluster.makeRoom(room)
}

// creationsOf returns the creation times to try with a workload.
func (r *runner) creationsOf(workload Workload) []time.Duration {
	if workload == Transfer {
		return []time.Duration{0}
	}
	return r.config.Creations
}

// measure runs the rounds of one workload.
func (r *runner) measure(ctx context.Context, workload Workload, took time.Duration) error {
	r.cluster.took.Store(int64(took))
	if r.config.Warmup > 0 {
		r.tell("%s, creation %s: warming up for %s", workload, took, r.config.Warmup)
		if err := newLoad(r.cluster, workload, &r.next).run(r.cluster.ctx, r.config.Warmup); err != nil {
			return err
		}
	}
	result := Result{Workload: workload, Creation: took, Rejections: map[string]int64{}}
	all := newTally()
	var rounds []round
	for n := range r.config.Rounds {
		r.tell("%s, creation %s: round %d of %d", workload, took, n+1, r.config.Rounds)
		one, err := r.round(ctx, workload)
		if err != nil {
			return err
		}
		rounds = append(rounds, one)
		all.merge(one.tally)
	}
	result.sum(rounds, all)
	r.report.Results = append(r.report.Results, result)
	r.tell("%s", result.summary())
	return nil
}

// round is what one round came to.
type round struct {
	tally         *tally
	length        time.Duration // until all were answered
	before, after Reading
	own           time.Duration // CPU time of this process
}

func (r *runner) round(ctx context.Context, workload Workload) (one round, err error) {
	l := newLoad(r.cluster, workload, &r.next)
	one.tally = l.tally
	if one.before, err = r.target.Read(ctx, true); err != nil {
		return one, fmt.Errorf("look at the scheduler: %w", err)
	}
	own, start := ownCPU(), time.Now()
	if err = l.run(r.cluster.ctx, r.config.Duration); err != nil {
		return one, err
	}
	one.length, one.own = time.Since(start), ownCPU()-own
	if one.after, err = r.target.Read(ctx, false); err != nil {
		return one, fmt.Errorf("look at the scheduler: %w", err)
	}
	return one, nil
}

// median returns the middle one, 0 of none.
func median[N float64 | time.Duration](values []N) N {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// each is bytes per thing, 0 if there are no things.
func each(b whisk.Bytes, count int) whisk.Bytes {
	if count == 0 {
		return 0
	}
	return b / whisk.Bytes(count)
}
