// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// alone is how many connections the action has that rivals are compared with.
const alone = 10

// rivalLoads measures the workloads of several actions of one kind.
func (r *runner) rivalLoads(ctx context.Context, kind string) error {
	for i, rivals := range r.config.Rivals {
		if err := r.rivalLoad(ctx, kind, fmt.Sprintf("rival-%d", i), rivals); err != nil {
			return err
		}
	}
	return nil
}

// rivalLoad measures one such workload, with actions of its own.
func (r *runner) rivalLoad(ctx context.Context, kind, purpose string, rivals Rivals) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // breaks the connections that are still open
	made := &leavings{}
	defer r.clean(ctx, made)
	var contests []*contest
	for _, e := range r.endpoints {
		c := &contest{endpoint: e, connections: rivals.Connections}
		defer c.close()
		if err := r.deployRivals(ctx, made, c, kind, e.actionName(kind, purpose), rivals); err != nil {
			return err
		}
		c.side = newSide(e.name, c, rivals.Connections, r.meterOf(e))
		contests = append(contests, c)
	}
	if err := r.contestRounds(ctx, rivals.describe(kind), contests); err != nil {
		return err
	}
	result := contests[0].figures(kind, rivals)
	if len(contests) > 1 {
		versus := contests[1].figures(kind, rivals)
		result.Versus, result.VersusCPU = &versus.Platform, versus.CPU
		result.Ratios = contests[0].side.compare(contests[1].side)
	}
	r.report.addContest(result)
	r.display.note("%s", result.summary())
	for _, c := range contests {
		of := rivals.describe(kind)
		if c.endpoint != r.endpoints[0] {
			of += ", " + c.endpoint.name
		}
		if err := r.countRecords(ctx, of, c.endpoint.own(c.names...), c.answered+c.side.total.good); err != nil {
			return err
		}
	}
	return nil
}

// contestRounds lets the endpoints take turns. A pause, in which containers are
// idle, changes who has them: with a single endpoint all rounds are one, and with
// two each begins with a warm-up of its own.
func (r *runner) contestRounds(ctx context.Context, what string, contests []*contest) error {
	rounds, length := 1, time.Duration(r.config.Rounds)*r.config.Duration
	if len(contests) > 1 {
		rounds, length = r.config.Rounds, r.config.Duration
	}
	turns := slices.Clone(contests)
	for round := range rounds {
		for _, c := range turns {
			r.display.step("%s: round %d of %d, %s", what, round+1, rounds, c.endpoint.name)
			if r.config.Warmup > 0 {
				c.answered += c.round(r.config.Warmup).good
				c.good = c.before // those do not count
			}
			if err := c.side.round(length); err != nil {
				return err
			}
			c.before = c.good
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		slices.Reverse(turns)
	}
	return nil
}

// deployRivals makes the actions of a contest, and a load for each.
func (r *runner) deployRivals(ctx context.Context, made *leavings, c *contest, kind, prefix string, rivals Rivals) error {
	body, want := Workload{}.parameters()
	for i := range rivals.Actions {
		name := fmt.Sprintf("%s-%d", prefix, i)
		if _, err := c.endpoint.deploy(ctx, made, name, r.spec(kind, "noop")); err != nil {
			return err
		}
		c.names = append(c.names, name)
		c.loads = append(c.loads, r.newLoad(ctx, c.endpoint.target(c.endpoint.own(name), body, want), c.share(rivals.Actions, i)))
	}
	return nil
}

func (r Rivals) describe(kind string) string {
	return fmt.Sprintf("%d actions of %s, %d at once", r.Actions, kind, r.Connections)
}

// contest drives several actions side by side.
type contest struct {
	endpoint    *endpoint
	connections int
	names       []string
	loads       []*load // one for each action
	side        *side
	good        []int64 // answers of each action so far
	before      []int64 // the same at the end of the last round
	answered    int64   // good answers of the warm-ups
}

func (c *contest) close() {
	for _, load := range c.loads {
		load.close()
	}
}

// share is how many of the connections are for the action i of n.
func (c *contest) share(n, i int) int { return (c.connections + n - 1 - i) / n }

func (c *contest) round(duration time.Duration) *tally {
	tallies := make([]*tally, len(c.loads))
	var all sync.WaitGroup
	for i, load := range c.loads {
		all.Go(func() { tallies[i] = load.closed(c.share(len(c.loads), i)).round(duration) })
	}
	all.Wait()
	total := newTally()
	good := make([]int64, len(c.loads))
	copy(good, c.good)
	for i, one := range tallies {
		total.join(one)
		good[i] += one.good
	}
	c.good = good
	return total
}

// figures makes the report of a workload that is over.
func (c *contest) figures(kind string, rivals Rivals) Contest {
	result := Contest{Kind: kind, Actions: rivals.Actions, Platform: c.side.figures()}
	result.CPU, result.Generator = c.side.cpuEach()
	if even := float64(c.side.total.good) / float64(rivals.Actions); even > 0 {
		result.Least, result.Most = float64(slices.Min(c.good))/even, float64(slices.Max(c.good))/even
	}
	return result
}
