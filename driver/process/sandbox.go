// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/driver/internal/cgroup"
	"github.com/whirl-faas/whirl/driver/process/internal/keeper"
	"github.com/whirl-faas/whirl/whisk"
)

// errEnded is what calls get that come after a sandbox's end.
var errEnded = errors.New("the sandbox has ended")

// sandbox is one running sandbox, or one that is being made: fields that launch
// has not filled yet are nil, and Destroy copes with that.
type sandbox struct {
	driver *Driver
	id     whisk.ContainerID
	spec   whisk.ContainerSpec
	uid    int    // its user on the host
	files  string // of its runtime, on the host; "" for none
	built  bool   // guarded by driver.mu

	socket         string         // path of the socket file, "" before there is one
	published      netip.AddrPort // where it listens instead, if it is published
	stdout, stderr *os.File
	network        Network        // what it can reach
	support        cgroup.Support // of group
	group          *cgroup.Group  // nil where the machine has no cgroups for us
	memoryEvent    *os.File       // see cgroup.WatchMemory; nil where that is
	keeper         *keeper.Keeper // who clones it
	first          *firstProcess  // nil before the clone
	namespace      string         // of the pids, as /proc names it; it outlives the pid of first

	settled     chan struct{}   // closed by settle
	settle      func()          // idempotent
	life        context.Context // ends with the sandbox, or when Destroy begins
	end         context.CancelCauseFunc
	loops       sync.WaitGroup // the goroutines of this sandbox
	turn        chan struct{}  // holds one token: who changes the state takes it
	suspended   atomic.Bool    // changed by who has the turn
	removed     bool           // owned by who has the turn
	outOfMemory atomic.Bool

	done chan struct{} // closed when the first process was reaped
	exit whisk.Exit    // set before done is closed
	cpu  time.Duration // likewise; used until the end
}

func newSandbox(driver *Driver, req whisk.CreateSandbox, uid int) *sandbox {
	s := &sandbox{
		driver:  driver,
		id:      req.ID,
		spec:    req.Spec,
		uid:     uid,
		support: driver.support,
		keeper:  driver.keeper,
		turn:    make(chan struct{}, 1),
		settled: make(chan struct{}),
		done:    make(chan struct{}),
	}
	s.settle = sync.OnceFunc(func() { close(s.settled) })
	s.life, s.end = context.WithCancelCause(context.Background())
	s.turn <- struct{}{}
	return s
}

func (s *sandbox) ID() whisk.ContainerID     { return s.id }
func (s *sandbox) Spec() whisk.ContainerSpec { return s.spec }
func (s *sandbox) Done() <-chan struct{}     { return s.done }
func (s *sandbox) Exit() whisk.Exit          { return s.exit }

func (s *sandbox) Address() whisk.Address {
	if s.published.IsValid() {
		return whisk.Address{Network: "tcp", Address: s.published.String()}
	}
	return whisk.Address{Network: "unix", Address: s.socket}
}

func (s *sandbox) Output() (stdout, stderr io.ReadCloser) { return s.stdout, s.stderr }

// Suspend implements [whisk.Sandbox].
func (s *sandbox) Suspend(ctx context.Context) error {
	return s.change(ctx, "suspend", func(ctx context.Context) error {
		if s.suspended.Load() {
			return nil
		}
		if s.support.Freeze {
			if err := s.group.Freeze(ctx); err != nil {
				return err
			}
		} else if err := stopAll(ctx, s.namespace); err != nil {
			return err
		}
		s.suspended.Store(true)
		return nil
	})
}

// Resume implements [whisk.Sandbox]. What ends first, the wait for its turn or
// the sandbox, leaves frozen what was.
func (s *sandbox) Resume(ctx context.Context) error {
	begun := false
	err := s.change(ctx, "resume", func(context.Context) error {
		if !s.suspended.Load() {
			return nil
		}
		begun = true
		if err := s.thaw(); err != nil {
			return err
		}
		s.suspended.Store(false)
		return nil
	})
	if err != nil && !begun && s.suspended.Load() {
		return fmt.Errorf("%w, and %w", err, whisk.ErrStaysFrozen)
	}
	return err
}

func (s *sandbox) thaw() error {
	if s.support.Freeze {
		return s.group.Thaw()
	}
	return continueAll(s.namespace)
}

// change does something to the living sandbox when it is its turn. The context
// that it gets ends with the sandbox as well.
func (s *sandbox) change(ctx context.Context, what string, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.life, func() { cancel(errEnded) })()
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
	case <-ctx.Done():
	}
	err := context.Cause(ctx)
	if s.life.Err() != nil {
		err = errEnded
	}
	if err == nil {
		err = do(ctx)
	}
	switch {
	case err == nil:
		return nil
	case s.life.Err() != nil:
		return whisk.Errorf(whisk.NotFound, "%s sandbox %s: %w", what, s.id, errEnded)
	}
	return fmt.Errorf("%s sandbox %s: %w", what, s.id, err)
}

