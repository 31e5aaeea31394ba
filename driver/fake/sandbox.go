// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// outputBuffer is what an output pipe holds before the sandbox blocks.
const outputBuffer = 64 << 10

// sandbox is a process behind a socket, as far as anybody can see.
type sandbox struct {
	request whisk.CreateSandbox
	address whisk.Address
	script  Script
	seed    uint64
	history *history
	started time.Time // when it begins to take connections
	crash   *time.Timer

	done    chan struct{}  // closed by end
	serving sync.WaitGroup // connections, and sentinels that come late
	output  [2]*pipe       // stdout, stderr

	mu      sync.Mutex
	thawed  sync.Cond // on mu: frozen or over changed
	owner   *handle   // of the present agent; nil while there is none
	frozen  bool
	late    bool // a change that its caller gave up is still to come
	over    bool
	removed bool // nothing is left of it
	settled bool
	exit    whisk.Exit
	conns   map[*conn]struct{}
	counts  [Destroyed + 1]int // of the events drawn so far
	runtime runtime
}

func newSandbox(d *Driver, req whisk.CreateSandbox, plan Creation) *sandbox {
	s := &sandbox{
		request: req,
		address: whisk.Address{Network: "memory", Address: d.config.Name + "/" + string(req.ID)},
		script:  d.config.Script,
		seed:    d.config.Seed,
		history: d.history,
		started: time.Now().Add(plan.StartDelay),
		done:    make(chan struct{}),
		output:  [2]*pipe{newPipe(outputBuffer), newPipe(outputBuffer)},
		conns:   map[*conn]struct{}{},
		runtime: runtime{concurrency: d.config.Concurrency},
	}
	s.thawed.L = &s.mu
	if plan.StartupText != "" {
		_, _ = s.output[0].Write([]byte(plan.StartupText)) // a fresh pipe takes it
	}
	if plan.CrashAfter > 0 {
		s.crash = time.AfterFunc(plan.CrashAfter, func() { s.end(Crashed, plan.CrashExit) })
	}
	return s
}

func (s *sandbox) ID() whisk.ContainerID     { return s.request.ID }
func (s *sandbox) Spec() whisk.ContainerSpec { return s.request.Spec }
func (s *sandbox) Address() whisk.Address    { return s.address }

func (s *sandbox) Exit() whisk.Exit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exit
}

// settle notes the first time only.
func (s *sandbox) settle() {
	s.mu.Lock()
	first := !s.settled && !s.over
	s.settled = true
	s.mu.Unlock()
	if first {
		s.history.note(Settled, s.ID(), "", nil)
	}
}

// freeze suspends or resumes. The script is asked only where there is something
// to do.
func (s *sandbox) freeze(ctx context.Context, by *handle, frozen bool, kind EventKind, script func(*rand.Rand, whisk.ContainerID) Operation) error {
	s.mu.Lock()
	idle, over, late := s.frozen == frozen, s.over, s.late
	s.mu.Unlock()
	switch {
	case over:
		return s.failed(frozen, whisk.Errorf(whisk.NotFound, "%s has ended", s.ID()))
	case late:
		return whisk.Errorf(whisk.Unavailable, "a former change of %s may come yet", s.ID())
	case idle:
		return nil
	}
	rng, _ := s.draw(kind)
	plan := script(rng, s.ID())
	began := time.Now()
	broken := pause(ctx, plan.Delay)
	err := errors.Join(broken, plan.Err)
	if by.gone() {
		return err
	}
	s.history.note(kind, s.ID(), "", err)
	switch {
	case err == nil:
		s.set(frozen)
		return nil
	case plan.Late && plan.Err == nil:
		s.setLater(plan.Delay-time.Since(began), frozen, kind)
		return err
	}
	return s.failed(frozen, err)
}

// failed is an error of a change that did nothing and will not.
func (s *sandbox) failed(frozen bool, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !frozen && s.frozen {
		return fmt.Errorf("%w, and %w", err, whisk.ErrStaysFrozen)
	}
	return err
}

