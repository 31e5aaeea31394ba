// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Storm is a random history's script: a cluster, the load on it, and the faults
// that happen to it. [Draw] makes one; one that fails may be thinned by
// [Storm.Shrink].
type Storm struct {
	Seed        uint64
	Actions     []Action
	Nodes       int
	NodeMemory  whisk.Bytes
	Controllers int
	StemCells   int  // kept prewarmed for each node
	KeepOnStop  bool // the first agents
	Drain       bool // a node is drained in the end
	Files       bool // agents keep their ledgers in files
	Crowds      bool // the controllers' machines have too much to do now and then
	Steps       []Step
}

// Step is one thing that happens in a storm: calls, or a fault.
type Step struct {
	Number int           // in the storm as it was drawn
	At     time.Duration // after the start
	Calls  []Load
	Fault  Fault // if there are no calls
}

// Load is a call of an action on a controller, by their numbers; a controller's
// number counts those that live.
type Load struct{ Controller, Action int }

// Durations of a storm. Many short histories find more than few long ones, and
// what the platform does after minutes it does here after seconds.
const (
	rageFor     = 45 * time.Second // at most
	patience    = 45 * time.Second // of a call while the storm goes on
	idleTimeout = 20 * time.Second // of containers that a controller holds
	keepWarm    = 20 * time.Second // of containers that nobody holds
	runTimeout  = 3 * time.Second  // of the actions

	// operateTimeout is an agent's for a suspend or resume. It is shorter than
	// runTimeout, so that an activation may wait behind a resume that fails.
	operateTimeout = time.Second
)

// Draw returns the storm of a seed.
func Draw(seed uint64) Storm {
	d := dice{rand.New(rand.NewPCG(seed, 0x5eed))}
	storm := Storm{
		Seed:        seed,
		Nodes:       1 + d.IntN(3),
		NodeMemory:  whisk.Bytes(2+d.IntN(6)) * 256 * whisk.MB,
		Controllers: []int{1, 1, 2, 2, 2, 3, 3, 4}[d.IntN(8)],
		KeepOnStop:  d.chance(50),
		Drain:       d.chance(20),
		Files:       d.chance(15),
	}
	if d.chance(50) {
		storm.StemCells = 1 + d.IntN(2)
	}
	storm.Crowds = dice{rand.New(rand.NewPCG(seed, 0xc0d))}.chance(50)
	bounds := dice{rand.New(rand.NewPCG(seed, 0xb0d))}
	for i := range 2 + d.IntN(6) {
		storm.Actions = append(storm.Actions, Action{
			Name:        fmt.Sprintf("a%d", i),
			Revision:    1,
			Memory:      []whisk.Bytes{128, 128, 256, 512}[d.IntN(4)] * whisk.MB,
			Concurrency: []int{1, 1, 3, 3}[d.IntN(4)],
			Instances:   []int{0, 0, 1, 1, 2}[bounds.IntN(5)],
			Timeout:     runTimeout,
		})
	}
	var now time.Duration
	for end := time.Second + d.upTo(rageFor); now < end; {
		pause := d.upTo(time.Second)
		if d.chance(8) {
			pause = 9*time.Second + d.upTo(4*time.Second) // around the pause grace
		}
		now += pause
		storm.add(Step{At: now, Calls: d.calls(storm)})
		if d.chance(20) {
			storm.add(Step{At: now, Fault: d.fault()})
		}
	}
	return storm
}

func (s *Storm) add(step Step) {
	step.Number = len(s.Steps)
	s.Steps = append(s.Steps, step)
}

// Only returns the storm with no other steps than those of the numbers.
func (s Storm) Only(numbers []int) Storm {
	wanted := map[int]bool{}
	for _, number := range numbers {
		wanted[number] = true
	}
	all := s.Steps
	s.Steps = nil
	for _, step := range all {
		if wanted[step.Number] {
			s.Steps = append(s.Steps, step)
		}
	}
	return s
}

// Numbers returns those of its steps, for [Storm.Only].
func (s Storm) Numbers() []int {
	numbers := make([]int, 0, len(s.Steps))
	for _, step := range s.Steps {
		numbers = append(numbers, step.Number)
	}
	return numbers
}

// String tells the storm, a step in a line.
func (s Storm) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "seed %d: %d nodes of %v, %d controllers, %d stem cells, keep on stop %t, drain in the end %t, files %t, crowds %t\n",
		s.Seed, s.Nodes, s.NodeMemory, s.Controllers, s.StemCells, s.KeepOnStop, s.Drain, s.Files, s.Crowds)
	for _, a := range s.Actions {
		fmt.Fprintf(&text, "action %s of %v, concurrency %d, instances %d\n", a.Name, a.Memory, a.Concurrency, a.Instances)
	}
	for _, step := range s.Steps {
		fmt.Fprintf(&text, "%3d %8v ", step.Number, step.At.Round(time.Millisecond))
		if len(step.Calls) > 0 {
			fmt.Fprintf(&text, "calls %v\n", step.Calls)
		} else {
			fmt.Fprintf(&text, "%v\n", step.Fault)
		}
	}
	return text.String()
}

// dice draw a storm.
type dice struct{ *rand.Rand }

func (d dice) chance(percent int) bool { return d.IntN(100) < percent }

func (d dice) upTo(t time.Duration) time.Duration { return time.Duration(d.Int64N(int64(t))) }

func (d dice) calls(s Storm) []Load {
	calls := make([]Load, 1+d.IntN(12))
	for i := range calls {
		calls[i] = Load{d.IntN(s.Controllers), d.IntN(len(s.Actions))}
	}
	return calls
}
