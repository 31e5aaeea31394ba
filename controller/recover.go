// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Results of accepted activations that are not run after all.
const (
	lostText    = "The activation was lost: the platform stopped while it ran."
	failedText  = "The activation was lost: the platform could not see it through."
	deletedText = "Action could not be found or may have been deleted."
	brokenText  = "The activation was lost: what the platform kept of it cannot be read."
)

const (
	// A pass over the queue takes this much into memory.
	recoveryBatch = 256
	recoveryBytes = 64 * whisk.MB

	recoveryBackoff = 200 * time.Millisecond
)

// recover finishes what processes accepted that are no more: it runs the
// unclaimed activations, oldest first, and records the claimed ones as lost.
//
// A controller that is alone on its queue does that once, and takes everything
// that it does not know for a former process's. One of several looks again and
// again, since another may end for good at any time, and leaves alone what living
// ones are at. What it takes up the others may take up as well; so it claims
// each entry before it makes a record of it, also one that it does not run.
func (c *Controller) recover(ctx context.Context) {
	lanes := make(chan struct{}, c.config.Recovery)
	for c.takeUpAll(ctx, lanes) && c.deps.Alive != nil && pause(ctx, c.config.RecoveryInterval) {
	}
}

// takeUpAll takes up everything that is left now, each in a lane. It returns
// false if the controller stops.
func (c *Controller) takeUpAll(ctx context.Context, lanes chan struct{}) bool {
	seen := map[whisk.ActivationID]bool{}
	for {
		entries, err := c.unfinished(ctx, seen)
		if err != nil {
			c.deps.Logger.Warn("accepted activations not read, trying again", "err", err)
			if !pause(ctx, recoveryBackoff) {
				return false
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
				return false
			}
			c.accepted.add(entry.Activation)
			if !c.resume(ctx, entry, func() { c.accepted.remove(entry.Activation); <-lanes }) {
				return false
			}
		}
	}
	if len(seen) > 0 {
		c.deps.Logger.Info("accepted activations of a former process taken up", "count", len(seen))
	}
	return true
}

