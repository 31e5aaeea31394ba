// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/controller/recorder"
	"github.com/whirl-faas/whirl/whisk"
)

// Firing a trigger accepts an activation of each active rule's action, and the
// trigger's own, whose record tells of them. All that can be refused is refused
// before, and is in the record too; what is not goes into the durable queue
// together with the record, and then the caller is answered. So everything that
// the record promises happens, whatever is killed when.

// acceptBatch is about how much of a fan-out goes into the queue in one step.
const acceptBatch = 8 * whisk.MB

// FireCall is a request to fire a trigger.
type FireCall struct {
	Caller      *Caller
	Trigger     whisk.FullName
	Payload     []byte // a JSON object, or nothing; it is not kept after the call returned
	Headers     []byte // of the request, a JSON object: the payload's member __ow_headers
	Transaction string
	Traced      bool // as in [Call]

	// Commit, if not nil, puts all that the firing accepts into the durable queue, in
	// one step with what the caller has to write. It is called once at most, without
	// entries if no rule is active, and the firing fails with its error. It must return
	// when ctx ends. If it did its work all the same, the entries end as those of a process
	// that is no more do.
	Commit func(ctx context.Context, entries ...whisk.Accepted) error
}

// Fire fires a trigger and returns the id of its activation; "" if no rule of it
// is active, which leaves nothing.
func (c *Controller) Fire(ctx context.Context, call FireCall) (whisk.ActivationID, error) {
	if err := call.Caller.Owns(call.Trigger); err != nil {
		return "", err
	}
	payload, err := c.checkPayload(call.Caller, call.Payload)
	if err != nil {
		return "", err
	}
	trigger, err := c.resolveTrigger(ctx, call.Trigger)
	if err != nil {
		return "", err
	}
	if !isActive(trigger) {
		return "", call.commit(ctx)
	}
	if err := c.running.enter(); err != nil {
		return "", err
	}
	defer c.running.leave()
	patience, cancel := context.WithTimeout(ctx, c.config.AdmitWait)
	defer cancel()
	slot, err := c.recorder.Reserve(patience, c.config.RoomWait)
	if err != nil {
		return "", err
	}
	if err := slot.Expect(patience, whisk.Bytes(len(payload))); err != nil {
		slot.Release()
		return "", err
	}
	fired := &fanOut{id: c.deps.NewID(), call: call, trigger: trigger, start: time.Now(), payload: slices.Clone(payload)}
	return c.carryOut(patience, fired, slot)
}

// commit calls Commit, if there is one.
func (f FireCall) commit(ctx context.Context, entries ...whisk.Accepted) error {
	if f.Commit == nil {
		return nil
	}
	return f.Commit(ctx, entries...)
}

func isActive(trigger *whisk.Trigger) bool {
	for _, link := range trigger.Rules {
		if link.Status == whisk.Active {
			return true
		}
	}
	return false
}

// fanOut is one firing of a trigger.
type fanOut struct {
	id      whisk.ActivationID
	call    FireCall
	trigger *whisk.Trigger
	start   time.Time
	payload []byte
	runs    []fannedOut
	logs    []string // what became of each rule
}

// fannedOut is an activation that a rule began.
type fannedOut struct {
	act  *activation
	call Call
}

// carryOut brings a firing from its rules to its record, for which it has the slot.
func (c *Controller) carryOut(ctx context.Context, fired *fanOut, slot *recorder.Slot) (whisk.ActivationID, error) {
	c.beginRules(ctx, fired)
	if err := c.acceptFanOut(ctx, fired); err != nil {
		for _, run := range fired.runs {
			c.abandon(run.act)
		}
		slot.Release()
		return "", err
	}
	for _, run := range fired.runs {
		c.startAccepted(run.act)
	}
	slot.Announce(fired.kept().record(fired.id, fired.call.Caller.Namespace, fired.payload), true)
	c.accepted.remove(fired.id)
	c.keep(slot, c.LimitsOf(fired.call.Caller), keeping{traced: fired.call.Traced}, whisk.Success)
	return fired.id, nil
}

// beginRules begins an activation for each active rule and notes what became of all.
func (c *Controller) beginRules(ctx context.Context, fired *fanOut) {
	bound := fired.trigger.Parameters.Merge(whisk.Parameters{{Key: "__ow_headers", Value: fired.call.Headers}})
	arguments := appendOver(nil, bound, fired.payload, nil)
	for _, rule := range fired.trigger.RuleNames() {
		link := fired.trigger.Rules[rule]
		if link.Status != whisk.Active {
			text := fmt.Sprintf("Rule '%s' is inactive, action '%s' was not activated.", rule.Path(), link.Action.Path())
			fired.note(rule, link, whisk.ApplicationError, "error", text)
			continue
		}
		call := Call{Caller: fired.call.Caller, Action: link.Action, Payload: arguments, Transaction: fired.call.Transaction, Traced: fired.call.Traced}
		act, err := c.beginRule(ctx, call)
		if err != nil {
			status, text := c.refusalOf(rule, err)
			fired.note(rule, link, status, "error", text)
			continue
		}
		fired.runs = append(fired.runs, fannedOut{act, call})
		fired.note(rule, link, whisk.Success, "activationId", string(act.id))
	}
}

