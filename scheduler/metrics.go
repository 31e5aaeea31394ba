// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"math/bits"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Metrics are the scheduler's figures, for a monitoring system to collect.
// Counters count since this scheduler's start.
type Metrics struct {
	Epoch       uint64
	Settled     bool
	Nodes       map[whisk.NodeState]int // all states
	Memory      whisk.Bytes             // of the nodes that are not down
	Used        whisk.Bytes             // by containers, also those being made or removed
	Promised    whisk.Bytes             // to creations that wait for memory or their turn
	Pools       Pools                   // of all nodes
	Controllers int                     // with a session

	Requisitions int // that stand
	Waiting      int // those of them for which not enough is under way

	Allocations map[whisk.Origin]uint64 // counters, of all origins
	Redirects   uint64
	Rejections  map[whisk.RejectReason]uint64 // of all reasons
	Creations   uint64                        // ordered, for requisitions and for stock
	Trials      uint64                        // those of them that tried an unhealthy node
	Failures    map[whisk.Fault]uint64        // creations that failed, by whose fault
	Evictions   uint64                        // idle containers that had to make room
	Recalls     uint64                        // idle containers asked back for another controller
	Lost        uint64                        // containers that ended without our order
	Waits       Waits
}

// Waits is how long requisitions stood before each of their allocations.
type Waits struct {
	Count   uint64
	Sum     time.Duration
	Buckets []WaitBucket // by rising UpTo; longer ones are in Count alone
}

// WaitBucket counts the waits of up to a duration, those of the buckets before
// it included.
type WaitBucket struct {
	UpTo  time.Duration
	Count uint64
}

// waitBuckets is how many there are: 1 ms, 2 ms, ... 65 s.
const waitBuckets = 17

// figures are what the owner loop counts.
type figures struct {
	origins    [whisk.Transferred + 1]uint64
	rejections [whisk.Overloaded + 1]uint64
	failures   [whisk.UserFault + 1]uint64
	redirects  uint64
	creations  uint64
	trials     uint64
	evictions  uint64
	recalls    uint64
	lost       uint64
	waits      [waitBuckets + 1]uint64 // the last is for all that is longer
	waited     time.Duration
}

// allocated counts an allocation after a wait.
func (f *figures) allocated(origin whisk.Origin, wait time.Duration) {
	f.origins[origin]++
	f.waited += wait
	// Up to 1 ms is bucket 0, up to 2 is 1, up to 4 is 2, ...
	above := max(0, wait-1) / time.Millisecond
	f.waits[min(bits.Len64(uint64(above)), waitBuckets)]++
}

func (s *state) metrics() Metrics {
	f := &s.figures
	m := Metrics{
		Epoch: s.cfg.Epoch, Settled: s.settled, Memory: s.memory, Used: s.used,
		Nodes:        make(map[whisk.NodeState]int),
		Controllers:  len(s.callers),
		Requisitions: s.requisitions,
		Allocations:  byKind[whisk.Origin](f.origins[:]),
		Redirects:    f.redirects,
		Rejections:   byKind[whisk.RejectReason](f.rejections[:]),
		Creations:    f.creations,
		Trials:       f.trials,
		Failures:     byKind[whisk.Fault](f.failures[:]),
		Evictions:    f.evictions,
		Recalls:      f.recalls,
		Lost:         f.lost,
		Waits:        f.histogram(),
	}
	for state := range whisk.NodeDrained + 1 {
		m.Nodes[state] = 0
	}
	for _, n := range s.order {
		m.Nodes[n.state]++
		m.Promised += n.promised
		m.Pools.add(n.pools())
	}
	for _, line := range s.lines {
		for a := range line.all {
			m.Waiting += a.waiting.count
		}
	}
	return m
}

// byKind turns counters into a map that their index is the key of.
func byKind[K ~uint8](counts []uint64) map[K]uint64 {
	m := make(map[K]uint64, len(counts))
	for i, count := range counts {
		m[K(i)] = count
	}
	return m
}

func (f *figures) histogram() Waits {
	w := Waits{Sum: f.waited, Buckets: make([]WaitBucket, waitBuckets)}
	for i, count := range f.waits {
		w.Count += count
		if i < waitBuckets {
			w.Buckets[i] = WaitBucket{time.Millisecond << i, w.Count}
		}
	}
	return w
}
