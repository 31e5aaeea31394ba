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
	annotations := make(whisk.Parameters, 0, 6)
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
	return &whisk.Activation{
		ID:          act.id,
		Namespace:   act.invocation.Key.Namespace,
		Subject:     act.subject,
		Name:        action.Name.Name,
		Package:     action.Name.Package,
		Version:     action.Version,
		Start:       start,
		End:         start.Add(duration),
		Duration:    duration,
		Response:    outcome.Response,
		Annotations: annotations,
	}
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
