// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Results of accepted activations that are not run after all.
const (
	lostText    = "The activation was lost: the platform stopped while it ran."
	deletedText = "Action could not be found or may have been deleted."
	brokenText  = "The activation was lost: what the platform kept of it cannot be read."
)

const (
	// A pass over the queue takes this much into memory.
	recoveryBatch = 256
	recoveryBytes = 64 * whisk.MB

	recoveryBackoff = 200 * time.Millisecond
)

// recover finishes what former processes accepted: it runs the unclaimed
// activations, oldest first, and records the claimed ones as lost.
//
// It takes every claim but its own for that of a process that is no more, which
// holds while a queue has one controller.
func (c *Controller) recover(ctx context.Context) {
	lanes := make(chan struct{}, c.config.Recovery)
	seen := map[whisk.ActivationID]bool{}
	for {
		entries, err := c.unfinished(ctx, seen)
		if err != nil {
			c.deps.Logger.Warn("accepted activations not read, trying again", "err", err)
			if !pause(ctx, recoveryBackoff) {
				return
			}
			continue
		}
		if len(entries) == 0 {
			break
		}
		for _, entry := range entries {
			seen[entry.Activation] = true
			select {
			case lanes <- struct{}{}:
			case <-ctx.Done():
				return
			}
			if !c.resume(ctx, entry, func() { <-lanes }) {
				return
			}
		}
	}
	if len(seen) > 0 {
		c.deps.Logger.Info("accepted activations of a former process taken up", "count", len(seen))
	}
}

// unfinished returns the oldest entries that nobody in this process knows.
func (c *Controller) unfinished(ctx context.Context, seen map[whisk.ActivationID]bool) ([]whisk.Accepted, error) {
	var entries []whisk.Accepted
	var size whisk.Bytes
	for entry, err := range c.deps.Queue.Pending(ctx) {
		if err != nil {
			return nil, err
		}
		id := entry.Activation
		// An entry of our own is in the accepted set until it is in the
		// recorder, and in the recorder until it is out of the queue. One that left
		// the queue since it was read is caught by Claim.
		if seen[id] || entry.ClaimedBy == c.config.ID || c.accepted.has(id) || c.recorder.Holds(id) {
			continue
		}
		entries = append(entries, entry)
		size += whisk.Bytes(len(entry.Body))
		if len(entries) == recoveryBatch || size > recoveryBytes {
			break
		}
	}
	return entries, nil
}

// resume takes one entry up, waiting for room. It returns false if the
// controller stops; done is called when the entry needs no more attention.
func (c *Controller) resume(ctx context.Context, entry whisk.Accepted, done func()) bool {
	var body acceptedBody
	if err := json.Unmarshal(entry.Body, &body); err != nil {
		return c.giveUp(ctx, entry, acceptedBody{}, whisk.WhiskError, brokenText, done)
	}
	if body.Firing != nil {
		return c.endEntry(ctx, body.Firing.record(entry.Activation, entry.Namespace, body.Payload), done)
	}
	if entry.ClaimedBy != "" {
		return c.giveUp(ctx, entry, body, whisk.WhiskError, lostText, done)
	}
	action, err := c.resumedAction(ctx, entry, body)
	if err != nil && whisk.KindOf(err) == whisk.NotFound {
		return c.giveUp(ctx, entry, body, whisk.ApplicationError, deletedText, done)
	}
	if err != nil {
		return false
	}
	if action.unusable != nil {
		return c.giveUp(ctx, entry, body, whisk.ApplicationError, action.unusable.Error(), done)
	}
	act := c.newActivation(entry.Activation, body.call(entry), action, body.Payload, entry.At)
	act.accepted = true
	act.invocation.StartBy = time.Now().Add(c.config.StartWithin)
	if !c.enterPatiently(ctx, act) {
		return false
	}
	c.start(act, nil, done)
	return true
}

// call restores the call that the entry was accepted from.
func (b acceptedBody) call(entry whisk.Accepted) Call {
	return Call{
		Caller: &Caller{
			Identity: whisk.Identity{Subject: b.Origin.Subject, Namespace: entry.Namespace, UUID: b.Origin.UUID},
			Key:      whisk.AuthKey{UUID: b.Origin.UUID, Key: b.Origin.Key},
		},
		Action:      b.action(entry),
		Payload:     b.Payload,
		Transaction: b.Origin.Transaction,
	}
}

