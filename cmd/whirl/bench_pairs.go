// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/pflag"

	"github.com/whirl-faas/whirl/bench"
)

// benchNeed is a flag that says something only beside some others.
type benchNeed struct {
	flag string
	met  bool
	want string // what it needs, and why
}

// checkBenchPairs refuses flags that would do nothing beside the others: who gives
// one expects something of it. A default is not given.
func checkBenchPairs(flags *pflag.FlagSet, config bench.Config) error {
	for _, need := range benchNeeds(config) {
		if flags.Changed(need.flag) && !need.met {
			return usageErrorf("--%s needs %s", need.flag, need.want)
		}
	}
	return nil
}

func benchNeeds(c bench.Config) []benchNeed {
	var (
		paced    = len(c.Concurrency)+len(c.Rates)+len(c.Bursts) > 0
		overload = c.Overload > 0
		drawn    = len(c.Rates) > 0 || overload
		open     = drawn || len(c.Bursts) > 0 || c.Trace != nil
		rounds   = paced || overload || len(c.Rivals) > 0
		vs       = c.VersusHost != ""
		batches  = vs && c.ColdBurst > 0 // as many as rounds
	)
	return []benchNeed{
		{"vs-auth", vs, "--vs: it is the key of that endpoint"},
		{"vs-process", vs, "--vs: they are processes of that endpoint"},
		{"workload", paced || overload, "--concurrency, --rate, --burst or --overload: a trace and rivals have actions of their own"},
		{"arrivals", drawn, "--rate or --overload: bursts and traces have times of their own"},
		{"seed", drawn, "--rate or --overload: bursts and traces have times of their own"},
		{"burst-every", len(c.Bursts) > 0, "--burst"},
		{"outstanding", open, "--rate, --burst, --trace or --overload: a closed loop has as many under way as --concurrency says"},
		{"trace-speed", c.Trace != nil, "--trace"},
		{"rounds", rounds || batches, "--concurrency, --rate, --burst, --rivals or --overload, or --vs with --cold-burst: a trace is sent once"},
		{"duration", rounds, "--concurrency, --rate, --burst, --rivals or --overload: a trace takes its own time"},
		{"direct", paced, "--concurrency, --rate or --burst: sandboxes are compared with nothing else"},
	}
}