// Stats implements [whisk.Sandbox]. After the end it returns the CPU time that
// the sandbox used in all.
func (s *sandbox) Stats(context.Context) (whisk.SandboxStats, error) {
	select {
	case <-s.done:
		return whisk.SandboxStats{CPU: s.cpu}, nil
	default:
	}
	if s.support.Memory {
		usage := s.group.Usage()
		return whisk.SandboxStats{Memory: whisk.Bytes(usage.Memory), CPU: usage.CPU, Suspended: s.suspended.Load()}, nil
	}
	usage := usageOf(processesOf(s.namespace))
	return whisk.SandboxStats{Memory: usage.exact(), CPU: usage.cpu, Suspended: s.suspended.Load()}, nil
}

// Destroy implements [whisk.Sandbox].
func (s *sandbox) Destroy(ctx context.Context) error {
	s.end(errEnded)
	if s.first != nil {
		if err := s.first.kill(); err != nil {
			return fmt.Errorf("kill sandbox %s: %w", s.id, err)
		}
	}
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
	case <-ctx.Done():
		return fmt.Errorf("destroy sandbox %s: %w", s.id, context.Cause(ctx))
	}
	if s.removed {
		return nil
	}
	if err := s.remove(ctx); err != nil {
		return fmt.Errorf("destroy sandbox %s: %w", s.id, err)
	}
	s.removed = true
	s.driver.forget(s)
	return nil
}

// remove waits for the end of the killed sandbox and frees what it had. It may
// be repeated if it fails.
func (s *sandbox) remove(ctx context.Context) error {
	if s.first != nil {
		// The version 1 freezer holds even a killed process.
		if s.suspended.Load() {
			s.doom() // the others would die only with the first, and run on until then
		}
		if err := s.thaw(); err != nil {
			return err
		}
		select {
		case <-s.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if s.group != nil {
		if err := s.group.Remove(ctx); err != nil {
			return err
		}
	}
	s.loops.Wait()
	if s.first != nil {
		s.first.close()
		if err := s.keeper.Release(string(s.id)); err != nil {
			return err
		}
	}
	if s.socket != "" {
		if err := os.Remove(s.socket); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if s.published.IsValid() {
		return s.driver.config.Ports.GiveBack(s.published)
	}
	return nil
}

// doom sends all processes the signal that kills.
func (s *sandbox) doom() {
	if s.support.Freeze {
		s.group.Doom()
		return
	}
	for _, pid := range processesOf(s.namespace) {
		_ = signal(pid, unix.SIGKILL) // the first process's end kills what this misses
	}
}

// waitLoop waits for the end of the first process, with which all others end.
func (s *sandbox) waitLoop() {
	exit, ended := s.first.wait()
	if !ended {
		return // it is left to another agent
	}
	s.cpu = exit.CPU
	if s.group != nil {
		s.cpu = max(s.cpu, s.group.Usage().CPU)
		if s.group.OutOfMemory() {
			s.outOfMemory.Store(true)
		}
	}
	s.exit = whisk.Exit{Code: exitCode(exit.Status), OutOfMemory: s.outOfMemory.Load()}
	s.driver.log.Debug("sandbox ended", "container", s.id, "code", s.exit.Code, "outOfMemory", s.exit.OutOfMemory)
	close(s.done)
	s.end(errEnded)
	if s.memoryEvent != nil {
		s.memoryEvent.Close()
	}
}

func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return -int(status.Signal())
	}
	return status.ExitStatus()
}

// memoryLoop ends the sandbox when the kernel is about to kill one of its
// processes for want of memory: what is left of it could not be trusted. The
// kernel does so by itself with version 2 cgroups.
func (s *sandbox) memoryLoop() {
	if _, err := s.memoryEvent.Read(make([]byte, 8)); err == nil {
		s.killOutOfMemory()
	}
}

func (s *sandbox) killOutOfMemory() {
	if s.life.Err() != nil {
		return // the end has other reasons
	}
	s.outOfMemory.Store(true)
	s.kill()
}

// kill ends a sandbox that was not asked to end: whoever waits for it learns that.
func (s *sandbox) kill() {
	if err := s.first.kill(); err != nil {
		s.driver.log.Warn("sandbox not killed", "container", s.id, "err", err)
	}
	s.doom()
	if err := s.thaw(); err != nil {
		s.driver.log.Warn("killed sandbox not thawed", "container", s.id, "err", err)
	}
}