// action returns the name by which the action was called.
func (b acceptedBody) action(entry whisk.Accepted) whisk.FullName {
	name := whisk.FullName{Namespace: b.Origin.Namespace, Package: b.Origin.Package, Name: b.Origin.Name}
	if name.Namespace == "" {
		name.Namespace = entry.Namespace
	}
	return name
}

// resumedAction resolves the action of an entry: as it is now, which may be
// newer than when the entry was accepted. It outlasts outages of the store; an
// error other than NotFound means that the controller stops.
func (c *Controller) resumedAction(ctx context.Context, entry whisk.Accepted, body acceptedBody) (*resolvedAction, error) {
	for {
		action, err := c.allowedAction(ctx, body.call(entry))
		if err == nil {
			return action, nil
		}
		switch whisk.KindOf(err) {
		case whisk.NotFound, whisk.Conflict, whisk.Denied:
			return nil, errNotFound() // what the caller may not run any more is as good as gone
		}
		c.deps.Logger.Warn("action of an accepted activation not read, trying again", "activation", entry.Activation, "err", err)
		if !pause(ctx, recoveryBackoff) {
			return nil, err
		}
	}
}

// allowedAction resolves the action of a call, if the caller may run it.
func (c *Controller) allowedAction(ctx context.Context, call Call) (*resolvedAction, error) {
	if err := c.MayInvoke(ctx, call.Caller, call.Action); err != nil {
		return nil, err
	}
	action, err := c.resolve(ctx, call.Action)
	if err != nil {
		return nil, err
	}
	return action, c.mayUseAll(ctx, call.Caller, action.Exec.Components, c.cachedPackage)
}

// enterPatiently waits for as long as it takes to have room; false if the controller stops.
func (c *Controller) enterPatiently(ctx context.Context, act *activation) bool {
	for {
		if err := c.enter(ctx, act); err == nil {
			if err := c.reserve(act); err == nil {
				return true
			}
			c.abandon(act)
		}
		if !pause(ctx, recoveryBackoff) {
			return false
		}
	}
}

// giveUp records an entry that is not run.
func (c *Controller) giveUp(ctx context.Context, entry whisk.Accepted, body acceptedBody, status whisk.Status, text string, done func()) bool {
	c.deps.Logger.Warn("accepted activation ends without having run to its end", "activation", entry.Activation, "reason", text)
	return c.endEntry(ctx, failedRecord(entry, body, status, text), done)
}

// endEntry stores the record of an entry that needs no container, and so only a
// place and no memory to speak of.
func (c *Controller) endEntry(ctx context.Context, record *whisk.Activation, done func()) bool {
	defer done()
	slot, err := c.recorder.Reserve(ctx, 0)
	if err != nil {
		return false
	}
	slot.Announce(record, true)
	slot.Write()
	return true
}

func failedRecord(entry whisk.Accepted, body acceptedBody, status whisk.Status, text string) *whisk.Activation {
	called := body.action(entry)
	stored := called
	if body.Origin.Stored != (storedName{}) {
		stored = whisk.FullName(body.Origin.Stored)
	}
	action := newResolved(whisk.Action{
		Name:    stored,
		Version: body.Origin.Version,
		Exec:    whisk.Exec{Kind: body.Origin.Kind},
		Limits:  body.Origin.Limits,
	}, 0, whisk.Runtime{}, nil)
	if stored != called {
		action.behind(called)
	}
	act := &activation{id: entry.Activation, namespace: entry.Namespace, subject: body.Origin.Subject, action: action, received: entry.At}
	response, now := whisk.ErrorResponse(status, text), time.Now()
	if body.Origin.Kind == whisk.Sequence {
		return sequenceRecord(act, now, tally{response: response, ids: []string{}})
	}
	return recordOf(act, whisk.Outcome{Response: response, Start: now, Wait: now.Sub(entry.At)})
}

// pause waits; false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
