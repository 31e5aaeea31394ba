// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// BenchmarkLogs measures a [whisk.LogStore] with entries of 1 KB in ten lines, in
// batches as agents make them. elsewhere is the processor time that others spent
// for the store so far; nil if it has no process of its own. Unlike wall time,
// processor time tells the same on a busy machine.
func BenchmarkLogs(b *testing.B, s whisk.LogStore, elsewhere func() time.Duration) {
	if elsewhere == nil {
		elsewhere = func() time.Duration { return 0 }
	}
	n := 0
	fill := func(batch []whisk.LogEntry) {
		for i := range batch {
			n++
			batch[i] = whisk.LogEntry{Activation: activationID(n), Namespace: "guest", Made: atMilli(n)}
			for range 10 {
				batch[i].Lines = append(batch[i].Lines, "2026-03-01T12:00:00.000000000Z stdout: "+strings.Repeat("x", 61))
			}
		}
	}
	for _, size := range []int{1, 100, 500} {
		b.Run(fmt.Sprint("append/batch=", size), func(b *testing.B) {
			batch := make([]whisk.LogEntry, size)
			measure(b, size, elsewhere, func() {
				fill(batch)
				if err := s.AppendLogs(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
	b.Run("read", func(b *testing.B) {
		batch := make([]whisk.LogEntry, 500)
		fill(batch)
		if err := s.AppendLogs(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		i := 0
		measure(b, 1, elsewhere, func() {
			i++
			if lines, err := s.Logs(b.Context(), "guest", batch[i%len(batch)].Activation); err != nil || len(lines) != 10 {
				b.Fatal(len(lines), err)
			}
		})
	})
	b.Run("expire/batch=500", func(b *testing.B) {
		batch := make([]whisk.LogEntry, 500)
		for deleted := 1; deleted > 0; { // what is older, so that each loop deletes what it added
			var err error
			if deleted, err = s.ExpireLogs(b.Context(), time.Now().AddDate(100, 0, 0), 1000); err != nil {
				b.Fatal(err)
			}
		}
		measure(b, len(batch), elsewhere, func() {
			fill(batch)
			if err := s.AppendLogs(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
			if deleted, err := s.ExpireLogs(b.Context(), time.Now().AddDate(100, 0, 0), len(batch)); err != nil || deleted != len(batch) {
				b.Fatal(deleted, err)
			}
		})
	})
}

// measure runs the benchmark's loop and reports rate and processor time per unit
// of work.
func measure(b *testing.B, perLoop int, elsewhere func() time.Duration, loop func()) {
	b.Helper()
	before, beforeElsewhere := cpu(b), elsewhere()
	for b.Loop() {
		loop()
	}
	units := float64(b.N * perLoop)
	b.ReportMetric(float64(cpu(b)-before)/units/1000, "cpu-µs/unit")
	if used := elsewhere() - beforeElsewhere; used > 0 {
		b.ReportMetric(float64(used)/units/1000, "server-µs/unit")
	}
	b.ReportMetric(units/b.Elapsed().Seconds(), "units/s")
}

// cpu returns the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
