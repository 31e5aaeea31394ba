// SPDX-License-Identifier: Apache-2.0

package agent

// state is where a container is in its life. docs/state-machines.md draws the
// machine; a test compares.
type state uint8

const (
	creating   state = iota // the driver makes it
	running                 // its processes run
	suspending              // the driver freezes it
	suspended               // its processes are frozen
	resuming                // the driver thaws it
	removing                // the driver destroys it, or is about to
	gone                    // nothing is left of it
	states     = iota
)

// String returns the name that the diagram uses.
func (s state) String() string {
	return [states]string{"creating", "running", "suspending", "suspended", "resuming", "removing", "gone"}[s]
}

// event is what happens to a container: what is asked of it, and what the
// driver answers.
type event uint8

const (
	created   event = iota // the driver made it
	failed                 // the driver could not make it
	suspend                // its lessee wants it frozen
	frozen                 // the driver froze it
	notFrozen              // the driver could not
	resume                 // its lessee, or the next one, wants it thawed
	thawed                 // the driver thawed it
	notThawed              // the driver could not
	ended                  // it ended by itself
	remove                 // it has to go
	destroyed              // the driver destroyed it
	events    = iota
)

// String returns the name that the diagram uses.
func (e event) String() string {
	return [events]string{"created", "failed", "suspend", "frozen", "notFrozen", "resume", "thawed", "notThawed", "ended", "remove", "destroyed"}[e]
}

// effect is what has to be done after a transition.
type effect uint8

const (
	nothing effect = iota
	abort          // end the driver's current call
	freeze         // have the driver freeze it
	thaw           // have the driver thaw it
	destroy        // end the driver's current call, and have it destroy the container
	settle         // give its memory back and report
)

// transition returns what a container becomes by an event, and what has to be
// done. It returns false for an event that makes no sense in the state; nothing
// changes then. Removal always wins: whatever a driver's call answers that was
// under way, the container goes.
func transition(from state, on event) (to state, do effect, ok bool) {
	if from == removing {
		return removal(on)
	}
	switch on {
	case created:
		return running, nothing, from == creating
	case failed:
		return gone, settle, from == creating
	case suspend:
		if from == suspended {
			return suspended, nothing, true
		}
		return suspending, freeze, from == running
	case frozen:
		return suspended, nothing, from == suspending
	case notFrozen:
		// Some of its processes may be frozen.
		return resuming, thaw, from == suspending
	case resume:
		if from == running {
			return running, nothing, true
		}
		return resuming, thaw, from == suspended
	case thawed:
		return running, nothing, from == resuming
	case notThawed:
		return removing, destroy, from == resuming
	case ended:
		return removing, destroy, from != creating && from != gone
	case remove:
		if from == creating {
			return removing, abort, true
		}
		return removing, destroy, from != gone
	}
	return from, nothing, false
}

// removal is transition for a container that is being removed.
func removal(on event) (to state, do effect, ok bool) {
	switch on {
	case created: // before the abort could take effect
		return removing, destroy, true
	case failed, destroyed:
		return gone, settle, true
	case frozen, notFrozen, thawed, notThawed, ended, remove:
		return removing, nothing, true
	}
	return removing, nothing, false
}
