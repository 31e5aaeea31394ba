// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"sync/atomic"

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

// keepNone is what only an action can ask for.
const keepNone Keeping = "none"

// keepingOf reads what an action asks for of the blocking calls of it. It is
// named after what OpenWhisk calls the same of a namespace.
func keepingOf(annotations whisk.Parameters) Keeping {
	switch string(annotations.Get("store-activations")) {
	case "false":
		return keepNone
	case `"failures"`:
		return KeepFailures
	case `"faults"`:
		return KeepFaults
	}
	return KeepAll
}

func (k Keeping) wants(status whisk.Status) bool {
	switch k {
	case keepNone:
		return false
	case KeepFailures:
		return status != whisk.Success
	case KeepFaults:
		return status == whisk.DeveloperError || status == whisk.WhiskError
	}
	return true
}

// keeping is what an activation's call has to do with whether its record is kept.
type keeping struct {
	blocking bool    // the caller waits, or another activation that it is a step of does
	traced   bool    // it is to be kept however it ends
	action   Keeping // what the action asks for, if it is blocking
}

// wants reports whether a record is to be kept. A namespace that wants none has none.
func (c *Controller) wants(limits *whisk.Limits, call keeping, status whisk.Status) bool {
	switch {
	case limits.Unrecorded:
		return false
	case call.traced:
		return true
	case call.blocking:
		return c.config.KeepBlocking.wants(status) && call.action.wants(status)
	}
	return c.config.KeepNonBlocking.wants(status)
}

// keep stores a record that was announced, if it is to be kept.
func (c *Controller) keep(slot *recorder.Slot, limits *whisk.Limits, call keeping, status whisk.Status) {
	if c.wants(limits, call, status) {
		slot.Write()
	} else {
		slot.Drop()
	}
}

// announce makes the record of an activation that has ended visible. One that is
// not to be kept, and has no entry in the queue, is of no use to anybody but the
// caller, and holds no more memory until its output is stored than others do.
func (c *Controller) announce(act *activation, record *whisk.Activation) {
	if !act.accepted && !c.wants(act.limits, act.keeping, record.Response.Status) {
		act.slot.Trim(record)
		return
	}
	act.announced = true
	act.slot.Announce(record, act.accepted)
}

// file is the last that happens to a record, after the caller was answered. A
// caller who has ceased to wait knows the activation by its id alone: his call
// was no blocking one after all.
func (c *Controller) file(act *activation, record *whisk.Activation) {
	if act.keeping.blocking && !act.caller.answer() {
		act.keeping.blocking = false
		if !act.announced {
			c.announce(act, record)
		}
	}
	if !act.announced {
		act.slot.Release()
		return
	}
	c.keep(act.slot, act.limits, act.keeping, record.Response.Status)
}

// caller is who waits for a blocking activation. Either he leaves, or he is
// answered, whatever is first.
type caller struct{ gone atomic.Int32 }

const (
	callerLeft = 1 + iota
	callerAnswered
)

// leave reports false if the answer is there.
func (w *caller) leave() bool { return w.gone.CompareAndSwap(0, callerLeft) }

// answer reports false if nobody is there any more.
func (w *caller) answer() bool { return w.gone.CompareAndSwap(0, callerAnswered) }
