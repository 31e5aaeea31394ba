// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/scheduler/policy"
	"github.com/whirl-faas/whirl/whisk"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fill places containers on a cluster until nothing fits, each scheme by its
// own idea, and closes and opens nodes meanwhile.
func fill(t *testing.T, scheme policy.Scheme, seed uint64) []int {
	rng := rand.New(rand.NewPCG(seed, 1))
	all := make([]policy.Node, 1+rng.IntN(12))
	for i := range all {
		size := whisk.Bytes(256*(1+rng.IntN(8))) * whisk.MB
		all[i] = policy.Node{ID: whisk.NodeID(fmt.Sprint("n", i)), Open: rng.IntN(4) > 0, Memory: size, Free: size}
	}
	place := scheme.Placement()
	var placed []int
	for range 200 {
		r := policy.Request{
			Hash: rng.Uint32(), Memory: whisk.Bytes(128<<rng.IntN(3)) * whisk.MB, Cap: 3, Crowded: 0.5 + rng.Float64()/2,
			Avoid: []whisk.NodeID{whisk.NodeID(fmt.Sprint("n", rng.IntN(12)))},
		}
		i := place(all, r)
		placed = append(placed, i)
		if i != policy.None {
			if !all[i].Open {
				t.Fatalf("seed %d: placed on the closed %s", seed, all[i].ID)
			}
			if all[i].Free -= r.Memory; all[i].Free < 0 {
				t.Fatalf("seed %d: %s is oversold", seed, all[i].ID)
			}
			all[i].Creating++
		} else if slices.ContainsFunc(all, func(n policy.Node) bool { return n.Open && n.Free >= r.Memory }) {
			t.Fatalf("seed %d: not placed, but there is room", seed)
		}
		some := &all[rng.IntN(len(all))]
		some.Creating = 0
		some.Open = rng.IntN(4) > 0
	}
	return placed
}

// TestPlacementsReplay holds that the same course of things leads to the same
// placements, today and (by the golden file) tomorrow.
func TestPlacementsReplay(t *testing.T) {
	var told strings.Builder
	for _, scheme := range policy.Schemes() {
		for seed := range uint64(100) {
			placed := fill(t, scheme, seed)
			if again := fill(t, scheme, seed); !slices.Equal(again, placed) {
				t.Fatalf("%s, seed %d: %v, and then %v", scheme, seed, placed, again)
			}
			if seed < 5 {
				fmt.Fprintf(&told, "%s %d: %v\n", scheme, seed, placed)
			}
		}
	}
	const golden = "testdata/placements.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(told.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if told.String() != string(want) {
		t.Errorf("placements differ from %s; if that is meant, run with -update", golden)
	}
}
