// SPDX-License-Identifier: Apache-2.0

package scheduler

import "container/heap"

// ranked is what a ranking may be made of.
type ranked[T any] interface {
	comparable
	before(T) bool // in the ranking
	place() *int   // in the ranking, from 1; 0 while it is not there
}

// ranking is a heap whose elements know their places, the first one first.
type ranking[T ranked[T]] []T

// fix takes e in, restores its place after it changed, or takes it out.
func (h *ranking[T]) fix(e T, in bool) {
	switch place := *e.place(); {
	case in && place == 0:
		heap.Push(h, e)
	case in:
		heap.Fix(h, place-1)
	case place > 0:
		heap.Remove(h, place-1)
	}
}

// top returns the first one that is not e, or the zero T.
func (h ranking[T]) top(e T) (best T) {
	var none T
	for i := range min(3, len(h)) { // if e is the first, the next is one of its two children
		if h[i] != e && (best == none || h[i].before(best)) {
			best = h[i]
		}
	}
	return best
}

// Len, Less, Swap, Push and Pop are for package heap.

func (h ranking[T]) Len() int { return len(h) }

func (h ranking[T]) Less(i, j int) bool { return h[i].before(h[j]) }

func (h ranking[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	*h[i].place(), *h[j].place() = i+1, j+1
}

func (h *ranking[T]) Push(x any) {
	e := x.(T)
	*h = append(*h, e)
	*e.place() = len(*h)
}

func (h *ranking[T]) Pop() any {
	var none T
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = none
	*h = old[:len(old)-1]
	*e.place() = 0
	return e
}
