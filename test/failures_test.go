// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/client"
)

// The texts by which OpenWhisk tells what became of an action.
const (
	outOfMemory = "The action exhausted its memory and was aborted."
	exited      = "The action did not produce a valid response and exited unexpectedly."
	runTooLong  = "The action exceeded its time limits of %d milliseconds."
	initTooLong = "The action exceeded its time limits of %d milliseconds during initialization."
	logsMissing = "The action did not initialize or run as expected. Log data might be missing."
	logsCut     = "Logs were truncated because the total bytes size exceeds the limit of %d bytes."
)

// misdeed is what an action does to its sandbox, and what its users read.
type misdeed struct {
	program  string
	limits   client.LimitsSpec
	text     string            // of the error
	other    map[string]string // of languages whose proxy survives it and tells more
	timedOut bool
	logs     []string // texts among the last lines of the logs
}

func misdeeds() []misdeed {
	oneMB := int64(1)
	const long, short = 4000, 2000
	return []misdeed{
		{program: "memory", limits: client.LimitsSpec{Memory: 128, Timeout: 30_000}, text: outOfMemory, logs: []string{logsMissing}},
		{
			program: "exit", text: exited, logs: []string{logsMissing},
			other: map[string]string{"native": "The action did not return a dictionary or array."},
		},
		{program: "stuck", limits: client.LimitsSpec{Timeout: short}, text: fmt.Sprintf(runTooLong, short), timedOut: true, logs: []string{logsMissing}},
		{program: "stuckinit", limits: client.LimitsSpec{Timeout: short}, text: fmt.Sprintf(initTooLong, short), timedOut: true, logs: []string{logsMissing}},
		{
			program: "chatter", limits: client.LimitsSpec{Timeout: long, Memory: 512, Logs: &oneMB}, text: fmt.Sprintf(runTooLong, long), timedOut: true,
			logs: []string{fmt.Sprintf(logsCut, 1<<20)},
		},
	}
}

// TestMisdeeds wants each to end in the right error, and the machine to be as
// clean as before once the platform stops.
func TestMisdeeds(t *testing.T) {
	p := start(t)
	for _, l := range languages() {
		t.Run(l.name, func(t *testing.T) {
			need(t, l.needs...)
			for _, m := range misdeeds() {
				t.Run(m.program, func(t *testing.T) { testMisdeed(t, p, l, m) })
			}
		})
	}
	t.Run("the platform is well", func(t *testing.T) { testEcho(t, p, native()) })
	p.stop(t)
}

func testMisdeed(t *testing.T, p *platform, l language, m misdeed) {
	name := "misdeed-" + m.program
	l.deploy(t, p, name, m.program, m.limits)
	got := p.send(t, "POST", "/namespaces/_/actions/"+name+"?blocking=true", "{}")
	if got.status != http.StatusBadGateway {
		t.Fatalf("status %d: %s", got.status, got.body)
	}
	var record client.Activation
	if err := json.Unmarshal(got.body, &record); err != nil {
		t.Fatal(err)
	}
	want := m.text
	if other, ok := m.other[l.name]; ok {
		want = other
	}
	var result struct{ Error string }
	_ = json.Unmarshal(record.Response.Result, &result)
	if record.Response.Status != "action developer error" || result.Error != want {
		t.Errorf("got %q, %s; want %q", record.Response.Status, record.Response.Result, want)
	}
	if got := record.Annotations.Truthy("timeout"); got != m.timedOut {
		t.Errorf("annotation timeout is %v", got)
	}
	if want == m.text {
		checkLastLines(t, p, record, m.logs)
	}
	stored := p.recordOf(t, record.ID, recordTime)
	if stored.Response.Status != record.Response.Status || string(stored.Response.Result) != string(record.Response.Result) {
		t.Errorf("stored %+v, answered %+v", stored.Response, record.Response)
	}
}

// checkLastLines wants the given texts among the last two lines: an activation
// that both failed and wrote too much may be told so in either order.
func checkLastLines(t *testing.T, p *platform, record client.Activation, want []string) {
	t.Helper()
	lines := p.logsOf(t, record.ID, len(want))
	last := lines[max(len(lines)-2, 0):]
	for _, text := range want {
		if !slices.ContainsFunc(last, func(line string) bool { return strings.HasSuffix(line, "stderr: "+text) }) {
			t.Errorf("%d lines, the last are %q, want %q", len(lines), last, text)
		}
	}
}

// TestTruncatedLogsOfASuccess wants a chatty action that ends well to succeed,
// with as much of its output as its limit allows.
func TestTruncatedLogsOfASuccess(t *testing.T) {
	p := start(t)
	oneMB := int64(1)
	p.create(t, "chatty", client.ActionSpec{
		Exec:   &client.Exec{Kind: "native:default", Code: "#!/bin/sh\nhead -c 3000000 /dev/zero | tr '\\0' x | fold -w 1000\necho\necho '{\"done\":true}'\n"},
		Limits: &client.LimitsSpec{Logs: &oneMB},
	})
	record, err := p.Invoke(t.Context(), "chatty", nil, 0)
	if err != nil || !record.Response.Success {
		t.Fatalf("got %+v, %v", record.Response, err)
	}
	lines := p.logsOf(t, record.ID, 100)
	var size int
	for _, line := range lines {
		size += len(line)
	}
	if last := lines[len(lines)-1]; !strings.HasSuffix(last, "stderr: "+fmt.Sprintf(logsCut, 1<<20)) || size > 1<<20+1000 {
		t.Errorf("%d bytes, last line %q", size, last)
	}
}

// TestStopLeavesNothing stops a platform with idle containers of each kind. It
// must not wait for anything: what is there to wait for would take an hour.
func TestStopLeavesNothing(t *testing.T) {
	need(t, "node", "python3")
	p := start(t, "--drain", "1h")
	for _, l := range languages() {
		l.deploy(t, p, "here-"+l.name, "echo", client.LimitsSpec{})
		if _, err := p.Invoke(t.Context(), "here-"+l.name, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	before := p.footprint(t)
	if len(before.processes) < 3 {
		t.Fatalf("only these processes: %+v", before.processes)
	}
	p.stop(t) // checks what is left
}
