// SPDX-License-Identifier: Apache-2.0

package policy

import "github.com/whirl-faas/whirl/whisk"

// Claim is what a namespace that waits for room has already, and since when it
// waits.
type Claim struct {
	Stake whisk.Bytes // of containers that work for it, or are about to
	Turn  uint64      // of what it wants next; the smaller, the longer it waits
}

// Before reports whether room goes to a before it goes to b. Whoever has less is
// first, so that all have the same in the end or as much as they want (max-min
// fairness); among equals it goes round.
func (a Claim) Before(b Claim) bool {
	if a.Stake != b.Stake {
		return a.Stake < b.Stake
	}
	return a.Turn < b.Turn
}

// Owes reports whether who has most of the memory at work is to give up a container
// of size lost, so that another with a stake can have one of size gained: only if
// it has no less than the other afterwards. Else they would take it from each
// other in turns for ever.
func Owes(most, lost, stake, gained whisk.Bytes) bool { return most-lost >= stake+gained }

// Admits reports whether one more of a namespace may wait where all together may
// be so many: it may have as many as are still free. So who is alone has one half
// of all places, and with n that all want more than they get each has one in n+1,
// and who comes new finds some.
func Admits(own, all, most int) bool { return own < most-all }
