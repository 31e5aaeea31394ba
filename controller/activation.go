// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/whirl-faas/whirl/controller/recorder"
	"github.com/whirl-faas/whirl/whisk"
)

// activation is one run of an action, owned by one goroutine after begin. It is
// an invocation of a container or, for sequences and conductors, composed of
// other activations.
type activation struct {
	id          whisk.ActivationID
	namespace   string // that invokes, and owns the record
	subject     string
	transaction string
	action      *resolvedAction
	limits      *whisk.Limits // of the namespace
	begun       time.Time     // when the request came; zero if that is not known
	received    time.Time
	entered     time.Time   // when it was accepted and first began to look for a container; zero before
	parent      *activation // that it is a step of, nil for none

	// Of invocations.
	key         string // "uuid:key" of who invokes; empty unless the action wants it
	environment map[string]json.RawMessage
	run         []byte // of /run, without the deadline
	code        []byte // read in advance; nil otherwise
	invocation  whisk.Invocation
	admission   Admission                            // nil unless it was taken before Accept
	builtin     func(context.Context) whisk.Response // what it does; nil where a container does it

	composed *composed // nil for invocations

	timed     bool    // its stages are wanted
	stages    *Stages // where its time went; nil if nobody wants to know
	keeping   keeping
	caller    caller // of a blocking one
	slot      *recorder.Slot
	announced bool                 // the record
	expected  bool                 // there is memory for its record
	rest      func() whisk.Outcome // goes on with it after a container turned it away; nil if none did
	accepted  bool                 // it is in the durable queue
	contested bool                 // other controllers may be about to run it, too
	claimed   bool                 // it was told to a container, or is about to be
	ceded     bool                 // another controller has it, or will
	flies     bool                 // it counts among what its namespace has at once
	container whisk.ContainerID    // that ran it; "" before
}

// newActivation makes an activation of what an action is to its callers.
func (c *Controller) newActivation(id whisk.ActivationID, call Call, action *resolvedAction, payload []byte, received time.Time) *activation {
	if !action.isComposed() {
		return c.newInvocation(id, call, action, payload, received)
	}
	act := c.newBareActivation(id, call, action, received)
	act.compose(call.Caller, payload)
	return act
}

func (c *Controller) newBareActivation(id whisk.ActivationID, call Call, action *resolvedAction, received time.Time) *activation {
	return &activation{
		id:          id,
		namespace:   call.Caller.Namespace,
		subject:     call.Caller.Subject,
		transaction: call.Transaction,
		action:      action,
		limits:      c.LimitsOf(call.Caller),
		begun:       call.Begun,
		received:    received,
		timed:       call.Timed,
		keeping:     keeping{traced: call.Traced, action: action.keeping},
	}
}

// newInvocation makes an activation of an action's code.
func (c *Controller) newInvocation(id whisk.ActivationID, call Call, action *resolvedAction, payload []byte, received time.Time) *activation {
	act := c.newBareActivation(id, call, action, received)
	act.builtin = c.bindBuiltin(id, call, action, payload)
	act.environment = action.environment(payload)
	if action.apiKey && call.Caller.Key.Key != "" { // a recovered call may lack it
		act.key = call.Caller.Key.String()
	}
	if act.builtin == nil {
		act.run = act.appendRun(make([]byte, 0, len(payload)+runOverhead(act)), payload)
	}
	act.invocation = whisk.Invocation{
		Activation:  id,
		Key:         action.keyFor(call.Caller.Namespace),
		Spec:        whisk.ContainerSpec{Kind: action.runtime.Kind, Image: action.Exec.Image, Memory: action.Limits.Memory},
		Limits:      action.Limits,
		Label:       action.label,
		Received:    received,
		StartBy:     received.Add(c.config.StartWithin),
		ResultLimit: act.limits.Result,
		Sentinels:   action.runtime.Sentinels,
		Size:        whisk.Bytes(cap(act.run)) + activationSize,
		Claim:       func(ctx context.Context) error { return c.claim(ctx, act) },
		Prepare:     func(ctx context.Context) { c.readAhead(ctx, act) },
		InitBody:    func(ctx context.Context, deadline time.Time) ([]byte, error) { return c.initBody(ctx, act, deadline) },
		RunBody:     func(deadline time.Time) []byte { return appendDeadline(act.run, deadline) },
	}
	return act
}

