// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// TestBenchSchedulerMeasuresAProcess has this test binary measure a scheduler in
// another process of it, and then one of its own.
func TestBenchSchedulerMeasuresAProcess(t *testing.T) {
	for _, row := range []struct{ flag, want string }{
		{"--in-memory=false", "the scheduler's process alone"},
		{"--in-memory", "scheduler, agents and controllers together"},
	} {
		status, stdout, stderr := run(t, nil, "bench", "scheduler", row.flag,
			"--agents", "3", "--controllers", "2", "--containers", "12", "--creations", "1ms",
			"--rate", "100", "--rounds", "1", "--duration", "200ms", "--warmup", "0s")
		if status != statusOK {
			t.Fatalf("%s: exit status %d\n%s", row.flag, status, stderr)
		}
		for _, want := range []string{row.want, "3 agents, 2 controllers, 12 containers", "evict", "\n0 requisitions were rejected\n"} {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s: the report lacks %q:\n%s", row.flag, want, stdout)
			}
		}
	}
}

func TestBenchSchedulerRefuses(t *testing.T) {
	for _, row := range []struct{ args, want string }{
		{"--workloads sleep", `"sleep"`},
		{"--placement random", "least-loaded"},
		{"--at-once 8", "--at-once needs --rate 0"},
		{"--in-memory --cpu-profile x", "--cpu-profile"},
		{"now", "no arguments"},
	} {
		status, _, stderr := run(t, nil, strings.Fields("bench scheduler "+row.args)...)
		if status != statusUsage || !strings.Contains(stderr, row.want) {
			t.Errorf("%s: exit status %d, %s", row.args, status, stderr)
		}
	}
}
