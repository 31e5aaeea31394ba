// SPDX-License-Identifier: Apache-2.0

package cputime_test

import (
	"testing"
	"time"

	"github.com/whirl-faas/whirl/bench/cputime"
)

// TestReport has a benchmark that waits: of that the processor knows nothing.
func TestReport(t *testing.T) {
	const wait = 5 * time.Millisecond
	result := testing.Benchmark(func(b *testing.B) {
		end := cputime.Report(b)
		for b.Loop() {
			<-time.After(wait)
		}
		end()
	})
	cpu, found := result.Extra["cpu-ns/op"]
	if !found || cpu <= 0 || cpu >= float64(wait) || result.NsPerOp() < int64(wait) {
		t.Errorf("%g ns of CPU, in %d ns", cpu, result.NsPerOp())
	}
}
