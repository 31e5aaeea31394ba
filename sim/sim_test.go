// SPDX-License-Identifier: Apache-2.0

package sim_test

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/sim"
)

var (
	histories = flag.Int("histories", 60, "random histories to play")
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
	history, err := sim.Play(t.Context(), seed)
	if err != nil {
		t.Error(err)
	}
	if wrong := sim.Check(history); len(wrong) > 0 {
		t.Errorf("%d rules broken:\n%s", len(wrong), strings.Join(wrong[:min(len(wrong), 10)], "\n"))
	}
	if len(history.Calls) == 0 {
		t.Error("nothing was called")
	}
}
