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
		if err := r.rivalLoad(ctx, kind, r.endpoints[0].actionName(kind, fmt.Sprintf("rival-%d", i)), rivals); err != nil {
			return err
		}
	}
	return nil
}

// rivalLoad measures one such workload, with actions of its own. All rounds are
// one: a pause between them, in which containers are idle, would change who has
// them.
func (r *runner) rivalLoad(ctx context.Context, kind, prefix string, rivals Rivals) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // breaks the connections that are still open
	c := &contest{connections: rivals.Connections}
	defer c.close()
	if err := r.deployRivals(ctx, c, kind, prefix, rivals); err != nil {
		return err
	}
	r.display.pending("%s: warming up", rivals.describe(kind))
	var answered int64
	if r.config.Warmup > 0 {
		answered = c.round(r.config.Warmup).good
	}
	side := newSide("platform", c, rivals.Connections, &r.meter)
	r.display.step("%s: measuring", rivals.describe(kind))
	if err := side.round(time.Duration(r.config.Rounds) * r.config.Duration); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	result := c.figures(kind, rivals, side)
	r.report.addContest(result)
	r.display.note("%s", result.summary())
	return r.countRecords(ctx, r.endpoints[0], rivals.describe(kind), c.names, answered+side.total.good)
}

// deployRivals makes the actions of a contest, and a load for each.
func (r *runner) deployRivals(ctx context.Context, c *contest, kind, prefix string, rivals Rivals) error {
	body, want := Workload{}.parameters()
	for i := range rivals.Actions {
		name := fmt.Sprintf("%s-%d", prefix, i)
		_, remove, err := r.endpoints[0].deploy(ctx, name, r.spec(kind, "noop"))
		if err != nil {
			return err
		}
		c.names, c.removes = append(c.names, name), append(c.removes, remove)
		c.loads = append(c.loads, r.newLoad(ctx, r.endpoints[0].target([]string{name}, body, want), c.share(rivals.Actions, i)))
	}
	return nil
}

func (r Rivals) describe(kind string) string {
	return fmt.Sprintf("%d actions of %s, %d at once", r.Actions, kind, r.Connections)
}

// contest drives several actions side by side.
type contest struct {
	connections int
	names       []string
	removes     []func()
	loads       []*load // one for each action
	good        []int64 // answers of each action in the last round
}

func (c *contest) close() {
	for _, load := range c.loads {
		load.close()
	}
	for _, remove := range c.removes {
		remove()
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
	c.good = nil
	for _, one := range tallies {
		total.join(one)
		c.good = append(c.good, one.good)
	}
	return total
}

// figures makes the report of a workload that is over.
func (c *contest) figures(kind string, rivals Rivals, side *side) Contest {
	result := Contest{Kind: kind, Actions: rivals.Actions, Platform: side.figures()}
	result.CPU, result.Generator = side.cpuEach()
	if even := float64(side.total.good) / float64(rivals.Actions); even > 0 {
		result.Least, result.Most = float64(slices.Min(c.good))/even, float64(slices.Max(c.good))/even
	}
	return result
}
