// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// TestBench runs the load generator for a moment. It looks for errors and
// missing figures, not for speed.
func TestBench(t *testing.T) {
	p := start(t)
	cmd := exec.CommandContext(t.Context(), whirlBinary, "bench", "--apihost", p.url, "--auth", guestKey, "--kinds", "native", "--direct", "--hop",
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
			CPU    []struct{ Processes int }
			HopCPU []struct{ Processes int } `json:"bare_hop_cpu"`
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
		if w.Platform.PerSecond <= 0 || w.Share <= 0 || len(w.CPU) != 1 || w.CPU[0].Processes != 1 || len(w.HopCPU) != 1 || w.HopCPU[0].Processes != 1 {
			t.Errorf("%d at once: %+v", w.Concurrency, w)
		}
	}
	if left, err := p.CountActions(t.Context()); err != nil || left != 0 {
		t.Errorf("%d actions are left, %v", left, err)
	}
}

// TestBenchGrowth lets two kinds of work grow for a moment: of a platform, and of a
// control plane.
func TestBenchGrowth(t *testing.T) {
	out := filepath.Join(t.TempDir(), "growth")
	cmd := exec.CommandContext(t.Context(), whirlBinary, "bench", "growth", "--dimensions", "rate,controllers", "--passes", "1", "--duration", "200ms", "--out", out)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	page, err := os.ReadFile(filepath.Join(out, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## Activations a second", "| CPU of an activation, µs | ", "## Controllers", "| CPU of a requisition, µs | "} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("no %q in:\n%s", want, page)
		}
	}
	for _, name := range []string{"growth.json", "rate.svg", "controllers.svg"} {
		if file, err := os.Stat(filepath.Join(out, name)); err != nil || file.Size() < 1000 {
			t.Errorf("%s: %v, %v", name, file, err)
		}
	}
}

// TestBenchWorkloads sends every workload in a closed and an open loop for a moment, and
// compares the platform with itself.
func TestBenchWorkloads(t *testing.T) {
	p := start(t)
	trace, page := filepath.Join(t.TempDir(), "trace.csv"), filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(trace, []byte("function,time,duration,memory\na,0,10ms,128\nb,50ms,0.02,128\na,0.3,1ms,128\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), whirlBinary, "bench", "--apihost", p.url, "--auth", guestKey, "--vs", p.url, "--vs-auth", guestKey,
		"--kinds", "nodejs", "--workload", "noop,echo:1m,cpu:2ms,sleep:5ms,actions:2,sequence:2", "--concurrency", "2", "--burst", "3",
		"--trace", trace, "--rounds", "2", "--duration", "300ms", "--cold", "2", "--cold-burst", "0", "--json", "-", "--html", page)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var report struct {
		Failures int
		Warm     []struct {
			Workload, Pace string
			Platform       struct{ Latency struct{ Count int } }
			Versus         *struct{ Latency struct{ Count int } }
			Ratios         []struct{ Ratio float64 }
		}
		Replays []struct {
			Side struct{ Latency struct{ Count int } }
		}
	}
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		t.Fatalf("%v\n%s", err, &stdout)
	}
	if report.Failures != 0 || len(report.Warm) != 6*2 || len(report.Replays) != 2 {
		t.Fatalf("the report:\n%s", &stdout)
	}
	for _, w := range report.Warm {
		if w.Platform.Latency.Count == 0 || w.Versus == nil || w.Versus.Latency.Count == 0 || len(w.Ratios) != 4 {
			t.Errorf("%s, %s: %+v", w.Workload, w.Pace, w)
		}
	}
	for _, replay := range report.Replays {
		if replay.Side.Latency.Count != 3 {
			t.Errorf("the trace's three calls have %d answers", replay.Side.Latency.Count)
		}
	}
	if html, err := os.ReadFile(page); err != nil || !bytes.Contains(html, []byte("<polyline")) {
		t.Errorf("%v, the page:\n%s", err, html)
	}
	if left, err := p.CountActions(t.Context()); err != nil || left != 0 {
		t.Errorf("%d actions are left, %v", left, err)
	}
}
