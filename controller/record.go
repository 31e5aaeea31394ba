// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"encoding/json"
	"time"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// recordOf makes the record of an activation that ended.
//
// Times are whole milliseconds, and the end is the start plus the duration, so
// that the three always agree. The duration covers init and run; waiting is
// told by an annotation.
func recordOf(act *activation, outcome whisk.Outcome) *whisk.Activation {
	start := outcome.Start.Truncate(time.Millisecond)
	duration := outcome.Run
	if outcome.Cold {
		duration += outcome.Init
	}
	duration = duration.Truncate(time.Millisecond)
	action := act.action
	annotations := make(whisk.Parameters, 0, 8)
	annotations = append(annotations,
		whisk.Parameter{Key: "path", Value: action.path},
		whisk.Parameter{Key: "waitTime", Value: milliseconds(outcome.Wait)},
		whisk.Parameter{Key: "kind", Value: action.kind},
		whisk.Parameter{Key: "timeout", Value: truth(outcome.TimedOut)},
		whisk.Parameter{Key: "limits", Value: action.limits},
	)
	if outcome.Cold {
		annotations = append(annotations, whisk.Parameter{Key: "initTime", Value: milliseconds(outcome.Init)})
	}
	annotations = appendOrigin(annotations, act)
	if act.stages != nil {
		annotations = append(annotations, act.stages.annotation())
	}
	record := newRecord(act, annotations)
	record.Start, record.End, record.Duration = start, start.Add(duration), duration
	record.Response = outcome.Response
	return record
}

// newRecord makes a record without its times and its outcome.
func newRecord(act *activation, annotations whisk.Parameters) *whisk.Activation {
	record := &whisk.Activation{
		ID:          act.id,
		Namespace:   act.namespace,
		Subject:     act.subject,
		Name:        act.action.Name.Name,
		Package:     act.action.listed,
		Version:     act.action.Version,
		Annotations: annotations,
	}
	if act.parent != nil {
		record.Cause = act.parent.id
	}
	return record
}

// appendOrigin appends what the record says of the way to its action.
func appendOrigin(annotations whisk.Parameters, act *activation) whisk.Parameters {
	if act.parent != nil {
		annotations = append(annotations, whisk.Parameter{Key: "causedBy", Value: json.RawMessage(`"sequence"`)})
	}
	if act.action.binding != nil {
		annotations = append(annotations, whisk.Parameter{Key: "binding", Value: act.action.binding})
	}
	return annotations
}

func milliseconds(d time.Duration) json.RawMessage {
	return apijson.AppendInt(make([]byte, 0, 8), d.Milliseconds())
}

func truth(b bool) json.RawMessage {
	if b {
		return json.RawMessage("true")
	}
	return json.RawMessage("false")
}
