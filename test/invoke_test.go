// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
	"github.com/whirl-faas/whirl/whisk"
)

// recordTime is how long a record or its logs may take after the answer.
const recordTime = 15 * time.Second

func TestInvoke(t *testing.T) {
	p := start(t)
	for _, l := range languages() {
		t.Run(l.name, func(t *testing.T) {
			need(t, l.needs...)
			t.Run("echo", func(t *testing.T) { testEcho(t, p, l) })
			t.Run("logs", func(t *testing.T) { testLogs(t, p, l) })
			t.Run("archive", func(t *testing.T) { testArchive(t, p, l) })
			t.Run("environment", func(t *testing.T) { testEnvironment(t, p, l) })
			t.Run("outcomes", func(t *testing.T) { testOutcomes(t, p, l) })
			t.Run("update", func(t *testing.T) { testUpdateIsSeenAtOnce(t, p, l) })
			t.Run("not blocking", func(t *testing.T) { testNotBlocking(t, p, l) })
			t.Run("blocking timeout", func(t *testing.T) { testBlockingTimeout(t, p, l) })
			t.Run("burst", func(t *testing.T) { testBurst(t, p, l) })
		})
	}
}

// testEcho follows parameters through an action: bound ones, over which go
// those of the call, and all kinds of JSON.
func testEcho(t *testing.T, p *platform, l language) {
	p.create(t, "echo", client.ActionSpec{
		Exec:       &client.Exec{Kind: l.name + ":default", Code: l.code["echo"]},
		Parameters: whisk.Parameters{{Key: "bound", Value: json.RawMessage(`"yes"`)}, {Key: "over", Value: json.RawMessage("1")}},
	})
	got, err := p.Result(t.Context(), "echo", json.RawMessage(`{"over":2,"deep":{"list":[1,null,"ü\n"]},"big":12345678901}`), 0)
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, got, `{"bound":"yes","over":2,"deep":{"list":[1,null,"ü\n"]},"big":12345678901}`)

	record, err := p.Invoke(t.Context(), "echo", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, record.Response.Result, `{"bound":"yes","over":1}`)
	if record.Namespace != "guest" || record.Name != "echo" || record.Subject != "guest" || record.Response.Status != "success" ||
		record.End < record.Start || record.Duration != record.End-record.Start || len(record.Logs) != 0 {
		t.Errorf("record %+v", record)
	}
	for _, key := range []string{"path", "kind", "limits", "waitTime", "timeout"} {
		if record.Annotations.Get(key) == nil {
			t.Errorf("the record lacks the annotation %q", key)
		}
	}
	if record.Annotations.Get("initTime") != nil {
		t.Error("the second run was a cold start")
	}
}

func sameJSON(t *testing.T, got json.RawMessage, want string) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal(got, &a); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	left, _ := json.Marshal(a)
	right, _ := json.Marshal(b)
	if string(left) != string(right) {
		t.Errorf("got %s, want %s", left, right)
	}
}

