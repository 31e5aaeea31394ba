// SPDX-License-Identifier: Apache-2.0

package sim_test

import (
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/sim"
	"github.com/whirl-faas/whirl/whisk"
)

var (
	histories = flag.Int("histories", everydayHistories, "random histories to play")
	firstSeed = flag.Uint64("seed", 0, "seed of the first history; 0 takes one from the clock")
)

// TestRandomHistories plays random histories and holds them against the rules.
// To repeat one: go test ./sim -run Random -histories 1 -seed N.
func TestRandomHistories(t *testing.T) {
	first := *firstSeed
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	for i := range uint64(*histories) {
		t.Run(fmt.Sprint("seed ", first+i), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { play(t, first+i) })
		})
	}
}

func play(t *testing.T, seed uint64) {
	storm := sim.Draw(seed)
	history, err := sim.Play(t.Context(), storm, t.TempDir())
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
	}
}
