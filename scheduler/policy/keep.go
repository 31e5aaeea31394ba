// SPDX-License-Identifier: Apache-2.0

package policy

import "github.com/whirl-faas/whirl/whisk"

// Fate is what becomes of a container that a controller gave back.
type Fate uint8

// The fates of a released container.
const (
	Destroy Fate = iota // remove it
	Keep                // keep it warm for its action, held by nobody
	Shelve              // it holds no code: it is prewarmed again
)

// Released decides the fate of a container for which no requisition waits.
// pressed says that its node needs the memory for another one.
func Released(reason whisk.ReleaseReason, hasCode, pressed bool) Fate {
	switch {
	case reason == whisk.ReleaseFailed || reason == whisk.ReleaseStale || pressed:
		return Destroy
	case reason == whisk.ReleaseUnused && !hasCode:
		return Shelve
	case reason == whisk.ReleaseIdle || !hasCode:
		// Nobody wanted it for the whole idle timeout. A container without
		// code that was not released as unused has an unknown past.
		return Destroy
	}
	return Keep
}

// StemCells returns how many prewarmed containers of one kind and memory the
// cluster should have, given its number of nodes and the cold starts since the
// last adjustment that found none. As in OpenWhisk the configured numbers are
// per node.
func StemCells(cell whisk.StemCell, nodes, coldStarts int) int {
	if cell.Reactive == nil {
		return max(0, cell.Count) * nodes
	}
	r := cell.Reactive
	wanted := 0
	if r.Threshold > 0 {
		wanted = coldStarts / r.Threshold * r.Increment
	}
	return min(max(wanted, r.Min*nodes), max(r.Max, r.Min)*nodes)
}
