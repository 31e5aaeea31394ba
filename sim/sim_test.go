// SPDX-License-Identifier: Apache-2.0

package sim_test

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/sim"
	"github.com/whirl-faas/whirl/whisk"
)

var (
	histories = flag.Int("histories", everydayHistories, "random histories to play")
	firstSeed = flag.Uint64("seed", 1, "seed of the first history; 0 takes one from the clock")
	playFor   = flag.Duration("for", 0, "play histories for so long, not a number of them")
	onlySteps = flag.String("steps", "", "the steps of the storm to play, by number: 3,7,9; all if empty")
	shrink    = flag.Uint64("shrink", 0, "seed of a failing history to make smaller, in place of playing any")
	tries     = flag.Int("tries", 20, "how often -shrink plays a storm before it takes it for harmless")
)

// TestRandomHistories plays random histories and holds them against the rules.
// One that breaks them says how to play it alone.
func TestRandomHistories(t *testing.T) {
	if *shrink != 0 {
		shrinkStorm(t, sim.Draw(*shrink))
		return
	}
	first := *firstSeed
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	if *playFor == 0 {
		playMany(t, first, *histories)
		return
	}
	const batch = 100
	end := endOf(t, *playFor)
	seed := first
	for ; time.Now().Before(end); seed += batch {
		t.Run(fmt.Sprint("from ", seed), func(t *testing.T) { playMany(t, seed, batch) })
	}
	t.Logf("%d histories, from seed %d", seed-first, first)
}

// endOf returns when the time is over, or that of the whole test nearly is.
func endOf(t *testing.T, d time.Duration) time.Time {
	end := time.Now().Add(d)
	if limit, ok := t.Deadline(); ok && limit.Add(-time.Minute).Before(end) {
		return limit.Add(-time.Minute)
	}
	return end
}

func playMany(t *testing.T, first uint64, n int) {
	for i := range uint64(n) {
		t.Run(fmt.Sprint("seed ", first+i), func(t *testing.T) {
			t.Parallel()
			storm := some(t, sim.Draw(first+i))
			files := filesFor(t, storm)
			defer func() {
				if t.Failed() {
					shrunk.Do(func() { shrinkAtOnce(t, storm) })
				}
			}()
			synctest.Test(t, func(t *testing.T) { play(t, storm, files) })
		})
	}
}

// filesFor returns an empty directory if the storm wants one.
func filesFor(t *testing.T, storm sim.Storm) string {
	if !storm.Files {
		return ""
	}
	return t.TempDir()
}

// some returns the storm with the steps that the flag names.
func some(t *testing.T, storm sim.Storm) sim.Storm {
	if *onlySteps == "" {
		return storm
	}
	var numbers []int
	for text := range strings.SplitSeq(*onlySteps, ",") {
		number, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("-steps: %v", err)
		}
		numbers = append(numbers, number)
	}
	return storm.Only(numbers)
}

func play(t *testing.T, storm sim.Storm, files string) {
	history, err := sim.Play(t.Context(), storm, files)
	if err != nil {
		t.Error(err)
	}
	told := map[whisk.ContainerID]bool{"": true}
	for _, finding := range sim.Check(history) {
		t.Error(finding.Text)
		if !told[finding.Container] && len(told) < 4 {
			told[finding.Container] = true
			t.Logf("the story of %s:\n%s", finding.Container, history.Story(finding.Container))
		}
	}
	if len(history.Calls) == 0 {
		t.Error("nothing was called")
	}
	if t.Failed() {
		t.Logf("the storm:\n%s", storm)
		t.Logf("again:   go test ./sim -run TestRandomHistories -histories 1 -seed %d -count 20", storm.Seed)
		t.Logf("smaller: go test ./sim -run TestRandomHistories -v -shrink %d -timeout 0", storm.Seed)
	}
}

// shrunk is done for the first storm of a run that breaks a rule.
var shrunk sync.Once

// How much is spent on the storm that is made smaller unasked. -shrink takes its time.
const (
	shrinkAtOnceFor   = time.Minute
	shrinkAtOnceTries = 5
)

// shrinkAtOnce makes a storm that has just failed smaller, as far as it gets.
func shrinkAtOnce(t *testing.T, storm sim.Storm) {
	end := endOf(t, shrinkAtOnceFor)
	small := storm.Shrink(func(storm sim.Storm) bool {
		for try := 0; try < shrinkAtOnceTries && time.Now().Before(end); try++ {
			if failsOnce(t, storm) {
				return true
			}
		}
		return false
	})
	t.Logf("of %d steps these are enough, or failed once:\n%s", len(storm.Steps), small)
	t.Log(again(small, shrinkAtOnceTries))
}

// again is how to play a part of a storm. No step has the number -1.
func again(storm sim.Storm, count int) string {
	if len(storm.Steps) == 0 {
		storm.Steps = []sim.Step{{Number: -1}}
	}
	numbers := strings.Trim(strings.ReplaceAll(fmt.Sprint(storm.Numbers()), " ", ","), "[]")
	return fmt.Sprintf("again: go test ./sim -run TestRandomHistories -histories 1 -seed %d -steps %s -count %d", storm.Seed, numbers, count)
}

// shrinkStorm looks for a storm of fewer steps that breaks a rule as well.
func shrinkStorm(t *testing.T, storm sim.Storm) {
	fails := func(storm sim.Storm) bool {
		for range *tries {
			if failsOnce(t, storm) {
				t.Logf("%d steps fail, too", len(storm.Steps))
				return true
			}
		}
		return false
	}
	if !fails(storm) {
		t.Fatalf("seed %d broke no rule in %d tries", storm.Seed, *tries)
	}
	small := storm.Shrink(fails)
	t.Errorf("the storm:\n%s", small)
	t.Log(again(small, *tries))
}

func failsOnce(t *testing.T, storm sim.Storm) (failed bool) {
	files := filesFor(t, storm)
	synctest.Test(t, func(t *testing.T) {
		history, err := sim.Play(context.WithoutCancel(t.Context()), storm, files)
		failed = err != nil || len(sim.Check(history)) > 0
	})
	return failed
}
