// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/whirl-faas/whirl/bench/cputime"
	"github.com/whirl-faas/whirl/scheduler/policy"
	"github.com/whirl-faas/whirl/whisk"
)

func key(name string) whisk.ActionKey {
	return whisk.ActionKey{Namespace: "guest", Action: whisk.FullName{Namespace: "guest", Name: name}}
}

// The numbers come from Java: Math.abs("guest".hashCode() ^ path.hashCode()).
func TestHashIsOpenWhisks(t *testing.T) {
	for name, want := range map[string]uint32{"hello": 13198339, "x/y": 820213197, "été": 824019649} {
		if got := policy.Hash(key(name)); got != want {
			t.Errorf("hash of %s is %d, want %d", name, got, want)
		}
	}
}

func nodes(free ...whisk.Bytes) []policy.Node {
	var all []policy.Node
	for i, f := range free {
		all = append(all, policy.Node{ID: whisk.NodeID(fmt.Sprint("n", i)), Open: true, Memory: 1024, Free: f})
	}
	return all
}

func with(all []policy.Node, i int, alter func(*policy.Node)) []policy.Node {
	alter(&all[i])
	return all
}

func TestPlacement(t *testing.T) {
	request := policy.Request{Hash: 7, Memory: 256, Cap: 4, Crowded: 1} // of 4 nodes: home 3, step 1+1%3=2 -> 3
	for _, test := range []struct {
		name  string
		place policy.Placement
		nodes []policy.Node
		alter func(*policy.Request)
		want  int
	}{
		{"nowhere", policy.Sharding, nil, nil, policy.None},
		{"home", policy.Sharding, nodes(1024, 1024, 1024, 1024), nil, 3},
		{"a step from a full home", policy.Sharding, nodes(1024, 1024, 1024, 255), nil, 2},
		{"all are full", policy.Sharding, nodes(255, 255, 255, 255), nil, policy.None},
		{"home is closed", policy.Sharding, with(nodes(1024, 1024, 1024, 1024), 3, func(n *policy.Node) { n.Open = false }), nil, 2},
		{"home is at its cap", policy.Sharding, with(nodes(1024, 1024, 1024, 1024), 3, func(n *policy.Node) { n.Creating = 4 }), nil, 2},
		{"the only one with room is at its cap", policy.Sharding, with(nodes(0, 0, 0, 1024), 3, func(n *policy.Node) { n.Creating = 9 }), nil, 3},
		{"home is to be avoided", policy.Sharding, nodes(1024, 1024, 1024, 1024), func(r *policy.Request) { r.Avoid = []whisk.NodeID{"n3"} }, 2},
		{"the only one with room is to be avoided", policy.Sharding, nodes(0, 0, 0, 1024), func(r *policy.Request) { r.Avoid = []whisk.NodeID{"n3"} }, 3},
		{"home is crowded", policy.Sharding, nodes(1024, 1024, 1024, 300), func(r *policy.Request) { r.Crowded = 0.5 }, 2},
		{"all are crowded", policy.Sharding, nodes(300, 300, 300, 300), func(r *policy.Request) { r.Crowded = 0.5 }, 3},
		{"least loaded", policy.LeastLoaded, nodes(300, 900, 400, 800), nil, 1},
		{"least loaded below its cap", policy.LeastLoaded, with(nodes(300, 900, 400, 800), 1, func(n *policy.Node) { n.Creating = 4 }), nil, 3},
		{"tightest", policy.BinPack, nodes(300, 900, 200, 256), nil, 3},
		{"tightest, nowhere", policy.BinPack, nodes(100, 100), nil, policy.None},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := request
			if test.alter != nil {
				test.alter(&r)
			}
			if got := test.place(test.nodes, r); got != test.want {
				t.Errorf("placed on %d, want %d", got, test.want)
			}
		})
	}
}

func TestEvictionNode(t *testing.T) {
	request := policy.Request{Hash: 7, Memory: 256, Cap: 4} // walks 3, 2, 1, 0
	idle := func(free, spare, idle whisk.Bytes, oldest int64) policy.Node {
		return policy.Node{Open: true, Memory: 1024, Free: free, Spare: spare, Idle: idle, Oldest: oldest}
	}
	for _, test := range []struct {
		name  string
		nodes []policy.Node
		want  int
	}{
		{"nothing to evict", []policy.Node{idle(0, 0, 0, 0), idle(100, 50, 100, 1)}, policy.None},
		{"spare memory needs nobody's consent", []policy.Node{idle(0, 0, 512, 1), idle(0, 256, 0, 0), idle(0, 0, 512, 1), idle(0, 0, 512, 1)}, 1},
		{"the least recently used goes", []policy.Node{idle(0, 0, 512, 30), idle(0, 0, 512, 20), idle(0, 0, 512, 10), idle(0, 0, 512, 40)}, 2},
		{"free and idle together", []policy.Node{idle(0, 0, 0, 0), idle(128, 0, 128, 9), idle(0, 0, 0, 0), idle(0, 0, 0, 0)}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := policy.EvictionNode(test.nodes, request); got != test.want {
				t.Errorf("evicts on %d, want %d", got, test.want)
			}
		})
	}
}

