// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/whirl-faas/whirl/controller/recorder"
	"github.com/whirl-faas/whirl/whisk"
)

// Call is a request to run an action.
type Call struct {
	Caller      *Caller
	Action      whisk.FullName
	Payload     []byte // a JSON object, or nothing; it is not kept after the call returned
	Transaction string
}

// Answer is what a blocking call learned.
type Answer struct {
	Activation whisk.ActivationID
	Record     *whisk.Activation // not to be modified; nil if the activation still runs
}

// Invoke runs an action and waits for it. It returns earlier, with an Answer
// without a Record, when wait is over or ctx ends; the activation goes on.
func (c *Controller) Invoke(ctx context.Context, call Call, wait time.Duration) (Answer, error) {
	act, err := c.begin(ctx, call)
	if err != nil {
		return Answer{}, err
	}
	done := make(chan ending, 1)
	c.start(act, done, nil)

	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case end := <-done:
		if end.err != nil {
			return Answer{}, end.err
		}
		return Answer{act.id, end.record}, nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return Answer{Activation: act.id}, nil
}

// ending is what an activation tells the call that waits for it: its record,
// or why it was not accepted after all.
type ending struct {
	record *whisk.Activation
	err    error
}

// activation is one run of an action, owned by one goroutine after begin.
type activation struct {
	id          whisk.ActivationID
	subject     string
	key         string // "uuid:key" of who invokes; empty unless the action wants it
	transaction string
	action      *resolvedAction
	received    time.Time
	environment map[string]json.RawMessage
	run         []byte // of /run, without the deadline

	slot       *recorder.Slot
	invocation whisk.Invocation
	admission  Admission // nil unless it was taken before Accept

	accepted bool // it is in the durable queue
	claimed  bool // it was told to a container, or is about to be
	ceded    bool // another controller has it
}

// begin checks a call and makes an activation of it, which has entered c.running
// and has room for its record.
func (c *Controller) begin(ctx context.Context, call Call) (*activation, error) {
	if err := c.admit(call); err != nil {
		return nil, err
	}
	if err := c.mayUse(ctx, call.Caller, call.Action); err != nil {
		return nil, err
	}
	payload, err := c.checkPayload(call.Payload)
	if err != nil {
		return nil, err
	}
	action, err := c.resolve(ctx, call.Action)
	if err != nil {
		return nil, err
	}
	if action.unusable != nil {
		return nil, action.unusable
	}
	if err := action.checkFinal(payload); err != nil {
		return nil, err
	}
	act := c.newActivation(c.deps.NewID(), call, action, payload, time.Now())
	return act, c.enter(ctx, act)
}

// admit is where throttles will stand: it decides on a call before anything
// else is done for it.
func (c *Controller) admit(Call) error { return nil }

func (c *Controller) newActivation(id whisk.ActivationID, call Call, action *resolvedAction, payload []byte, received time.Time) *activation {
	act := &activation{
		id:          id,
		subject:     call.Caller.Subject,
		transaction: call.Transaction,
		action:      action,
		received:    received,
		environment: action.environment(payload),
	}
	if action.apiKey && call.Caller.Key.Key != "" { // a recovered call may lack it
		act.key = call.Caller.Key.String()
	}
	act.run = act.appendRun(make([]byte, 0, len(payload)+runOverhead(act)), payload)
	act.invocation = whisk.Invocation{
		Activation:  id,
		Key:         whisk.ActionKey{Namespace: call.Caller.Namespace, Action: action.Name, Revision: action.revision},
		Spec:        whisk.ContainerSpec{Kind: action.runtime.Kind, Image: action.Exec.Image, Memory: action.Limits.Memory},
		Limits:      action.Limits,
		Label:       action.label,
		Received:    received,
		StartBy:     received.Add(c.config.StartWithin),
		ResultLimit: c.config.Limits.Result,
		Sentinels:   action.runtime.Sentinels,
		Size:        whisk.Bytes(cap(act.run)) + activationSize,
		Claim:       func(ctx context.Context) error { return c.claim(ctx, act) },
		InitBody:    func(ctx context.Context, deadline time.Time) ([]byte, error) { return c.initBody(ctx, act, deadline) },
		RunBody:     func(deadline time.Time) []byte { return appendDeadline(act.run, deadline) },
	}
	return act
}

