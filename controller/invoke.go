// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Call is a request to run an action.
type Call struct {
	Caller      *Caller
	Action      whisk.FullName
	Payload     []byte // a JSON object, or nothing; it is not kept after the call returned
	Transaction string
	Traced      bool      // leaves a record however it ends, see [Keeping]
	Begun       time.Time // when the request came; zero if that is not known
	Timed       bool      // its record tells its stages, whatever they were
}

// Answer is what a blocking call learned.
type Answer struct {
	Activation whisk.ActivationID
	Record     *whisk.Activation // not to be modified; nil if the activation still runs
	Stages     *Stages           // where its time went; nil if it still runs, or if it was neither Timed nor anything special
}

// Invoke runs an action and waits for it. It returns earlier, with an Answer
// without a Record, when wait is over or ctx ends; the activation goes on. What has
// a container at once and is sure to end within wait is not left for ctx.
func (c *Controller) Invoke(ctx context.Context, call Call, wait time.Duration) (Answer, error) {
	act, err := c.begin(ctx, call)
	if err != nil {
		return Answer{}, err
	}
	act.keeping.blocking = true
	return c.await(ctx, act, wait)
}

// MayWait refuses a blocking call whose activation would be refused for what waits
// before it, when nothing has been done for it yet and its parameters have not
// been read: so a platform that has too much to do spends little on what it does not
// do. Whether the caller may invoke the action was asked before. All other errors
// are left for Invoke to find.
func (c *Controller) MayWait(ctx context.Context, caller *Caller, name whisk.FullName) error {
	action, err := c.resolve(ctx, name)
	if err != nil || action.unusable != nil || action.isComposed() {
		return nil
	}
	return c.deps.Balancer.Check(action.keyFor(caller.Namespace), c.config.Patience)
}

// await starts an activation that has entered, and waits for it.
func (c *Controller) await(ctx context.Context, act *activation, wait time.Duration) (Answer, error) {
	act.invocation.Patience = c.config.Patience
	if end, ran := c.runHere(act, wait); ran {
		return Answer{act.id, end.record, act.stages}, nil
	}
	done := make(chan ending, 1)
	c.start(act, done, nil)

	timer := time.NewTimer(time.Until(act.entered.Add(wait))) // a container may have turned it away after a while
	defer timer.Stop()
	select {
	case end := <-done:
		return end.answer(act)
	case <-timer.C:
	case <-ctx.Done():
	}
	if !act.caller.leave() {
		return (<-done).answer(act) // it came in the same moment
	}
	return Answer{Activation: act.id}, nil
}

// runHere runs an activation on the goroutine that waits for it, if there is a
// container for it at once and it is sure to end in time. To bring it to a goroutine of
// its own, and the answer back, costs more than all else that is done for it here.
func (c *Controller) runHere(act *activation, wait time.Duration) (end ending, ran bool) {
	if act.composed != nil || act.builtin != nil || act.action.Limits.Timeout > wait || !act.slot.TryExpect(act.limits.Result) {
		return ending{}, false
	}
	act.look()
	act.expected = true
	record, logs := c.tryHere(act)
	if record == nil {
		return ending{}, false
	}
	c.land(act)
	c.announce(act, record)
	c.afterLogs(job{act: act}, record, logs)
	return ending{record: record}, true
}

// tryHere is perform for what runs on the goroutine that waits for it. It returns no
// record if the activation has to go on elsewhere. If something panics there will be
// none: the server goes on, and has to have back what the activation took.
func (c *Controller) tryHere(act *activation) (record *whisk.Activation, logs afterLogs) {
	broken := true
	defer func() {
		if broken {
			c.abandon(act)
		}
	}()
	outcome, rest, taken := c.deps.Balancer.TryInvoke(c.activations, &act.invocation)
	switch {
	case !taken: // it may wait for long, and others need the memory to end
		act.expected = false
		act.slot.Forgo()
	case rest != nil:
		act.rest = rest
	default:
		record, logs = act.conclude(outcome), outcome.AfterLogs
	}
	broken = false
	return record, logs
}

// ending is what an activation tells the call that waits for it: its record,
// or why it was not accepted after all.
type ending struct {
	record *whisk.Activation
	err    error
}

func (e ending) answer(act *activation) (Answer, error) {
	if e.err != nil {
		return Answer{}, e.err
	}
	return Answer{act.id, e.record, act.stages}, nil
}

// begin checks a call and makes an activation of it, which has entered c.running
// and has room for its record.
func (c *Controller) begin(ctx context.Context, call Call) (*activation, error) {
	if err := c.MayInvoke(ctx, call.Caller, call.Action); err != nil {
		return nil, err
	}
	payload, err := c.checkPayload(call.Caller, call.Payload)
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
	if err := c.mayUseAll(ctx, call.Caller, action.Exec.Components, c.cachedPackage); err != nil {
		return nil, err
	}
	if err := mayUseKind(c.LimitsOf(call.Caller), action.Exec.Kind); err != nil {
		return nil, err
	}
	if err := action.checkFinal(payload); err != nil {
		return nil, err
	}
	act := c.newActivation(c.deps.NewID(), call, action, payload, time.Now())
	return act, c.enter(ctx, act)
}
