// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/bench"
	"github.com/whirl-faas/whirl/bench/schedulerload"
	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/whisk"
)

// growthDimensions are what whirl bench growth knows: those of the platform as
// clients see it, then those of the control plane.
func (p program) growthDimensions() []growthDimension {
	const ten = "One standalone platform, native no-op, 10 connections"
	return []growthDimension{
		{
			"rate", "activations a second", "One standalone platform, native no-op, open loop.", []float64{50, 100, 200, 400, 800},
			p.open(grownLoad{load: func(c *bench.Config, rate float64) { c.Concurrency, c.Rates = nil, []float64{rate} }}),
		},
		{
			"connections", "connections at once", "One standalone platform, native no-op, closed loop, a container for each connection.", []float64{1, 4, 16, 64},
			p.open(grownLoad{load: func(c *bench.Config, n float64) { c.Concurrency = []int{int(n)} }}),
		},
		{
			"payload", "bytes of payload", "One standalone platform, nodejs, 4 connections; parameters and result have the payload, and so has the record.", []float64{1, 1 << 10, 32 << 10, 256 << 10, 1 << 20},
			p.open(grownLoad{adds: true, load: func(c *bench.Config, size float64) {
				c.Kinds, c.Concurrency, c.Workloads = []string{"nodejs"}, []int{4}, workloadsOf(fmt.Sprintf("echo:%d", int(size)))
			}}),
		},
		{
			"warm", "warm actions in turns", ten + ", room for all.", []float64{1, 4, 16, 64},
			p.open(grownLoad{load: func(c *bench.Config, n float64) { c.Workloads = workloadsOf(fmt.Sprintf("actions:%d", int(n))) }}),
		},
		{
			"namespaces", "namespaces in turns", ten + "; each namespace calls an action of its own with its own key.", []float64{1, 4, 16, 64},
			p.open(grownLoad{seed: seedNamespaces, load: func(c *bench.Config, n float64) {
				for i := 1; i < int(n); i++ {
					c.MoreAuths = append(c.MoreAuths, grownKey(i).String())
				}
			}}),
		},
		{
			"actions", "actions stored", ten + "; the others are stored and not called.", []float64{1, 100, 1000, 10_000},
			p.open(grownLoad{seed: seedActions, load: func(*bench.Config, float64) {}, disk: true}),
		},
		{
			"records", "records stored", ten + "; the records are of 50 namespaces, 1.3 KB each.", []float64{1000, 10_000, 100_000, 1_000_000},
			p.open(grownLoad{seed: seedRecords, load: func(*bench.Config, float64) {}, disk: true}),
		},
		{
			"agents", "agents", "One scheduler, 4 controllers, 1,000 idle containers; 500 requisitions a second that create.", []float64{10, 30, 100, 300, 1000, 3000},
			p.openPlayed(func(c *schedulerload.Config, n float64) { c.Agents = int(n) }),
		},
		{
			"containers", "containers", "One scheduler, 100 agents, 4 controllers; 500 requisitions a second that create.", []float64{100, 1000, 10_000, 100_000},
			p.openPlayed(func(c *schedulerload.Config, n float64) { c.Containers = int(n) }),
		},
		{
			"controllers", "controllers", "One scheduler, 100 agents, 1,000 idle containers; 500 requisitions a second that create, shared by the controllers.", []float64{1, 4, 16, 64},
			p.openPlayed(func(c *schedulerload.Config, n float64) { c.Controllers = int(n) }),
		},
	}
}

// workloadsOf parses what is written above.
func workloadsOf(text string) []bench.Workload {
	workloads, err := bench.ParseWorkload(text)
	if err != nil {
		panic(err)
	}
	return workloads
}

// openPlayed measures a scheduler in a cluster that is played, a new one each time.
func (p program) openPlayed(grow func(config *schedulerload.Config, work float64)) func(context.Context, growthBench, growthDimension) (func(context.Context, float64) (costs, error), func() error, error) {
	return func(_ context.Context, b growthBench, _ growthDimension) (func(context.Context, float64) (costs, error), func() error, error) {
		return func(ctx context.Context, work float64) (costs, error) {
			return p.measurePlayed(ctx, b.duration, func(config *schedulerload.Config) { grow(config, work) })
		}, func() error { return nil }, nil
	}
}

