// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/whirl-faas/whirl/agent/ledger"
	"github.com/whirl-faas/whirl/whisk"
)

// errSilent ends a session with a scheduler that gives no sign of life.
var errSilent = whisk.Errorf(whisk.Timeout, "the scheduler is silent")

// schedulerLoop keeps a session with the scheduler. Containers and their
// lessees are not affected by its absence.
func (a *Agent) schedulerLoop(ctx context.Context) {
	wait := a.config.RedialMin
	for try := 1; ctx.Err() == nil; try++ {
		began := time.Now()
		err := a.schedulerSession(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > a.config.RedialMax {
			wait = a.config.RedialMin
		}
		pause := spread(wait, a.config.Node, try)
		a.logger.Warn("no session with the scheduler", "err", err, "redial", pause)
		sleep(ctx, pause)
		wait = min(2*wait, a.config.RedialMax)
	}
}

// spread returns a pause of between half of most and all of it. All agents lose a
// scheduler in the same moment, and would call the next one in the same moments if
// they rested alike. What a node's name and the number of the try give is as good as
// chance between nodes, and the same in each repetition of a test.
func spread(most time.Duration, node whisk.NodeID, try int) time.Duration {
	name := fnv.New64a()
	name.Write([]byte(node))
	chance := rand.New(rand.NewPCG(name.Sum64(), uint64(try)))
	return most/2 + time.Duration(chance.Float64()*float64(most/2))
}

// schedulerSession serves one session until it breaks.
func (a *Agent) schedulerSession(ctx context.Context) error {
	stream, err := a.dial(ctx)
	if err != nil {
		return fmt.Errorf("dial the scheduler: %w", err)
	}
	ctx, stop := context.WithCancelCause(ctx)
	reports := newOutbox[whisk.AgentReport](a.config.Outbox, stop)
	var heard atomic.Int64 // Unix time in nanoseconds
	heard.Store(time.Now().UnixNano())
	var loops sync.WaitGroup
	loops.Go(func() { reports.sendLoop(ctx, stream.Send) })
	loops.Go(func() { a.keepAliveLoop(ctx, stop, reports, &heard) })
	a.attach(reports)
	defer func() {
		a.attach(nil)
		stop(errStopping)
		_ = stream.Close() // it may be broken already
		loops.Wait()
	}()
	for {
		command, err := stream.Recv(ctx)
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return fmt.Errorf("session with the scheduler: %w", err)
		}
		heard.Store(time.Now().UnixNano())
		a.obey(command)
	}
}

// attach makes the session the one that hears what happens from now on,
// beginning with all there is; nil is for none.
func (a *Agent) attach(reports *outbox[whisk.AgentReport]) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reports = reports; reports != nil {
		reports.put(a.nodeReportLocked())
	}
}

func (a *Agent) keepAliveLoop(ctx context.Context, stop context.CancelCauseFunc, reports *outbox[whisk.AgentReport], heard *atomic.Int64) {
	for sleep(ctx, a.config.KeepAlive) {
		if time.Since(time.Unix(0, heard.Load())) > a.config.Silence {
			stop(errSilent)
			return
		}
		a.mu.Lock()
		epoch := a.epoch
		a.mu.Unlock()
		reports.put(whisk.KeepAlive{Epoch: epoch})
	}
}

// obey carries out one command, or starts to. Only one session at a time does.
func (a *Agent) obey(command whisk.AgentCommand) {
	a.heed(epochOf(command))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.obeyLocked(command)
}

// heed writes down an epoch that is higher than any before, so that the next
// agent of the node, too, obeys no leader whose time was over.
func (a *Agent) heed(epoch uint64) {
	a.mu.Lock()
	news := epoch > a.epoch
	a.mu.Unlock()
	if !news || a.ledger == nil {
		return
	}
	if err := a.ledger.SaveEpoch(epoch); err != nil {
		a.logger.Warn("epoch not written down", "epoch", epoch, "err", err)
	}
}

func epochOf(command whisk.AgentCommand) uint64 {
	switch m := command.(type) {
	case whisk.KeepAlive:
		return m.Epoch
	case whisk.CreateContainer:
		return m.Epoch
	case whisk.GrantLease:
		return m.Epoch
	case whisk.RemoveContainer:
		return m.Epoch
	case whisk.DrainNode:
		return m.Epoch
	}
	return 0
}

