// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/agent/ledger"
	"github.com/whirl-faas/whirl/agent/output"
	"github.com/whirl-faas/whirl/whisk"
)

// How containers outlive the agent's process. A killed one, or one that stopped
// with KeepOnStop, leaves its sandboxes running and a record of each. The next
// takes over what the driver recovers and a record is of; the rest it destroys.
//
// A lease goes on: its lessee reaches the container without us, and renews with
// the new process, whose clock for it begins at the start. So the container is
// nobody else's until its lessee gives it up or a whole lease has passed, and
// that is later than when a lessee stops that could renew with neither process.

// recover takes over, or destroys, what a former agent of this node left.
func (a *Agent) recover(ctx context.Context) error {
	left, err := a.driver.Recover(ctx)
	if err != nil {
		return fmt.Errorf("recover sandboxes: %w", err)
	}
	records := a.loadRecords()
	var recovering sync.WaitGroup
	failures := make([]error, len(left))
	for i, sandbox := range left {
		record, known := records[sandbox.ID()]
		delete(records, sandbox.ID())
		recovering.Go(func() {
			if known && a.takeOver(ctx, sandbox, record) {
				return
			}
			failures[i] = a.discard(ctx, sandbox)
			a.strike(sandbox.ID())
		})
	}
	recovering.Wait()
	for id := range records {
		a.strike(id) // its sandbox is gone
	}
	if len(left) > 0 {
		a.mu.Lock()
		a.logger.Info("sandboxes of a former agent", "recovered", a.existing, "destroyed", len(left)-a.existing)
		a.mu.Unlock()
	}
	return errors.Join(failures...)
}