func (s *sandbox) set(frozen bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen, s.late = frozen, false
	s.thawed.Broadcast()
}

// setLater carries out what its caller gave up.
func (s *sandbox) setLater(after time.Duration, frozen bool, kind EventKind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.late = true
	s.serving.Go(func() {
		timer := time.NewTimer(after)
		defer timer.Stop()
		select {
		case <-timer.C:
			s.history.note(kind, s.ID(), "", nil)
			s.set(frozen)
		case <-s.done:
		}
	})
}

// draw counts the sandbox's events of that kind, and returns the random numbers
// of this one.
func (s *sandbox) draw(kind EventKind) (rng *rand.Rand, n int) {
	s.mu.Lock()
	s.counts[kind]++
	n = s.counts[kind]
	s.mu.Unlock()
	return draw(s.seed, s.ID(), kind, n), n
}

// Stats implements [whisk.Sandbox] with figures that a test can foresee: a
// quarter of the memory, and a millisecond of CPU for each run.
func (s *sandbox) Stats(context.Context) (whisk.SandboxStats, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return whisk.SandboxStats{}, whisk.Errorf(whisk.NotFound, "%s has ended", s.ID())
	}
	return whisk.SandboxStats{Memory: s.request.Spec.Memory / 4, CPU: time.Duration(s.counts[RunStarted]) * time.Millisecond, Suspended: s.frozen}, nil
}

// destroy removes the sandbox for the agent that has the handle.
func (s *sandbox) destroy(ctx context.Context, by *handle) error {
	s.mu.Lock()
	removed := s.removed
	s.mu.Unlock()
	if removed {
		return nil
	}
	rng, _ := s.draw(Destroyed)
	plan := s.script.Destroy(rng, s.ID())
	if err := errors.Join(pause(ctx, plan.Delay), plan.Err); err != nil || by.gone() {
		return err
	}
	s.end(Destroyed, whisk.Exit{Code: -9})
	<-s.done // another may be ending it
	by.finish()
	s.serving.Wait()
	s.mu.Lock()
	removed, s.removed = s.removed, true
	s.mu.Unlock()
	if !removed {
		by.driver.forget(s.ID())
		s.history.note(Destroyed, s.ID(), "", nil)
	}
	return nil
}

// end stops the process, unless it has ended, and breaks its connections. It
// does not wait for what serves them, which may be the caller.
func (s *sandbox) end(kind EventKind, exit whisk.Exit) {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return
	}
	s.over, s.exit = true, exit
	conns := s.conns
	s.conns = nil
	s.thawed.Broadcast()
	s.mu.Unlock()

	if s.crash != nil {
		s.crash.Stop()
	}
	for c := range conns {
		c.in.cut(syscall.ECONNRESET)
		c.out.cut(syscall.ECONNRESET)
	}
	for _, pipe := range s.output {
		pipe.end()
	}
	if kind == Crashed {
		s.history.note(Crashed, s.ID(), "", nil)
	}
	close(s.done)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner != nil {
		s.owner.finish()
	}
}

// accept makes a connection, as the kernel does for a process that listens,
// frozen or not.
func (s *sandbox) accept() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || time.Now().Before(s.started) {
		return nil, refusal(s.address, os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	client, server := newConn(s.address.Address)
	s.conns[server] = struct{}{}
	s.serving.Go(func() {
		s.serve(server)
		_ = server.Close() // never fails
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, server)
	})
	return client, nil
}

// breathe returns once the process may go on, and false if it has ended.
func (s *sandbox) breathe() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.frozen && !s.over {
		s.thawed.Wait()
	}
	return !s.over
}

// work lets time pass for the process; false if it ended meanwhile.
func (s *sandbox) work(d time.Duration) bool {
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.done:
			return false
		}
	}
	return s.breathe()
}