// unfinished returns the oldest entries that are left and that a pass has not seen.
func (c *Controller) unfinished(ctx context.Context, seen map[whisk.ActivationID]bool) ([]whisk.Accepted, error) {
	var entries []whisk.Accepted
	var size whisk.Bytes
	for entry, err := range c.deps.Queue.Pending(ctx) {
		if err != nil {
			return nil, err
		}
		if seen[entry.Activation] || !c.isLeft(entry) {
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

// isLeft reports whether nobody is at work on an entry.
//
// One that we are at is in the accepted set until it is in the recorder, and in
// the recorder until it is out of the queue. One that left the queue since it was
// read is caught by Claim, or by the record that the store has of it.
func (c *Controller) isLeft(entry whisk.Accepted) bool {
	if c.accepted.has(entry.Activation) || c.recorder.Holds(entry.Namespace, entry.Activation) {
		return false
	}
	if c.deps.Alive == nil {
		return entry.ClaimedBy != c.config.ID
	}
	by := holder(entry)
	return by == "" || by == c.config.ID || !c.deps.Alive(by)
}

// holder returns whose an entry is: who claimed it or, before anybody did, who
// accepted it; "" if that is not known.
func holder(entry whisk.Accepted) whisk.ControllerID {
	return cmp.Or(entry.ClaimedBy, entry.AcceptedBy)
}

// resume takes one entry up, waiting for room. It returns false if the
// controller stops; done is called when the entry needs no more attention.
func (c *Controller) resume(ctx context.Context, entry whisk.Accepted, done func()) bool {
	var body acceptedBody
	limits, ok := c.resumedLimits(ctx, entry)
	if !ok {
		return false
	}
	lost := stranded{entry: entry, limits: limits, done: done}
	if err := json.Unmarshal(entry.Body, &body); err != nil {
		return c.giveUp(ctx, lost, whisk.WhiskError, brokenText)
	}
	if body.Firing != nil {
		return c.endEntry(ctx, lost, body.Firing.record(entry.Activation, entry.Namespace, body.Payload))
	}
	lost.body = body
	switch {
	case c.deps.Alive != nil && holder(entry) == c.config.ID:
		// We lost sight of it: it was refused and could not be taken back, or the
		// store would not have its record, or it is not known whether we claimed it.
		return c.giveUp(ctx, lost, whisk.WhiskError, failedText)
	case entry.ClaimedBy != "":
		return c.giveUp(ctx, lost, whisk.WhiskError, lostText)
	}
	call := body.call(entry, limits)
	action, err := c.resumedAction(ctx, entry, call)
	if err != nil && whisk.KindOf(err) == whisk.NotFound {
		return c.giveUp(ctx, lost, whisk.ApplicationError, deletedText)
	}
	if err != nil {
		return false
	}
	if action.unusable != nil {
		status := whisk.ApplicationError
		if whisk.KindOf(action.unusable) == whisk.Unavailable {
			status = whisk.WhiskError // the user could not have known
		}
		return c.giveUp(ctx, lost, status, action.unusable.Error())
	}
	act := c.newActivation(entry.Activation, call, action, body.Payload, entry.At)
	act.accepted, act.contested = true, c.deps.Alive != nil
	act.invocation.StartBy = time.Now().Add(c.config.StartWithin)
	if !c.enterPatiently(ctx, act) {
		return false
	}
	c.start(act, nil, done)
	return true
}

// stranded is an entry of which nothing more is to be had than a record.
type stranded struct {
	entry  whisk.Accepted
	body   acceptedBody  // zero if it cannot be read
	limits *whisk.Limits // of the namespace
	done   func()        // to be called when it needs no more attention
}

// resumedLimits finds what an entry's namespace is allowed now. It outlasts outages
// of the store; false means that the controller stops.
func (c *Controller) resumedLimits(ctx context.Context, entry whisk.Accepted) (*whisk.Limits, bool) {
	for {
		limits, err := c.limitsOf(ctx, entry.Namespace)
		if err == nil {
			return limits, true
		}
		c.deps.Logger.Warn("limits of an accepted activation not read, trying again", "activation", entry.Activation, "err", err)
		if !pause(ctx, recoveryBackoff) {
			return nil, false
		}
	}
}

// call restores the call that the entry was accepted from. Of the namespace's
// limits those count that it has now.
func (b acceptedBody) call(entry whisk.Accepted, limits *whisk.Limits) Call {
	return Call{
		Caller: &Caller{
			Identity: whisk.Identity{Subject: b.Origin.Subject, Namespace: entry.Namespace, UUID: b.Origin.UUID},
			Key:      whisk.AuthKey{UUID: b.Origin.UUID, Key: b.Origin.Key},
			limits:   limits,
		},
		Action:      b.action(entry),
		Payload:     b.Payload,
		Transaction: b.Origin.Transaction,
		Traced:      b.Origin.Traced,
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
func (c *Controller) resumedAction(ctx context.Context, entry whisk.Accepted, call Call) (*resolvedAction, error) {
	for {
		action, err := c.allowedAction(ctx, call)
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

// giveUp records an entry that is not run. It leaves one that others may run to
// whoever claims it.
func (c *Controller) giveUp(ctx context.Context, lost stranded, status whisk.Status, text string) bool {
	entry := lost.entry
	if c.deps.Alive != nil && entry.ClaimedBy == "" {
		if err := c.deps.Queue.Claim(ctx, entry.Activation, c.config.ID); err != nil {
			c.deps.Logger.Debug("the end of an accepted activation is left to others", "activation", entry.Activation, "err", err)
			lost.done()
			return ctx.Err() == nil
		}
	}
	c.deps.Logger.Warn("accepted activation ends without having run to its end", "activation", entry.Activation, "reason", text)
	return c.endEntry(ctx, lost, failedRecord(entry, lost.body, status, text))
}

// endEntry stores the record of an entry that needs no container, and so only a
// place and no memory to speak of.
func (c *Controller) endEntry(ctx context.Context, lost stranded, record *whisk.Activation) bool {
	defer lost.done()
	slot, err := c.recorder.Reserve(ctx, 0)
	if err != nil {
		return false
	}
	slot.Announce(record, true)
	c.keep(slot, lost.limits, keeping{traced: lost.body.Origin.Traced}, record.Response.Status)
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
	action.conductor = body.Origin.Conductor
	if action.isComposed() {
		return composedRecord(act, now, tally{response: response, ids: []string{}})
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
