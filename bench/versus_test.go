// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/bench"
)

// TestVersusTakesTurns compares with a server that answers five milliseconds later.
func TestVersusTakesTurns(t *testing.T) {
	p, config := startPlatform(t, nil)
	other, otherConfig := startPlatform(t, func(int, http.ResponseWriter) bool {
		<-time.After(5 * time.Millisecond)
		return false
	})
	config.VersusHost, config.VersusAuth = otherConfig.APIHost, "other:secret"
	config.Concurrency, config.Rates = []int{2}, []float64{100}
	config.ColdSequential, config.ColdBurst = 6, 2
	config.Rounds, config.Arrivals = 6, bench.Constant
	report, err := bench.Run(t.Context(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.leftovers()+other.leftovers() != 0 || report.Failures() != 0 || report.Versus != otherConfig.APIHost || report.VersusBuild != "today 7" {
		t.Errorf("%d and %d actions are left, %d failures, versus %s %s", p.leftovers(), other.leftovers(), report.Failures(), report.Versus, report.VersusBuild)
	}
	if len(other.auth) != 1 || !other.auth["other:secret"] || p.auth["other:secret"] {
		t.Errorf("keys seen: %v and %v", p.auth, other.auth)
	}
	checkVersusCold(t, report.Cold)
	if len(report.Warm) != 2 || len(report.Records) != 2 || report.Records[1].Kind != "nodejs, versus" {
		t.Fatalf("got %+v", report)
	}
	for _, w := range report.Warm {
		if w.Versus == nil || len(w.Versus.Rates) != 6 || w.Versus.Latency.Min < 5*time.Millisecond || len(w.Ratios) != 4 {
			t.Fatalf("got %+v", w)
		}
		for _, r := range w.Ratios {
			if r.Pairs != 6 || r.Confidence != 0.96875 || r.Low > r.Value || r.Value > r.High || r.Value <= 0 {
				t.Errorf("%s: got %+v", w.Pace, r)
			}
		}
	}
	// In the open loop both are asked at the same times, and so equally often.
	if open := report.Warm[1]; open.Platform.Latency.Count != open.Versus.Latency.Count || open.Ratios[1].Of != "p50" {
		t.Errorf("got %d answers and %d", open.Platform.Latency.Count, open.Versus.Latency.Count)
	}
}

// TestVersusItself shows how much ratios differ from 1 by chance.
func TestVersusItself(t *testing.T) {
	p, config := startPlatform(t, nil)
	config.VersusHost, config.VersusAuth = config.APIHost, config.Auth
	config.Concurrency, config.Rounds = []int{1}, 1
	report, err := bench.Run(t.Context(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.leftovers() != 0 || report.Failures() != 0 || len(report.Warm) != 1 || len(report.Cold) != 4 || len(report.Records) != 2 {
		t.Errorf("%d actions are left, got %+v", p.leftovers(), report)
	}
	for _, records := range report.Records {
		if records.Answered == 0 || records.Stored != records.Answered {
			t.Errorf("got %+v", records)
		}
	}
}

func checkVersusCold(t *testing.T, cold []bench.Cold) {
	t.Helper()
	if len(cold) != 4 {
		t.Fatalf("%d batches of cold starts", len(cold))
	}
	for i, want := range []struct {
		mode, endpoint string
		n              int64
		ratios         int
	}{{"one by one", "platform", 6, 2}, {"one by one", "versus", 6, 0}, {"at once", "platform", 12, 2}, {"at once", "versus", 12, 0}} {
		got := cold[i]
		if got.Mode != want.mode || got.Endpoint != want.endpoint || got.Whole.Count != want.n || len(got.Ratios) != want.ratios {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	for _, i := range []int{0, 2} { // those at once are made as often as there are rounds
		if invoke := cold[i].Ratios[1]; invoke.Of != "invoke" || invoke.Pairs != 6 || invoke.Value <= 0 {
			t.Errorf("%s: got %+v", cold[i].Mode, invoke)
		}
	}
}