func (p program) measurePlayed(ctx context.Context, duration time.Duration, grow func(*schedulerload.Config)) (all costs, err error) {
	settings := schedulerBench{load: schedulerload.Default(), place: "sharding"}
	load := &settings.load
	load.Containers, load.Workloads, load.Creations, load.Rate = 1000, []schedulerload.Workload{schedulerload.Create}, []time.Duration{0}, 500
	load.Rounds, load.Duration, load.Warmup = 1, duration, duration/2
	grow(load)
	target, closeTarget, err := p.openApart(ctx, settings)
	if err != nil {
		return nil, err
	}
	report, err := schedulerload.Run(ctx, settings.load, target, nil)
	if err = errors.Join(err, closeTarget()); err != nil {
		return nil, err
	}
	result := report.Results[0]
	return costs{
		found("CPU of a requisition", "µs", float64(result.CPU)/float64(time.Microsecond)),
		found("decision, p50", "ms", float64(result.Answered.P50)/float64(time.Millisecond)),
		foundTotal("CPU while nobody asks", "ms a second", 1000*report.Idle),
		foundTotal("memory of the scheduler", "MB", float64(report.Fill.Resident)/float64(whisk.MB)),
	}, nil
}

// grownKey is the key of a namespace that was put into a platform before it began.
func grownKey(i int) whisk.AuthKey {
	return whisk.AuthKey{UUID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), Key: fmt.Sprintf("%064d", i)}
}

func seedNamespaces(ctx context.Context, d *data, n float64) error {
	subjects := controller.Subjects{Store: d.entities}
	for i := 1; i < int(n); i++ {
		name := fmt.Sprintf("growth-%d", i)
		if err := subjects.Ensure(ctx, name, name, grownKey(i)); err != nil {
			return err
		}
	}
	return nil
}

// seedActions stores actions that nobody calls, in a few large transactions: as
// large as real ones, and read by nobody.
func seedActions(ctx context.Context, d *data, n float64) error {
	const batch = 500
	for done := 0; done < int(n); done += batch {
		var tx whisk.Transaction
		for i := done; i < min(done+batch, int(n)); i++ {
			tx.Puts = append(tx.Puts, whisk.Document{
				Collection: whisk.Actions, Name: whisk.FullName{Namespace: "guest", Name: fmt.Sprintf("growth-%d", i)}, Updated: time.Now(),
				Summary: json.RawMessage(`{"summary":"` + strings.Repeat("x", 200) + `"}`),
				Body:    json.RawMessage(`{"body":"` + strings.Repeat("x", 800) + `"}`),
			})
		}
		if _, err := d.entities.Commit(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// seedRecords stores records of the last hour, of several namespaces and actions.
func seedRecords(ctx context.Context, d *data, n float64) error {
	const batch = 1000
	text, err := json.Marshal(map[string]string{"result": fmt.Sprintf("%0700d", 0)})
	if err != nil {
		return err
	}
	start := time.Now().Add(-time.Hour)
	for done := 0; done < int(n); done += batch {
		var records []whisk.Activation
		for i := done; i < min(done+batch, int(n)); i++ {
			at := start.Add(time.Duration(float64(time.Hour) * float64(i) / n))
			records = append(records, whisk.Activation{
				ID:        whisk.ActivationID(fmt.Sprintf("%016x%016x", uint64(i)*0x9e3779b97f4a7c15, i)),
				Namespace: fmt.Sprintf("growth-%d", i%50), Subject: "growth", Name: fmt.Sprintf("action-%d", i/50%20),
				Version: whisk.FirstVersion, Start: at, End: at.Add(9 * time.Millisecond), Duration: 9 * time.Millisecond,
				Response:    whisk.Response{Result: text, Size: len(text)},
				Annotations: whisk.Parameters{{Key: "kind", Value: json.RawMessage(`"nodejs:20"`)}, {Key: "waitTime", Value: json.RawMessage(`3`)}},
			})
		}
		if err := d.activations.PutActivations(ctx, records); err != nil {
			return err
		}
	}
	return nil
}
