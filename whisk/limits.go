// SPDX-License-Identifier: Apache-2.0

package whisk

import (
	"encoding/json"
	"time"
)

// ActionLimits bound one action. Its JSON is OpenWhisk's: timeout in
// milliseconds, memory and logs in MB.
type ActionLimits struct {
	Timeout     time.Duration // of /init, and again of /run
	Memory      Bytes         // of one container
	Logs        Bytes         // of one activation; 0 collects none
	Concurrency int           // activations at once in one container, at least 1
	Instances   *int          // containers at once, in one namespace; nil for as many as there is room for, 0 for none
}

// DefaultActionLimits are the limits of an action that gives none.
var DefaultActionLimits = ActionLimits{
	Timeout:     time.Minute,
	Memory:      256 * MB,
	Logs:        10 * MB,
	Concurrency: 1,
}

type actionLimitsJSON struct {
	Timeout     int64 `json:"timeout"`
	Memory      int64 `json:"memory"`
	Logs        int64 `json:"logs"`
	Concurrency int   `json:"concurrency"`
	Instances   *int  `json:"instances,omitempty"`
}

// MarshalJSON implements [json.Marshaler].
func (l ActionLimits) MarshalJSON() ([]byte, error) {
	return json.Marshal(actionLimitsJSON{l.Timeout.Milliseconds(), l.Memory.Megabytes(), l.Logs.Megabytes(), l.Concurrency, l.Instances})
}

// UnmarshalJSON implements [json.Unmarshaler]. Fields that data lacks keep their value.
func (l *ActionLimits) UnmarshalJSON(data []byte) error {
	j := actionLimitsJSON{l.Timeout.Milliseconds(), l.Memory.Megabytes(), l.Logs.Megabytes(), l.Concurrency, l.Instances}
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	*l = ActionLimits{
		Timeout:     time.Duration(j.Timeout) * time.Millisecond,
		Memory:      Bytes(j.Memory) * MB,
		Logs:        Bytes(j.Logs) * MB,
		Concurrency: j.Concurrency,
		Instances:   j.Instances,
	}
	return nil
}

// Limits are what the platform allows: to everybody, or to one namespace.
type Limits struct {
	MinAction, MaxAction ActionLimits
	Parameters           Bytes         // of one entity's parameters, and again of its annotations
	Payload              Bytes         // of one activation's parameters
	Result               Bytes         // of one activation's result; a longer one is truncated
	Code                 Bytes         // of one action's code, as sent
	BlockingWait         time.Duration // how long a blocking call waits before it is answered with 202
	ListDefault, ListMax int           // entries of one page of a list
	SequenceLength       int           // components of one sequence
	InvocationsPerMinute int           // of one namespace
	ConcurrentActions    int           // of one namespace
	FiresPerMinute       int           // trigger fires of one namespace
	Kinds                []string      // that actions may be of; empty for all
	Unrecorded           bool          // activations leave no records
}

// DefaultLimits are OpenWhisk's.
func DefaultLimits() Limits {
	return Limits{
		MinAction:            ActionLimits{Timeout: 100 * time.Millisecond, Memory: 128 * MB, Logs: 0, Concurrency: 1},
		MaxAction:            ActionLimits{Timeout: 5 * time.Minute, Memory: 512 * MB, Logs: 10 * MB, Concurrency: 1},
		Parameters:           1 * MB,
		Payload:              1 * MB,
		Result:               1 * MB,
		Code:                 48 * MB,
		BlockingWait:         time.Minute,
		ListDefault:          30,
		ListMax:              200,
		SequenceLength:       50,
		InvocationsPerMinute: 60,
		ConcurrentActions:    30,
		FiresPerMinute:       60,
	}
}
