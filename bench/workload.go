// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Workload is what the actions of a load do, and how many of them there are. The
// zero value is the no-op.
type Workload struct {
	name  string        // one of workloadNames, "" for noop
	size  whisk.Bytes   // of echo's payload
	work  time.Duration // of cpu and sleep, each activation
	count int           // of actions; of a sequence's parts
}

// workloadNames are in the order of help texts.
var workloadNames = []string{"noop", "echo", "cpu", "sleep", "actions", "sequence"}

const (
	largestParameters = whisk.MB         // that OpenWhisk takes by default
	longestWork       = 30 * time.Second // well within an action's default limit
	mostActions       = 1000
	mostParts         = 50 // OpenWhisk's default for sequences
)

// ParseWorkload reads a workload such as "noop", "echo:64k", "cpu:10ms",
// "sleep:100ms", "actions:10" or "sequence:3". "echo" alone and "actions" alone
// stand for four: payloads from 1 B to 1 MB, and 1, 4, 10 and 100 actions.
func ParseWorkload(text string) ([]Workload, error) {
	name, value, given := strings.Cut(text, ":")
	switch {
	case name == "noop" && !given:
		return []Workload{{}}, nil
	case name == "echo" && !given:
		return []Workload{{name: name, size: 1}, {name: name, size: whisk.KB}, {name: name, size: 64 * whisk.KB}, {name: name, size: whisk.MB}}, nil
	case name == "actions" && !given:
		return []Workload{{name: name, count: 1}, {name: name, count: 4}, {name: name, count: 10}, {name: name, count: 100}}, nil
	}
	w, err := Workload{name: name}.with(value, given)
	if err != nil {
		return nil, err
	}
	return []Workload{w}, nil
}

// with sets the number that follows a workload's name.
func (w Workload) with(value string, given bool) (Workload, error) {
	bad := func(want string) (Workload, error) {
		return Workload{}, whisk.Errorf(whisk.Invalid, "workload %s: %q is not %s", w.name, value, want)
	}
	var err error
	switch w.name {
	case "echo":
		if w.size, err = whisk.ParseBytes(value); err != nil || w.size < 1 || w.size > largestParameters {
			return bad("a size from 1 B to " + largestParameters.String() + ", such as 64k")
		}
	case "cpu", "sleep":
		if !given {
			value = map[string]string{"cpu": "10ms", "sleep": "100ms"}[w.name]
		}
		if w.work, err = time.ParseDuration(value); err != nil || w.work < time.Millisecond || w.work > longestWork {
			return bad("a time from 1ms to " + longestWork.String())
		}
		w.work = w.work.Truncate(time.Millisecond)
	case "actions", "sequence":
		least, most := 1, mostActions
		if w.name == "sequence" {
			least, most = 2, mostParts
		}
		if !given {
			value = "3"
		}
		if w.count, err = strconv.Atoi(value); err != nil || w.count < least || w.count > most {
			return bad(fmt.Sprintf("a number from %d to %d", least, most))
		}
	default:
		return Workload{}, whisk.Errorf(whisk.Invalid, "no workload %q, want one of %s", w.name, strings.Join(workloadNames, ", "))
	}
	return w, nil
}

// String returns the workload in the form that [ParseWorkload] reads.
func (w Workload) String() string {
	switch w.name {
	case "", "noop":
		return "noop"
	case "echo":
		return "echo:" + strings.ToLower(strings.NewReplacer(" KB", "k", " MB", "m", " B", "b").Replace(w.size.String()))
	case "cpu", "sleep":
		return w.name + ":" + w.work.String()
	}
	return fmt.Sprintf("%s:%d", w.name, w.count)
}

// slug is the workload as part of an action's name.
func (w Workload) slug() string { return strings.ReplaceAll(w.String(), ":", "-") }

// task is the program that the actions run.
func (w Workload) task() string {
	switch w.name {
	case "echo", "cpu", "sleep":
		return w.name
	}
	return "noop"
}

// runs says whether there is a program for a family.
func (w Workload) runs(family string) bool {
	_, ok := programOf(w.task(), family)
	return ok
}

// actions is how many actions are called.
func (w Workload) actions() int {
	if w.name == "actions" {
		return w.count
	}
	return 1
}

// parameters is what is sent, and what must be found in a good answer.
func (w Workload) parameters() (body, want []byte) {
	switch w.name {
	case "echo":
		text := w.payload()
		return []byte(`{"payload":"` + text + `"}`), []byte(`"` + text + `"`)
	case "cpu", "sleep":
		return sleepParameters(w.work), []byte(`"ok"`)
	}
	return []byte("{}"), []byte(`"ok"`)
}

// payload is text of the wanted size, or a little less where it would be over
// the limit together with its wrapping, which python writes with a space.
func (w Workload) payload() string {
	const wrapping = len(`{"payload": ""}`)
	size := min(int(w.size), int(largestParameters)-wrapping)
	const letters = "The quick brown fox jumps over the lazy dog. "
	return strings.Repeat(letters, size/len(letters)+1)[:size]
}

// sleepParameters tells a sleeping or working action for how long.
func sleepParameters(work time.Duration) []byte {
	return fmt.Appendf(nil, `{"ms":%d}`, work.Milliseconds())
}

// runBody wraps parameters as a controller does for /run, with the deadline far away.
func runBody(parameters []byte, now time.Time) []byte {
	deadline := strconv.FormatInt(now.Add(24*time.Hour).UnixMilli(), 10)
	var body bytes.Buffer
	body.WriteString(`{"value":`)
	body.Write(parameters)
	body.WriteString(`,"namespace":"bench","action_name":"/bench/direct","action_version":"0.0.1",` +
		`"activation_id":"00000000000000000000000000000000","transaction_id":"bench","deadline":"` + deadline + `"}`)
	return body.Bytes()
}

// initBody is a body of /init as a controller would send it.
func initBody(p program) ([]byte, error) {
	return json.Marshal(map[string]any{"value": map[string]any{
		"name": "direct", "main": "main", "binary": p.binary, "code": p.code, "env": map[string]string{},
	}})
}