func TestVictims(t *testing.T) {
	for _, test := range []struct {
		sizes []whisk.Bytes
		need  whisk.Bytes
		want  []int
	}{
		{nil, 1, nil},
		{[]whisk.Bytes{128, 128}, 257, nil},
		{[]whisk.Bytes{128, 128, 128}, 0, nil},
		{[]whisk.Bytes{128, 128, 128}, 128, []int{0}},
		{[]whisk.Bytes{128, 128, 128}, 200, []int{0, 1}},
		{[]whisk.Bytes{128, 512, 128}, 512, []int{1}},
		{[]whisk.Bytes{128, 256, 512}, 600, []int{0, 2}},
	} {
		got := policy.Victims(test.sizes, test.need)
		slices.Sort(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("of %v for %d: %v, want %v", test.sizes, test.need, got, test.want)
		}
	}
}

func TestReleased(t *testing.T) {
	for _, test := range []struct {
		reason        whisk.ReleaseReason
		code, pressed bool
		want          policy.Fate
	}{
		{whisk.ReleaseUnused, false, false, policy.Shelve},
		{whisk.ReleaseUnused, false, true, policy.Destroy},
		{whisk.ReleaseReclaimed, true, false, policy.Keep},
		{whisk.ReleaseReclaimed, true, true, policy.Destroy},
		{whisk.ReleaseReclaimed, false, false, policy.Destroy},
		{whisk.ReleaseIdle, true, false, policy.Destroy},
		{whisk.ReleaseLeaving, true, false, policy.Keep},
		{whisk.ReleaseLeaving, true, true, policy.Destroy},
		{whisk.ReleaseFailed, true, false, policy.Destroy},
		{whisk.ReleaseFailed, false, false, policy.Destroy},
		{whisk.ReleaseStale, true, false, policy.Destroy},
	} {
		if got := policy.Released(test.reason, test.code, test.pressed); got != test.want {
			t.Errorf("%s, code %t, pressed %t: %d, want %d", test.reason, test.code, test.pressed, got, test.want)
		}
	}
}

func TestStemCells(t *testing.T) {
	reactive := &whisk.ReactiveStemCell{Min: 1, Max: 4, Threshold: 2, Increment: 1}
	for _, test := range []struct {
		cell         whisk.StemCell
		nodes, colds int
		want         int
	}{
		{whisk.StemCell{Count: 2}, 0, 0, 0},
		{whisk.StemCell{Count: 2}, 3, 100, 6},
		{whisk.StemCell{Count: 2, Reactive: reactive}, 1, 0, 1},
		{whisk.StemCell{Count: 2, Reactive: reactive}, 1, 5, 2},
		{whisk.StemCell{Count: 2, Reactive: reactive}, 1, 100, 4},
		{whisk.StemCell{Count: 2, Reactive: reactive}, 3, 100, 12},
		{whisk.StemCell{Reactive: &whisk.ReactiveStemCell{Max: 4}}, 1, 100, 0},
	} {
		if got := policy.StemCells(test.cell, test.nodes, test.colds); got != test.want {
			t.Errorf("%+v on %d nodes after %d cold starts: %d, want %d", test.cell, test.nodes, test.colds, got, test.want)
		}
	}
}

// FuzzPlacement holds every policy to what a placement promises.
func FuzzPlacement(f *testing.F) {
	f.Add(uint64(1), uint32(7), uint16(256), uint8(3))
	f.Add(uint64(2), uint32(0), uint16(1), uint8(0))
	f.Add(uint64(3), uint32(1<<31), uint16(1024), uint8(200))
	f.Fuzz(func(t *testing.T, seed uint64, hash uint32, memory uint16, count uint8) {
		rng := rand.New(rand.NewPCG(seed, 0))
		all := make([]policy.Node, count)
		possible, removable := false, false
		r := policy.Request{Hash: hash, Memory: max(1, whisk.Bytes(memory)), Cap: 2, Crowded: rng.Float64(), Avoid: []whisk.NodeID{"n1", "n2"}}
		for i := range all {
			all[i] = policy.Node{
				ID: whisk.NodeID(fmt.Sprint("n", i)), Open: rng.IntN(4) > 0, Memory: whisk.Bytes(2048 + 512*rng.IntN(3)),
				Free: whisk.Bytes(rng.IntN(2048)), Spare: whisk.Bytes(rng.IntN(512)), Idle: whisk.Bytes(rng.IntN(512)),
				Creating: rng.IntN(4), Oldest: rng.Int64(),
			}
			possible = possible || all[i].Open && all[i].Free >= r.Memory
			removable = removable || all[i].Open && all[i].Free+all[i].Spare+all[i].Idle >= r.Memory
		}
		for _, name := range policy.Schemes() {
			place := name.Placement()
			got := place(all, r)
			switch {
			case (got != policy.None) != possible:
				t.Errorf("%s: placed on %d, possible %t", name, got, possible)
			case got != policy.None && (!all[got].Open || all[got].Free < r.Memory):
				t.Errorf("%s: placed on %+v", name, all[got])
			case got != place(all, r):
				t.Errorf("%s: another answer to the same question", name)
			case got != policy.None:
				if better := betterThan(name, all, r, got); better != policy.None {
					t.Errorf("%s: placed on %+v, while there is %+v", name, all[got], all[better])
				}
			}
		}
		got := policy.EvictionNode(all, r)
		if (got != policy.None) != removable {
			t.Errorf("evicts on %d, possible %t", got, removable)
		}
		if got != policy.None && (!all[got].Open || all[got].Free+all[got].Spare+all[got].Idle < r.Memory) {
			t.Errorf("evicts on %+v", all[got])
		}
	})
}

