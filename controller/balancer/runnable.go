// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"bytes"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
)

// Runnable returns a function for [Deps] that tells how much wants to run on this machine at
// the moment, for each processor: goroutines of this process that wait for one, and threads
// of all processes that wait or run. It takes some microseconds, and may not be called
// concurrently. Threads are counted on Linux only.
func Runnable() func() float64 {
	goroutines := []metrics.Sample{{Name: "/sched/goroutines/runnable:goroutines"}}
	return func() float64 {
		var runnable float64
		metrics.Read(goroutines)
		if value := goroutines[0].Value; value.Kind() == metrics.KindUint64 { // else this Go does not tell
			runnable = float64(value.Uint64()) / float64(runtime.GOMAXPROCS(0))
		}
		load, err := os.ReadFile("/proc/loadavg")
		if err != nil {
			return runnable // not Linux
		}
		return runnable + float64(threads(load))/float64(runtime.NumCPU())
	}
}

// threads returns how many are runnable by the text of /proc/loadavg, such as
// "0.20 0.18 0.12 1/80 11206", without the one that reads it; 0 if that is another text.
func threads(load []byte) int {
	fields := bytes.Fields(load)
	if len(fields) < 4 {
		return 0
	}
	text, _, _ := bytes.Cut(fields[3], []byte("/"))
	n, err := strconv.Atoi(string(text))
	if err != nil {
		return 0
	}
	return max(0, n-1)
}
