// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"container/heap"
	"time"
)

// alarm is something that is due at a time. Its owner embeds it and sets ring once.
type alarm struct {
	ring  func()
	at    time.Time
	place int // in the heap, from 1; 0 while not set
}

// alarms are the set alarms, the earliest first.
type alarms []*alarm

// set sets a to ring at a time, instead of any time it was set to before.
func (h *alarms) set(a *alarm, at time.Time) {
	a.at = at
	if a.place > 0 {
		heap.Fix(h, a.place-1)
		return
	}
	heap.Push(h, a)
}

// stop makes sure that a does not ring.
func (h *alarms) stop(a *alarm) {
	if a.place > 0 {
		heap.Remove(h, a.place-1)
	}
}

// due takes out and returns an alarm whose time has come, or nil.
func (h *alarms) due(now time.Time) *alarm {
	if len(*h) == 0 || (*h)[0].at.After(now) {
		return nil
	}
	return heap.Pop(h).(*alarm)
}

// next returns when the earliest alarm rings; false if none is set.
func (h alarms) next() (time.Time, bool) {
	if len(h) == 0 {
		return time.Time{}, false
	}
	return h[0].at, true
}

// Len, Less, Swap, Push and Pop are for package heap.

func (h alarms) Len() int           { return len(h) }
func (h alarms) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

func (h alarms) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}

func (h *alarms) Push(x any) {
	a := x.(*alarm)
	*h = append(*h, a)
	a.place = len(*h)
}

func (h *alarms) Pop() any {
	old := *h
	a := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	a.place = 0
	return a
}
