// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/agent/output"
	"github.com/whirl-faas/whirl/whisk"
)

// What callers beside the sessions may ask. None of it renews a lease.
//
// Who holds a container is the only one to suspend, resume and read it. Not even
// an operator may thaw a frozen one that is held: its lessee relies on it that
// what it sent there was not read before its own resume, and may have given that
// activation to another container when the resume failed. What nobody holds is
// the operator's to suspend and resume; the next grant thaws it.

// Caller is who asks, as far as that was proved. The zero Caller may only look.
type Caller struct {
	Name     string                        // for people to read
	Operator bool                          // may change what nobody holds
	Covers   func(whisk.ControllerID) bool // the controllers that it may speak for; nil for none
}

func (c Caller) covers(id whisk.ControllerID) bool {
	return id != "" && c.Covers != nil && c.Covers(id)
}

// Suspend freezes a container, and returns nil if it is frozen already. NotFound
// if there is none that could be, Denied if it is not the caller's. The work goes
// on if ctx ends.
func (a *Agent) Suspend(ctx context.Context, caller Caller, id whisk.ContainerID) error {
	return a.operate(ctx, caller, id, suspend)
}

// Resume thaws a container, and returns nil if it runs already. Its errors are
// those of Suspend. A container that cannot be thawed is removed.
func (a *Agent) Resume(ctx context.Context, caller Caller, id whisk.ContainerID) error {
	return a.operate(ctx, caller, id, resume)
}

func (a *Agent) operate(ctx context.Context, caller Caller, id whisk.ContainerID, on event) error {
	done, err := a.operation(caller, id, on)
	if err != nil {
		return err
	}
	return await(ctx, done)
}

func (a *Agent) operation(caller Caller, id whisk.ContainerID, on event) (done <-chan error, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, err := a.findLocked(id)
	if err != nil {
		return nil, err
	}
	if !caller.covers(c.lessee) && !(caller.Operator && c.lessee == "") && c.state != gone {
		return nil, c.notThe(caller)
	}
	return a.queueLocked(c.lessee, id, on)
}

// notThe refuses a caller.
func (c *container) notThe(caller Caller) error {
	if c.lessee == "" {
		return whisk.Errorf(whisk.Denied, "nobody holds container %s: only an operator may do this, not %s", c.ID, caller.Name)
	}
	return whisk.Errorf(whisk.Denied, "container %s is leased to %s: only its lessee may do this, not %s", c.ID, c.lessee, caller.Name)
}

// StoreLog waits for the output of one run and stores it. Runs count from 1 since
// the caller got the container; 0 is the one after the last that was asked for.
// An operator may ask for runs of the last lessee, once nobody holds the
// container or it is gone. The wait is bounded, and does not end with the caller.
func (a *Agent) StoreLog(caller Caller, id whisk.ContainerID, request whisk.LogRequest) (whisk.LogSummary, error) {
	c, err := a.collectionFor(caller, id, request)
	if err != nil {
		return whisk.LogSummary{}, err
	}
	defer a.requests.Done()
	ctx := a.background()
	return a.store(ctx, c.request, c.recorder.Collect(ctx, c.request))
}

func (a *Agent) collectionFor(caller Caller, id whisk.ContainerID, request whisk.LogRequest) (collection, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, err := a.findLocked(id)
	if err != nil {
		return collection{}, err
	}
	t := c.tenureFor(caller)
	switch {
	case t == nil && len(c.tenures) == 0:
		return collection{}, whisk.Errorf(whisk.Denied, "container %s was never leased and has no runs", id)
	case t == nil:
		return collection{}, c.notThe(caller)
	case request.Run == 0:
		request.Run = t.runs + 1
	}
	return a.collectionLocked(c, t.lessee, request)
}

// tenureFor returns the tenure whose runs the caller may ask for, nil for none.
func (c *container) tenureFor(caller Caller) *tenure {
	last := len(c.tenures) - 1
	for i := last; i >= 0; i-- {
		if caller.covers(c.tenures[i].lessee) {
			return &c.tenures[i]
		}
	}
	if caller.Operator && last >= 0 && (c.lessee == "" || c.state == gone) {
		return &c.tenures[last]
	}
	return nil
}

// Status is what an agent knows of itself and its node.
type Status struct {
	Node       whisk.NodeID
	Driver     string
	Problem    string // why nothing should be placed here; "" if all is well
	Engine     string // what it said instead of an answer, "" if it answers
	Pinged     time.Time
	Memory     whisk.Bytes // for containers
	Used       whisk.Bytes // of all that are not gone
	Containers []ContainerStatus
	Most       int             // containers that there may be
	Logs       output.Standing // on their way to the store
}

// ContainerStatus is a container as its agent sees it.
type ContainerStatus struct {
	whisk.Container
	Label    string
	State    string             // as docs/state-machines.md names it
	Lessee   whisk.ControllerID // "" if nobody holds it
	LeaseEnd time.Time          // unless it is renewed; zero without a lease that runs
	Used     bool               // it was ever leased, and so may hold code
}

// Status returns how things are now, the containers in the order of their ids.
func (a *Agent) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	status := Status{
		Node: a.config.Node, Driver: a.driver.Capabilities().Name,
		Problem: a.health.problem(), Engine: a.health.silence, Pinged: a.health.pinged,
		Memory: a.config.Memory, Used: a.memory, Most: a.config.Containers, Logs: a.shipper.Standing(),
	}
	for _, id := range slices.Sorted(maps.Keys(a.containers)) {
		c := a.containers[id]
		if c.state == gone {
			continue
		}
		end, _ := a.expiryLocked(c)
		status.Containers = append(status.Containers, ContainerStatus{
			Container: c.Container, Label: c.label, State: c.state.String(), Lessee: c.lessee, LeaseEnd: end, Used: c.used,
		})
	}
	return status
}
