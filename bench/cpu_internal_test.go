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
	now, err := m.read()
	if err != nil {
		t.Fatal(err)
	}
	got := now.since(nil)
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
	now, err := m.read()
	if err != nil {
		t.Fatal(err)
	}
	got := now.since(nil)
	want := map[string]usage{
		"controller": {own: tick, found: 1},
		"agent":      {own: 2 * tick, children: 4 * tick, found: 1},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestTimeDoesNotRunBackWhenProcessesEnd takes processes away from one reading to
// the next.
func TestTimeDoesNotRunBackWhenProcessesEnd(t *testing.T) {
	first := fstest.MapFS{
		"10/stat": procFile(10, "whirl", 1, 500, 0, 70, 0),
		"11/stat": procFile(11, "whirl", 1, 800, 0, 30, 0),
		"12/stat": procFile(12, "node", 11, 40, 0, 0, 0),
		"13/stat": procFile(13, "node", 10, 60, 0, 0, 0),
		"14/stat": procFile(14, "node", 10, 90, 0, 0, 0),
		"20/stat": procFile(20, "agent", 10, 300, 0, 100, 0),
	}
	for name, row := range map[string]struct {
		later fstest.MapFS
		want  map[string]usage
	}{
		"nothing ended": {fstest.MapFS{
			"10/stat": procFile(10, "whirl", 1, 501, 0, 70, 0),
			"11/stat": procFile(11, "whirl", 1, 802, 0, 30, 0),
			"13/stat": procFile(13, "node", 10, 64, 0, 0, 0),
			"12/stat": procFile(12, "node", 11, 40, 0, 0, 0),
			"14/stat": procFile(14, "node", 10, 90, 0, 0, 0),
			"20/stat": procFile(20, "agent", 10, 308, 0, 100, 0),
		}, map[string]usage{"whirl": {own: 3 * tick, children: 4 * tick, found: 2}, "agent": {own: 8 * tick, found: 1}}},
		"one of two, and its child": {fstest.MapFS{
			"10/stat": procFile(10, "whirl", 1, 503, 0, 70, 0),
			"13/stat": procFile(13, "node", 10, 61, 0, 0, 0),
			"14/stat": procFile(14, "node", 10, 90, 0, 0, 0),
			"20/stat": procFile(20, "agent", 10, 300, 0, 100, 0),
		}, map[string]usage{"whirl": {own: 3 * tick, children: tick, found: 1, ended: 1}, "agent": {found: 1}}},
		"a child that is waited for": {fstest.MapFS{
			"10/stat": procFile(10, "whirl", 1, 500, 0, 70+95, 0),
			"11/stat": procFile(11, "whirl", 1, 800, 0, 30, 0),
			"12/stat": procFile(12, "node", 11, 40, 0, 0, 0),
			"13/stat": procFile(13, "node", 10, 60, 0, 0, 0),
			"20/stat": procFile(20, "agent", 10, 300, 0, 100, 0),
		}, map[string]usage{"whirl": {children: 5 * tick, found: 2}, "agent": {found: 1}}},
		"a child that nobody waits for": {fstest.MapFS{
			"10/stat": procFile(10, "whirl", 1, 500, 0, 70, 0),
			"11/stat": procFile(11, "whirl", 1, 800, 0, 30+7, 0), // of one that came and went
			"12/stat": procFile(12, "node", 11, 40, 0, 0, 0),
			"13/stat": procFile(13, "node", 10, 62, 0, 0, 0),
			"20/stat": procFile(20, "agent", 10, 300, 0, 100, 0),
		}, map[string]usage{"whirl": {children: 9 * tick, found: 2}, "agent": {found: 1}}},
		"a child that leaves": {fstest.MapFS{
			"10/stat": procFile(10, "whirl", 1, 500, 0, 70+6, 0),
			"11/stat": procFile(11, "whirl", 1, 800, 0, 30, 0),
			"12/stat": procFile(12, "node", 11, 40, 0, 0, 0),
			"13/stat": procFile(13, "node", 10, 60, 0, 0, 0),
			"14/stat": procFile(14, "node", 1, 91, 0, 0, 0),
			"20/stat": procFile(20, "agent", 10, 300, 0, 100, 0),
		}, map[string]usage{"whirl": {children: 6 * tick, found: 2}, "agent": {found: 1}}},
		"a named child, waited for by another name": {fstest.MapFS{
			"10/stat": procFile(10, "whirl", 1, 500, 0, 70+403, 0),
			"11/stat": procFile(11, "whirl", 1, 800, 0, 30, 0),
			"12/stat": procFile(12, "node", 11, 40, 0, 0, 0),
			"13/stat": procFile(13, "node", 10, 60, 0, 0, 0),
			"14/stat": procFile(14, "node", 10, 90, 0, 0, 0),
		}, map[string]usage{"whirl": {children: 3 * tick, found: 2}, "agent": {ended: 1}}},
		"all, and another has a number": {fstest.MapFS{
			"10/stat": &fstest.MapFile{Data: []byte("10 (whirl) S 1 1 1 0 -1 4194560 5 6 7 8 2 0 0 0 20 0 1 0 100\n")},
		}, map[string]usage{"whirl": {own: 2 * tick, found: 1, ended: 2}, "agent": {ended: 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			m := meter{proc: first, processes: []Process{{Name: "whirl"}, {Name: "agent"}}}
			before, err := m.read()
			if err != nil {
				t.Fatal(err)
			}
			m.proc = row.later
			after, err := m.read()
			if err != nil {
				t.Fatal(err)
			}
			if got := after.since(before); !reflect.DeepEqual(got, row.want) {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
		})
	}
}

// TestSideTellsThatAProcessEnded has one end in the second of three rounds, and
// another between rounds.
func TestSideTellsThatAProcessEnded(t *testing.T) {
	both := func(ticks int) fstest.MapFS {
		return fstest.MapFS{"10/stat": procFile(10, "x", 1, ticks, 0, 0, 0), "11/stat": procFile(11, "x", 1, ticks, 0, 0, 0)}
	}
	one := func(ticks int) fstest.MapFS { return fstest.MapFS{"10/stat": procFile(10, "x", 1, ticks, 0, 0, 0)} }
	m := meter{processes: []Process{{Name: "x"}}}
	s := newSide("platform", nil, 0, &m)
	for _, round := range [][2]fstest.MapFS{{both(100), both(110)}, {both(110), one(115)}, {{}, {}}} {
		var ends [2]reading
		for i, proc := range round {
			m.proc = proc
			var err error
			if ends[i], err = m.read(); err != nil {
				t.Fatal(err)
			}
		}
		s.account(ends[0], ends[1], 10)
	}
	s.total.good = 25
	cpus, _ := s.cpuEach()
	if want := []CPU{{Process: "x", Own: tick, Ended: 2}}; !reflect.DeepEqual(cpus, want) {
		t.Errorf("got %+v, want %+v", cpus, want)
	}
	if want := []float64{0.02, 0, 0}; !reflect.DeepEqual(s.cpus, want) {
		t.Errorf("rounds: got %v, want %v", s.cpus, want)
	}
}

func TestMeterReadsThisMachine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
	now, err := newMeter([]Process{{Name: "test", PID: os.Getpid()}}).read()
	got := now.since(nil)
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