// activationSize is about what an activation holds beside its /run body.
const activationSize = 2 * whisk.KB

// runOverhead is about what /run's body holds beside the payload.
func runOverhead(act *activation) int {
	return 128 + deadlineSpace + len(act.action.identity) + len(act.transaction) + len(act.key) + int(act.action.Parameters.Size()) + 8*len(act.action.Parameters)
}

// enter takes a place in the controller and one for the record.
func (c *Controller) enter(ctx context.Context, act *activation) error {
	if err := c.running.enter(); err != nil {
		return err
	}
	slot, err := c.recorder.Reserve(ctx, c.config.AdmitWait)
	if err != nil {
		c.running.leave()
		return err
	}
	act.slot = slot
	return nil
}

// abandon undoes enter for an activation that will not run.
func (c *Controller) abandon(act *activation) {
	if act.admission != nil {
		act.admission.Cancel()
	}
	act.slot.Release()
	c.running.leave()
}

// start runs an activation that has entered on a goroutine of its own, for
// which c.running answers. Both done and after may be nil.
func (c *Controller) start(act *activation, done chan<- ending, after func()) {
	go func() {
		defer c.running.leave()
		if after != nil {
			defer after()
		}
		c.run(act, done)
	}()
}

// run brings an activation to its record. The answer goes out before the logs
// are collected; the record is stored after.
func (c *Controller) run(act *activation, done chan<- ending) {
	outcome, err := c.invoke(act)
	if err != nil {
		act.slot.Release()
		done <- ending{err: err}
		return
	}
	if act.accepted && (act.ceded || !act.claimed && c.activations.Err() != nil) {
		act.slot.Release() // the queue still has it, for another controller or the next start
		return
	}
	record := recordOf(act, outcome)
	act.slot.Announce(record, act.accepted)
	if done != nil {
		done <- ending{record: record}
	}
	c.awaitLogs(act, outcome)
	act.slot.Write()
}

// awaitLogs waits until the activation's output is in the log store: who finds
// the record finds the logs.
func (c *Controller) awaitLogs(act *activation, outcome whisk.Outcome) {
	if outcome.Logs == nil {
		return
	}
	patience, cancel := context.WithTimeout(c.activations, c.config.LogCollection)
	defer cancel()
	if _, err := outcome.Logs(patience); err != nil {
		c.deps.Logger.Warn("logs not collected", "activation", act.id, "container", outcome.Container, "action", act.action.Name.Path(), "err", err)
	}
}

func (c *Controller) invoke(act *activation) (whisk.Outcome, error) {
	if act.admission != nil {
		return act.admission.Invoke(c.activations), nil
	}
	return c.deps.Balancer.Invoke(c.activations, &act.invocation)
}

// claim is called when a container is at hand, and before it learns of the
// activation: the last moment at which nothing has happened yet.
func (c *Controller) claim(ctx context.Context, act *activation) error {
	if err := act.slot.Expect(ctx, c.config.Limits.Result); err != nil {
		return err
	}
	if !act.accepted {
		return nil
	}
	err := c.deps.Queue.Claim(ctx, act.id, c.config.ID)
	if err == nil {
		act.claimed = true
		return nil
	}
	kind := whisk.KindOf(err)
	act.ceded = kind == whisk.Conflict || kind == whisk.NotFound
	return fmt.Errorf("claim activation %s: %w", act.id, err)
}

func (c *Controller) initBody(ctx context.Context, act *activation, deadline time.Time) ([]byte, error) {
	code, err := c.code(ctx, act.action.Action)
	if err != nil {
		return nil, err
	}
	return act.appendInit(make([]byte, 0, len(code)+len(code)/16+1024), code, deadline), nil
}

func newActivationID() whisk.ActivationID {
	id, err := uuid.NewV7()
	if err != nil {
		panic(err) // the system has no randomness
	}
	return whisk.ActivationID(hex.EncodeToString(id[:]))
}