func (a *Agent) obeyLocked(command whisk.AgentCommand) {
	switch m := command.(type) {
	case whisk.KeepAlive:
		a.epoch = max(a.epoch, m.Epoch)
	case whisk.CreateContainer:
		if a.followLocked(m.Epoch, m.Container, 0) {
			a.obeyCreateLocked(m)
		}
	case whisk.GrantLease:
		if a.followLocked(m.Epoch, m.Container, m.Order) && !a.waitsLocked(m.Container, m.Order, m) {
			a.obeyGrantLocked(m)
		}
	case whisk.RemoveContainer:
		if a.followLocked(m.Epoch, m.Container, 0) && !a.waitsLocked(m.Container, 0, m) {
			a.obeyRemoveLocked(m)
		}
	case whisk.DrainNode:
		if m.Epoch < a.epoch {
			a.reportLocked(whisk.KeepAlive{Epoch: a.epoch})
			a.logger.Warn("drain order refused", "drain", m.Drain, "reason", over(m.Epoch, a.epoch))
			return
		}
		a.epoch, a.draining = m.Epoch, m.Drain
		a.logger.Info("drain ordered", "drain", m.Drain)
	}
}

// waitsLocked puts a command aside while the container's record is written: who
// holds it is only then decided.
func (a *Agent) waitsLocked(id whisk.ContainerID, order uint64, command whisk.AgentCommand) bool {
	c := a.containers[id]
	if c == nil || !c.writing {
		return false
	}
	if len(c.commands) >= a.config.Operations {
		a.refuseLocked(id, order, "too many commands wait for it")
		return true
	}
	c.commands = append(c.commands, command)
	return true
}

// followLocked refuses the commands of a leader that has a successor.
func (a *Agent) followLocked(epoch uint64, id whisk.ContainerID, order uint64) bool {
	if epoch < a.epoch {
		a.reportLocked(whisk.KeepAlive{Epoch: a.epoch}) // first, or it would believe the refusal
		a.refuseLocked(id, order, over(epoch, a.epoch))
		return false
	}
	a.epoch = epoch
	return true
}

func over(epoch, present uint64) string {
	return fmt.Sprintf("epoch %d is over, the present one is %d", epoch, present)
}

// refuseLocked refuses a command; order is that of a GrantLease, 0 for others.
func (a *Agent) refuseLocked(id whisk.ContainerID, order uint64, reason string) {
	var lessee whisk.ControllerID
	if c := a.containers[id]; c != nil {
		lessee = c.lessee
	}
	a.logger.Warn("command refused", "container", string(id), "reason", reason)
	a.reportLocked(whisk.LeaseRefused{Container: id, Lessee: lessee, Reason: reason, Order: order})
}

func (a *Agent) obeyCreateLocked(m whisk.CreateContainer) {
	fail := func(reason string) {
		a.logger.Error("creation refused", "container", string(m.Container), "reason", reason)
		a.reportLocked(whisk.CreationFailed{Container: m.Container, Fault: whisk.NodeFault, Message: reason})
	}
	known := a.containers[m.Container]
	switch {
	case known != nil && known.state == creating && known.lessee == m.Lessee:
		return // the answer is on its way
	case known != nil && known.exists() && known.state != removing && known.lessee == m.Lessee:
		a.reportLocked(whisk.ContainerCreated{Container: known.Container})
		return
	case known != nil:
		fail("the container's id was used before")
		return
	case a.existing >= a.config.Containers:
		fail(fmt.Sprintf("the node has %d containers already", a.existing))
		return
	case m.Spec.Memory <= 0:
		fail(fmt.Sprintf("a container cannot have %v", m.Spec.Memory))
		return
	case m.Spec.Memory > a.config.Memory-a.memory:
		fail(fmt.Sprintf("%v of the node's %v are taken", a.memory, a.config.Memory))
		return
	}
	now := time.Now()
	c := &container{
		Container: whisk.Container{ID: m.Container, Node: a.config.Node, Spec: m.Spec},
		label:     m.Label,
		began:     now,
	}
	c.lease(m.Lessee, now)
	a.containers[c.ID] = c
	a.memory += c.Spec.Memory
	a.existing++
	a.createLocked(c)
}

// obeyGrantLocked moves a lease. It is confirmed to the next lessee's side only
// when the container is fit for use, but nobody else gets it meanwhile.
func (a *Agent) obeyGrantLocked(m whisk.GrantLease) {
	c := a.containers[m.Container]
	switch {
	case c == nil || c.state == gone || c.state == removing:
		a.refuseLocked(m.Container, m.Order, "there is no such container")
		return
	case c.lessee != m.From:
		a.refuseLocked(m.Container, m.Order, fmt.Sprintf("%q does not hold it", m.From))
		return
	}
	goOn := func(err error, failure string) {
		if err != nil {
			c.reason = failure
			a.applyLocked(c, remove)
		}
		a.moveLocked(c, m)
	}
	// The door is shut first: our successor takes whoever is let in for the lessee
	// whom the record names. The record is next. Were we killed after the next
	// lessee began and before it is written, our successor would take the container for another's.
	a.shutLocked(c, func(err error) {
		if err != nil {
			a.writtenLocked(c, err, func(err error) { goOn(err, "its former lessee could not be kept out") })
			return
		}
		a.recordLocked(c, c.recordIf(m.To), func(err error) { goOn(err, "its lease could not be written down") })
	})
}