// beginRule begins the activation of one rule's action and takes what it needs.
func (c *Controller) beginRule(ctx context.Context, call Call) (*activation, error) {
	if err := c.AdmitCall(call.Caller); err != nil {
		return nil, err
	}
	act, err := c.begin(ctx, call)
	if err != nil {
		return nil, err
	}
	if err := c.reserve(act); err != nil {
		c.abandon(act)
		return nil, err
	}
	return act, nil
}

// refusalOf is what a trigger's record says of an action that could not be begun.
func (c *Controller) refusalOf(rule whisk.FullName, err error) (whisk.Status, string) {
	status, text := whisk.ApplicationError, err.Error()
	switch whisk.KindOf(err) {
	case whisk.Internal, whisk.Unavailable, whisk.Timeout:
		status = whisk.WhiskError
	}
	if !isForUser(err) {
		c.deps.Logger.Error("action of a rule not begun", "rule", rule.Path(), "err", err)
		text = "There was an internal server error."
	}
	return status, text
}

// note adds a line to the trigger's record.
func (f *fanOut) note(rule whisk.FullName, link whisk.RuleLink, status whisk.Status, key, value string) {
	line := apijson.AppendInt([]byte(`{"statusCode":`), int64(status))
	line = append(append(line, `,"success":`...), truth(status == whisk.Success)...)
	line = append(append(append(line, `,"`...), key...), `":`...)
	line = apijson.AppendString(line, value)
	line = apijson.AppendString(append(line, `,"rule":`...), rule.Path())
	line = apijson.AppendString(append(line, `,"action":`...), link.Action.Path())
	f.logs = append(f.logs, string(append(line, '}')))
}

// acceptFanOut puts the activations of the rules, and at last the trigger's,
// into the durable queue. What an error leaves there may run after the next start.
func (c *Controller) acceptFanOut(ctx context.Context, fired *fanOut) error {
	var batch []whisk.Accepted
	var before []whisk.ActivationID
	var size whisk.Bytes
	for _, run := range fired.runs {
		entry, err := c.entryOf(ctx, run.act, run.call)
		if err == nil && size > acceptBatch && fired.call.Commit == nil {
			err = c.accept(batch...)
			for _, entry := range batch {
				before = append(before, entry.Activation)
			}
			batch, size = nil, 0
		}
		if err != nil {
			c.unaccept(before)
			return err
		}
		batch = append(batch, entry)
		size += whisk.Bytes(len(entry.Body))
	}
	own, err := c.acceptedEntry(fired.id, fired.call.Caller.Namespace, fired.start, "firing", fired.kept(), fired.payload)
	if batch = append(batch, own); err == nil && fired.call.Commit != nil {
		return c.acceptBy(fired.call.Commit, batch...)
	}
	if err == nil {
		err = c.accept(batch...)
	}
	if err != nil {
		c.unaccept(before)
	}
	return err
}

// acceptBy is accept for entries that go into the queue with something else. If
// it is not known whether they did they are left alone: what they went with may
// be done, and then so must they.
func (c *Controller) acceptBy(commit func(context.Context, ...whisk.Accepted) error, entries ...whisk.Accepted) error {
	patience, cancel := context.WithTimeout(c.activations, c.config.AcceptWait)
	defer cancel()
	for _, entry := range entries {
		c.accepted.add(entry.Activation)
	}
	err := commit(patience, entries...)
	if err != nil {
		for _, entry := range entries {
			c.accepted.remove(entry.Activation)
		}
	}
	return err
}

// firing is what the durable queue keeps of a trigger's activation.
type firing struct {
	Subject string        `json:"subject"`
	Name    string        `json:"name"`
	Version whisk.Version `json:"version"`
	Start   time.Time     `json:"start"`
	Logs    []string      `json:"logs"`
}

func (f *fanOut) kept() firing {
	return firing{f.call.Caller.Subject, f.trigger.Name.Name, f.trigger.Version, f.start, f.logs}
}

// record makes a trigger's record. It has no end: nobody waits for the actions.
func (f firing) record(id whisk.ActivationID, namespace string, payload json.RawMessage) *whisk.Activation {
	return &whisk.Activation{
		ID: id, Namespace: namespace, Subject: f.Subject, Name: f.Name, Version: f.Version,
		Start:    f.Start.Truncate(time.Millisecond),
		Response: whisk.Response{Result: payload, Size: len(payload)},
		Logs:     f.Logs,
	}
}
