// SPDX-License-Identifier: Apache-2.0

package whisk

import (
	"context"
	"io"
	"time"
)

// Driver makes sandboxes with one technology on one node. Every driver passes
// the suite of driver/drivertest. Calls may overlap.
type Driver interface {
	// Capabilities says what the driver can do here. It does not change.
	Capabilities() Capabilities
	// Create makes a sandbox and starts its runtime. It returns when the
	// sandbox's address takes connections or will at once. An error leaves
	// nothing behind; it is a [*CreateError] if it is the user's fault. A ctx
	// that ends during Create undoes it; afterwards ctx has no effect.
	Create(ctx context.Context, req CreateSandbox) (Sandbox, error)
	// Recover finds the sandboxes that a former process of this agent left
	// running, destroys what cannot be taken over, and returns the rest. It is
	// called once, before any Create. A recovered sandbox has the id, the spec
	// and the address that it had; one that was frozen is frozen still; and its
	// output goes on where the former process stopped reading, as far as the
	// technology keeps what nobody reads.
	Recover(ctx context.Context) ([]Sandbox, error)
	// Ping reports whether the technology answers: nil if sandboxes could be
	// made now, as far as a cheap look can tell. It changes nothing, is called
	// every few seconds, and gives up when ctx ends.
	Ping(ctx context.Context) error
	// Close frees what the driver pools or shares. Its sandboxes are gone by
	// then, or, if it can take sandboxes over, left to the next process's
	// Recover; their output ends here. It is idempotent.
	Close() error
}

// Capabilities describe a driver on this machine.
type Capabilities struct {
	Name      string   // "process", "docker", ...
	Isolation []string // what separates a sandbox from the machine, for the operator to read
	Weak      []string // what does not hold here and would elsewhere, each with its mend
	Kinds     []string // the kinds it can run, nil for any
	Images    bool     // it can run container images
	Suspend   bool     // Suspend and Resume do something
	Recovers  bool     // Recover takes over sandboxes that run
}

// CreateSandbox is what a driver makes a sandbox from.
type CreateSandbox struct {
	ID    ContainerID
	Spec  ContainerSpec
	Label string            // for people to read; may be ""
	Env   map[string]string // of the runtime, beside what the driver sets
}

// Sandbox is one running container. Its methods may overlap, and are allowed
// after its end.
type Sandbox interface {
	ID() ContainerID
	Spec() ContainerSpec
	Address() Address
	// Output returns the pipes on which the agent reads what the sandbox
	// writes. It is the same pair at each call; they end when the sandbox does
	// and all it wrote was read. The agent reads them to the end and closes
	// them. An agent that leaves a sandbox to its successor closes them before:
	// where Capabilities.Recovers that does not disturb the sandbox, which at
	// worst waits while it has much to write and nobody reads.
	Output() (stdout, stderr io.ReadCloser)
	// Settled tells that its first run is over. Until then, or until a time that the
	// driver bounds, it may have a part of its share of the CPU only, so that many
	// that start do not slow those that work; from then on it has the whole. It is
	// idempotent and returns at once, without waiting for that.
	Settled()
	// Suspend freezes all of its processes; nil if they are frozen already.
	// After an error some may be frozen, now or later: Resume undoes that, or
	// fails.
	Suspend(ctx context.Context) error
	// Resume thaws them; nil if they run already. After an error they may run,
	// now or later, unless it wraps [ErrStaysFrozen].
	Resume(ctx context.Context) error
	// Stats reads what it uses now.
	Stats(ctx context.Context) (SandboxStats, error)
	// Destroy kills it, frozen or not, and frees all that it had. What is frozen
	// dies without doing anything more. It returns when nothing is left, is
	// idempotent, and gives up only if ctx ends.
	Destroy(ctx context.Context) error
	// Done is closed when the sandbox has ended, by Destroy or by itself.
	Done() <-chan struct{}
	// Exit says how it ended; it is meaningless before Done is closed.
	Exit() Exit
}

// SandboxStats is what a sandbox uses.
type SandboxStats struct {
	Memory    Bytes
	CPU       time.Duration // since its start
	Suspended bool          // its processes are frozen
}

// ErrStaysFrozen is wrapped by an error of [Sandbox.Resume] that is sure to have
// thawed nothing, now or later. So nothing is read of what was sent to the sandbox
// since it was frozen, and another may have it.
var ErrStaysFrozen = Errorf(Unavailable, "it stays frozen")

// CreateError is an error of [Driver.Create] that is the user's own fault: no
// other node would do better.
type CreateError struct {
	Text string // what the user of the action should read
	Err  error
}

// Error returns the text and the cause.
func (e *CreateError) Error() string {
	if e.Err == nil {
		return e.Text
	}
	return e.Text + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *CreateError) Unwrap() error { return e.Err }