// recordIf returns what the record would say if the controller held the container.
func (c *container) recordIf(to whisk.ControllerID) ledger.Record {
	next := *c
	next.tenures = slices.Clone(c.tenures)
	next.lease(to, time.Time{})
	return next.record()
}

// moveLocked gives the container to its next lessee, and begins the handover.
func (a *Agent) moveLocked(c *container, m whisk.GrantLease) {
	c.moving = false
	if c.state == removing || c.state == gone { // meanwhile
		a.endingLocked(m)
		return
	}
	now := time.Now()
	inUse := len(c.tenures) > 0 && (c.lessee != "" || now.Sub(c.granted) < a.config.Handover)
	c.lease(m.To, now)
	asleep := c.state != creating && c.state != running || len(c.queue) > 0
	if m.To == "" {
		a.grantedLocked(m)
		return
	}
	c.visitors = a.sources[m.To]
	if !inUse && !asleep {
		a.guardLocked(c, func(err error) { a.admittedLocked(c, m, err) })
		return
	}
	admitted := make(chan error, 1)
	a.guardLocked(c, func(err error) { admitted <- err })
	thaw := &operation{on: resume, done: make(chan error, 1)}
	c.queue = append(c.queue, thaw)
	a.nextLocked(c)
	a.tasks.Go(func() {
		sleep(a.ops, a.config.Handover)
		thawed := <-thaw.done
		a.confirm(c, m, thawed, <-admitted)
	})
}

// admittedLocked ends a handover of a container that nobody used before.
func (a *Agent) admittedLocked(c *container, m whisk.GrantLease, err error) {
	if err != nil {
		a.unreachableLocked(c, err)
	}
	if c.state == removing || c.state == gone {
		a.endingLocked(m)
		return
	}
	a.grantedLocked(m)
}

// confirm ends a handover. The next lessee does not know that the former one
// left the container frozen, so it was thawed; and the former one's last output
// was given time to arrive, or it would be taken for the next one's.
func (a *Agent) confirm(c *container, m whisk.GrantLease, err, notAdmitted error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if notAdmitted != nil {
		a.unreachableLocked(c, notAdmitted)
	}
	switch {
	case c.lessee != m.To:
		// Another command moved it on meanwhile, and has an answer of its own.
	case err != nil, c.state == removing, c.state == gone:
		// Not the heir's name: the scheduler would take it for a yes, and hand
		// out a container that is on its way out.
		a.logger.Warn("lease not granted", "container", string(c.ID), "controller", string(m.To), "state", c.state.String(), "err", err)
		a.endingLocked(m)
	default:
		c.granted = time.Now()
		if !c.rebase() || c.writing {
			a.grantedLocked(m)
			return
		}
		a.recordLocked(c, c.record(), func(error) { a.confirmedLocked(c, m) })
	}
}

// confirmedLocked ends a handover in which the former lessee's last runs moved
// the next one's: those are written down by now, as well as they can be.
func (a *Agent) confirmedLocked(c *container, m whisk.GrantLease) {
	if c.lessee != m.To || c.state == removing || c.state == gone {
		a.endingLocked(m)
		return
	}
	a.grantedLocked(m)
}

func (a *Agent) grantedLocked(m whisk.GrantLease) {
	a.reportLocked(whisk.LeaseGranted{Container: m.Container, Lessee: m.To, Order: m.Order})
}

// endingLocked refuses a lease of a container that ends.
func (a *Agent) endingLocked(m whisk.GrantLease) {
	a.reportLocked(whisk.LeaseRefused{Container: m.Container, Order: m.Order, Reason: "the container is being removed"})
}

func (a *Agent) obeyRemoveLocked(m whisk.RemoveContainer) {
	c := a.containers[m.Container]
	if c == nil || c.state == gone {
		a.reportLocked(whisk.ContainerGone{Container: m.Container, Expected: true, Reason: "there is no such container"})
		return
	}
	if c.state == removing {
		return // whoever held it; its end answers this command too
	}
	if c.lessee != m.Lessee {
		a.refuseLocked(m.Container, 0, fmt.Sprintf("%q does not hold it", m.Lessee))
		return
	}
	c.expected, c.reason = true, "the scheduler removed it"
	a.applyLocked(c, remove)
}