func testLogs(t *testing.T, p *platform, l language) {
	l.deploy(t, p, "logs", "echo", client.LimitsSpec{})
	for range 3 { // each run has its own lines only
		record, err := p.Invoke(t.Context(), "logs", nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		lines := p.logsOf(t, record.ID, 2)
		seen := map[string]int{}
		for _, line := range lines {
			stamp, rest, _ := strings.Cut(line, " ")
			if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil {
				t.Errorf("line %q: %v", line, err)
			}
			seen[strings.TrimSpace(rest)]++
		}
		if seen["stdout: to stdout"] != 1 || seen["stderr: to stderr"] != 1 || strings.Contains(fmt.Sprint(lines), whisk.LogSentinel) {
			t.Errorf("logs: %q", lines)
		}
	}
}

// logsOf waits for an activation's lines, of which there are at least so many.
func (p *platform) logsOf(t *testing.T, id whisk.ActivationID, atLeast int) (lines []string) {
	t.Helper()
	eventually(t, recordTime, fmt.Sprintf("activation %s has %d lines", id, atLeast), func() bool {
		var err error
		lines, err = p.ActivationLogs(t.Context(), id)
		return err == nil && len(lines) >= atLeast
	})
	return lines
}

// recordOf waits for an activation's record.
func (p *platform) recordOf(t *testing.T, id whisk.ActivationID, within time.Duration) (record client.Activation) {
	t.Helper()
	eventually(t, within, fmt.Sprintf("activation %s has a record", id), func() bool {
		var err error
		if record, err = p.Activation(t.Context(), id); err != nil && refused(t, err).Status != http.StatusNotFound {
			t.Fatal(err)
		}
		return err == nil
	})
	return record
}

func testArchive(t *testing.T, p *platform, l language) {
	action := p.create(t, "archive", client.ActionSpec{Exec: &client.Exec{Kind: l.name + ":default", Code: zipped(t, l.archive)}})
	if !action.Exec.Binary {
		t.Error("the archive was not recognised")
	}
	got, err := p.Result(t.Context(), "archive", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, got, `{"zipped":"inner"}`)
}

func testEnvironment(t *testing.T, p *platform, l language) {
	l.deploy(t, p, "env", "env", client.LimitsSpec{})
	record, err := p.Invoke(t.Context(), "env", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var env map[string]string
	if err := json.Unmarshal(record.Response.Result, &env); err != nil {
		t.Fatalf("%v: %s", err, record.Response.Result)
	}
	for name, want := range map[string]string{
		"__OW_NAMESPACE":      "guest",
		"__OW_ACTION_NAME":    "/guest/env",
		"__OW_ACTION_VERSION": "0.0.1",
		"__OW_ACTIVATION_ID":  string(record.ID),
	} {
		if env[name] != want {
			t.Errorf("%s is %q, want %q", name, env[name], want)
		}
	}
	for _, name := range []string{"__OW_API_HOST", "__OW_TRANSACTION_ID", "__OW_DEADLINE"} {
		if env[name] == "" {
			t.Errorf("%s is missing", name)
		}
	}
	if _, given := env["__OW_API_KEY"]; given {
		t.Error("the key was given to an action that did not ask for it")
	}
}

func testOutcomes(t *testing.T, p *platform, l language) {
	for program, want := range map[string]struct{ status, result string }{
		"fail":   {"application error", `{"error":"no luck"}`},
		"scalar": {"action developer error", `{"error":"The action did not return a dictionary or array."}`},
	} {
		name := "outcome-" + program
		l.deploy(t, p, name, program, client.LimitsSpec{})
		record, err := p.Invoke(t.Context(), name, nil, 0)
		if err != nil {
			t.Errorf("%s: %v", program, err)
			continue
		}
		if record.Response.Success || record.Response.Status != want.status {
			t.Errorf("%s: %+v", program, record.Response)
		}
		sameJSON(t, record.Response.Result, want.result)
		_, err = p.Result(t.Context(), name, nil, 0)
		failed, ok := errors.AsType[*client.FailedError](err)
		if !ok || failed.Status != http.StatusBadGateway || failed.Activation == "" {
			t.Errorf("%s: %v", program, err)
			continue
		}
		sameJSON(t, failed.Result, want.result)
	}
	l.deploy(t, p, "outcome-array", "array", client.LimitsSpec{})
	got, err := p.Result(t.Context(), "outcome-array", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, got, "[1,2]")
}

func testUpdateIsSeenAtOnce(t *testing.T, p *platform, l language) {
	l.deploy(t, p, "updated", "one", client.LimitsSpec{})
	for i := range 6 {
		program, want := "one", `{"version":1}`
		if i%2 == 1 {
			program, want = "two", `{"version":2}`
		}
		spec := client.ActionSpec{Exec: &client.Exec{Kind: l.name + ":default", Code: l.code[program]}}
		action, err := p.UpdateAction(t.Context(), "updated", spec)
		if err != nil {
			t.Fatal(err)
		}
		record, err := p.Invoke(t.Context(), "updated", nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, record.Response.Result, want)
		if record.Version != action.Version {
			t.Errorf("version %v ran, %v was written", record.Version, action.Version)
		}
	}
}

func testNotBlocking(t *testing.T, p *platform, l language) {
	l.deploy(t, p, "later", "echo", client.LimitsSpec{})
	got := p.send(t, "POST", "/namespaces/_/actions/later", `{"a":1}`)
	id, _ := got.object(t)["activationId"].(string)
	if got.status != http.StatusAccepted || got.header.Get("X-Openwhisk-Activation-Id") != id {
		t.Fatalf("%d %v %s", got.status, got.header, got.body)
	}
	record := p.recordOf(t, whisk.ActivationID(id), 30*time.Second)
	if !record.Response.Success {
		t.Errorf("record %+v", record)
	}
	sameJSON(t, record.Response.Result, `{"a":1}`)
}

func testBlockingTimeout(t *testing.T, p *platform, l language) {
	l.deploy(t, p, "slow", "sleep", client.LimitsSpec{})
	_, err := p.Invoke(t.Context(), "slow", map[string]int{"ms": 1500}, 100*time.Millisecond)
	pending, ok := errors.AsType[*client.PendingError](err)
	if !ok {
		t.Fatalf("got %v", err)
	}
	record := p.recordOf(t, pending.Activation, 30*time.Second)
	if !record.Response.Success || record.Duration < 1400 {
		t.Errorf("record %+v", record)
	}
}

// testBurst sends far more calls at once than there are containers.
func testBurst(t *testing.T, p *platform, l language) {
	l.deploy(t, p, "burst", "echo", client.LimitsSpec{Memory: 128})
	const calls = 200
	var (
		all  sync.WaitGroup
		errs = make([]error, calls)
	)
	for i := range calls {
		all.Go(func() {
			got, err := p.Result(t.Context(), "burst", map[string]int{"n": i}, 0)
			var echoed struct{ N int }
			if err == nil {
				err = json.Unmarshal(got, &echoed)
			}
			if err == nil && echoed.N != i {
				err = fmt.Errorf("call %d got the answer of call %d", i, echoed.N)
			}
			errs[i] = err
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	eventually(t, recordTime, "each call has a record", func() bool {
		n, err := p.CountActivations(t.Context(), client.ActivationQuery{Name: "burst"})
		return err == nil && n >= calls
	})
}

// TestPrewarm wants the first run of an action to happen in a process that was
// there before the action.
func TestPrewarm(t *testing.T) {
	need(t, "node")
	p := start(t)
	n := 0
	// The first ones may come before the prewarmed containers are ready.
	eventually(t, 30*time.Second, "a first run finds a prewarmed container", func() bool {
		n++
		name := fmt.Sprintf("age-%d", n)
		p.create(t, name, client.ActionSpec{Exec: &client.Exec{
			Kind: "nodejs:default", Code: `function main() { return { started: Date.now() - process.uptime() * 1000 } }`,
		}})
		invoked := time.Now()
		record, err := p.Invoke(t.Context(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if record.Annotations.Get("initTime") == nil {
			t.Error("the first run is not told to be a cold start")
		}
		var age struct{ Started float64 }
		if err := json.Unmarshal(record.Response.Result, &age); err != nil {
			t.Fatal(err)
		}
		return time.UnixMilli(int64(age.Started)).Before(invoked)
	})
}
