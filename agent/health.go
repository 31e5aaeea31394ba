// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"time"
)

// health knows why nothing should be placed on the node.
type health struct {
	faults int       // creations in a row that failed by the node's fault
	fault  string    // what is wrong, "" if nothing is known to be
	until  time.Time // when a creation may try whether it still is
	stuck  int       // containers that could not be removed yet

	pings   int       // in a row that were in vain
	silence string    // what the last of them said, "" if it was answered
	pinged  time.Time // when the engine was last asked; zero for never
	engine  string    // what is wrong with the engine, "" if nothing is known to be
}

// answered notes what the engine said to a ping. The first text stands until it
// answers again: the scheduler need not hear of every other wording.
func (h *health) answered(now time.Time, err error, tolerance int) {
	h.pinged = now
	if err == nil {
		h.pings, h.silence, h.engine = 0, "", ""
		return
	}
	h.silence = err.Error()
	if h.pings++; h.pings >= tolerance && h.engine == "" {
		h.engine = "the container engine does not answer: " + h.silence
	}
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
	switch {
	case h.engine != "":
		return h.engine
	case h.stuck > 0:
		return fmt.Sprintf("%d containers cannot be removed", h.stuck)
	}
	return h.fault
}

// engineLoop asks the driver from time to time whether its engine answers, so
// that the scheduler learns of a silent one before it places anything there.
func (a *Agent) engineLoop(ctx context.Context) {
	for {
		a.engineOnce(ctx)
		if !sleep(ctx, a.config.Ping) {
			return
		}
	}
}

func (a *Agent) engineOnce(ctx context.Context) {
	timed, cancel := context.WithTimeout(ctx, a.config.PingTimeout)
	defer cancel()
	err := a.driver.Ping(timed)
	if ctx.Err() != nil {
		return // it may be our own end that broke it off
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changeHealthLocked(func() { a.health.answered(time.Now(), err, a.config.Pings) })
}
