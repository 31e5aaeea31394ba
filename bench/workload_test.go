// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/bench"
	"github.com/whirl-faas/whirl/whisk"
)

// workloads parses what must be right.
func workloads(t *testing.T, texts ...string) (all []bench.Workload) {
	t.Helper()
	for _, text := range texts {
		some, err := bench.ParseWorkload(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, some...)
	}
	return all
}

func TestParseWorkload(t *testing.T) {
	for text, want := range map[string][]string{
		"noop":        {"noop"},
		"echo":        {"echo:1b", "echo:1k", "echo:64k", "echo:1m"},
		"echo:1000":   {"echo:1000b"},
		"echo:64 KiB": {"echo:64k"},
		"cpu":         {"cpu:10ms"},
		"cpu:1s":      {"cpu:1s"},
		"sleep:1.5ms": {"sleep:1ms"},
		"sleep":       {"sleep:100ms"},
		"actions":     {"actions:1", "actions:4", "actions:10", "actions:100"},
		"actions:7":   {"actions:7"},
		"sequence":    {"sequence:3"},
		"sequence:50": {"sequence:50"},
	} {
		var got []string
		for _, w := range workloads(t, text) {
			got = append(got, w.String())
			if again := workloads(t, w.String()); len(again) != 1 || again[0] != w {
				t.Errorf("%s is read as %v", w, again)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"":            "noop, echo, cpu, sleep, actions, sequence",
		"noop:1":      "want one of",
		"dance":       "dance",
		"echo:":       "1 B to 1 MB",
		"echo:0":      "1 B to 1 MB",
		"echo:2m":     "1 B to 1 MB",
		"cpu:10":      "1ms to 30s",
		"sleep:1h":    "1ms to 30s",
		"actions:0":   "1 to 1000",
		"sequence:1":  "2 to 50",
		"sequence:51": "2 to 50",
	} {
		if _, err := bench.ParseWorkload(text); err == nil || whisk.KindOf(err) != whisk.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestWorkloadsSendWhatTheyAreNamedFor(t *testing.T) {
	p, config := startPlatform(t, nil)
	config.ColdSequential, config.ColdBurst = 0, 0
	config.Concurrency = []int{2}
	config.Workloads = workloads(t, "echo:1m", "cpu:20ms", "sleep:30ms", "actions:4", "sequence:3")
	report, err := bench.Run(t.Context(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := p.leftovers(); n != 0 || report.Failures() != 0 {
		t.Errorf("%d actions are left, %d failures", n, report.Failures())
	}
	var names []string
	for i, w := range report.Warm {
		names = append(names, w.Workload)
		if w.Platform.Latency.Count == 0 || report.Records[i].Kind != "nodejs, "+w.Workload {
			t.Errorf("got %+v, %+v", w, report.Records[i])
		}
	}
	if want := []string{"echo:1m", "cpu:20ms", "sleep:30ms", "actions:4", "sequence:3"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	called := map[string]int{} // by the end of the name, without the kind
	for name, n := range p.records {
		_, purpose, _ := strings.Cut(name, "-nodejs-")
		called[purpose] = n
		if want := map[string]int{"cpu-20ms": 20, "sleep-30ms": 30}[purpose]; p.asked[name] != want {
			t.Errorf("%s was asked for %d ms, want %d", purpose, p.asked[name], want)
		}
	}
	if len(called) != 8 || called["echo-1m"] == 0 || called["sequence-3"] != 0 || called["sequence-3-whole"] == 0 {
		t.Errorf("called %v", called)
	}
	least, most := called["actions-4-1"], called["actions-4-1"]
	for i := 1; i < 4; i++ {
		n := called[fmt.Sprintf("actions-4-%d", i)]
		least, most = min(least, n), max(most, n)
	}
	// In turns, once for the warm-up and once for the rounds.
	if least == 0 || most-least > 2 {
		t.Errorf("actions in turns got from %d to %d calls", least, most)
	}
	if first := called["actions-4-0"]; first <= most {
		t.Errorf("the action that was called alone, too, got %d calls, and the others up to %d", first, most)
	}
}

func TestSeveralActionsAreComparedWithOne(t *testing.T) {
	_, config := startPlatform(t, nil)
	config.ColdSequential, config.ColdBurst = 0, 0
	config.Concurrency, config.Workloads = []int{2}, workloads(t, "actions:1", "actions:3")
	report, err := bench.Run(t.Context(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	if report.Failures() != 0 || len(report.Warm) != 2 || report.Warm[0].Alone != nil {
		t.Fatalf("got %+v", report)
	}
	w := report.Warm[1]
	if w.Alone == nil || w.Alone.Latency.Count == 0 || len(w.OfAlone) != 4 || w.OfAlone[0].Of != "throughput" || w.OfAlone[0].Pairs != config.Rounds {
		t.Fatalf("got %+v", w)
	}
	if got := report.Records[1]; got.Stored != got.Answered || got.Answered < w.Platform.Latency.Count+w.Alone.Latency.Count {
		t.Errorf("got %+v", got)
	}
}

func TestNamespacesTakeTurns(t *testing.T) {
	p, config := startPlatform(t, nil)
	config.ColdSequential, config.ColdBurst = 0, 0
	config.Concurrency, config.MoreAuths = []int{2}, []string{"second:secret", "third:secret"}
	report, err := bench.Run(t.Context(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.leftovers() != 0 || report.Failures() != 0 {
		t.Errorf("%d actions are left, %d failures", p.leftovers(), report.Failures())
	}
	if len(p.auth) != 3 || !p.auth["uuid:secret"] || !p.auth["second:secret"] || !p.auth["third:secret"] {
		t.Errorf("keys seen: %v", p.auth)
	}
	var calls []int
	for _, n := range p.records {
		calls = append(calls, n)
	}
	if len(calls) != 3 || slices.Max(calls)-slices.Min(calls) > 2 {
		t.Errorf("the actions got %v calls", calls)
	}
}

func TestAnEchoThatIsCutShortIsAnError(t *testing.T) {
	_, config := startPlatform(t, func(_ int, w http.ResponseWriter) bool {
		_, _ = io.WriteString(w, `{"activationId":"x","response":{"success":true,"result":{"payload":"The"}}}`)
		return true
	})
	config.ColdSequential, config.ColdBurst, config.Warmup = 0, 0, 0
	config.Concurrency, config.Rounds = []int{1}, 1
	config.Workloads = workloads(t, "echo:1k")
	report, err := bench.Run(t.Context(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := report.Warm[0].Platform; got.Errors["answer has another result"] == 0 || got.Latency.Count != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestWorkloadsThatAKindCannotRunAreLeftOut(t *testing.T) {
	p, config := startPlatform(t, nil)
	config.Kinds, p.native = nil, true
	config.ColdSequential, config.ColdBurst, config.Warmup = 0, 0, 0
	config.Concurrency, config.Rounds = []int{1}, 1
	config.Workloads = workloads(t, "noop", "cpu")
	report, err := bench.Run(t.Context(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range report.Warm {
		got = append(got, w.Kind+" "+w.Workload)
	}
	if want := []string{"native noop", "nodejs noop", "nodejs cpu:10ms"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestOpenLoopsSendAtTheirOwnTimes(t *testing.T) {
	p, config := startPlatform(t, nil)
	config.ColdSequential, config.ColdBurst = 0, 0
	config.Concurrency, config.Rates, config.Bursts = nil, []float64{100}, []int{7}
	config.Arrivals, config.BurstEvery = bench.Constant, 10*time.Millisecond
	config.Duration = 50 * time.Millisecond
	report, err := bench.Run(t.Context(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := p.leftovers(); n != 0 || report.Failures() != 0 || len(report.Warm) != 2 {
		t.Fatalf("%d actions are left, %d failures, %d loads", n, report.Failures(), len(report.Warm))
	}
	for i, want := range []struct {
		pace    string
		offered float64
		n       int64
	}{{"100/s constant", 100, 3 * 5}, {"bursts of 7 each 10ms", 700, 3 * 5 * 7}} {
		got := report.Warm[i]
		side := got.Platform
		if got.Pace != want.pace || got.Offered != want.offered || side.Unsent != 0 || side.Latency.Count != want.n || side.Lag.Count != want.n {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if side.Latency.Min < side.Lag.Min {
			t.Errorf("an answer after %v, but none was sent before %v", side.Latency.Min, side.Lag.Min)
		}
	}
}
