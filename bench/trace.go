// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"cmp"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Trace is a recording of calls: which function was called when, for how long it
// ran and how much memory it had. It is not changed after [ReadTrace].
type Trace struct {
	functions []function
	calls     []traced // in the order of time
}

// function is one that is called in a trace.
type function struct {
	name    string
	memory  whisk.Bytes   // the most that a call of it tells
	longest time.Duration // of its calls
}

// traced is one call.
type traced struct {
	function int
	at       time.Duration // since the trace began
	ran      time.Duration
}

const (
	mostCalls     = 1_000_000
	mostFunctions = mostActions
	longestRun    = 5 * time.Minute // OpenWhisk's limit
	longestTrace  = 30 * 24 * time.Hour
)

// ReadTrace reads a CSV of function, time, duration, memory, with or without a
// line of these heads. Times are numbers of seconds or such as "1.5s" and
// "20ms"; memory is a number of MB or such as "256m". The order of lines does not
// matter. An error is Invalid and tells the line.
func ReadTrace(r io.Reader) (Trace, error) {
	rows := csv.NewReader(r)
	rows.FieldsPerRecord, rows.Comment, rows.ReuseRecord, rows.TrimLeadingSpace = 4, '#', true, true
	var t Trace
	known := map[string]int{}
	for first := true; ; first = false {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Trace{}, whisk.Errorf(whisk.Invalid, "trace, want function,time,duration,memory: %w", err)
		}
		if first {
			row[0] = strings.TrimPrefix(row[0], "\ufeff") // spreadsheets begin with that
			if strings.EqualFold(row[0], "function") {
				continue
			}
		}
		if err := t.add(row, known); err != nil {
			line, _ := rows.FieldPos(0)
			return Trace{}, whisk.Errorf(whisk.Invalid, "trace, line %d: %w", line, err)
		}
	}
	if len(t.calls) == 0 {
		return Trace{}, whisk.Errorf(whisk.Invalid, "the trace has no calls")
	}
	slices.SortStableFunc(t.calls, func(a, b traced) int { return cmp.Compare(a.at, b.at) })
	return t, nil
}

// add takes a line. known has the functions' places by their names.
func (t *Trace) add(row []string, known map[string]int) error {
	at, err := parseSeconds("time", row[1], longestTrace)
	if err != nil {
		return err
	}
	ran, err := parseSeconds("duration", row[2], longestRun)
	if err != nil {
		return err
	}
	ran = ran.Truncate(time.Millisecond) // as actions are told
	text := row[3]
	if _, err := strconv.Atoi(text); err == nil {
		text += "m"
	}
	memory, err := whisk.ParseBytes(text)
	if err != nil || memory < whisk.MB {
		return whisk.Errorf(whisk.Invalid, "memory %q, want a number of MB or such as 256m", row[3])
	}
	i, seen := known[row[0]]
	if !seen {
		i = len(t.functions)
		name := strings.Clone(row[0]) // the row is used again
		known[name] = i
		t.functions = append(t.functions, function{name: name})
	}
	f := &t.functions[i]
	f.memory, f.longest = max(f.memory, memory), max(f.longest, ran)
	t.calls = append(t.calls, traced{function: i, at: at, ran: ran})
	if len(t.calls) > mostCalls || len(t.functions) > mostFunctions {
		return whisk.Errorf(whisk.Invalid, "more than %d calls or %d functions", mostCalls, mostFunctions)
	}
	return nil
}

// parseSeconds reads a time in seconds or with a unit.
func parseSeconds(what, text string, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		var number float64
		number, err = strconv.ParseFloat(text, 64)
		if !(number >= 0 && number <= most.Seconds()) {
			number = -1 // as is NaN
		}
		d = seconds(number)
	}
	if err != nil || d < 0 || d > most {
		return 0, whisk.Errorf(whisk.Invalid, "%s %q, want seconds or such as 20ms, at most %s", what, text, most)
	}
	return d, nil
}

// schedule is when the calls are due at a speed.
func (t Trace) schedule(speed float64) schedule {
	return func(yield func(time.Duration) bool) {
		for _, call := range t.calls {
			if !yield(time.Duration(float64(call.at) / speed)) {
				return
			}
		}
	}
}

// length is when the last call is due at a speed.
func (t Trace) length(speed float64) time.Duration {
	return time.Duration(float64(t.calls[len(t.calls)-1].at) / speed)
}
