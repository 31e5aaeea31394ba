// SPDX-License-Identifier: Apache-2.0

// Package drivertest is the conformance suite of sandbox drivers: what an agent
// and a controller rely on, told as tests. A driver calls [Run] with a
// [Harness] that says how to make it and what its runtime understands.
//
// The suite sees a sandbox as the platform does: it talks OpenWhisk's /init and
// /run to the address, reads the two output pipes, and uses nothing else of the
// technology behind. Each test makes a driver of its own and closes it, and
// fails if a sandbox's pipes do not end after the sandbox did.
package drivertest

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Harness tells the suite about a driver.
type Harness struct {
	// New makes a driver that shares nothing with earlier ones.
	New func(t *testing.T) whisk.Driver
	// Spec is what sandboxes are made from.
	Spec whisk.ContainerSpec
	// Code is what the runtime of Spec is initialised with.
	Code Code
	// Dial connects to a sandbox's address; nil dials the network.
	Dial func(ctx context.Context, address whisk.Address) (net.Conn, error)
	// Around runs a test, for instance in a bubble; nil just calls it.
	Around func(t *testing.T, test func(t *testing.T))
	// Unsentinelled says that the runtime does not end a run's output with the
	// sentinel lines.
	Unsentinelled bool
	// Sandboxes is how many the suite makes at once; 0 stands for 8.
	Sandboxes int
	// Patience bounds what should be quick; 0 stands for 20 seconds.
	Patience time.Duration
	// UserFault and NodeFault make a driver and a request whose Create fails by
	// the user's, or by the node's fault; nil skips the test.
	UserFault, NodeFault func(t *testing.T) (whisk.Driver, whisk.CreateSandbox)
	// Silent makes a driver whose engine does not answer; nil skips the test.
	Silent func(t *testing.T) whisk.Driver
	// Killed makes the driver that a new agent would make after the agent that
	// used the old one was killed. The old one is not used any more, not even
	// closed; nil skips the test.
	Killed func(t *testing.T, old whisk.Driver) whisk.Driver
}

// Code holds the value of "code" for /init, for each behaviour that the suite
// asks for; "" skips the tests that need it. The parameters are those of /run.
type Code struct {
	Main   string // the entry point, "" for "main"
	Binary bool   // all of them are base64

	Echo     string // answers its parameters
	Print    string // writes the lines "out 0".."out <lines-1>" to stdout, "err 0".. to stderr
	Exit     string // ends the process with the status <code>, without an answer
	Sleep    string // answers after <ms> milliseconds
	Allocate string // allocates <mb> MB, writes to all of it, and answers
}

// Run runs the suite. Subtests make a harness each.
func Run(t *testing.T, harness func(t *testing.T) Harness) {
	tests := []struct {
		name string
		test func(*testing.T, *bench)
	}{
		{"Serves", testServes},
		{"Identity", testIdentity},
		{"Environment", testEnvironment},
		{"OutputIsCompleteAndApart", testOutput},
		{"OutputEndsAfterTheSandbox", testOutputEnds},
		{"UnreadOutputDoesNotHoldDestroy", testUnreadOutput},
		{"SuspendHoldsRequests", testSuspend},
		{"SuspendAndResumeAreIdempotent", testSuspendTwice},
		{"SuspendIsRepeatable", testSuspendCycles},
		{"SettledDisturbsNothing", testSettled},
		{"DestroyRunning", testDestroyRunning},
		{"DestroyBusy", testDestroyBusy},
		{"DestroyFrozen", testDestroyFrozen},
		{"DestroyFrozenLetsNothingRun", testDestroyUnread},
		{"DestroyTwice", testDestroyTwice},
		{"DestroyConcurrently", testDestroyConcurrently},
		{"MethodsAfterTheEnd", testAfterTheEnd},
		{"ExitOfTheProcess", testExit},
		{"OutOfMemory", testOutOfMemory},
		{"CreateCancelled", testCreateCancelled},
		{"CreateCtxHasNoEffectAfterwards", testCreateCtx},
		{"UserFault", testUserFault},
		{"NodeFault", testNodeFault},
		{"Many", testMany},
		{"Stats", testStats},
		{"RecoverOnAFreshMachine", testRecoverFresh},
		{"RecoverAfterAKill", testRecoverKilled},
		{"RecoverFrozen", testRecoverFrozen},
		{"RecoverKeepsUnreadOutput", testRecoverOutput},
		{"RecoverEnded", testRecoverEnded},
		{"Ping", testPing},
		{"PingOfASilentEngine", testPingSilent},
		{"CloseIsIdempotent", testClose},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := harness(t).withDefaults()
			h.Around(t, func(t *testing.T) { tt.test(t, newBench(t, h)) })
		})
	}
}

func (h Harness) withDefaults() Harness {
	if h.Dial == nil {
		h.Dial = func(ctx context.Context, address whisk.Address) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, address.Network, address.Address)
		}
	}
	if h.Around == nil {
		h.Around = func(t *testing.T, test func(t *testing.T)) { test(t) }
	}
	if h.Sandboxes == 0 {
		h.Sandboxes = 8
	}
	if h.Patience == 0 {
		h.Patience = 20 * time.Second
	}
	return h
}
