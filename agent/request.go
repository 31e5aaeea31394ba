// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"net/netip"
	"time"

	"github.com/whirl-faas/whirl/agent/output"
	"github.com/whirl-faas/whirl/whisk"
)

// await waits for the result of an operation that was queued. If ctx ends first,
// that is not known: the operation goes on.
func await(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return whisk.Errorf(whisk.Unavailable, "wait for a container: %w", context.Cause(ctx))
	}
}

// queue puts a suspend or resume, for the lessee, behind those that the container
// was asked for before. done takes the result: nil also if it is so already. A
// container that cannot be resumed is removed.
func (a *Agent) queue(controller whisk.ControllerID, id whisk.ContainerID, on event) (done <-chan error, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.renewLocked(controller)
	return a.queueLocked(controller, id, on)
}

func (a *Agent) queueLocked(by whisk.ControllerID, id whisk.ContainerID, on event) (done <-chan error, err error) {
	c, err := a.findLocked(id)
	switch {
	case err != nil:
		return nil, err
	case c.state == creating, c.state == removing, c.state == gone:
		err := whisk.Errorf(whisk.NotFound, "container %s is %v", id, c.state)
		if c.lessee == by {
			err = c.refusal(err)
		}
		return nil, err
	case c.lessee != by:
		return nil, whisk.Errorf(whisk.Denied, "container %s is not leased to %s", id, by)
	case len(c.queue) >= a.config.Operations:
		return nil, whisk.Errorf(whisk.Throttled, "%d operations wait for container %s already", len(c.queue), id)
	case on == suspend && !a.driver.Capabilities().Suspend:
		return nil, whisk.Errorf(whisk.Unavailable, "the driver cannot suspend")
	}
	op := &operation{on: on, done: make(chan error, 1)}
	c.queue = append(c.queue, op)
	a.nextLocked(c)
	return op.done, nil
}

// findLocked also finds containers that ended not long ago.
func (a *Agent) findLocked(id whisk.ContainerID) (*container, error) {
	switch {
	case a.phase < serving:
		return nil, errStarting
	case a.phase == stopped:
		return nil, errStopping
	}
	c := a.containers[id]
	if c == nil {
		return nil, whisk.Errorf(whisk.NotFound, "there is no container %s", id)
	}
	return c, nil
}

// renew renews a controller's leases, and lets it in to its containers from where it
// came. The leases are confirmed when admitted says so, at once if that is nil.
func (a *Agent) renew(controller whisk.ControllerID, sources []netip.Addr) (admitted <-chan error, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.phase >= stopping {
		return nil, errStopping
	}
	a.renewLocked(controller)
	if len(sources) == 0 {
		return nil, nil
	}
	return a.welcomeLocked(controller, sources), nil
}

// collection is a request for output, and where that is.
type collection struct {
	recorder *output.Recorder
	request  whisk.LogRequest // its Run counts from the container's start
}

// collection finds the output of a run of the controller's tenure, which may be
// over. The caller must call requests.Done when it has finished.
func (a *Agent) collection(controller whisk.ControllerID, id whisk.ContainerID, request whisk.LogRequest) (collection, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.renewLocked(controller)
	c, err := a.findLocked(id)
	if err != nil {
		return collection{}, err
	}
	if request.Run == 0 {
		return collection{}, whisk.Errorf(whisk.Invalid, "runs count from 1")
	}
	return a.collectionLocked(c, controller, request)
}

// maxAhead is how far beyond the runs that are known a request may name one.
// Controllers count runs of which we never hear, but not without end.
const maxAhead = 1 << 20

func (a *Agent) collectionLocked(c *container, controller whisk.ControllerID, request whisk.LogRequest) (collection, error) {
	t := c.tenureOf(controller)
	if t == nil || c.recorder == nil {
		return collection{}, whisk.Errorf(whisk.Denied, "container %s was not leased to %s", c.ID, controller)
	}
	known := t.runs
	if ended := c.recorder.Ended(); ended > t.base {
		known = max(known, ended-t.base)
	}
	if request.Run > known+maxAhead {
		return collection{}, whisk.Errorf(whisk.Invalid, "container %s has had %d runs, not %d", c.ID, known, request.Run)
	}
	request.Run = c.absolute(t, request.Run)
	c.sandbox.Settled() // controllers ask for the output of its first run, if of any
	a.requests.Add(1)
	return collection{c.recorder, request}, nil
}

// store returns when a run's output is stored, and an error if it is not and will
// not be.
func (a *Agent) store(ctx context.Context, request whisk.LogRequest, log output.Log) (whisk.LogSummary, error) {
	if len(log.Lines) == 0 {
		return log.Summary, nil
	}
	entry := whisk.LogEntry{Activation: request.Activation, Namespace: request.Namespace, Made: time.Now(), Lines: log.Lines}
	if err := a.shipper.Ship(ctx, entry, log.Summary.Bytes); err != nil {
		return whisk.LogSummary{}, err
	}
	return log.Summary, nil
}

// inspect returns how a container ended that the controller holds or was the
// last to hold, and nil if it still runs. A broken connection may tell of an end
// before the driver does, so inspect waits a moment for it.
func (a *Agent) inspect(ctx context.Context, controller whisk.ControllerID, id whisk.ContainerID) (*whisk.Exit, error) {
	sandbox, err := a.inspected(controller, id)
	if err != nil || sandbox == nil {
		return nil, err
	}
	timer := time.NewTimer(a.config.InspectWait)
	defer timer.Stop()
	select {
	case <-sandbox.Done():
		if _, err := a.inspected(controller, id); err != nil { // removed meanwhile
			return nil, err
		}
		return new(sandbox.Exit()), nil
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, whisk.Errorf(whisk.Unavailable, "inspect %s: %w", id, context.Cause(ctx))
	}
}

func (a *Agent) inspected(controller whisk.ControllerID, id whisk.ContainerID) (whisk.Sandbox, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.renewLocked(controller)
	c, err := a.findLocked(id)
	if err != nil {
		return nil, err
	}
	if !c.heldBy(controller) {
		return nil, whisk.Errorf(whisk.Denied, "container %s is not leased to %s", id, controller)
	}
	if !c.own && (c.state == removing || c.state == gone) {
		return nil, whisk.Errorf(whisk.NotFound, "container %s was removed", id)
	}
	return c.sandbox, nil
}