// activationSize is about what an activation holds beside its /run body.
const activationSize = 2 * whisk.KB

// runOverhead is about what /run's body holds beside the payload.
func runOverhead(act *activation) int {
	return 160 + deadlineSpace + len(act.namespace) + len(act.action.identity) + len(act.transaction) + len(act.key) + int(act.action.Parameters.Size()) + 8*len(act.action.Parameters)
}

// enter takes a place in the controller, one among what the namespace may run at
// once and one for the record, and for a composed one one among those that run at once.
func (c *Controller) enter(ctx context.Context, act *activation) error {
	if err := c.running.enter(); err != nil {
		return err
	}
	if err := c.takeOff(act); err != nil {
		c.running.leave()
		return err
	}
	if act.composed != nil && !c.sequences.TryAcquire(1) {
		c.land(act)
		c.running.leave()
		return whisk.Errorf(whisk.Throttled, "Too many %s run at once (limit: %d).", act.action.sort(), c.config.Sequences)
	}
	slot, err := c.recorder.Reserve(ctx, c.config.RoomWait)
	if err != nil {
		c.leave(act)
		return err
	}
	act.slot = slot
	return nil
}

// leave undoes enter but for the place of the record, and what was undone before.
func (c *Controller) leave(act *activation) {
	if act.composed != nil {
		c.sequences.Release(1)
	}
	c.land(act)
	c.running.leave()
}

// abandon undoes enter and what came after it for an activation that will not run.
func (c *Controller) abandon(act *activation) {
	if act.admission != nil {
		act.admission.Cancel()
	}
	act.slot.Release()
	c.leave(act)
}

// reserve takes the place that an activation needs before it is accepted: what
// was accepted is not turned away. Composed ones have theirs since enter.
func (c *Controller) reserve(act *activation) error {
	if act.composed != nil {
		return nil
	}
	admission, err := c.admit(act)
	if err == nil {
		act.admission = admission
	}
	return err
}

func (c *Controller) admit(act *activation) (Admission, error) {
	if act.builtin != nil {
		return c.admitBuiltin(act)
	}
	return c.deps.Balancer.Admit(&act.invocation)
}

// start runs an activation that has entered on a goroutine of its own, for
// which c.running answers. Both done and after may be nil.
func (c *Controller) start(act *activation, done chan<- ending, after func()) {
	act.look()
	c.crew.start(job{act, done, after})
}

// look notes that an activation begins to look for a container.
func (a *activation) look() {
	if a.entered.IsZero() {
		a.entered = time.Now()
	}
}

// work runs an activation to its end, which may come after it has returned. The
// answer goes out before the logs are collected; the record is stored after.
func (c *Controller) work(j job) {
	act := j.act
	record, logs, err := c.perform(act)
	c.land(act)
	if err == nil && act.contested && !act.claimed && !act.ceded && c.activations.Err() == nil {
		// It ended before it had a container. Another may have one for it.
		if err := c.claimEntry(c.activations, act); err != nil {
			c.deps.Logger.Debug("the end of an accepted activation is left to others", "activation", act.id, "err", err)
		}
	}
	if err == nil && c.leftToQueue(act) {
		err = errStopping
	}
	if err == nil {
		c.announce(act, record)
	} else {
		act.slot.Release()
	}
	if j.done != nil {
		j.done <- ending{record, err}
	}
	if err == nil {
		c.afterLogs(j, record, logs)
	} else {
		c.end(j)
	}
}

// end is the last that happens to an activation.
func (c *Controller) end(j job) {
	if j.after != nil {
		j.after()
	}
	c.leave(j.act)
}

// root returns the activation that came from outside: the outermost one around
// act, or act itself.
func (a *activation) root() *activation {
	for a.parent != nil {
		a = a.parent
	}
	return a
}

