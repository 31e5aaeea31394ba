// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"encoding/json"
	"time"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// Sequences run their components one after the other, each with the result of
// the one before. A component is an activation with a record of its own, in the
// same process; nested sequences run on their parent's goroutine.
//
// An accepted sequence is claimed when its first container is at hand, so one
// that never had any is run at the next start. After that it is not run again: a
// sequence that dies with its process ends in a record that says so, and the
// components that ran have theirs.
//
// What a sequence needs it has before it is accepted, or waits for: a component
// that the balancer refuses is tried again for as long as an activation may wait
// for its container. Places of records are not held while others are waited
// for, but for the outermost sequence's, of which there are few; so sequences
// that wait for places never keep each other from having them.

// Results of sequences whose components cannot be run.
const (
	missingComponentText = "Sequence component does not exist."
	longSequenceText     = "Too many actions in the sequence."
	failedSequenceText   = "Sequence failed."
)

// sequence is what an activation holds that is a sequence of others.
type sequence struct {
	caller  *Caller
	payload []byte
	runs    *int // of containers so far, counted together with the enclosing sequences'; nil before the outermost one began
	depth   int  // in how many others it is nested
}

// tally is what became of a sequence so far.
type tally struct {
	response whisk.Response // of the component that ran last
	ids      []string       // of the components
	duration time.Duration  // of all together
	memory   whisk.Bytes    // the most that one had, 0 before any ran
}

// performSequence runs a sequence to its end and makes its record.
func (c *Controller) performSequence(act *activation) *whisk.Activation {
	start := time.Now()
	if act.sequence.runs == nil {
		act.sequence.runs = new(int)
	}
	record := sequenceRecord(act, start, c.runComponents(act))
	if act.slot != nil {
		// Without memory the record is as good; it only counts for nothing.
		if err := act.slot.Expect(c.activations, whisk.Bytes(len(record.Response.Result))); err != nil {
			c.deps.Logger.Debug("no memory for the record of a sequence", "activation", act.id, "err", err)
		}
	}
	return record
}

func (c *Controller) runComponents(act *activation) tally {
	t := tally{response: whisk.Response{Result: act.sequence.payload}, ids: []string{}}
	act.sequence.payload = nil // the first component has it, and then nobody
	for _, component := range act.action.Exec.Components {
		if *act.sequence.runs >= c.config.Limits.SequenceLength || act.sequence.depth >= c.config.Limits.SequenceLength {
			t.response = whisk.ErrorResponse(whisk.ApplicationError, longSequenceText)
			return t
		}
		record, failure := c.runComponent(act, component, inputOf(t.response.Result))
		if record == nil {
			t.response = failure
			return t
		}
		t.add(record)
		if hasError(record.Response.Result) {
			return t
		}
	}
	return t
}

// inputOf is what a component gets of the result before it: objects and arrays.
func inputOf(result json.RawMessage) []byte {
	if len(result) == 0 {
		return []byte("{}")
	}
	return result
}

func hasError(result json.RawMessage) bool {
	if len(result) == 0 || apijson.IsArray(result) {
		return false
	}
	for member := range apijson.Members(result) {
		if string(member.Key) == "error" {
			return true
		}
	}
	return false
}

func (t *tally) add(record *whisk.Activation) {
	t.response = record.Response
	t.ids = append(t.ids, string(record.ID))
	t.duration += record.Duration
	var limits whisk.ActionLimits
	if text := record.Annotations.Get("limits"); text != nil && json.Unmarshal(text, &limits) == nil {
		t.memory = max(t.memory, limits.Memory)
	}
}

// runComponent runs one component and returns its record; nil and what the
// sequence ends with if it could not be run.
func (c *Controller) runComponent(act *activation, name whisk.FullName, payload []byte) (*whisk.Activation, whisk.Response) {
	action, err := c.resolve(c.activations, name)
	switch {
	case is(err, whisk.NotFound), is(err, whisk.Conflict):
		return nil, whisk.ErrorResponse(whisk.ApplicationError, missingComponentText)
	case err != nil:
		c.deps.Logger.Warn("component of a sequence not read", "activation", act.id, "component", name.Path(), "err", err)
		return nil, whisk.ErrorResponse(whisk.WhiskError, failedSequenceText)
	case action.unusable != nil:
		return nil, whisk.ErrorResponse(whisk.ApplicationError, action.unusable.Error())
	}
	call := Call{Caller: act.sequence.caller, Action: name, Transaction: act.transaction}
	component := c.newActivation(c.deps.NewID(), call, action, payload, time.Now())
	component.parent = act
	run := c.runContainer
	if component.sequence != nil {
		component.sequence.runs, component.sequence.depth = act.sequence.runs, act.sequence.depth+1
		run = c.runNested
	} else {
		*act.sequence.runs++
	}
	record, err := run(component)
	if err != nil {
		c.deps.Logger.Warn("component of a sequence not run", "activation", act.id, "component", name.Path(), "err", err)
		return nil, whisk.ErrorResponse(whisk.WhiskError, failedSequenceText)
	}
	return record, whisk.Response{}
}

// runNested runs a sequence within another one.
func (c *Controller) runNested(component *activation) (*whisk.Activation, error) {
	record := c.performSequence(component)
	if c.leftToQueue(component) {
		return nil, errStopping
	}
	slot, err := c.recorder.Reserve(c.activations, 0)
	if err != nil {
		return nil, err
	}
	slot.Announce(record, false)
	keep(slot, component.limits)
	return record, nil
}

// runContainer runs a component that has code. One that is refused for want of
// room is tried again, since its sequence was accepted.
func (c *Controller) runContainer(component *activation) (*whisk.Activation, error) {
	for {
		slot, err := c.recorder.Reserve(c.activations, 0)
		if err != nil {
			return nil, err
		}
		component.slot = slot
		done := make(chan ending, 1)
		c.running.join()
		c.start(component, done, nil)
		end := <-done
		switch {
		case end.err == nil:
			return end.record, nil
		case c.leftToQueue(component), time.Now().After(component.invocation.StartBy), !pause(c.activations, recoveryBackoff):
			return nil, end.err
		}
	}
}

// sequenceRecord makes the record of a sequence that ended. Its duration is its
// components'; what passed between them is the platform's.
func sequenceRecord(act *activation, start time.Time, t tally) *whisk.Activation {
	annotations := make(whisk.Parameters, 0, 7)
	annotations = append(annotations,
		whisk.Parameter{Key: "topmost", Value: truth(act.parent == nil)},
		whisk.Parameter{Key: "path", Value: act.action.path},
		whisk.Parameter{Key: "kind", Value: act.action.kind},
		whisk.Parameter{Key: "waitTime", Value: milliseconds(start.Sub(act.received))},
	)
	annotations = appendOrigin(annotations, act)
	if t.memory > 0 {
		limits := whisk.DefaultActionLimits
		limits.Timeout, limits.Logs, limits.Memory = act.action.Limits.Timeout, act.action.Limits.Logs, t.memory
		annotations = append(annotations, whisk.Parameter{Key: "limits", Value: apijson.AppendLimits(nil, limits)})
	}
	record := newRecord(act, annotations)
	record.Start = start.Truncate(time.Millisecond)
	record.End = time.Now().Truncate(time.Millisecond)
	record.Duration = t.duration
	record.Response = t.response
	record.Logs = t.ids
	return record
}
