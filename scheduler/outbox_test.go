// SPDX-License-Identifier: Apache-2.0

package scheduler

import "testing"

// TestAnOutboxKeepsOrderAndItsBound fills and empties one in many ways and
// compares it with what it should hold.
func TestAnOutboxKeepsOrderAndItsBound(t *testing.T) {
	const most = 500
	o := newOutbox(most)
	var put, took sessionID
	fill := func(n int) {
		for range n {
			if fits := put-took < most; o.put(effect{session: put + 1}) != fits {
				t.Fatalf("with %d waiting: fits %v", put-took, !fits)
			} else if fits {
				put++
			}
		}
	}
	drain := func(n int) {
		for range n {
			e, ok := o.take()
			if ok != (took < put) || ok && e.session != took+1 {
				t.Fatalf("after %d of %d came %d, %v", took, put, e.session, ok)
			} else if ok {
				took++
			}
		}
	}
	for _, step := range []struct{ in, out int }{{1, 1}, {1, 2}, {most + 1, 1}, {2, most - 1}, {0, 5}, {300, 200}, {300, 299}, {300, 299}, {400, 1000}} {
		fill(step.in)
		drain(step.out)
	}
	for range 10_000 { // never empty, and never much
		fill(3)
		drain(2)
		if put-took > 400 {
			drain(399)
		}
	}
	if room := cap(o.waiting); room > 4*most {
		t.Errorf("%d places for at most %d", room, most)
	}
	drain(most)
	if room := cap(o.waiting); room > spacious {
		t.Errorf("%d places are kept while nothing waits", room)
	}
}
