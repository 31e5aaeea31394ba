// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/bench"
)

// TestOverload measures a server that refuses every other call once there are many.
func TestOverload(t *testing.T) {
	var mu sync.Mutex
	lately, since := 0, time.Now()
	p, config := startPlatform(t, func(n int, w http.ResponseWriter) bool {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(since) > 10*time.Millisecond {
			lately, since = 0, time.Now()
		}
		if lately++; lately > 5 && n%2 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	config.Concurrency, config.ColdSequential, config.ColdBurst = nil, 0, 0
	config.Overload, config.Rounds = 3, 2
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
	var text strings.Builder
	if err := report.WriteText(&text); err != nil || !strings.Contains(text.String(), "Overload, latencies in ms") {
		t.Errorf("%v\n%s", err, text.String())
	}
}