// loadRecords returns what is written down. What cannot be read belongs to
// nobody, and goes.
func (a *Agent) loadRecords() map[whisk.ContainerID]ledger.Record {
	if a.ledger == nil {
		return nil
	}
	list, err := a.ledger.Load()
	if err != nil {
		a.logger.Error("records of containers lost", "err", err)
	}
	epoch, err := a.ledger.Epoch()
	if err != nil {
		a.logger.Error("former schedulers' epoch lost", "err", err)
	}
	records := make(map[whisk.ContainerID]ledger.Record, len(list))
	for _, r := range list {
		records[r.Container] = r
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.epoch = epoch
	return records
}

// takeOver makes a sandbox a container of ours, and returns false if that cannot
// be done.
func (a *Agent) takeOver(ctx context.Context, sandbox whisk.Sandbox, record ledger.Record) bool {
	state, err := a.settleFreeze(ctx, sandbox, record)
	if err != nil {
		a.logger.Warn("container not recovered", "container", string(sandbox.ID()), "err", err)
		return false
	}
	c := a.reborn(sandbox, record)
	c.state, c.asleep = state, state == suspended
	// Without what was left: should we be killed, that would be read once more.
	if err := a.write(c.record()); err != nil {
		a.logger.Warn("container not recovered", "container", string(c.ID), "err", err)
		return false
	}
	if record.Left != nil {
		a.mark(c.ID, ledger.EndedStdout, record.Left.Ended[0])
		a.mark(c.ID, ledger.EndedStderr, record.Left.Ended[1])
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.containers[c.ID] = c
	a.memory += c.Spec.Memory
	a.existing++
	a.recorders.Go(c.recorder.Run)
	a.watchers.Go(func() { a.watch(c) })
	a.guardLocked(c, func(error) {}) // an error was told, and the next change repeats it
	return true
}

// reborn returns the container that a record speaks of. Its lease begins anew, and
// its runs are counted on.
func (a *Agent) reborn(sandbox whisk.Sandbox, record ledger.Record) *container {
	now := time.Now()
	c := &container{
		Container: whisk.Container{ID: sandbox.ID(), Node: a.config.Node, Address: sandbox.Address(), Spec: sandbox.Spec()},
		label:     record.Label,
		lessee:    record.Lessee,
		used:      record.Used,
		granted:   now,
		serial:    record.Serial,
		sandbox:   sandbox,
		door:      sandbox.Address(),
		began:     now,
	}
	c.recorder = a.recorderOf(c)
	if record.Left != nil {
		c.recorder.Continue(record.Left)
	} else {
		c.recorder.ContinueAfter(record.Marks.Ended)
	}
	if a.gate != nil && c.lessee != "" {
		// Nothing else is known of the lessee before it renews, and its connections
		// must not break meanwhile.
		c.visitors = a.gate.Admitted(c.door)
	}
	for _, t := range record.Tenures {
		c.tenures = append(c.tenures, tenure{lessee: t.Lessee, base: t.Base, runs: t.Runs})
	}
	if n := len(c.tenures); n > 0 {
		if last, ended := &c.tenures[n-1], c.recorder.Ended(); ended > last.base {
			last.runs = max(last.runs, ended-last.base)
		}
	}
	return c
}

// settleFreeze makes sure whether a sandbox is frozen. If its present lessee had
// it frozen it must be: the lessee relies on it that nothing is read there before
// its resume. Whatever else may be frozen has nobody who would thaw it.
func (a *Agent) settleFreeze(ctx context.Context, sandbox whisk.Sandbox, record ledger.Record) (state, error) {
	select {
	case <-sandbox.Done():
		return running, nil // watch sees its end
	default:
	}
	if !a.driver.Capabilities().Suspend {
		return running, nil
	}
	ctx, cancel := context.WithTimeout(ctx, a.config.OperateTimeout)
	defer cancel()
	if record.Marks.Frozen != 0 && record.Marks.Frozen == record.Serial && record.Lessee != "" {
		return suspended, sandbox.Suspend(ctx)
	}
	if err := sandbox.Resume(ctx); err != nil {
		return running, err
	}
	a.mark(sandbox.ID(), ledger.Frozen, 0)
	return running, nil
}

func (a *Agent) discard(ctx context.Context, sandbox whisk.Sandbox) error {
	stdout, stderr := sandbox.Output()
	_ = stdout.Close() // nobody knows whose output it is
	_ = stderr.Close()
	ctx, cancel := context.WithTimeout(ctx, a.config.DestroyTimeout)
	defer cancel()
	if err := sandbox.Destroy(ctx); err != nil {
		return fmt.Errorf("destroy leftover %s: %w", sandbox.ID(), err)
	}
	return nil
}

// recorderOf returns a recorder of the container's output.
func (a *Agent) recorderOf(c *container) *output.Recorder {
	stdout, stderr := c.sandbox.Output()
	recorder := output.NewRecorder(a.config.Output, stdout, stderr)
	if a.ledger != nil {
		recorder.TellEnded(func(stream int, run uint64) { a.mark(c.ID, ledger.EndedStdout+ledger.Mark(stream), run) })
	}
	return recorder
}

// leaveAll leaves the containers to the next agent: each as it is, frozen or not,
// with a record of it and of the output that nobody asked for yet. What is being
// made or removed goes. It gives up what takes longer than the shutdown time.
func (a *Agent) leaveAll(giveUp context.CancelCauseFunc) error {
	patience := time.AfterFunc(a.config.Shutdown, func() { giveUp(errStopping) })
	defer patience.Stop()
	a.stop()
	close(a.leaving)
	a.watchers.Wait()
	a.mu.Lock()
	for _, c := range a.containers {
		if c.state == creating {
			a.applyLocked(c, remove)
		}
	}
	a.mu.Unlock()
	a.tasks.Wait()
	a.watchers.Wait() // of what was just being made

	left := a.leftovers()
	failures := make([]error, len(left))
	var leaving sync.WaitGroup
	for i, c := range left {
		leaving.Go(func() { failures[i] = a.leave(c) })
	}
	leaving.Wait()
	giveUp(errStopping)
	a.recorders.Wait()
	a.logger.Info("containers left to the next agent", "containers", len(left))
	return errors.Join(failures...)
}

// leftovers returns what is to be left, and makes sure that the next agent
// destroys what is not.
func (a *Agent) leftovers() (left []*container) {
	a.mu.Lock()
	all := slices.Collect(maps.Values(a.containers))
	a.mu.Unlock()
	for _, c := range all { // nobody else changes them any more
		switch {
		case c.state == gone:
		case c.sandbox == nil, c.state == removing:
			a.strike(c.ID)
		default:
			left = append(left, c)
		}
	}
	return left
}

// leave writes down what the next agent is to know of a container. Nobody else
// changes it any more. If that cannot be written, its last record and the marks
// still serve, as after a kill.
func (a *Agent) leave(c *container) error {
	a.turns <- struct{}{} // few at a time: what they leave is in memory twice meanwhile
	defer func() { <-a.turns }()
	record := c.record()
	record.Left = c.recorder.Leave()
	return a.ledger.Save(record)
}
