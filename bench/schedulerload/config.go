// SPDX-License-Identifier: Apache-2.0

package schedulerload

import (
	"context"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Workload is what requisitions ask for, and so what the scheduler has to do.
type Workload string

// The workloads.
const (
	// Create asks for containers of new actions where there is room, and gives
	// each back to be destroyed as soon as it came.
	Create Workload = "create"
	// Transfer asks for an idle container that another controller holds.
	Transfer Workload = "transfer"
	// Evict asks for containers of new actions where there is no room: each
	// takes the place of the one that has been idle for longest.
	Evict Workload = "evict"
)

// Workloads returns all of them, in the order in which they run: after Evict
// nothing is there any more of what was there first.
func Workloads() []Workload { return []Workload{Create, Transfer, Evict} }

// Config says what to measure. Start from [Default].
type Config struct {
	Agents      int
	Controllers int
	Containers  int // that exist and are idle before the load begins, the same number on each node but for one

	Workloads []Workload      // in any order
	Creations []time.Duration // how long a creation takes; each is tried with each workload that creates
	Rate      float64         // requisitions per second in all; 0 for as many as are answered
	AtOnce    int             // with Rate 0: requisitions at once, in all
	Rounds    int             // of each workload
	Duration  time.Duration   // of one round
	Warmup    time.Duration   // before the first round of a workload
}

// Default asks for 3,000 requisitions a second in a cluster of 100 nodes.
func Default() Config {
	return Config{
		Agents:      100,
		Controllers: 4,
		Containers:  10_000,
		Workloads:   Workloads(),
		Creations:   []time.Duration{0, 40 * time.Millisecond},
		Rate:        3000,
		AtOnce:      64,
		Rounds:      3,
		Duration:    5 * time.Second,
		Warmup:      2 * time.Second,
	}
}

// Bounds of what can be asked for.
const (
	mostAgents      = 20_000
	mostControllers = 1000
	mostContainers  = 2_000_000
	mostRate        = 1_000_000
	mostAtOnce      = 8000 // a scheduler takes some 10,000 that wait
)

// Validate returns an Invalid error that names the first impossible value.
func (c Config) Validate() error {
	for _, workload := range c.Workloads {
		if !slices.Contains(Workloads(), workload) {
			return whisk.Errorf(whisk.Invalid, "there is no workload %q, want one of %v", string(workload), Workloads())
		}
		if workload != Create && c.Containers < c.Agents {
			return whisk.Errorf(whisk.Invalid, "workload %s needs a container on each of %d nodes, and there are to be %d", workload, c.Agents, c.Containers)
		}
		if workload == Transfer && c.Controllers < 2 {
			return whisk.Errorf(whisk.Invalid, "workload %s needs two controllers", workload)
		}
	}
	for _, f := range []struct {
		name               string
		value, least, most int
	}{
		{"agents", c.Agents, 1, mostAgents}, {"controllers", c.Controllers, 1, mostControllers},
		{"containers", c.Containers, 0, mostContainers}, {"requisitions at once", c.AtOnce, 1, mostAtOnce},
		{"rounds", c.Rounds, 1, 1000}, {"workloads", len(c.Workloads), 1, len(Workloads())}, {"creation times", len(c.Creations), 1, 100},
	} {
		if f.value < f.least || f.value > f.most {
			return whisk.Errorf(whisk.Invalid, "%s must be %d to %d, not %d", f.name, f.least, f.most, f.value)
		}
	}
	for _, took := range c.Creations {
		if took < 0 || took > time.Minute {
			return whisk.Errorf(whisk.Invalid, "a creation takes 0s to 1m, not %s", took)
		}
	}
	switch {
	case c.Rate < 0 || c.Rate > mostRate:
		return whisk.Errorf(whisk.Invalid, "the rate must be 0 to %d, not %g", mostRate, c.Rate)
	case c.Duration < time.Millisecond:
		return whisk.Errorf(whisk.Invalid, "duration %s of a round is less than 1ms", c.Duration)
	case c.Warmup < 0:
		return whisk.Errorf(whisk.Invalid, "warm-up %s is negative", c.Warmup)
	}
	return nil
}

// Target is the scheduler to measure. All functions may be called at once.
type Target struct {
	Agent      func(context.Context) (whisk.AgentToScheduler, error)
	Controller func(context.Context) (whisk.ControllerToScheduler, error)

	// Read tells what the scheduler's process has used and how things stand;
	// with collect after it has collected its garbage.
	Read func(ctx context.Context, collect bool) (Reading, error)

	Apart     bool   // the scheduler is a process of its own, and Read tells of that
	Transport string // for the report
}

// Reading is what the scheduler's process has used so far, and how its books stand.
type Reading struct {
	CPU       time.Duration // user and kernel
	Live      whisk.Bytes   // heap and stacks; just after a collection what is in use
	Resident  whisk.Bytes   // by the kernel's count
	Allocated whisk.Bytes   // ever
	Allocs    uint64        // allocations ever made

	Settled    bool // the scheduler decides
	Nodes      int  // that are up
	Containers int  // in the books
}