// betterThan returns a node that a scheme should have preferred to the chosen one,
// by its own words: any that is below its cap and not to be avoided to one that is
// not so, and among those the emptiest or the fullest, or for sharding one that is
// not crowded.
func betterThan(scheme policy.Scheme, all []policy.Node, r policy.Request, chosen int) int {
	welcome := func(n policy.Node) bool { return n.Creating < r.Cap && !slices.Contains(r.Avoid, n.ID) }
	share := func(n policy.Node) float64 { return float64(n.Free) / float64(n.Memory) }
	was := all[chosen]
	for i, n := range all {
		if !n.Open || n.Free < r.Memory || !welcome(n) {
			continue
		}
		preferred := false
		switch scheme {
		case policy.SchemeSharding:
			preferred = 1-share(n) <= r.Crowded && 1-share(was) > r.Crowded
		case policy.SchemeLeastLoaded:
			preferred = share(n) > share(was)
		case policy.SchemeBinPack:
			preferred = n.Free < was.Free
		}
		if !welcome(was) || preferred {
			return i
		}
	}
	return policy.None
}

// FuzzVictims checks that a set is enough, and that none of it could be spared.
func FuzzVictims(f *testing.F) {
	f.Add([]byte{1, 2, 3}, uint16(4))
	f.Add([]byte{}, uint16(0))
	f.Fuzz(func(t *testing.T, sizes []byte, need uint16) {
		var all []whisk.Bytes
		var total whisk.Bytes
		for _, size := range sizes {
			all = append(all, 1+whisk.Bytes(size))
			total += 1 + whisk.Bytes(size)
		}
		var sum whisk.Bytes
		victims := policy.Victims(all, whisk.Bytes(need))
		for _, i := range victims {
			sum += all[i]
		}
		if need == 0 || total < whisk.Bytes(need) {
			if victims != nil {
				t.Fatalf("victims %v for %d of %d", victims, need, total)
			}
			return
		}
		if sum < whisk.Bytes(need) {
			t.Fatalf("%d is not enough for %d", sum, need)
		}
		for _, i := range victims {
			if sum-all[i] >= whisk.Bytes(need) {
				t.Fatalf("%d of %v could be spared for %d", i, victims, need)
			}
		}
	})
}

func BenchmarkPlacement(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10_000} {
		room, full := nodes(make([]whisk.Bytes, n)...), nodes(make([]whisk.Bytes, n)...)
		for i := range room {
			room[i].Free = 512
			full[i].Idle = 512
			full[i].Oldest = int64(i)
		}
		var hash uint32
		for _, c := range []struct {
			name  string
			place policy.Placement
			nodes []policy.Node
		}{
			{"sharding", policy.Sharding, room}, {"sharding-full", policy.Sharding, full},
			{"least-loaded", policy.LeastLoaded, room}, {"bin-pack", policy.BinPack, room}, {"eviction", policy.EvictionNode, full},
		} {
			b.Run(fmt.Sprintf("%s/nodes=%d", c.name, n), func(b *testing.B) {
				end := cputime.Report(b)
				for b.Loop() {
					hash += 2654435761
					c.place(c.nodes, policy.Request{Hash: hash, Memory: 256, Cap: 8, Crowded: 0.6})
				}
				end()
			})
		}
	}
}

func TestSchemes(t *testing.T) {
	if len(policy.Schemes()) != 3 {
		t.Errorf("%v", policy.Schemes())
	}
	for _, scheme := range policy.Schemes() {
		if scheme.Placement() == nil {
			t.Errorf("no placement %q", scheme)
		}
	}
	if policy.Scheme("random").Placement() != nil {
		t.Error("an unknown scheme has a placement")
	}
}
