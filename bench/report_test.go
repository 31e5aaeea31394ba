// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/bench"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// latency makes a distribution that grows from least.
func latency(count int64, least time.Duration) bench.Latency {
	return bench.Latency{Count: count, Min: least, Mean: 2 * least, P50: 2 * least, P90: 3 * least, P99: 5 * least, P999: 8 * least, Max: 13 * least}
}

func report() bench.Report {
	return bench.Report{
		Started: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
		Took:    90 * time.Second,
		APIHost: "http://127.0.0.1:3233",
		Build:   "2026-11-22 1",
		Versus:  "https://other.example.org", VersusBuild: "2020-01-01 9",
		Machine: bench.Machine{CPUs: 2, Model: "Example CPU", Kernel: "Linux 6.18.0", Go: "go1.26.8"},
		Setup:   bench.Setup{Memory: "128 MB", Rounds: 2, Round: 2, Warmup: 1, Timeout: 70, Sandboxes: 10, Seed: 1, Outstanding: 1000},
		Cold: []bench.Cold{{
			Kind: "nodejs", Endpoint: "platform", Mode: "at once", Whole: latency(19, 100*time.Millisecond), Invoke: latency(19, 90*time.Millisecond),
			Wait: latency(19, 60*time.Millisecond), Init: latency(19, 20*time.Millisecond), Errors: map[string]int64{"status 503": 1},
		}},
		Warm: []bench.Warm{
			{
				Kind: "nodejs", Workload: "noop", Pace: "1 at once", Concurrency: 1, Share: 0.5, Generator: 40500 * time.Nanosecond,
				Platform:  bench.Side{Connections: 1, Rate: 1000, Rates: []float64{990, 1010}, Latency: latency(4000, 500*time.Microsecond), Errors: map[string]int64{}},
				Direct:    &bench.Side{Connections: 1, Rate: 2000, Rates: []float64{2000, 2000}, Latency: latency(8000, 250*time.Microsecond), Errors: map[string]int64{}},
				Versus:    &bench.Side{Connections: 1, Rate: 800, Rates: []float64{790, 810}, Latency: latency(3200, 600*time.Microsecond), Errors: map[string]int64{"timeout": 1}},
				Ratios:    []bench.Ratio{{Of: "throughput", Value: 1.25, Low: 1.2, High: 1.3, Confidence: 0.9375, Pairs: 5}},
				Hop:       &bench.Side{Connections: 1, Rate: 1600, Rates: []float64{1600, 1600}, Latency: latency(6400, 300*time.Microsecond), Errors: map[string]int64{"timeout": 1}},
				OfHop:     []bench.Ratio{{Of: "CPU", Value: 2.5, Low: 2.4, High: 2.6, Confidence: 0.9375, Pairs: 5}},
				HopCPU:    []bench.CPU{{Process: "bare hop", Own: 80 * time.Microsecond, Processes: 1}},
				VersusCPU: []bench.CPU{{Process: "java", Own: 900 * time.Microsecond, Processes: 3, Ended: 2}},
				CPU:       []bench.CPU{{Process: "whirl", Own: 200 * time.Microsecond, Children: 300 * time.Microsecond, Processes: 1}, {Process: "absent"}},
			},
			{
				Kind: "python", Workload: "echo:1k", Pace: "64 at once", Concurrency: 64, Generator: 41 * time.Microsecond,
				Platform: bench.Side{Connections: 64, Rate: 1500.25, Rates: []float64{1500.25}, Latency: latency(6000, 12345*time.Nanosecond), Errors: map[string]int64{"timeout": 2, "status 429": 3}, Cold: 4},
				Alone:    &bench.Side{Connections: 64, Rate: 1600, Rates: []float64{1600}, Latency: latency(6400, 12*time.Millisecond), Errors: map[string]int64{"timeout": 1}, Cold: 2},
				OfAlone:  []bench.Ratio{{Of: "throughput", Value: 0.94, Low: 0.9, High: 0.97, Confidence: 0.9375, Pairs: 5}},
			},
			{
				Kind: "nodejs", Workload: "cpu:10ms", Pace: "150/s poisson", Offered: 150, Generator: 45 * time.Microsecond,
				Platform: bench.Side{Rate: 140, Rates: []float64{139, 141}, Latency: latency(560, 12*time.Millisecond), Errors: map[string]int64{"status 429": 1}, Unsent: 39, Lag: latency(561, 10*time.Microsecond)},
			},
		},
		Replays: []bench.Replay{{
			Kind: "nodejs", Endpoint: "platform", Functions: 3, Calls: 50, Speed: 2, Warm: latency(40, time.Millisecond), Cold: latency(8, 90*time.Millisecond),
			Generator: 90 * time.Microsecond, CPU: []bench.CPU{{Process: "whirl", Own: 700 * time.Microsecond, Children: 800 * time.Microsecond, Processes: 1}},
			Side: bench.Side{Rate: 10, Rates: []float64{10}, Latency: latency(48, time.Millisecond), Errors: map[string]int64{"timeout": 1}, Cold: 8, Unsent: 1, Lag: latency(49, 10*time.Microsecond)},
		}},
		Contests: []bench.Contest{{
			Kind: "nodejs", Actions: 4, Share: 0.75, Least: 0.5, Most: 1.5, Generator: 42 * time.Microsecond,
			Platform: bench.Side{Connections: 40, Rate: 900, Rates: []float64{890, 910}, Latency: latency(3600, 10*time.Millisecond), Errors: map[string]int64{"timeout": 1}, Cold: 12},
			Versus:   &bench.Side{Connections: 40, Rate: 450, Rates: []float64{450}, Latency: latency(1800, 20*time.Millisecond), Errors: map[string]int64{"status 429": 1}},
			Ratios:   []bench.Ratio{{Of: "throughput", Value: 2, Low: 1.9, High: 2.1, Confidence: 0.9375, Pairs: 5}},
			CPU:      []bench.CPU{{Process: "whirl", Own: 250 * time.Microsecond, Children: 350 * time.Microsecond, Processes: 1}},
		}},
		Left:    []bench.Left{{Endpoint: "http://127.0.0.1:3233", Action: "whirl-bench-x-nodejs"}, {Endpoint: "http://127.0.0.1:3233", Action: "whirl-bench-x-python"}, {Endpoint: "https://other.example.org", Action: "whirl-bench-x-vs-nodejs"}},
		Added:   []bench.Added{{Kind: "nodejs", Workload: "noop", Pace: "1 at once", P50: 500 * time.Microsecond, P99: 1250 * time.Microsecond}},
		Records: []bench.Records{{Kind: "nodejs", Answered: 4100, Stored: 4100}, {Kind: "python", Answered: 10, Stored: 9}},
	}
}

func TestReportGolden(t *testing.T) {
	r := report()
	if got := r.Failures(); got != 1+2+3+1+1+1+1+1+3 {
		t.Errorf("%d failures", got)
	}
	for file, write := range map[string]func(io.Writer) error{"report.txt": r.WriteText, "report.json": r.WriteJSON} {
		t.Run(file, func(t *testing.T) {
			var got bytes.Buffer
			if err := write(&got); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", file)
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("differs from %s (rewrite it with -update):\n%s", golden, &got)
			}
		})
	}
}

func TestReportThatCannotBeWritten(t *testing.T) {
	full, err := os.Open(os.DevNull) // opened for reading only
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if err := report().WriteText(full); err == nil {
		t.Error("text: no error")
	}
	if err := report().WriteJSON(full); err == nil {
		t.Error("json: no error")
	}
}
