// SPDX-License-Identifier: Apache-2.0

package sim

import "slices"

// Shrink returns a storm of as few steps as it finds that fails like this one.
// It leaves out runs of steps, long ones first, for as long as fails says that
// the rest is enough. Goroutines run in no fixed order: fails should play a
// storm more than once before it says no.
func (s Storm) Shrink(fails func(Storm) bool) Storm {
	for size := (len(s.Steps) + 1) / 2; size > 0; {
		smaller, found := s.without(size, fails)
		switch {
		case found:
			s = smaller
			size = min(size, len(s.Steps))
		case size == 1:
			size = 0
		default:
			size = (size + 1) / 2
		}
	}
	return s
}

// without goes once through the storm and leaves out what it can of every run
// of so many steps. It returns false if it could nothing.
func (s Storm) without(size int, fails func(Storm) bool) (smaller Storm, found bool) {
	for start := 0; start < len(s.Steps); {
		less := s
		less.Steps = slices.Concat(s.Steps[:start], s.Steps[min(start+size, len(s.Steps)):])
		if fails(less) {
			s, found = less, true
			continue
		}
		start += size
	}
	return s, found
}