// leftToQueue reports whether nothing is to be recorded of an activation,
// because the queue still has its root, for another controller or the next start.
func (c *Controller) leftToQueue(act *activation) bool {
	root := act.root()
	return root.accepted && (root.ceded || !root.claimed && c.activations.Err() != nil)
}

// afterLogs has a function called when the output of an activation is in the log
// store; nil if there is none to wait for.
type afterLogs = func(func(whisk.LogSummary, error))

// perform does what the activation is about and makes its record. An error
// means that it was not accepted after all.
func (c *Controller) perform(act *activation) (*whisk.Activation, afterLogs, error) {
	if act.composed != nil {
		return c.performComposed(act), nil, nil
	}
	outcome, err := c.invoke(act)
	c.takeAhead(act) // it may have got a container with the code, or none
	if err != nil {
		return nil, nil, err
	}
	return act.conclude(outcome), outcome.AfterLogs, nil
}

// conclude makes the record of an activation that has ended.
func (a *activation) conclude(outcome whisk.Outcome) *whisk.Activation {
	a.container = outcome.Container
	a.noteStages(outcome)
	return recordOf(a, outcome)
}

// afterLogs ends an activation when its output is in the log store: who finds the
// record finds the logs. Nobody waits for that. Patience with it has an end.
func (c *Controller) afterLogs(j job, record *whisk.Activation, logs afterLogs) {
	answered := time.Now()
	ended := func(err error) {
		c.noteLogs(j.act, err)
		if j.act.stages != nil {
			j.act.stampStages(answered)
		}
		c.file(j.act, record)
		c.end(j)
	}
	if logs == nil {
		ended(nil)
		return
	}
	patience := c.patience.context(c.activations, c.config.LogCollection)
	inTime := context.AfterFunc(patience, func() {
		ended(whisk.Errorf(whisk.Timeout, "collect logs: %w", context.Cause(patience)))
	})
	logs(func(_ whisk.LogSummary, err error) {
		if inTime() {
			ended(err)
		}
	})
}

// noteLogs says in the log why output is not in the store.
func (c *Controller) noteLogs(act *activation, err error) {
	if err == nil {
		return
	}
	level := slog.LevelWarn
	if whisk.KindOf(err) == whisk.Unavailable {
		level = slog.LevelDebug // agents say once that the store is away; we would for each activation
	}
	c.deps.Logger.Log(c.activations, level, "logs not collected", "activation", act.id, "container", act.container, "action", act.action.Name.Path(), "err", err)
}

func (c *Controller) invoke(act *activation) (whisk.Outcome, error) {
	if act.rest != nil {
		return act.rest(), nil
	}
	if act.admission == nil && act.builtin != nil {
		if err := c.reserve(act); err != nil {
			return whisk.Outcome{}, err
		}
	}
	if act.admission != nil {
		return act.admission.Invoke(c.activations), nil
	}
	return c.deps.Balancer.Invoke(c.activations, &act.invocation)
}

// claim is called when a container is at hand, and before it learns of the
// activation: the last moment at which nothing has happened yet.
func (c *Controller) claim(ctx context.Context, act *activation) error {
	if !act.expected {
		if err := act.slot.Expect(ctx, act.limits.Result); err != nil {
			return err
		}
	}
	return c.claimEntry(ctx, act.root())
}

// claimEntry marks the entry of an accepted activation in the queue, once. If it
// is not known whether that was done, who accepted the activation goes on to
// record its failure; one that others may take up as well is left in the queue
// for the next look.
func (c *Controller) claimEntry(ctx context.Context, act *activation) error {
	if !act.accepted || act.claimed {
		return nil
	}
	err := c.deps.Queue.Claim(ctx, act.id, c.config.ID)
	if err == nil {
		act.claimed = true
		return nil
	}
	kind := whisk.KindOf(err)
	act.ceded = act.contested || kind == whisk.Conflict || kind == whisk.NotFound
	return fmt.Errorf("claim activation %s: %w", act.id, err)
}

func newActivationID() whisk.ActivationID {
	id, err := uuid.NewV7()
	if err != nil {
		panic(err) // the system has no randomness
	}
	return whisk.ActivationID(hex.EncodeToString(id[:]))
}
