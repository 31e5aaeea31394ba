// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// A composed activation runs others, one after the other: a sequence, or the
// composition of a conductor. They differ in how the next step is chosen
// (sequence.go, conductor.go). A step is an activation with a record of its own,
// in the same process; what is composed itself runs on its parent's goroutine.
//
// An accepted one is claimed when its first container is at hand, so one that
// never had any is run at the next start. After that it is not run again: one
// that dies with its process ends in a record that says so, and the steps that
// ran have theirs.
//
// What it needs it has before it is accepted, or waits for: a step that the
// balancer refuses is tried again for as long as an activation may wait for its
// container. Places of records are not held while others are waited for, but for
// the outermost one's, of which there are few; so those that wait for places
// never keep each other from having them.

// composed is what an activation holds that runs others.
type composed struct {
	caller  *Caller
	payload []byte
	depth   int     // in how many others it is nested
	used    *counts // under its limit
	whole   *int    // runs of containers so far, its own and those of all around it
}

// counts is what was run so far under one limit. What is nested in a composed
// activation of its own sort shares its counts, and is none of its components.
type counts struct {
	components int
	conductors int // runs of conductors
}

// program chooses what a composed activation does next: it learns what came of
// the last step, and first of all what the activation was called with, as if a
// step had answered that. It remembers, but changes nothing else.
type program interface {
	next(last stepEnd, used counts) step
}

// step is what a composed activation does next. The zero step ends it.
type step struct {
	runs     runner
	name     whisk.FullName // of the component
	payload  []byte
	response whisk.Response // that it ends with
}

type runner int

const (
	nobody runner = iota
	component
	conductor // the composed activation's own action
)

// stepEnd is what came of a step: its response or, if it was not run, why.
type stepEnd struct {
	response whisk.Response
	refusal  refusal
	name     whisk.FullName // of what was refused
	text     string         // why it is unusable
}

type refusal int

const (
	ran      refusal = iota
	missing          // there is no such action
	denied           // the caller may not run it
	unusable         // it cannot be run, for the reason in the text
	spent            // all together have run as much as they may
	failed           // the platform could not run it
)

// tally is what became of a composed activation's steps.
type tally struct {
	response whisk.Response
	ids      []string // of those that ran
	duration time.Duration
	memory   whisk.Bytes // the most that one had, 0 if none ran
}

// isComposed reports whether an action runs others.
func (a *resolvedAction) isComposed() bool { return a.Exec.Kind == whisk.Sequence || a.conductor }

// sort names what is composed, for users.
func (a *resolvedAction) sort() string {
	if a.conductor {
		return "compositions"
	}
	return "sequences"
}

// compose makes an activation a composed one, of which nothing ran yet.
func (a *activation) compose(caller *Caller, payload []byte) {
	a.composed = &composed{caller: caller, payload: slices.Clone(payload), used: new(counts), whole: new(int)}
}

// within makes an activation a step of another one, which counts it.
func (a *activation) within(parent *activation) {
	a.parent, a.keeping.blocking = parent, true
	used := parent.composed.used
	if a.composed == nil {
		used.components++
		*parent.composed.whole++
		return
	}
	a.composed.depth, a.composed.whole = parent.composed.depth+1, parent.composed.whole
	if a.action.conductor == parent.action.conductor {
		a.composed.used = used
	} else {
		used.components++
	}
}

// performComposed brings a composed activation to its end and makes its record.
func (c *Controller) performComposed(act *activation) *whisk.Activation {
	start := time.Now()
	steps := c.runSteps(act)
	act.noteStages(whisk.Outcome{Wait: start.Sub(act.received), Run: time.Since(start)})
	record := composedRecord(act, start, steps)
	if act.slot != nil {
		// Without memory the record is as good; it only counts for nothing.
		if err := act.slot.Expect(c.activations, whisk.Bytes(len(record.Response.Result))); err != nil {
			c.deps.Logger.Debug("no memory for the record of a composed activation", "activation", act.id, "err", err)
		}
	}
	return record
}

func (c *Controller) programOf(act *activation) program {
	limit := c.config.Limits.SequenceLength
	if act.action.conductor {
		return &composition{namespace: act.namespace, limit: limit}
	}
	return &sequence{left: act.action.Exec.Components, limit: limit, tooDeep: act.composed.depth >= limit}
}

func (c *Controller) runSteps(act *activation) tally {
	program := c.programOf(act)
	last := stepEnd{response: whisk.Response{Result: act.composed.payload}}
	act.composed.payload = nil // the first step has it, and then nobody
	t := tally{ids: []string{}}
	for {
		step := program.next(last, *act.composed.used)
		if step.runs == nobody {
			t.response = step.response
			return t
		}
		var record *whisk.Activation
		if record, last = c.runStep(act, step); record != nil {
			t.add(record)
		}
	}
}

func (t *tally) add(record *whisk.Activation) {
	t.ids = append(t.ids, string(record.ID))
	t.duration += record.Duration
	var limits whisk.ActionLimits
	if text := record.Annotations.Get("limits"); text != nil && json.Unmarshal(text, &limits) == nil {
		t.memory = max(t.memory, limits.Memory)
	}
}

