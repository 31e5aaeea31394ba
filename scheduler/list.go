// SPDX-License-Identifier: Apache-2.0

package scheduler

import "iter"

// list is a doubly linked list whose links are part of its elements, so that
// joining and leaving cost no allocation and no search. The zero list is empty.
type list[T any] struct {
	head, tail *link[T]
	count      int
}

// link is an element's place in at most one list at a time. Its value is set
// once, when the element is made.
type link[T any] struct {
	value      T
	prev, next *link[T]
	in         *list[T] // nil while in no list
}

// first returns the first element, or the zero T.
func (l *list[T]) first() (none T) {
	if l.head == nil {
		return none
	}
	return l.head.value
}

// last returns the last element, or the zero T.
func (l *list[T]) last() (none T) {
	if l.tail == nil {
		return none
	}
	return l.tail.value
}

// push makes e the last element, wherever it was before.
func (l *list[T]) push(e *link[T]) { l.insertAfter(e, l.tailWithout(e)) }

// pushOrdered inserts e behind all elements that should not come after it.
// after reports whether an element belongs behind e.
func (l *list[T]) pushOrdered(e *link[T], after func(T) bool) {
	e.leave()
	at := l.tail
	for at != nil && after(at.value) {
		at = at.prev
	}
	l.insertAfter(e, at)
}

func (l *list[T]) tailWithout(e *link[T]) *link[T] {
	e.leave()
	return l.tail
}

// insertAfter links e, which is in no list, behind at, or first if at is nil.
func (l *list[T]) insertAfter(e, at *link[T]) {
	e.in, e.prev = l, at
	if at == nil {
		e.next, l.head = l.head, e
	} else {
		e.next, at.next = at.next, e
	}
	if e.next == nil {
		l.tail = e
	} else {
		e.next.prev = e
	}
	l.count++
}

// leave takes e out of its list, if it is in one.
func (e *link[T]) leave() {
	l := e.in
	if l == nil {
		return
	}
	if e.prev == nil {
		l.head = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.tail = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.prev, e.next, e.in = nil, nil, nil
	l.count--
}

// all yields the elements in order. The one just yielded may leave meanwhile.
func (l *list[T]) all() iter.Seq[T] {
	return func(yield func(T) bool) {
		for e := l.head; e != nil; {
			next := e.next
			if !yield(e.value) {
				return
			}
			e = next
		}
	}
}
