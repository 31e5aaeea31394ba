// SPDX-License-Identifier: Apache-2.0

// Package fake is a scripted driver whose sandboxes live in memory: for tests,
// simulations and benchmarks of what is above the drivers.
//
// A sandbox is an HTTP/1.1 server that speaks OpenWhisk's /init and /run over
// connections made by [Driver.Dial]. It behaves like a process behind a socket:
// suspended it takes connections and bytes and answers after Resume; its output
// goes to two bounded pipes, so somebody must read them or it blocks; its end
// breaks its connections. A [Script] says how long things take and what fails.
//
// There are no sockets and no real time: it works in a testing/synctest bubble.
// A sandbox costs no goroutine but one per open connection, and none outlives
// its Destroy. The driver keeps a history for checkers and finds by itself what
// a platform must never do to a sandbox, see [Driver.Violations].
package fake

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Driver is a scripted [whisk.Driver].
type Driver struct {
	config  Config
	history *history

	mu        sync.Mutex
	sandboxes map[whisk.ContainerID]*sandbox // that exist, or are being made if nil
	left      []*sandbox                     // by a former driver, for Recover
	used      bool                           // Create was called
	closed    bool                           // by Close or Restart
}

var _ whisk.Driver = (*Driver)(nil)

// New returns a driver without sandboxes. It panics if the config is not valid.
func New(config Config) *Driver {
	if err := config.Validate(); err != nil {
		panic(err)
	}
	if config.Capabilities.Name == "" {
		config.Capabilities.Name = "fake"
	}
	config.Script = config.Script.wellBehaved()
	return &Driver{
		config:    config,
		history:   &history{quiet: config.Quiet},
		sandboxes: map[whisk.ContainerID]*sandbox{},
	}
}

// Restart returns the driver of the next agent on this node, after the process
// of the one that uses d ended and left its sandboxes: by a kill, or by a stop
// that closed d.
// Sandboxes go on until the new driver's Recover. To d's agent, which may still
// wind down, they have ended, and it cannot do anything to them any more: its
// calls succeed and change nothing. The two drivers share one history.
func (d *Driver) Restart() *Driver {
	next := New(d.config)
	next.history = d.history
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, s := range d.sandboxes {
		if s != nil {
			s.orphan()
			next.sandboxes[id] = s
			next.left = append(next.left, s)
		}
	}
	d.sandboxes, d.closed = nil, true
	return next
}

// Capabilities implements [whisk.Driver].
func (d *Driver) Capabilities() whisk.Capabilities { return d.config.Capabilities }

// Create implements [whisk.Driver].
func (d *Driver) Create(ctx context.Context, req whisk.CreateSandbox) (whisk.Sandbox, error) {
	if err := d.reserve(req.ID); err != nil {
		return nil, err
	}
	plan := d.config.Script.Create(draw(d.config.Seed, req.ID, Created, 1), req)
	err := pause(ctx, plan.Delay)
	if err == nil {
		err = plan.Err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		err = whisk.Errorf(whisk.Unavailable, "create %s: the process has ended", req.ID)
	}
	d.history.note(Created, req.ID, "", err)
	if err != nil {
		delete(d.sandboxes, req.ID)
		return nil, err
	}
	s := newSandbox(d, req, plan)
	d.sandboxes[req.ID] = s
	return s.adopt(d), nil
}

// reserve takes the id.
func (d *Driver) reserve(id whisk.ContainerID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return whisk.Errorf(whisk.Unavailable, "create %s: the driver is closed", id)
	}
	if _, taken := d.sandboxes[id]; taken {
		d.history.blame(id, "created while it exists")
		return whisk.Errorf(whisk.Conflict, "create %s: it exists", id)
	}
	d.sandboxes[id] = nil
	d.used = true
	return nil
}

func (d *Driver) forget(id whisk.ContainerID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sandboxes, id)
}

// Recover implements [whisk.Driver]. It returns what the driver before
// [Driver.Restart] left, or destroys it if the capabilities say so.
func (d *Driver) Recover(ctx context.Context) ([]whisk.Sandbox, error) {
	left, err := d.takeOver()
	if err != nil || d.config.Capabilities.Recovers {
		return left, err
	}
	for _, found := range left {
		if err := found.Destroy(ctx); err != nil {
			return nil, fmt.Errorf("destroy %s: %w", found.ID(), err)
		}
	}
	return nil, nil
}

// takeOver adopts what was left, unless the process was killed meanwhile: then
// it is the next one's.
func (d *Driver) takeOver() (found []whisk.Sandbox, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, whisk.Errorf(whisk.Unavailable, "recover: the process has ended")
	}
	if d.used {
		d.history.blame("", "recovery after a creation")
	}
	for _, s := range d.left {
		found = append(found, s.adopt(d))
	}
	d.left = nil
	return found, nil
}

// Ping implements [whisk.Driver].
func (d *Driver) Ping(ctx context.Context) error {
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	if closed {
		return whisk.Errorf(whisk.Unavailable, "the driver is closed")
	}
	plan := d.config.Script.Ping()
	return errors.Join(pause(ctx, plan.Delay), plan.Err)
}

// Close implements [whisk.Driver]. Sandboxes that are left go on if the driver
// recovers; [Driver.Restart] makes the next one.
func (d *Driver) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.sandboxes { // none after Restart
		if !d.config.Capabilities.Recovers {
			d.history.blame(id, "left over when the driver was closed")
		}
	}
	d.closed = true
	return nil
}

// Dial connects to a sandbox's address. It fails as a dial to a socket does,
// with ECONNREFUSED if nobody listens.
func (d *Driver) Dial(ctx context.Context, to whisk.Address) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, refusal(to, err)
	}
	d.mu.Lock()
	id := strings.TrimPrefix(to.Address, d.config.Name+"/")
	found := d.sandboxes[whisk.ContainerID(id)]
	d.mu.Unlock()
	if found == nil || found.address != to {
		return nil, refusal(to, os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	return found.accept()
}

func refusal(to whisk.Address, err error) error {
	return &net.OpError{Op: "dial", Net: to.Network, Addr: address(to.Address), Err: err}
}

// Living returns how many sandboxes exist or are being made.
func (d *Driver) Living() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.sandboxes)
}

// pause waits, without a timer if there is nothing to wait for.
func pause(ctx context.Context, delay time.Duration) error {
	if delay <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
