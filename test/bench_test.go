// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strconv"
	"testing"
)

// TestBench runs the load generator for a moment. It looks for errors and
// missing figures, not for speed.
func TestBench(t *testing.T) {
	p := start(t)
	cmd := exec.CommandContext(t.Context(), whirlBinary, "bench", "--apihost", p.url, "--auth", guestKey, "--kinds", "native", "--direct",
		"--concurrency", "1,10", "--rounds", "2", "--duration", "300ms", "--cold", "3", "--cold-burst", "5",
		"--process", strconv.Itoa(p.cmd.Process.Pid), "--json", "-")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var report struct {
		Failures int
		Cold     []struct {
			Mode   string
			Create struct{ Count int }
			Warm   int
		}
		Warm []struct {
			Concurrency int
			Share       float64
			Platform    struct {
				PerSecond float64 `json:"per_second"`
				Errors    map[string]int
			}
			CPU []struct {
				Own float64 `json:"own_us"`
			}
		}
		Records []struct{ Answered, Stored int }
	}
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		t.Fatalf("%v\n%s", err, &stdout)
	}
	if report.Failures != 0 || len(report.Cold) != 2 || len(report.Warm) != 2 || len(report.Records) != 1 {
		t.Fatalf("the report:\n%s", &stdout)
	}
	for i, n := range []int{3, 5} {
		if got := report.Cold[i]; got.Create.Count != n || got.Warm != 0 {
			t.Errorf("cold starts %s: %+v", got.Mode, got)
		}
	}
	for _, w := range report.Warm {
		if w.Platform.PerSecond <= 0 || w.Share <= 0 || len(w.CPU) != 1 || w.CPU[0].Own <= 0 {
			t.Errorf("%d at once: %+v", w.Concurrency, w)
		}
	}
	if left, err := p.CountActions(t.Context()); err != nil || left != 0 {
		t.Errorf("%d actions are left, %v", left, err)
	}
}
