// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	"github.com/whirl-faas/whirl/whisk"
)

// collector has Go's garbage collector wait for some garbage.
//
// Go collects when as much is garbage as is alive. With the few dozens of megabytes that
// a role of ours has alive, that is every second under load, and each time the
// goroutines that serve wait for the ones that mark: most of what is slow in a
// thousand calls is slow by that. So there may always be headroom bytes of
// garbage, or as much as is alive if that is more.
type collector struct {
	headroom uint64            // bytes
	set      func(percent int) // how many percent of what is alive may be garbage: see debug.SetGCPercent
}

// relaxCollector gives the collector its headroom, unless the environment says how it is to
// work: 256 MB, and less on machines with less than 8 GB.
func relaxCollector() {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if os.Getenv(name) != "" {
			return
		}
	}
	headroom := min(usableMemory()/32, 256*whisk.MB)
	collector{headroom: uint64(headroom), set: func(percent int) { debug.SetGCPercent(percent) }}.adjust()
}

// adjust reckons the percentage anew, now and after each collection.
func (c collector) adjust() {
	type cycle struct{ _ *cycle } // what nobody refers to goes with the next collection
	runtime.AddCleanup(new(cycle), collector.adjust, c)
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	c.set(c.percent(sample[0].Value.Uint64()))
}

// percent is what leaves the headroom over what is alive.
func (c collector) percent(alive uint64) int {
	const least = 4 << 20 // what Go takes to be alive if less is
	return int(max(100, c.headroom*100/max(alive, least)))
}
