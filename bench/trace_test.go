// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"os"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/bench"
	"github.com/whirl-faas/whirl/whisk"
)

// story is out of order, with all the ways to write times and sizes. It begins as
// spreadsheets mark what they write in UTF-8.
const story = "\ufeff" + `function,time,duration,memory
# the second call comes first
thumbnail,2e-2,5ms,256
mail, 10ms, 0.003, 128m
thumbnail,30ms,0,192
mail,0,1ms,128
`

// trace parses what must be right.
func trace(t *testing.T, text string) *bench.Trace {
	t.Helper()
	got, err := bench.ReadTrace(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return &got
}

func TestReplaySendsEachCallOfATrace(t *testing.T) {
	p, config := startPlatform(t, nil)
	config.ColdSequential, config.ColdBurst, config.Concurrency = 0, 0, nil
	config.Trace, config.TraceSpeed, config.ActionConcurrency = trace(t, story), 2, 7
	config.Processes = []bench.Process{{Name: "self", PID: os.Getpid()}}
	report, err := bench.Run(t.Context(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.leftovers() != 0 || report.Failures() != 0 || len(report.Replays) != 1 || len(report.Records) != 1 {
		t.Fatalf("%d actions are left, got %+v", p.leftovers(), report)
	}
	got := report.Replays[0]
	if got.Functions != 2 || got.Calls != 4 || got.Speed != 2 || got.Side.Latency.Count != 4 || got.Cold.Count != 2 || got.Warm.Count != 2 {
		t.Errorf("got %+v", got)
	}
	for name, want := range map[string]struct{ calls, memory int }{"-trace-0": {2, 256}, "-trace-1": {2, 128}} {
		for action, n := range p.records {
			if strings.HasSuffix(action, name) && (n != want.calls || p.memory[action] != want.memory) {
				t.Errorf("%s had %d calls and %d MB, want %+v", action, n, p.memory[action], want)
			}
		}
	}
	for action, n := range p.concurrency {
		if n != 7 {
			t.Errorf("%s may run %d activations at once, want 7", action, n)
		}
	}
	if len(got.CPU) != 1 || got.CPU[0].Processes != 1 {
		t.Errorf("got %+v of CPU time", got.CPU)
	}
	if report.Records[0].Answered != 4 || report.Records[0].Stored != 4 {
		t.Errorf("got %+v", report.Records[0])
	}
}

func TestBadTraces(t *testing.T) {
	for name, row := range map[string]struct{ text, want string }{
		"nothing":    {"", "no calls"},
		"only heads": {"function,time,duration,memory\n", "no calls"},
		"fields":     {"a,1,2\n", "function,time,duration,memory"},
		"time":       {"a,0,1,128\nb,soon,1,128\n", `line 2: time "soon"`},
		"negative":   {"a,-1s,1,128\n", `time "-1s"`},
		"forever":    {"a,1,301,128\n", "at most 5m0s"},
		"memory":     {"a,1,1,much\n", `memory "much"`},
		"no memory":  {"a,1,1,0\n", `memory "0"`},
		"not number": {"a,NaN,1,128\n", `time "NaN"`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := bench.ReadTrace(strings.NewReader(row.text)); err == nil || whisk.KindOf(err) != whisk.Invalid || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

func FuzzReadTrace(f *testing.F) {
	f.Add(story)
	f.Add("a,1e3,2h,1g\n")
	f.Add("\"a\nb\",0.000000001,1us,1\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := bench.ReadTrace(strings.NewReader(text))
		if err != nil {
			if whisk.KindOf(err) != whisk.Invalid {
				t.Errorf("got %v", err)
			}
			return
		}
		config := bench.Default()
		config.APIHost, config.Auth, config.Trace = "http://127.0.0.1:1", "a:b", &got
		if err := config.Validate(); err != nil {
			t.Error(err)
		}
	})
}
