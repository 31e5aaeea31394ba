// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/bench"
	"github.com/whirl-faas/whirl/whisk"
)

// TestOverload measures a server that refuses every other call. The few calls of
// other actions are no-ops, whatever the workload is.
func TestOverload(t *testing.T) {
	p, config := startPlatform(t, func(n int, w http.ResponseWriter) bool {
		if n%2 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	config.Concurrency, config.ColdSequential, config.ColdBurst = nil, 0, 0
	config.Overload, config.Rounds, config.Duration = 3, 2, 200*time.Millisecond // some calls also where a machine makes but a hundred in a second
	config.Workloads, _ = bench.ParseWorkload("echo:16")
	report, err := bench.Run(t.Context(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.leftovers() != 0 || len(report.Overloads) != 1 {
		t.Fatalf("%d actions are left, got %+v", p.leftovers(), report)
	}
	o := report.Overloads[0]
	if o.Capacity <= 0 || o.Over.Due != 3*o.Capacity || o.Even.Due != o.Capacity || len(o.After) != 5 || o.After[4].Count == 0 || o.Calm.Count == 0 {
		t.Errorf("got %+v", o)
	}
	if refused := o.Over.Side.Errors["status 503"]; refused == 0 || o.Over.Refused != refused || o.Over.Refusal.Count != refused || len(o.Over.Side.Rates) != 2 {
		t.Errorf("got %+v", o.Over)
	}
	for _, b := range []bench.Burden{o.Even, o.Over} {
		if len(b.Side.Errors) > 1 {
			t.Errorf("at %.0f/s there were errors that the server did not make: %v", b.Due, b.Side.Errors)
		}
	}
	var text strings.Builder
	if err := report.WriteText(&text); err != nil || !strings.Contains(text.String(), "Overload, latencies in ms") {
		t.Errorf("%v\n%s", err, text.String())
	}
	if refused := fmt.Sprintf("nodejs, echo:16b, overload, %.0f/s: %d x status 503\n", o.Over.Due, o.Over.Refused); !strings.Contains(text.String(), refused) {
		t.Errorf("no %q in\n%s", refused, text.String())
	}
}

// TestOverloadOfAServerThatServesNothing tells what it says instead.
func TestOverloadOfAServerThatServesNothing(t *testing.T) {
	p, config := startPlatform(t, func(_ int, w http.ResponseWriter) bool {
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	config.Concurrency, config.ColdSequential, config.ColdBurst, config.Overload = nil, 0, 0, 3
	_, err := bench.Run(t.Context(), config, nil)
	if err == nil || whisk.KindOf(err) != whisk.Unavailable || !strings.HasSuffix(err.Error(), "x status 429") {
		t.Errorf("got %v", err)
	}
	if n := p.leftovers(); n != 0 {
		t.Errorf("%d actions are left", n)
	}
}
