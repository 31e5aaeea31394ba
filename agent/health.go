// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"time"
)

// health knows why nothing should be placed on the node.
type health struct {
	faults int       // creations in a row that failed by the node's fault
	fault  string    // what is wrong, "" if nothing is known to be
	until  time.Time // when a creation may try whether it still is
	stuck  int       // containers that could not be removed yet
}

// creationFailed notes another failure by the node's fault.
func (h *health) creationFailed(now time.Time, err error, tolerance int, rest time.Duration) {
	if h.faults++; h.faults >= tolerance {
		h.fault = fmt.Sprintf("%d creations in a row failed, the last one: %v", h.faults, err)
		h.until = now.Add(rest)
	}
}

func (h *health) creationWorked() { h.faults, h.fault = 0, "" }

// rested lets creations try again. One more failure is then enough.
func (h *health) rested(now time.Time) {
	if h.fault != "" && !now.Before(h.until) {
		h.fault = ""
	}
}

// problem returns what the scheduler should know, "" if all is well.
func (h *health) problem() string {
	if h.stuck > 0 {
		return fmt.Sprintf("%d containers cannot be removed", h.stuck)
	}
	return h.fault
}
