// SPDX-License-Identifier: Apache-2.0

package schedulerload

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// ReadProcess reads what this process has used. The books are left out.
func ReadProcess() Reading {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Reading{
		CPU:       ownCPU(),
		Live:      whisk.Bytes(m.HeapAlloc + m.StackInuse),
		Resident:  resident(),
		Allocated: whisk.Bytes(m.TotalAlloc),
		Allocs:    m.Mallocs,
	}
}

// ownCPU is the CPU time that this process has used.
func ownCPU() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// resident is how much memory of this process is in the machine's, 0 if that is
// not known.
func resident() whisk.Bytes {
	line, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(line) // in pages: size, resident, ...
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return whisk.Bytes(pages) * whisk.Bytes(os.Getpagesize())
}
