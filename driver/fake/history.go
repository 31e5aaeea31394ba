// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Event is one line of a driver's history.
type Event struct {
	At         time.Time
	Kind       EventKind
	Container  whisk.ContainerID
	Activation whisk.ActivationID // of runs
	Err        string             // "" if it went well
}

// EventKind says what happened.
type EventKind uint8

// What a driver's history tells. Starts and ends are apart for what takes time.
const (
	Created     EventKind = iota // or failed to be, see Err
	InitStarted                  // the request arrived at a running process
	InitEnded                    // its answer was written
	RunStarted
	RunEnded
	Suspended
	Resumed
	Crashed // ended by itself
	Destroyed
	Settled // its first run is over, the agent says
)

var eventNames = [...]string{"created", "init started", "init ended", "run started", "run ended", "suspended", "resumed", "crashed", "destroyed", "settled"}

// String returns the kind in words.
func (k EventKind) String() string { return eventNames[k] }

// Violation is a misuse of a sandbox by the platform.
type Violation struct {
	At        time.Time
	Container whisk.ContainerID
	What      string
}

// String returns the violation as one line.
func (v Violation) String() string {
	return fmt.Sprintf("%s %s: %s", v.At.Format("15:04:05.000"), v.Container, v.What)
}

// history is shared by a driver and those that [Driver.Restart] makes of it.
type history struct {
	quiet bool

	mu         sync.Mutex
	events     []Event
	violations []Violation
}

func (h *history) note(kind EventKind, id whisk.ContainerID, activation whisk.ActivationID, err error) {
	if h.quiet {
		return
	}
	event := Event{At: time.Now(), Kind: kind, Container: id, Activation: activation}
	if err != nil {
		event.Err = err.Error()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, event)
}

func (h *history) blame(id whisk.ContainerID, format string, args ...any) {
	violation := Violation{At: time.Now(), Container: id, What: fmt.Sprintf(format, args...)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.violations = append(h.violations, violation)
}

// History returns what happened so far, in order.
func (d *Driver) History() []Event {
	d.history.mu.Lock()
	defer d.history.mu.Unlock()
	return slices.Clone(d.history.events)
}

// Violations returns what the platform did to sandboxes that it must never do:
// more runs at once than the concurrency, a run before a successful init, a
// second init, a request while the init runs, an id used twice at a time, a
// Close before all were destroyed by a driver that does not recover, a Recover
// after a Create.
func (d *Driver) Violations() []Violation {
	d.history.mu.Lock()
	defer d.history.mu.Unlock()
	return slices.Clone(d.history.violations)
}
