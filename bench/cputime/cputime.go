// SPDX-License-Identifier: Apache-2.0

// Package cputime has benchmarks report the processor time that they use. On a
// machine that does other work, too, it says what the time on the wall does not.
// It is for tests alone, and holds no state.
package cputime

import (
	"syscall"
	"testing"
	"time"
)

// Report begins to count; the function that it returns ends that, and reports
// user and kernel time of the whole process for each turn of the loop as
// cpu-ns/op. Allocations are reported, too. Call both next to the loop.
func Report(b *testing.B) (end func()) {
	b.ReportAllocs()
	before := used(b)
	return func() {
		b.ReportMetric(float64(used(b)-before)/float64(max(b.N, 1)), "cpu-ns/op")
	}
}

func used(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
