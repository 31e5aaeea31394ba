// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"

	"github.com/whirl-faas/whirl/whisk"
)

// EvictionNode chooses the node on which to make room for a container that has
// room nowhere: an index into nodes, or [None]. It prefers, from the action's
// home on, a node that needs no controller's consent, and otherwise the one
// whose idle containers are the least recently used.
func EvictionNode(nodes []Node, r Request) int {
	best, bestRank := None, 0
	for i := range walk(len(nodes), r.Hash) {
		n := &nodes[i]
		if !n.Open || n.Free+n.Spare+n.Idle < r.Memory {
			continue
		}
		rank := 0
		if n.Free+n.Spare < r.Memory {
			rank = 1
		}
		if slices.Contains(r.Avoid, n.ID) {
			rank += 2
		}
		if rank == 0 {
			return i
		}
		if best == None || rank < bestRank || rank == bestRank && n.Oldest < nodes[best].Oldest {
			best, bestRank = i, rank
		}
	}
	return best
}

// Victims chooses from candidates, which are in the order in which they should
// go, a set of indices whose memory sums up to need. No member of the set could
// be spared, and the first candidates go unless larger ones after them make
// them unnecessary. It returns nil if all together are not enough.
func Victims(candidates []whisk.Bytes, need whisk.Bytes) []int {
	var sum whisk.Bytes
	end := 0
	for end < len(candidates) && sum < need {
		sum += candidates[end]
		end++
	}
	if sum < need || need <= 0 {
		return nil
	}
	victims := make([]int, 0, end)
	// Spare the ones that would go last first: they are the most useful.
	for i := end - 1; i >= 0; i-- {
		if sum-candidates[i] >= need {
			sum -= candidates[i]
			continue
		}
		victims = append(victims, i)
	}
	return victims
}
