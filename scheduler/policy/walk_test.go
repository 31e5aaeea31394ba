// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"slices"
	"testing"

	"github.com/whirl-faas/whirl/scheduler/policy"
	"github.com/whirl-faas/whirl/whisk"
)

// walked returns the order in which sharding tries nodes: each is taken, filled, and so on.
func walked(n int, hash uint32) []int {
	all := nodes(make([]whisk.Bytes, n)...)
	for i := range all {
		all[i].Free = 1
	}
	var order []int
	for range n {
		i := policy.Sharding(all, policy.Request{Hash: hash, Memory: 1, Cap: 1, Crowded: 1})
		order = append(order, i)
		if i != policy.None {
			all[i].Free = 0
		}
	}
	return order
}

// FuzzWalk holds the walk to the scheme: from home by equal steps, each node once.
func FuzzWalk(f *testing.F) {
	f.Add(uint32(13198339), uint8(10))
	f.Add(uint32(0), uint8(1))
	f.Add(uint32(1<<31), uint8(97))
	f.Add(uint32(4294967295), uint8(2))
	f.Fuzz(func(t *testing.T, hash uint32, count uint8) {
		n := int(count)%128 + 1
		order := walked(n, hash)
		if want := int(hash % uint32(n)); order[0] != want {
			t.Errorf("home of %d among %d is %d, want %d", hash, n, order[0], want)
		}
		sorted := slices.Sorted(slices.Values(order))
		for i := range n {
			if sorted[i] != i {
				t.Fatalf("walk of %d among %d is %v, not each node once", hash, n, order)
			}
		}
		for i := 1; i+1 < n; i++ {
			if step, next := (order[i]-order[i-1]+n)%n, (order[i+1]-order[i]+n)%n; step != next {
				t.Fatalf("walk of %d among %d is %v, not by equal steps", hash, n, order)
			}
		}
	})
}

// While a node is closed, only what would go there goes elsewhere; when it
// opens again everything is as before.
func TestHomesAreStable(t *testing.T) {
	const n, hashes = 30, 2000
	place := func(all []policy.Node, hash uint32) int {
		return policy.Sharding(all, policy.Request{Hash: hash * 2654435761, Memory: 1, Cap: 8, Crowded: 1})
	}
	all := nodes(make([]whisk.Bytes, n)...)
	for i := range all {
		all[i].Free = 512
	}
	homes := make([]int, hashes)
	perNode := make([]int, n)
	for hash := range uint32(hashes) {
		homes[hash] = place(all, hash)
		perNode[homes[hash]]++
	}
	for i, count := range perNode {
		if count < hashes/n/2 || count > hashes/n*2 {
			t.Errorf("node %d is home to %d of %d actions", i, count, hashes)
		}
	}
	for closed := range all {
		all[closed].Open = false
		fled := make(map[int]int)
		for hash := range uint32(hashes) {
			now := place(all, hash)
			switch {
			case homes[hash] != closed && now != homes[hash]:
				t.Fatalf("node %d closed, and an action moved from %d to %d", closed, homes[hash], now)
			case homes[hash] == closed:
				fled[now]++
			}
		}
		if len(fled) < 3 && perNode[closed] > 30 {
			t.Errorf("all %d actions of node %d fled to %v", perNode[closed], closed, fled)
		}
		all[closed].Open = true
	}
	for hash := range uint32(hashes) {
		if now := place(all, hash); now != homes[hash] {
			t.Fatalf("all nodes are open again, and an action moved from %d to %d", homes[hash], now)
		}
	}
}

// A walk must reach every node, whatever their number: the only one with room is found.
func TestShardingReachesEveryNode(t *testing.T) {
	for n := 1; n < 70; n++ {
		for i := range n {
			all := nodes(make([]whisk.Bytes, n)...)
			all[i].Free = 1024
			for hash := range uint32(40) {
				if got := policy.Sharding(all, policy.Request{Hash: hash * 2654435761, Memory: 1, Cap: 1, Crowded: 1}); got != i {
					t.Fatalf("of %d nodes %d has room, but %d is taken", n, i, got)
				}
			}
		}
	}
}
