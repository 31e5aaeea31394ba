// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"

	"github.com/whirl-faas/whirl/controller/recorder"
	"github.com/whirl-faas/whirl/whisk"
)

// Keeping says which activations leave a record, by how they ended.
type Keeping string

// What OpenWhisk calls STORE_ALWAYS, STORE_FAILURES and
// STORE_FAILURES_NOT_APPLICATION_ERRORS.
const (
	KeepAll      Keeping = "all"
	KeepFailures Keeping = "failures"
	KeepFaults   Keeping = "faults" // of the action's code or of the platform, and not what actions answer as errors
)

// Keepings returns them, the one that keeps most first.
func Keepings() []Keeping { return []Keeping{KeepAll, KeepFailures, KeepFaults} }

func (k Keeping) validate(of string) error {
	if !slices.Contains(Keepings(), k) {
		return whisk.Errorf(whisk.Invalid, "records of %s: want one of %v, not %q", of, Keepings(), k)
	}
	return nil
}

func (k Keeping) wants(status whisk.Status) bool {
	switch k {
	case KeepFailures:
		return status != whisk.Success
	case KeepFaults:
		return status == whisk.DeveloperError || status == whisk.WhiskError
	}
	return true
}

// keeping is what an activation's call has to do with whether its record is kept.
type keeping struct {
	blocking bool // the caller waits, or another activation that it is a step of does
	traced   bool // it is to be kept however it ends
}

// keep stores a record that was announced, if it is to be kept. A namespace that
// wants none has none.
func (c *Controller) keep(slot *recorder.Slot, limits *whisk.Limits, call keeping, status whisk.Status) {
	wanted := c.config.KeepNonBlocking
	if call.blocking {
		wanted = c.config.KeepBlocking
	}
	if limits.Unrecorded || !call.traced && !wanted.wants(status) {
		slot.Drop()
		return
	}
	slot.Write()
}
