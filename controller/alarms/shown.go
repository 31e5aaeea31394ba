// SPDX-License-Identifier: Apache-2.0

package alarms

import (
	"encoding/json"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// shown is an alarm as its readers see it.
type shown struct {
	Config shownConfig `json:"config"`
	Status shownStatus `json:"status"`
}

type shownConfig struct {
	Name      string          `json:"name"`
	Namespace string          `json:"namespace"`
	Payload   json.RawMessage `json:"payload"`
	Strict    json.RawMessage `json:"strict"`
	Date      json.RawMessage `json:"date,omitempty"`
	After     string          `json:"deleteAfterFire,omitempty"`
	StartDate json.RawMessage `json:"startDate,omitempty"`
	StopDate  json.RawMessage `json:"stopDate,omitempty"`
	Minutes   int64           `json:"minutes,omitempty"`
	Cron      string          `json:"cron,omitempty"`
	Timezone  string          `json:"timezone,omitempty"`
}

type shownStatus struct {
	Active     bool    `json:"active"`
	Changed    int64   `json:"dateChanged"`
	ChangedISO string  `json:"dateChangedISO"`
	Reason     *reason `json:"reason,omitempty"`
}

func configOf(trigger whisk.FullName, s *state) shownConfig {
	config := shownConfig{
		Name: trigger.Name, Namespace: trigger.Namespace, Payload: s.Payload, Strict: s.Strict,
		Date: s.Date, After: s.After, StartDate: s.StartDate, StopDate: s.StopDate,
		Minutes: s.Minutes, Cron: s.Cron, Timezone: s.Timezone,
	}
	if config.Strict == nil {
		config.Strict = json.RawMessage("false")
	}
	return config
}

func statusOf(s *state) shownStatus {
	changed := time.UnixMilli(s.Status.Changed).UTC()
	return shownStatus{s.Status.Active, s.Status.Changed, changed.Format(time.RFC3339), s.Status.Reason}
}
