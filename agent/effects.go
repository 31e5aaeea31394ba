// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"time"

	"github.com/whirl-faas/whirl/agent/ledger"
	"github.com/whirl-faas/whirl/whisk"
)

// errRemoved breaks off what is under way for a container that has to go.
var errRemoved = whisk.Errorf(whisk.Unavailable, "the container is being removed")

// applyLocked moves a container, starts what has to be done and reports news of
// the node's health. It returns false if the event makes no sense.
func (a *Agent) applyLocked(c *container, on event) bool {
	to, do, ok := transition(c.state, on)
	if !ok {
		return false
	}
	c.state = to
	switch do {
	case abort:
		c.breakOff()
	case freeze:
		serial := c.serial
		a.driveLocked(c, func(ctx context.Context) error {
			a.mark(c.ID, ledger.Frozen, serial) // before it may be so
			return c.sandbox.Suspend(ctx)
		}, frozen, notFrozen)
	case thaw:
		c.asleep = false
		a.driveLocked(c, func(ctx context.Context) error {
			err := c.sandbox.Resume(ctx)
			if err == nil {
				a.mark(c.ID, ledger.Frozen, 0)
			}
			return err
		}, thawed, notThawed)
	case destroy:
		c.breakOff()
		a.tasks.Go(func() { a.destroy(a.ops, c) })
	case settle:
		a.settleLocked(c)
	}
	return true
}

// breakOff ends the driver's call that is under way, and refuses what waits. The
// call is answered when it has ended: until then it may work yet, and whoever
// waits for a resume must not be told that nothing was thawed.
func (c *container) breakOff() {
	if c.cancel != nil {
		c.cancel(errRemoved)
	}
	for _, waiting := range c.queue {
		waiting.finish(c.refusal(errRemoved))
	}
	c.queue = nil
}

// createLocked starts the creation of a container that is in the books.
func (a *Agent) createLocked(c *container) {
	var ctx context.Context
	ctx, c.cancel = context.WithCancelCause(a.ops)
	record := c.record()
	c.writing = a.ledger != nil
	a.tasks.Go(func() {
		if a.ledger != nil {
			a.enter(c, record)
		}
		sandbox, err := a.create(ctx, c)
		a.mu.Lock()
		c.cancel(nil)
		c.cancel = nil
		if err == nil {
			// Its lessee may have been confirmed before, and comes as soon as it hears of it.
			c.door, c.visitors = sandbox.Address(), a.sources[c.lessee]
			a.guardLocked(c, func(err error) { a.createdLocked(c, sandbox, err) })
		} else {
			a.notCreatedLocked(c, err)
		}
		a.mu.Unlock()
		if err != nil {
			a.strike(c.ID)
		}
	})
}

// enter writes the first record of a container: before there is a sandbox, or a
// kill in between would cost it.
func (a *Agent) enter(c *container, record ledger.Record) {
	err := a.write(record)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.writtenLocked(c, err, func(error) {}) // without a record it does not outlive us
}

func (a *Agent) create(ctx context.Context, c *container) (whisk.Sandbox, error) {
	select {
	case a.turns <- struct{}{}:
		defer func() { <-a.turns }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, a.config.CreateTimeout)
	defer cancel()
	return a.driver.Create(ctx, whisk.CreateSandbox{ID: c.ID, Spec: c.Spec, Label: c.label, Env: a.config.Env})
}

// createdLocked takes a new sandbox into the books. With err nobody could reach it, and
// it goes again.
func (a *Agent) createdLocked(c *container, sandbox whisk.Sandbox, err error) {
	now := time.Now()
	c.sandbox, c.Address, c.granted = sandbox, sandbox.Address(), now
	c.recorder = a.recorderOf(c)
	a.recorders.Go(c.recorder.Run)
	a.watchers.Go(func() { a.watch(c) })
	if err != nil && c.state == creating {
		c.failure = &whisk.CreationFailed{Container: c.ID, Fault: whisk.NodeFault, Message: err.Error()}
	}
	a.applyLocked(c, created)
	switch {
	case err != nil:
		a.applyLocked(c, remove)
		a.blameLocked(c, err)
		return
	case c.state == running:
		a.reportLocked(whisk.ContainerCreated{Container: c.Container, Took: now.Sub(c.began)})
	}
	a.changeHealthLocked(a.health.creationWorked)
	a.nextLocked(c)
}

// notCreatedLocked is also for a creation that was broken off, which is
// nobody's fault.
func (a *Agent) notCreatedLocked(c *container, err error) {
	failure := whisk.CreationFailed{Container: c.ID, Fault: whisk.NodeFault, Message: err.Error()}
	if fault, ok := errors.AsType[*whisk.CreateError](err); ok {
		failure.Fault, failure.Message = whisk.UserFault, fault.Text
	}
	if c.state == creating {
		c.failure = &failure
	}
	a.applyLocked(c, failed)
	a.blameLocked(c, err)
}

