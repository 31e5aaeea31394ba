// SPDX-License-Identifier: Apache-2.0

package scheduler

import "github.com/whirl-faas/whirl/whisk"

// sign is what all that is known of a node amounts to. [node.sign] finds it;
// docs/state-machines.md draws what it does to the node's state.
type sign uint8

const (
	well    sign = iota // its agent answers and nothing is wrong
	ailing              // its engine errs, or erred and has made nothing since
	silent              // its agent does not answer
	missing             // nor did it for the whole grace
	closing             // an operator has it emptied
	emptied             // and nothing is left on it
	signs   = iota
)

// String returns the name that the diagram uses.
func (g sign) String() string {
	return [signs]string{"well", "ailing", "silent", "missing", "closing", "emptied"}[g]
}

// consequence is what has to be done after a node's state changed.
type consequence uint8

const (
	nothing  consequence = iota
	enlist               // it counts again: there may be room, and more stem cells are wanted
	withdraw             // take back what is planned there; fewer stem cells are wanted
	bury                 // give up what it hosts
)

// stand returns the state that a sign leads to, and what has to be done. A sign
// that a state knows already changes nothing.
func stand(from whisk.NodeState, by sign) (whisk.NodeState, consequence) {
	to := from
	switch by {
	case well:
		to = whisk.NodeUp
	case ailing:
		to = whisk.NodeUnhealthy
	case silent:
		if from != whisk.NodeDown {
			to = whisk.NodeUnresponsive
		}
	case missing:
		if from == whisk.NodeUnresponsive {
			to = whisk.NodeDown
		}
	case closing:
		to = whisk.NodeDraining
	case emptied:
		if from == whisk.NodeDraining {
			to = whisk.NodeDrained
		}
	}
	switch {
	case to == from:
		return to, nothing
	case to == whisk.NodeUp:
		return to, enlist
	case from == whisk.NodeUp:
		return to, withdraw
	case to == whisk.NodeDown:
		return to, bury
	}
	return to, nothing
}
