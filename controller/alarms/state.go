// SPDX-License-Identifier: Apache-2.0

package alarms

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// state is what the store has of an alarm beside its time. What users gave is kept
// as they gave it, because it is shown to them.
type state struct {
	Feed      string          `json:"feed"`
	Payload   json.RawMessage `json:"payload"` // an object
	Cron      string          `json:"cron,omitempty"`
	Timezone  string          `json:"timezone,omitempty"`
	Strict    json.RawMessage `json:"strict,omitempty"`
	Minutes   int64           `json:"minutes,omitempty"`
	Date      json.RawMessage `json:"date,omitempty"`
	StartDate json.RawMessage `json:"startDate,omitempty"`
	StopDate  json.RawMessage `json:"stopDate,omitempty"`
	After     string          `json:"deleteAfterFire,omitempty"` // firing: "" and false, true or rules
	Limit     int64           `json:"maxTriggers,omitempty"`     // 0 for none
	Left      int64           `json:"left,omitempty"`            // of the limit
	Status    status          `json:"status"`

	Fired    bool `json:"fired,omitempty"`    // only its trigger has to be deleted yet
	Tries    int  `json:"tries,omitempty"`    // to fire it now, which failed
	Throttle int  `json:"throttle,omitempty"` // of the tries, those that were throttled
}

// status is whether an alarm is on, and if not, why.
type status struct {
	Active  bool    `json:"active"`
	Changed int64   `json:"dateChanged"` // ms since 1970
	Reason  *reason `json:"reason,omitempty"`
}

type reason struct {
	Kind    string `json:"kind"`
	Code    int    `json:"statusCode,omitempty"`
	Message string `json:"message"`
}

// What becomes of an alarm that was fired for the last time. The texts are OpenWhisk's.
const (
	onceText         = "Automatically disabled after firing once"
	lastCronText     = "Automatically disabled after firing last scheduled cron trigger"
	lastIntervalText = "Automatically disabled after firing last scheduled interval trigger"
	maxTriggersText  = "Automatically disabled after reaching max triggers"
	creationText     = "Automatically disabled after receiving error on trigger creation: "
	throttledText    = "Automatically disabled after continuously receiving a 429 status code when firing the trigger"
)

// activate turns an alarm on and returns when it is due, the zero time if that is
// never: it is off again then, and says why.
func (s *state) activate(now time.Time) time.Time {
	s.Status = status{Active: true, Changed: now.UnixMilli()}
	s.Fired, s.Tries, s.Throttle, s.Left = false, 0, 0, s.Limit
	next, err := s.next(now)
	problem := ""
	switch {
	case err != nil:
		problem = err.Error()
	case next.IsZero() && s.Feed == byDate:
		problem = "the fire once date has expired"
	case s.stopped(now):
		problem = "the stop date has expired"
	case next.IsZero() || s.stopped(next):
		problem = "the next scheduled trigger fire is after the stop date"
	default:
		return next
	}
	return s.disable(now, 0, creationText+problem)
}

// disable turns an alarm off for a reason, with the HTTP status that led to it, 0 for
// none. It returns the time of an alarm that is off.
func (s *state) disable(now time.Time, code int, message string) time.Time {
	s.Status = status{Changed: now.UnixMilli(), Reason: &reason{Kind: "AUTO", Code: code, Message: message}}
	s.Tries, s.Throttle = 0, 0
	return time.Time{}
}

// advance says that an alarm was fired, and returns when it is due again, the zero time for
// never.
func (s *state) advance(now time.Time) time.Time {
	if s.Feed == byDate {
		if s.After == "true" || s.After == "rules" {
			s.Fired = true
			return now
		}
		return s.disable(now, 0, onceText)
	}
	if s.Limit > 0 && s.Feed == byCron {
		if s.Left--; s.Left <= 0 {
			return s.disable(now, 0, maxTriggersText)
		}
	}
	return s.skip(now)
}

// skip leaves a time of an alarm out, and returns when it is due again, the zero time for never.
func (s *state) skip(now time.Time) time.Time {
	s.Tries, s.Throttle = 0, 0
	next, err := s.next(now)
	switch {
	case err != nil:
		return s.disable(now, 0, creationText+err.Error())
	case !next.IsZero() && !s.stopped(next):
		return next
	case s.Feed == byInterval:
		return s.disable(now, 0, lastIntervalText)
	}
	return s.disable(now, 0, lastCronText)
}

// The patience with triggers that cannot be fired, which is OpenWhisk's.
const (
	maxTries = 10
	tryAfter = time.Second
)

// retry says that an alarm could not be fired for now, and returns when to try again. After
// the last try the alarm goes on to its next time, or is off if it was throttled every time.
func (s *state) retry(now time.Time, throttled bool) time.Time {
	if s.Tries == maxTries {
		if s.Throttle == maxTries {
			return s.disable(now, 429, throttledText)
		}
		if s.Feed == byDate {
			return s.disable(now, 0, onceText)
		}
		return s.skip(now)
	}
	s.Tries++
	if throttled {
		s.Throttle++
	}
	return now.Add(max(tryAfter, time.Duration(s.Throttle*s.Throttle)*time.Second))
}

// alarm returns what the store is to have in place of a former alarm of the trigger.
func (s *state) alarm(former whisk.Alarm, at time.Time) (whisk.Alarm, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return whisk.Alarm{}, fmt.Errorf("encode the alarm of %s: %w", former.Trigger, err)
	}
	former.At, former.Body = at, body
	return former, nil
}

func stateOf(alarm whisk.Alarm) (*state, error) {
	s := new(state)
	if err := json.Unmarshal(alarm.Body, s); err != nil {
		return nil, fmt.Errorf("decode the alarm of %s: %w", alarm.Trigger, err)
	}
	return s, nil
}
