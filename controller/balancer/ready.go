// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"bytes"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
)

// Ready returns a function for [Deps] that tells how much wants to run on this machine at
// the moment, for each processor: goroutines of this process, and threads of all,
// those that run included. It takes some microseconds, and may not be called concurrently.
// Where the system does not tell its threads, as only Linux does, they are not counted.
func Ready() func() float64 {
	goroutines := []metrics.Sample{{Name: "/sched/goroutines/runnable:goroutines"}}
	return func() float64 {
		metrics.Read(goroutines)
		ready := float64(goroutines[0].Value.Uint64()) / float64(runtime.GOMAXPROCS(0))
		return ready + float64(threads())/float64(runtime.NumCPU())
	}
}

// threads counts the threads of the machine that run or could, without the one that asks.
func threads() int {
	text, err := os.ReadFile("/proc/loadavg") // "0.20 0.18 0.12 1/80 11206"
	if err != nil {
		return 0
	}
	fields := bytes.Fields(text)
	if len(fields) < 4 {
		return 0
	}
	ready, _, _ := bytes.Cut(fields[3], []byte("/"))
	n, err := strconv.Atoi(string(ready))
	if err != nil {
		return 0
	}
	return max(0, n-1)
}
