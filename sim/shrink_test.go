// SPDX-License-Identifier: Apache-2.0

package sim_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/whirl-faas/whirl/sim"
)

// TestShrinkFindsTheCulprits gives it storms that fail by a few steps together.
func TestShrinkFindsTheCulprits(t *testing.T) {
	for seed := range uint64(200) {
		storm := sim.Draw(seed)
		rng := rand.New(rand.NewPCG(seed, 1))
		var culprits []int
		for range rng.IntN(4) {
			culprits = append(culprits, rng.IntN(len(storm.Steps)))
		}
		slices.Sort(culprits)
		culprits = slices.Compact(culprits)
		tries := 0
		shrunk := storm.Shrink(func(s sim.Storm) bool {
			tries++
			for _, culprit := range culprits {
				if !slices.Contains(s.Numbers(), culprit) {
					return false
				}
			}
			return true
		})
		if !slices.Equal(shrunk.Numbers(), culprits) {
			t.Errorf("seed %d: shrunk to %v, want %v", seed, shrunk.Numbers(), culprits)
		}
		if limit := 20 * (len(storm.Steps) + 1); tries > limit {
			t.Errorf("seed %d: %d steps took %d tries", seed, len(storm.Steps), tries)
		}
		if again := sim.Draw(seed).Only(culprits); again.String() != shrunk.String() {
			t.Errorf("seed %d: the numbers give\n%s\nwant\n%s", seed, again, shrunk)
		}
	}
}
