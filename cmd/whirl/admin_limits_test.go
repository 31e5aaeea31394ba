// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

func TestAdminLimits(t *testing.T) {
	dir := t.TempDir()
	entities, err := openEntities(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := entities.Close(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		args   []string
		status int
		output []string // of either stream, in order
	}{
		{[]string{"get", "guest"}, statusOK, []string{"No limits found, default system limits apply"}},
		{[]string{"set", "guest", "--invocationsPerMinute", "5", "--storeActivations", "false", "--allowedKinds", "go:1,nodejs:20"},
			statusOK, []string{`Limits successfully set for "guest"`}},
		{[]string{"set", "guest", "--invocationsPerMinute", "0", "--maxParameterSize", "1k"}, statusOK, nil},
		{[]string{"get", "guest"}, statusOK, []string{
			"invocationsPerMinute = 0\n", "allowedKinds = ['go:1', 'nodejs:20']\n", "storeActivations = False\n", "maxParameterSize = 1k\n"}},
		{[]string{"get", "lab"}, statusOK, []string{"No limits found"}},
		{[]string{"set", "guest", "--allowedKinds", ""}, statusOK, nil},
		{[]string{"set", "guest"}, statusUsage, []string{"needs a limit", "--invocationsPerMinute"}},
		{[]string{"set", "gu/est", "--firesPerMinute", "1"}, statusUsage, []string{"namespace contains illegal characters"}},
		{[]string{"set", "guest", "--firesPerMinute", "-1"}, statusUsage, []string{"firesPerMinute must be 0 or more, not -1"}},
		{[]string{"set", "guest", "--minActionMemory", "300", "--maxActionMemory", "200"}, statusUsage, []string{"minActionMemory is 300", "200"}},
		{[]string{"set", "guest", "--maxActionMemory", "much"}, statusUsage, []string{"maxActionMemory", "much"}},
		{[]string{"get", "guest"}, statusOK, []string{"invocationsPerMinute = 0\n", "storeActivations = False\n"}}, // refused ones changed nothing
		{[]string{"set", "guest", "--storeActivations", "maybe"}, statusUsage, []string{`"maybe" is not a valid boolean`}},
		{[]string{"set", "guest", "--storeActivations", "YES", "--allowedKinds", "go:1", "nodejs:20"}, statusOK, nil},
		{[]string{"set", "guest", "lab", "--firesPerMinute", "1"}, statusUsage, []string{"takes one argument, NAMESPACE, but was given 2"}},
		{[]string{"get", "guest"}, statusOK, []string{"allowedKinds = ['go:1', 'nodejs:20']\n", "storeActivations = True\n", "", ""}},
		{[]string{"delete", "guest"}, statusOK, []string{"Limits deleted"}},
		{[]string{"delete", "guest"}, statusFailed, []string{`No limits found for "guest"`}},
	} {
		args := append([]string{"admin", "limits"}, step.args...)
		status, stdout, stderr := run(t, nil, append(args, "--data", dir)...)
		if status != step.status {
			t.Errorf("%q exits with %d, want %d: %s", step.args, status, step.status, stderr)
		}
		rest := stdout + stderr
		for _, part := range step.output {
			_, after, found := strings.Cut(rest, part)
			if !found {
				t.Errorf("%q says %q, want %q in it", step.args, stdout+stderr, part)
			}
			rest = after
		}
		if step.args[0] == "get" && strings.Contains(stdout, "allowedKinds") != (len(step.output) == 4) {
			t.Errorf("%q says %q", step.args, stdout)
		}
	}
}
