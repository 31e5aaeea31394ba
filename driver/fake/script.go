// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"encoding/json"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Config makes a [Driver].
type Config struct {
	// Name is the node part of the addresses, "<Name>/<container>".
	Name string
	// Seed decides the random numbers that scripts draw. A sandbox's nth init,
	// run, ... draws the same ones whatever else happens at the same time.
	Seed uint64
	// Script says what the sandboxes do.
	Script Script
	// Capabilities are advertised as they are, except for an empty Name.
	Capabilities whisk.Capabilities
	// Concurrency is how many runs a sandbox may have at once without a
	// violation.
	Concurrency int
	// Quiet keeps no history; violations are kept all the same.
	Quiet bool
}

// Default returns a config whose sandboxes do everything at once, answer each
// run with its parameters, and may be suspended.
func Default() Config {
	return Config{
		Name:         "fake",
		Capabilities: whisk.Capabilities{Name: "fake", Images: true, Suspend: true, Recovers: true},
		Concurrency:  1,
	}
}

// Validate reports a config that makes no sense.
func (c Config) Validate() error {
	if c.Name == "" || c.Concurrency < 1 {
		return whisk.Errorf(whisk.Invalid, "a fake driver needs a name and a concurrency of at least 1")
	}
	return nil
}

// Script says what sandboxes do. Each function may be nil, for what a well
// behaved sandbox does, and may be called by several goroutines at once.
type Script struct {
	Create  func(rng *rand.Rand, req whisk.CreateSandbox) Creation
	Init    func(rng *rand.Rand, call Call) Answer
	Run     func(rng *rand.Rand, call Call) Answer
	Suspend func(rng *rand.Rand, id whisk.ContainerID) Operation
	Resume  func(rng *rand.Rand, id whisk.ContainerID) Operation
	Destroy func(rng *rand.Rand, id whisk.ContainerID) Operation
	Ping    func() Operation
}

// Creation says how a sandbox comes to be.
type Creation struct {
	Delay       time.Duration // of Create
	Err         error         // of Create; use *whisk.CreateError for the user's fault
	StartDelay  time.Duration // connections are refused for so long after Create
	CrashAfter  time.Duration // it ends by itself so long after Create; 0 never
	CrashExit   whisk.Exit
	StartupText string // written to stdout at once
}

// Operation says how Suspend, Resume, Destroy or Ping goes: after Delay it fails with
// Err and changes nothing, or does its work.
type Operation struct {
	Delay time.Duration
	Err   error
	// Late has a Suspend or Resume that its caller gave up do its work all the
	// same, after Delay: as an engine does with a request that it has read.
	Late bool
}

// Call is a request that reached a sandbox.
type Call struct {
	Container  whisk.ContainerID
	N          int                // counts the sandbox's inits, or its runs, from 1
	Code       string             // that it was initialised with
	Activation whisk.ActivationID // of a run
	Value      json.RawMessage    // the parameters of a run; of an init, what is under "value"
	Body       []byte             // all of it
}

// Answer says what a sandbox does with a request.
type Answer struct {
	Delay  time.Duration // before anything below
	Status int           // 0 stands for 200
	Body   []byte        // nil stands for the parameters of a run, and for {"ok":true} of an init

	Stdout, Stderr string        // written before the answer, as they are
	NoSentinels    bool          // do not end the output with the sentinel lines
	Late           time.Duration // the sentinels come so long after the answer

	Hang  bool        // never answer
	Crash *whisk.Exit // end like this instead of answering
	Raw   []byte      // sent in place of an HTTP answer, then the connection is closed
}

// draw returns the random numbers of the nth event of a kind of one sandbox.
func draw(seed uint64, id whisk.ContainerID, event EventKind, n int) *rand.Rand {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(id)) // never fails
	return rand.New(rand.NewPCG(seed^hash.Sum64(), uint64(event)<<32|uint64(n)))
}

// wellBehaved fills the gaps of a script.
func (s Script) wellBehaved() Script {
	operation := func(*rand.Rand, whisk.ContainerID) Operation { return Operation{} }
	answer := func(*rand.Rand, Call) Answer { return Answer{} }
	if s.Create == nil {
		s.Create = func(*rand.Rand, whisk.CreateSandbox) Creation { return Creation{} }
	}
	if s.Init == nil {
		s.Init = answer
	}
	if s.Run == nil {
		s.Run = answer
	}
	if s.Suspend == nil {
		s.Suspend = operation
	}
	if s.Resume == nil {
		s.Resume = operation
	}
	if s.Destroy == nil {
		s.Destroy = operation
	}
	if s.Ping == nil {
		s.Ping = func() Operation { return Operation{} }
	}
	return s
}
