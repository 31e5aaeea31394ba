// SPDX-License-Identifier: Apache-2.0

package balancer

import "github.com/whirl-faas/whirl/whisk"

// Snapshot is what a balancer holds at one moment. Each action's line is
// consistent in itself.
type Snapshot struct {
	Actions      []ActionSnapshot
	Containers   int // held, those included whose logs are awaited
	Inflight     int // activations admitted and not ended
	Waiting      int // of them, in the overflow or with a place kept there
	WaitingBytes whisk.Bytes
	Requisitions int // slots that the scheduler owes
	Guests       int // of those in flight, run here for other controllers

	// Since the start.
	Forwarded uint64 // activations that another controller took
	Returned  uint64 // that one could or would not take; they were tried again
	Hosted    uint64 // taken for other controllers
	Refused   uint64 // not taken for them
}

// ActionSnapshot is one action's part of a [Snapshot].
type ActionSnapshot struct {
	Key         whisk.ActionKey
	Containers  int // held
	Busy        int // run or receive their code
	Free        int // idle and running
	Paused      int // suspended, or about to be
	Slots       int // in use
	Waiting     int
	Requested   int // slots that the scheduler owes
	Bound       int // on Slots, while more would crowd the machine; 0 for none
	Invocations uint64
	ColdStarts  uint64
}

// Snapshot returns the present state, for status pages and metrics.
func (b *Balancer) Snapshot() Snapshot {
	s := Snapshot{
		Containers:   b.registry.count(),
		Inflight:     int(b.inflight.Load()),
		Waiting:      int(b.overflow.entries.Load()),
		WaitingBytes: whisk.Bytes(b.overflow.bytes.Load()),
		Requisitions: int(b.factory.owed.Load()),
		Guests:       int(b.guests.Load()),
		Forwarded:    b.traffic.forwarded.Load(),
		Returned:     b.traffic.returned.Load(),
		Hosted:       b.traffic.hosted.Load(),
		Refused:      b.traffic.refused.Load(),
	}
	for _, a := range b.allActions() {
		a.mu.Lock()
		s.Actions = append(s.Actions, a.snapshotLocked())
		a.mu.Unlock()
	}
	return s
}

func (a *action) snapshotLocked() ActionSnapshot {
	s := ActionSnapshot{
		Key:         a.key,
		Containers:  len(a.containers),
		Waiting:     a.waiting.len(),
		Requested:   a.asked,
		Bound:       a.pressure.bound,
		Invocations: a.invocations,
		ColdStarts:  a.colds,
	}
	for _, c := range a.containers {
		s.Slots += c.slots
		switch c.state {
		case free, thawing:
			s.Free++
		case pausing, paused:
			s.Paused++
		default:
			s.Busy++
		}
	}
	return s
}
