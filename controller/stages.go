// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"encoding/json"
	"iter"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// Stages says where an activation's time went until its action had answered. They
// follow each other without a gap, but for Resume, which is part of Run.
type Stages struct {
	Accept  time.Duration // from the request's arrival: reading it, key, throttles, action; where nobody waits, the durable queue
	Queue   time.Duration // waiting for a container, but not for what follows
	Asking  time.Duration // until the scheduler had a container; 0 if one was there
	Create  time.Duration // until its node had made it; 0 if it was there
	Init    time.Duration // of /init; 0 if it had the code
	Run     time.Duration // of /run
	Resume  time.Duration // until it was resumed; 0 if it was not paused
	Logs    time.Duration // from the action's answer until its output was stored; 0 if that is not known yet
	Storing time.Duration // from then until the record went to the store; likewise
}

// All returns the stages that there were, by the names that users read, in the order
// in which they began.
func (s *Stages) All() iter.Seq2[string, time.Duration] {
	return func(yield func(string, time.Duration) bool) {
		_ = yield("accept", s.Accept) && yield("queue", s.Queue) &&
			(s.Asking == 0 || yield("requisition", s.Asking)) &&
			(s.Create == 0 || yield("create", s.Create)) &&
			(s.Init == 0 || yield("init", s.Init)) &&
			(s.Resume == 0 || yield("resume", s.Resume)) &&
			yield("run", s.Run) &&
			(s.Logs == 0 || yield("logs", s.Logs)) &&
			(s.Storing == 0 || yield("record", s.Storing))
	}
}

// stagesAnnotation is the key of the annotation that tells the stages.
const stagesAnnotation = "stages"

// annotation returns them as an object of milliseconds.
func (s *Stages) annotation() whisk.Parameter {
	text := make([]byte, 0, 160)
	for name, took := range s.All() {
		text = append(append(text, `,"`...), name...)
		text = apijson.AppendMilliseconds(append(text, `":`...), took)
	}
	text[0] = '{'
	return whisk.Parameter{Key: stagesAnnotation, Value: json.RawMessage(append(text, '}'))}
}

// noteStages keeps an activation's stages, if somebody asked for them or if it is
// one of those of which one wonders: it had to wait until a container was made,
// found or resumed. To all others it costs nothing.
func (a *activation) noteStages(outcome whisk.Outcome) {
	if !a.timed && !outcome.Cold && outcome.Resume == 0 && outcome.Asking+outcome.Creation == 0 {
		return
	}
	accept, entering := a.accepting()
	a.stages = &Stages{
		Accept: accept,
		Queue:  max(0, outcome.Wait-entering-outcome.Asking-outcome.Creation),
		Asking: outcome.Asking,
		Create: outcome.Creation,
		Run:    outcome.Run,
		Resume: outcome.Resume,
	}
	if outcome.Cold {
		a.stages.Init = outcome.Init
	}
}

// accepting returns how long it took to accept an activation, and how much of that
// was after it was received.
func (a *activation) accepting() (whole, received time.Duration) {
	if !a.entered.IsZero() {
		received = a.entered.Sub(a.received)
	}
	if a.begun.IsZero() {
		return received, received
	}
	return received + a.received.Sub(a.begun), received
}

// stampStages has the record tell what came after the answer, too: when it is about to
// be stored, which is later than it is first seen.
func (a *activation) stampStages(answered time.Time) {
	logged := time.Now()
	a.slot.Stamp(func(record *whisk.Activation) {
		stages := *a.stages
		stages.Logs, stages.Storing = logged.Sub(answered), time.Since(logged)
		record.Annotations = slices.Clone(record.Annotations)
		i := slices.IndexFunc(record.Annotations, func(p whisk.Parameter) bool { return p.Key == stagesAnnotation })
		record.Annotations[i] = stages.annotation()
	})
}
