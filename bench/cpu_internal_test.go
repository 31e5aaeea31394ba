// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"os"
	"reflect"
	"runtime"
	"testing"
	"testing/fstest"
	"time"
)

// procFile is /proc/PID/stat with the given times in ticks.
func procFile(pid int, name string, parent, user, kernel, reapedUser, reapedKernel int) *fstest.MapFile {
	return &fstest.MapFile{Data: fmt.Appendf(nil, "%d (%s) S %d 1 1 0 -1 4194560 5 6 7 8 %d %d %d %d 20 0 1 0 99\n",
		pid, name, parent, user, kernel, reapedUser, reapedKernel)}
}

func TestMeterTellsProcessesFromTheirChildren(t *testing.T) {
	proc := fstest.MapFS{
		"self/stat": {Data: []byte("not a process")},
		"1/stat":    procFile(1, "init", 0, 900, 900, 0, 0),
		"10/stat":   procFile(10, "whirl", 1, 3, 2, 10, 20),   // the platform, with children that have ended
		"11/stat":   procFile(11, "whirl", 1, 100, 100, 0, 0), // the load generator itself
		"12/stat":   procFile(12, "whirl", 11, 50, 50, 0, 0),  // what that started, such as a bare hop
		"20/stat":   procFile(20, "a) (b", 10, 1, 1, 0, 1),    // a sandbox's first process
		"21/stat":   procFile(21, "node", 20, 4, 0, 0, 0),     // in the sandbox
		"22/stat":   procFile(22, "whirl", 20, 1, 0, 0, 0),    // the platform's program, started again
		"30/stat":   procFile(30, "postgres", 1, 7, 0, 0, 0),
		"31/stat":   procFile(31, "postgres", 1, 8, 0, 0, 0),
	}
	m := meter{proc: proc, self: 11, processes: []Process{{Name: "whirl"}, {Name: "database", PID: 30}, {Name: "absent"}}}
	got, err := m.read()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]usage{
		"whirl":    {own: 5 * tick, children: (30 + 3 + 4 + 1) * tick, found: 1},
		"database": {own: 7 * tick, found: 1},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestMeterCountsANamedChildOnce(t *testing.T) {
	proc := fstest.MapFS{
		"10/stat": procFile(10, "controller", 1, 1, 0, 0, 0),
		"11/stat": procFile(11, "agent", 10, 2, 0, 0, 0),
		"12/stat": procFile(12, "node", 11, 4, 0, 0, 0),
	}
	m := meter{proc: proc, processes: []Process{{Name: "controller"}, {Name: "agent"}}}
	got, err := m.read()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]usage{
		"controller": {own: tick, found: 1},
		"agent":      {own: 2 * tick, children: 4 * tick, found: 1},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestMeterReadsThisMachine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
	got, err := newMeter([]Process{{Name: "test", PID: os.Getpid()}}).read()
	if err != nil || got["test"].found != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	if ownCPU() <= 0 {
		t.Error("this process used no CPU time")
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add(procFile(10, "a) (b", 1, 1, 2, 3, 4).Data)
	f.Add([]byte("1 (x"))
	f.Add([]byte(") (1"))
	f.Fuzz(func(t *testing.T, line []byte) {
		s, err := parseStat(line)
		if err != nil && s != (stat{}) {
			t.Errorf("got %+v beside %v", s, err)
		}
	})
}

func TestHistogram(t *testing.T) {
	h := newHistogram()
	for i := 1; i <= 1000; i++ {
		h.record(time.Duration(i) * time.Millisecond)
	}
	h.record(time.Hour) // beyond the range: counts as the longest
	got := h.latency()
	near := func(got, want time.Duration) bool { return (got - want).Abs() <= want/500 }
	if got.Count != 1001 || !near(got.Min, time.Millisecond) || !near(got.P50, 501*time.Millisecond) ||
		!near(got.P90, 901*time.Millisecond) || !near(got.P99, 991*time.Millisecond) || !near(got.Max, longest) {
		t.Errorf("got %+v", got)
	}
}

func TestMedian(t *testing.T) {
	for _, row := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(row.values); got != row.want {
			t.Errorf("median of %v: got %v, want %v", row.values, got, row.want)
		}
	}
}
