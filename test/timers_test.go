// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/client"
)

// TestTimersAreLooseOutsideOfSandboxes reads the timer slack of the platform and of
// an action, in nanoseconds (docs/adr/0023).
func TestTimersAreLooseOutsideOfSandboxes(t *testing.T) {
	p := start(t)
	own, err := os.ReadFile(fmt.Sprintf("/proc/%d/timerslack_ns", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(own)); got != "1000000" {
		t.Errorf("the platform's slack is %s", got)
	}
	p.create(t, "slack", client.ActionSpec{Exec: &client.Exec{
		Kind: "native:default", Code: "#!/bin/sh\necho \"{\\\"slack\\\": $(cat /proc/self/timerslack_ns)}\"\n",
	}})
	got, err := p.Result(t.Context(), "slack", json.RawMessage(`{}`), 0)
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, got, `{"slack": 50000}`)
}