// runStep runs one step, and returns its record if it ran.
func (c *Controller) runStep(act *activation, step step) (*whisk.Activation, stepEnd) {
	if *act.composed.whole >= c.longestWhole() {
		return nil, stepEnd{refusal: spent}
	}
	action, name := act.action, act.action.Name
	if step.runs == component {
		var end stepEnd
		if action, end = c.stepAction(act, step.name); action == nil {
			return nil, end
		}
		name = step.name
	}
	record, err := c.runAction(act, action, step, Call{Caller: act.composed.caller, Action: name, Transaction: act.transaction, Traced: act.keeping.traced, Timed: act.timed})
	if err != nil {
		c.deps.Logger.Warn("step of a composed activation not run", "activation", act.id, "component", name.Path(), "err", err)
		return nil, stepEnd{refusal: failed}
	}
	return record, stepEnd{response: record.Response}
}

// longestWhole is how many runs of containers may come of one activation: those
// of a sequence of nothing but compositions, as long as all may be. OpenWhisk
// counts anew where a sequence and a composition are nested in each other, so
// two that lead to each other would never end.
func (c *Controller) longestWhole() int {
	limit := c.config.Limits.SequenceLength
	return limit * (3*limit + 1)
}

// stepAction finds the action of a component; nil, and why, if it cannot be run.
// A sequence's were checked when it was called, a composition's are not known before.
func (c *Controller) stepAction(act *activation, name whisk.FullName) (*resolvedAction, stepEnd) {
	if act.action.conductor {
		err := c.MayInvoke(c.activations, act.composed.caller, name)
		if err != nil && isForUser(err) {
			return nil, stepEnd{refusal: denied, name: name}
		}
		if err != nil {
			return nil, c.notRead(act, name, err)
		}
	}
	action, err := c.resolve(c.activations, name)
	switch {
	case is(err, whisk.NotFound), is(err, whisk.Conflict):
		return nil, stepEnd{refusal: missing, name: name}
	case err != nil:
		return nil, c.notRead(act, name, err)
	case action.unusable != nil:
		return nil, stepEnd{refusal: unusable, name: name, text: action.unusable.Error()}
	}
	return action, stepEnd{}
}

func (c *Controller) notRead(act *activation, name whisk.FullName, err error) stepEnd {
	c.deps.Logger.Warn("component of a composed activation not read", "activation", act.id, "component", name.Path(), "err", err)
	return stepEnd{refusal: failed, name: name}
}

// runAction runs the action of a step to its record.
func (c *Controller) runAction(act *activation, action *resolvedAction, step step, call Call) (*whisk.Activation, error) {
	id, now := c.deps.NewID(), time.Now()
	if step.runs == conductor {
		inner := c.newInvocation(id, call, action, step.payload, now)
		inner.parent, inner.keeping.blocking = act, true
		act.composed.used.conductors++
		*act.composed.whole++
		return c.runContainer(inner)
	}
	inner := c.newActivation(id, call, action, step.payload, now)
	inner.within(act)
	if inner.composed != nil {
		return c.runNested(inner)
	}
	return c.runContainer(inner)
}

// runNested runs what is composed within what is composed.
func (c *Controller) runNested(inner *activation) (*whisk.Activation, error) {
	record := c.performComposed(inner)
	if c.leftToQueue(inner) {
		return nil, errStopping
	}
	slot, err := c.recorder.Reserve(c.activations, 0)
	if err != nil {
		return nil, err
	}
	slot.Announce(record, false)
	c.keep(slot, inner.limits, inner.keeping, record.Response.Status)
	return record, nil
}

// runContainer runs a step that has code. One that is refused for want of room is
// tried again, since what it belongs to was accepted.
func (c *Controller) runContainer(inner *activation) (*whisk.Activation, error) {
	for {
		slot, err := c.recorder.Reserve(c.activations, 0)
		if err != nil {
			return nil, err
		}
		inner.slot = slot
		done := make(chan ending, 1)
		c.running.join()
		inner.look()
		c.work(job{inner, done, nil})
		end := <-done
		switch {
		case end.err == nil:
			return end.record, nil
		case c.leftToQueue(inner), time.Now().After(inner.invocation.StartBy), !pause(c.activations, recoveryBackoff):
			return nil, end.err
		}
	}
}

// composedRecord makes the record of a composed activation that ended. Its
// duration is its steps'; what passed between them is the platform's.
func composedRecord(act *activation, start time.Time, t tally) *whisk.Activation {
	annotations := make(whisk.Parameters, 0, 8)
	annotations = append(annotations,
		whisk.Parameter{Key: "topmost", Value: truth(act.parent == nil)},
		whisk.Parameter{Key: "path", Value: act.action.path},
		whisk.Parameter{Key: "kind", Value: json.RawMessage(`"sequence"`)},
	)
	if act.action.conductor {
		annotations = append(annotations, whisk.Parameter{Key: "conductor", Value: truth(true)})
		t.memory = max(t.memory, act.action.Limits.Memory)
	}
	annotations = append(annotations, whisk.Parameter{Key: "waitTime", Value: milliseconds(start.Sub(act.received))})
	annotations = appendOrigin(annotations, act)
	if t.memory > 0 {
		limits := whisk.DefaultActionLimits
		limits.Timeout, limits.Logs, limits.Memory = act.action.Limits.Timeout, act.action.Limits.Logs, t.memory
		annotations = append(annotations, whisk.Parameter{Key: "limits", Value: apijson.AppendLimits(nil, limits)})
	}
	if act.stages != nil {
		annotations = append(annotations, act.stages.annotation())
	}
	record := newRecord(act, annotations)
	record.Start = start.Truncate(time.Millisecond)
	record.End = time.Now().Truncate(time.Millisecond)
	record.Duration = t.duration
	record.Response = t.response
	record.Logs = t.ids
	return record
}