// blameLocked counts a container that could not be made against the node, if that is to blame.
func (a *Agent) blameLocked(c *container, err error) {
	if c.failure != nil && c.failure.Fault == whisk.NodeFault {
		a.logger.Warn("container not created", "container", string(c.ID), "err", err)
		a.changeHealthLocked(func() {
			a.health.creationFailed(time.Now(), err, a.config.Faults, a.config.FaultRest)
		})
	}
}

// changeHealthLocked tells the scheduler if the node's problem came, changed or
// went.
func (a *Agent) changeHealthLocked(change func()) {
	before := a.health.problem()
	change()
	if after := a.health.problem(); after != before {
		a.logger.Info("node health changed", "problem", after)
		a.reportLocked(a.nodeReportLocked())
	}
}

// watch waits for a container's end. Destroy closes Done too, and a shutdown
// that gives up ends ops.
func (a *Agent) watch(c *container) {
	select {
	case <-c.sandbox.Done():
	case <-a.ops.Done():
		return
	case <-a.leaving:
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.state != removing && c.state != gone {
		c.own, c.reason = true, describe(c.sandbox.Exit())
	}
	a.applyLocked(c, ended)
}

// driveLocked has the driver suspend or resume a container.
func (a *Agent) driveLocked(c *container, call func(context.Context) error, done, undone event) {
	ctx, cancel := context.WithCancelCause(a.ops)
	c.cancel = cancel
	a.tasks.Go(func() {
		timed, stop := context.WithTimeout(ctx, a.config.OperateTimeout)
		err := call(timed)
		stop()
		cancel(nil)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.drivenLocked(c, err, done, undone)
	})
}

func (a *Agent) drivenLocked(c *container, err error, done, undone event) {
	on := done
	if err != nil {
		on = undone
		if c.state != removing {
			a.logger.Warn("container not suspended or resumed", "container", string(c.ID), "state", c.state.String(), "err", err)
			err = whisk.Errorf(whisk.Unavailable, "%v of %s: %w", undone, c.ID, err)
		}
	}
	switch on {
	case frozen:
		c.asleep = true
	case notThawed:
		c.asleep = errors.Is(err, whisk.ErrStaysFrozen)
		if c.state != removing {
			c.reason = "it could not be resumed"
		}
	}
	current := c.current
	c.current = nil
	a.applyLocked(c, on)
	current.finish(c.refusal(err))
	a.nextLocked(c)
}

// nextLocked starts what waits for the container, as far as it can be started.
func (a *Agent) nextLocked(c *container) {
	for len(c.queue) > 0 && c.current == nil && (c.state == running || c.state == suspended) {
		next := c.queue[0]
		c.queue = c.queue[1:]
		before := c.state
		c.current = next
		a.applyLocked(c, next.on)
		if c.state == before {
			c.current = nil
			next.finish(nil)
		}
	}
}

// destroy tries until it worked. Meanwhile the container's memory stays taken,
// which the node's health tells.
func (a *Agent) destroy(ctx context.Context, c *container) {
	a.shut(c)
	stuck := false
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		err := a.destroyOnce(ctx, c)
		if err == nil {
			break
		}
		a.logger.Error("container not destroyed", "container", string(c.ID), "err", err)
		if !stuck {
			stuck = true
			a.mu.Lock()
			a.changeHealthLocked(func() { a.health.stuck++ })
			a.mu.Unlock()
		}
		if !sleep(ctx, wait) {
			a.strike(c.ID) // the next agent is to destroy it, not to take it over
			c.recorder.Abandon()
			return
		}
	}
	a.mu.Lock()
	a.applyLocked(c, destroyed)
	if stuck {
		a.changeHealthLocked(func() { a.health.stuck-- })
	}
	a.mu.Unlock()
	a.strike(c.ID)
	// Its output ends now. If something else holds the pipes, it is cut off.
	a.tasks.Go(func() {
		if !c.recorder.Wait(ctx, a.config.DestroyTimeout) {
			a.logger.Warn("output does not end", "container", string(c.ID))
			c.recorder.Abandon()
		}
	})
}

func (a *Agent) destroyOnce(ctx context.Context, c *container) error {
	ctx, cancel := context.WithTimeout(ctx, a.config.DestroyTimeout)
	defer cancel()
	return c.sandbox.Destroy(ctx)
}

// settleLocked is the end of a container. What it wrote and how it ended stays
// a while for who asks late.
func (a *Agent) settleLocked(c *container) {
	a.memory -= c.Spec.Memory
	a.existing--
	c.over = time.Now()
	c.breakOff()
	if c.failure != nil {
		a.reportLocked(*c.failure)
		return
	}
	a.reportLocked(whisk.ContainerGone{Container: c.ID, Expected: c.expected, Reason: c.reason})
}

// sleep returns false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
