// SPDX-License-Identifier: Apache-2.0

// Package policy holds the scheduler's decisions as pure functions: where a new
// container goes, which idle ones make room for it, what becomes of one that
// comes back, and how many to keep prewarmed.
//
// Nothing here keeps state, reads a clock or draws a random number: the same
// arguments always give the same answer, so decisions can be tabled, fuzzed and
// replayed. Arguments are read, never modified or kept. All functions may be
// called from several goroutines at once.
package policy

import (
	"slices"

	"github.com/whirl-faas/whirl/whisk"
)

// Node is what a decision may know of a node.
type Node struct {
	ID     whisk.NodeID
	Open   bool        // containers may be placed here
	Memory whisk.Bytes // in all
	Free   whisk.Bytes // that nobody uses or was promised
	Spare  whisk.Bytes // that comes free without asking a controller
	Idle   whisk.Bytes // of idle containers that controllers would have to give back
	Oldest int64       // when the least recently used of those went idle, in Unix nanoseconds; 0 if there is none

	Creating int // creations running or waiting for their turn
}

// used returns the share of the node's memory that is taken.
func (n *Node) used() float64 {
	return 1 - float64(n.Free)/float64(n.Memory)
}

// Request is a container that needs a place.
type Request struct {
	Hash   uint32         // of the action, see [Hash]
	Memory whisk.Bytes    // more than 0
	Cap    int            // creations at once on one node; a node at its cap is taken only if no other fits
	Avoid  []whisk.NodeID // taken only if no other fits: the creation failed there
	// Crowded is the share of used memory above which a node is passed over
	// while a less crowded one fits; 1 passes over none. Only Sharding looks at it.
	Crowded float64
}

// None is the answer if no node will do.
const None = -1

// Placement chooses the node for a new container: an index into nodes, or
// [None]. The node has Memory free. The order of nodes is the same at each call
// while no node comes or goes.
type Placement func(nodes []Node, r Request) int

// Scheme is the name of a placement, as operators write it.
type Scheme string

// The placements.
const (
	SchemeSharding    Scheme = "sharding"     // [Sharding]
	SchemeLeastLoaded Scheme = "least-loaded" // [LeastLoaded]
	SchemeBinPack     Scheme = "bin-pack"     // [BinPack]
)

// Schemes returns all names.
func Schemes() []Scheme { return []Scheme{SchemeSharding, SchemeLeastLoaded, SchemeBinPack} }

// Placement returns the placement of that name, nil if there is none.
func (s Scheme) Placement() Placement {
	switch s {
	case SchemeSharding:
		return Sharding
	case SchemeLeastLoaded:
		return LeastLoaded
	case SchemeBinPack:
		return BinPack
	}
	return nil
}

// Hash is OpenWhisk's hash of an action for an invoking namespace. Its home
// node is derived from it.
func Hash(key whisk.ActionKey) uint32 {
	h := javaHash(key.Namespace) ^ javaHash(key.Action.Path())
	if h < 0 {
		h = -h
	}
	return uint32(h)
}

// javaHash is Java's String.hashCode, for which names of the Basic Multilingual
// Plane count one unit per character. Others only need to be spread.
func javaHash(s string) int32 {
	var h int32
	for _, c := range s {
		h = 31*h + int32(c)
	}
	return h
}

// Sharding is OpenWhisk's scheme, extended with load. An action has a home
// node, by its hash, and a step that has no divisor in common with the number
// of nodes; it walks from home by steps and takes the first node with room, so
// its containers cluster and images stay local. Nodes at their creation cap,
// crowded ones and those to avoid are passed over while others have room.
//
// As in OpenWhisk, closed nodes keep their place in the walk: while a node is
// gone for a while only its own containers go elsewhere, and come back with it.
// Only when the number of nodes changes do homes move. It differs in the step:
// OpenWhisk takes it from a precomputed set of numbers that are co-prime to each
// other too, by the same hash as the home; here it comes from another part of
// the hash, so that actions of one home have different ways on from there. It
// also never overloads a node: there a random one is taken when all are full,
// here the requisition waits.
func Sharding(nodes []Node, r Request) int {
	best, bestRank := None, 0
	for i := range walk(len(nodes), r.Hash) {
		n := &nodes[i]
		if !n.Open || n.Free < r.Memory {
			continue
		}
		rank := reluctance(n, r)
		if rank == 0 {
			return i
		}
		if best == None || rank < bestRank || rank == bestRank && n.Creating < nodes[best].Creating {
			best, bestRank = i, rank
		}
	}
	return best
}

// LeastLoaded takes the node with the greatest share of free memory.
func LeastLoaded(nodes []Node, r Request) int {
	r.Crowded = 1
	return choose(nodes, r, func(a, b *Node) bool { return a.used() < b.used() })
}

// BinPack takes the node with the least free memory that still fits, to keep
// whole nodes empty.
func BinPack(nodes []Node, r Request) int {
	r.Crowded = 1
	return choose(nodes, r, func(a, b *Node) bool { return a.Free < b.Free })
}

// choose takes the node with room that is least reluctant and then best.
func choose(nodes []Node, r Request, better func(a, b *Node) bool) int {
	best, bestRank := None, 0
	for i := range nodes {
		n := &nodes[i]
		if !n.Open || n.Free < r.Memory {
			continue
		}
		rank := reluctance(n, r)
		if best == None || rank < bestRank || rank == bestRank && better(n, &nodes[best]) {
			best, bestRank = i, rank
		}
	}
	return best
}

// reluctance ranks a node that fits: 0 is as good as can be.
func reluctance(n *Node, r Request) int {
	rank := 0
	if n.used() > r.Crowded {
		rank++
	}
	if n.Creating >= r.Cap {
		rank += 2
	}
	if slices.Contains(r.Avoid, n.ID) {
		rank += 4
	}
	return rank
}

// walk yields each index below n once, beginning at hash's home.
func walk(n int, hash uint32) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		if n == 0 {
			return
		}
		at, step := int(hash%uint32(n)), stride(n, hash)
		for range n {
			if !yield(at) {
				return
			}
			at += step
			if at >= n {
				at -= n
			}
		}
	}
}

// stride returns a step below n, derived from hash, that is co-prime to n.
func stride(n int, hash uint32) int {
	if n <= 2 {
		return 1
	}
	step := 1 + int(hash/uint32(n))%(n-1)
	for gcd(step, n) != 1 {
		step = step%(n-1) + 1
	}
	return step
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
