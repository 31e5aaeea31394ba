// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/whirl-faas/whirl/scheduler/policy"
	"github.com/whirl-faas/whirl/whisk"
)

func TestBefore(t *testing.T) {
	for _, row := range []struct {
		name string
		a, b policy.Claim
		want bool
	}{
		{"less comes first", policy.Claim{Stake: 1, Turn: 9}, policy.Claim{Stake: 2, Turn: 1}, true},
		{"more comes later", policy.Claim{Stake: 2, Turn: 1}, policy.Claim{Stake: 1, Turn: 9}, false},
		{"among equals the turn counts", policy.Claim{Stake: 1, Turn: 1}, policy.Claim{Stake: 1, Turn: 2}, true},
		{"nobody is before himself", policy.Claim{Stake: 1, Turn: 1}, policy.Claim{Stake: 1, Turn: 1}, false},
	} {
		if got := row.a.Before(row.b); got != row.want {
			t.Errorf("%s: %t", row.name, got)
		}
	}
}

// Given away by Before, room goes to everybody who wants it up to the same level,
// but for one container.
func FuzzRoomIsLevelled(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint16(20))
	f.Add(uint64(2), uint8(1), uint16(1))
	f.Add(uint64(3), uint8(40), uint16(500))
	f.Fuzz(func(t *testing.T, seed uint64, namespaces uint8, room uint16) {
		random := rand.New(rand.NewPCG(seed, 0))
		n := int(namespaces)%50 + 1
		claims, wants := make([]policy.Claim, n), make([]int, n)
		for i := range n {
			claims[i].Turn, wants[i] = uint64(i), random.IntN(40)
		}
		turn := uint64(n)
		for range room {
			next := -1
			for i := range n {
				if wants[i] > 0 && (next < 0 || claims[i].Before(claims[next])) {
					next = i
				}
			}
			if next < 0 {
				break
			}
			turn++
			claims[next].Stake++
			claims[next].Turn = turn
			wants[next]--
		}
		most := slices.MaxFunc(claims, func(a, b policy.Claim) int { return int(a.Stake - b.Stake) }).Stake
		for i := range n {
			if wants[i] > 0 && claims[i].Stake < most-1 {
				t.Errorf("%d has %d and wants %d more, another has %d", i, claims[i].Stake, wants[i], most)
			}
		}
	})
}

// What one owes another is not owed back when it was given.
func FuzzNothingIsOwedBack(f *testing.F) {
	f.Add(int64(4), int64(1), int64(0), int64(1))
	f.Add(int64(512), int64(256), int64(128), int64(128))
	f.Fuzz(func(t *testing.T, most, lost, stake, gained int64) {
		if most < 0 || lost <= 0 || stake < 0 || gained <= 0 || most > 1<<40 || lost > most || stake > 1<<40 || gained > 1<<40 {
			return
		}
		m, l, s, g := whisk.Bytes(most), whisk.Bytes(lost), whisk.Bytes(stake), whisk.Bytes(gained)
		if policy.Owes(m, l, s, g) && policy.Owes(s+g, g, m-l, l) {
			t.Errorf("%d gives %d to %d, who gets %d, and back", most, lost, stake, gained)
		}
	})
}

// However namespaces push, all are within the bound, each that wants has an equal
// part, and one that comes new finds a place.
func TestPlacesAreShared(t *testing.T) {
	const most = 1000
	for n := 1; n <= 20; n++ {
		own, all := make([]int, n), 0
		for pushed := true; pushed; {
			pushed = false
			for i := range own {
				if policy.Admits(own[i], all, most) {
					own[i]++
					all++
					pushed = true
				}
			}
		}
		if least := most/(n+1) - 1; slices.Min(own) < least || slices.Max(own) > slices.Min(own)+1 {
			t.Errorf("%d namespaces have %v places of %d", n, own, most)
		}
		if !policy.Admits(0, all, most) {
			t.Errorf("beside %d namespaces there is no place", n)
		}
	}
}
