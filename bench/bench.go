// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/client"
)

// Run measures what config asks for, tells progress what it is doing (one line
// that changes on a terminal, a line each step elsewhere; nil for silence) and
// returns the figures. If ctx ends, or the server refuses the work, the report
// holds what was measured until then.
func Run(ctx context.Context, config Config, progress io.Writer) (Report, error) {
	if err := config.Validate(); err != nil {
		return Report{}, err
	}
	r, err := newRunner(config, progress)
	if err != nil {
		return Report{}, err
	}
	for _, e := range r.endpoints {
		defer e.close()
	}
	var showing sync.WaitGroup
	showing.Go(r.display.loop)
	defer showing.Wait()
	defer close(r.display.updates)
	start := time.Now()
	r.report = Report{Started: start.UTC(), APIHost: r.endpoints[0].base, Machine: thisMachine(), Setup: setupOf(config)}
	if len(r.endpoints) > 1 {
		r.report.Versus = r.endpoints[1].base
	}
	if err = r.run(ctx); err != nil {
		r.report.Incomplete = err.Error()
	}
	r.report.Took = time.Since(start)
	return r.report, err
}

// runner carries out one run. One goroutine uses it.
type runner struct {
	config    Config
	endpoints []*endpoint // the platform, and what it is compared with if anything
	meters    []meter     // of each endpoint
	display   *display
	report    Report
}

func newRunner(config Config, progress io.Writer) (*runner, error) {
	tag := strconv.FormatInt(time.Now().UnixMilli(), 36) // makes this run's action names its own
	platform, err := newEndpoint("platform", tag, config.APIHost, config.Auth)
	if err != nil {
		return nil, err
	}
	if err := platform.join(config.MoreAuths); err != nil {
		return nil, err
	}
	endpoints := []*endpoint{platform}
	if config.VersusHost != "" {
		versus, err := newEndpoint("versus", tag+"-vs", config.VersusHost, config.VersusAuth)
		if err != nil {
			return nil, err
		}
		endpoints = append(endpoints, versus)
	}
	return &runner{
		config:    config,
		endpoints: endpoints,
		meters:    []meter{newMeter(config.Processes), newMeter(config.VersusProcesses)},
		display:   newDisplay(progress),
	}, nil
}

// run takes the cold starts of a kind before its load, which leaves warm
// containers behind.
func (r *runner) run(ctx context.Context) error {
	var infos []client.ServerInfo
	for _, e := range r.endpoints {
		info, err := e.client.ServerInfo(ctx)
		if err != nil {
			return fmt.Errorf("ask the server %s for its runtimes: %w", e.base, err)
		}
		infos = append(infos, info)
	}
	r.report.Build = r.endpoints[0].build(ctx)
	if len(r.endpoints) > 1 {
		r.report.VersusBuild = r.endpoints[1].build(ctx)
	}
	kinds, err := r.config.kinds(infos)
	if err != nil {
		return err
	}
	for _, kind := range kinds {
		r.display.plan(r.config.steps(kind))
	}
	for _, kind := range kinds {
		if err := r.coldStarts(ctx, kind); err != nil {
			return err
		}
		for _, w := range r.config.workloads(kind) {
			if err := r.warmLoads(ctx, kind, w); err != nil {
				return err
			}
		}
		if err := r.replays(ctx, kind); err != nil {
			return err
		}
		if err := r.rivalLoads(ctx, kind); err != nil {
			return err
		}
		if err := r.overloads(ctx, kind); err != nil {
			return err
		}
	}
	return nil
}

// newLoad makes a load whose answers the display counts.
func (r *runner) newLoad(ctx context.Context, target target, connections int) *load {
	l := newLoad(ctx, target, connections, r.config.Timeout)
	l.answered = &r.display.answered
	return l
}

// spec is an action of a kind that runs a task.
func (r *runner) spec(kind, task string) client.ActionSpec {
	p, _ := programOf(task, family(kind)) // Validate saw that there is one
	return client.ActionSpec{
		Exec:   &client.Exec{Kind: concrete(kind), Code: p.code},
		Limits: &client.LimitsSpec{Memory: r.config.Memory.Megabytes(), Concurrency: r.config.ActionConcurrency},
	}
}
