// SPDX-License-Identifier: Apache-2.0

package scheduler

// condition is the state of a container as the scheduler sees it.
// docs/state-machines.md draws the machine; a test compares.
type condition uint8

const (
	unknown    condition = iota // not heard of yet
	creating                    // its agent was told to make it
	prewarmed                   // held by nobody, holds no code
	kept                        // held by nobody, holds an action's code
	granting                    // its agent was told to change the lessee
	busy                        // leased, and at work as far as we know
	free                        // leased, reported idle
	recalled                    // idle, asked back for another controller
	evicting                    // idle, asked back because its memory is needed
	draining                    // busy, asked back when its work is done
	stray                       // held by nobody, and nobody knows its code
	removing                    // its agent was told to destroy it
	gone                        // does not exist any more
	conditions = iota
)

// String returns the name that the diagram uses.
func (c condition) String() string {
	return [conditions]string{"unknown", "creating", "prewarmed", "kept", "granting", "busy", "free",
		"recalled", "evicting", "draining", "stray", "removing", "gone"}[c]
}

// leased reports whether a controller holds the container and may use it.
func (c condition) leased() bool { return c >= busy && c <= draining }

// change is what happens to a container.
type change uint8

const (
	ordered   change = iota // we order its creation
	shelved                 // it is there, nobody holds it, and it holds no code
	stored                  // it is there, nobody holds it, and it holds known code
	abandoned               // it is there, nobody holds it, and its code is unknown
	leased                  // a controller holds it
	moved                   // we order another lessee
	worked                  // reported busy, or not known to be idle any more
	rested                  // reported idle
	recall                  // we ask for it, to transfer it
	evict                   // we ask for it, to remove it
	drain                   // we ask for it when its work is done
	doomed                  // we order its removal
	vanished                // it is no more
	changes   = iota
)

// String returns the name that the diagram uses.
func (c change) String() string {
	return [changes]string{"ordered", "shelved", "stored", "abandoned", "leased", "moved", "worked", "rested",
		"recall", "evict", "drain", "doomed", "vanished"}[c]
}

// transition returns what a container becomes by a change, and false if the
// change cannot happen to it in this condition.
func transition(from condition, by change) (condition, bool) {
	switch by {
	case ordered:
		return creating, from == unknown
	case shelved:
		return prewarmed, from == unknown || from == creating || from == granting || from.leased()
	case stored:
		return kept, from == granting || from.leased()
	case abandoned:
		return stray, from == unknown || from == granting || from.leased()
	case leased:
		return busy, !from.leased() && from != gone
	case moved:
		return granting, from == creating || from == prewarmed || from == kept || from == granting || from.leased()
	case worked:
		return busy, from == free || from == recalled || from == evicting || from == draining
	case rested:
		return free, from == busy
	case recall:
		return recalled, from == free
	case evict:
		return evicting, from == free
	case drain:
		return draining, from == busy
	case doomed:
		return removing, from != unknown && from != removing && from != gone
	case vanished:
		return gone, from != unknown && from != gone
	}
	return from, false
}
