// SPDX-License-Identifier: Apache-2.0

package balancer

// state is where a container is in its life, as the controller sees it. It
// changes only by [transition].
type state uint8

const (
	cold         state = iota // leased and without code; nobody uses it
	initialising              // an activation brings it the code
	free                      // warm and idle
	busy                      // runs at least one activation
	pausing                   // the agent was told to suspend it
	paused                    // suspended
	thawing                   // may be suspended; usable once a resume is confirmed
	draining                  // finishes what it runs and gets nothing more
	released                  // given back or gone
)

var stateNames = [...]string{"cold", "initialising", "free", "busy", "pausing", "paused", "thawing", "draining", "released"}

func (s state) String() string { return stateNames[s] }

// event is what happens to a container.
type event uint8

const (
	adopted      event = iota // it came with the code; its former holder may have suspended it
	taken                     // an activation got one of its slots
	initialised               // it has the code now
	untouched                 // the activation left before it sent anything to a cold container
	emptied                   // the last activation left
	pauseDue                  // it was idle for the pause grace
	suspended                 // the agent suspended it
	notSuspended              // the agent could not, or nobody knows
	resumed                   // the agent resumed it
	notResumed                // the agent could not
	reclaimed                 // the scheduler would like it back if it is idle
	unwanted                  // it is to be given back as soon as it is idle
	spoiled                   // it is not to be trusted any more
	lost                      // it is gone
)

var eventNames = [...]string{
	"adopted", "taken", "initialised", "untouched", "emptied", "pauseDue", "suspended", "notSuspended", "resumed", "notResumed",
	"reclaimed", "unwanted", "spoiled", "lost",
}

func (e event) String() string { return eventNames[e] }

// effect is what a transition asks for; container.apply carries it out.
type effect uint8

const (
	none    effect = iota
	suspend        // ask the agent to suspend it
	resume         // ask the agent to resume it
	release        // give it back to the scheduler
	sayBusy        // tell the scheduler that it is busy
	cut            // end its connections: no answer will come there
)

var effectNames = [...]string{"", "suspend", "resume", "release", "sayBusy", "cut"}

func (e effect) String() string { return effectNames[e] }

// transition is the life of a container. A pair that it does not name changes
// nothing: late news, such as the answer to a suspend after the container was
// given back.
//
// Nothing is dispatched in pausing or thawing, so that it can be known whether a
// container that got a request has read it: not if it was paused and its agent is
// sure that the failed resume has thawed nothing.
func transition(from state, e event) (to state, do effect) {
	switch e {
	case lost:
		return released, none
	case spoiled, unwanted:
		switch from {
		case initialising, busy, draining:
			return draining, none
		case released:
			return released, none
		}
		return released, release
	}
	switch from {
	case cold:
		switch e {
		case adopted:
			return thawing, resume
		case taken:
			return initialising, none
		case reclaimed:
			return released, release
		}
	case initialising:
		switch e {
		case initialised:
			return busy, none
		case untouched:
			return cold, none
		case reclaimed:
			return initialising, sayBusy
		}
	case free:
		switch e {
		case taken:
			return busy, none
		case pauseDue:
			return pausing, suspend
		case reclaimed:
			return released, release
		}
	case busy:
		switch e {
		case emptied:
			return free, none
		case notResumed:
			return draining, cut
		case reclaimed:
			return busy, sayBusy
		}
	case pausing:
		switch e {
		case suspended:
			return paused, none
		case notSuspended:
			return thawing, resume
		case reclaimed:
			return released, release
		}
	case paused:
		switch e {
		case taken:
			return busy, resume
		case reclaimed:
			return released, release
		}
	case thawing:
		switch e {
		case resumed:
			return free, none
		case notResumed, reclaimed:
			return released, release
		}
	case draining:
		switch e {
		case emptied:
			return released, release
		case notResumed:
			return draining, cut
		case reclaimed:
			return draining, sayBusy
		}
	}
	return from, none
}
