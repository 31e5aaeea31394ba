// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/pflag"

	"github.com/whirl-faas/whirl/whisk"
)

// throttleSettings say how much namespaces may do, checked.
type throttleSettings struct {
	calls, atOnce, fires int
	namespaces           map[string]whisk.NamespaceLimits // who may do more; nil for nobody
}

func addThrottleFlags(flags *pflag.FlagSet) {
	limits := whisk.DefaultLimits()
	flags.Int("invocations-per-minute", limits.InvocationsPerMinute, "calls of actions that a namespace may make in a minute, a `NUMBER`; whirl admin limits sets other ones for some")
	flags.Int("concurrent-invocations", limits.ConcurrentActions, "activations that a namespace may have at once, a `NUMBER`")
	flags.Int("fires-per-minute", limits.FiresPerMinute, "fires of triggers that a namespace may make in a minute, a `NUMBER`")
}

func addStrictFlag(flags *pflag.FlagSet) {
	flags.Bool("strict-limits", false, "hold the guest user to these, too; else it may do as much as the machine can")
}

func (s *throttleSettings) read(flags *pflag.FlagSet) error {
	for name, to := range map[string]*int{
		"invocations-per-minute": &s.calls, "concurrent-invocations": &s.atOnce, "fires-per-minute": &s.fires,
	} {
		if *to, _ = flags.GetInt(name); *to < 0 {
			return usageErrorf("--%s must be 0 or more, not %d", name, *to)
		}
	}
	if strict, err := flags.GetBool("strict-limits"); err == nil && !strict {
		s.namespaces = map[string]whisk.NamespaceLimits{"guest": {
			InvocationsPerMinute: new(guestRate), ConcurrentInvocations: new(guestFlight), FiresPerMinute: new(guestRate),
		}}
	}
	return nil
}

// What the guest of a standalone platform may do: enough to develop and to
// measure with. Other limits are met before.
const (
	guestRate   = 10_000_000
	guestFlight = 10_000
)

// apply lays the settings over the platform's limits.
func (s *throttleSettings) apply(limits *whisk.Limits) {
	limits.InvocationsPerMinute, limits.ConcurrentActions, limits.FiresPerMinute = s.calls, s.atOnce, s.fires
}

// String tells what namespaces may do.
func (s *throttleSettings) String() string {
	text := fmt.Sprintf("a namespace may make %d calls and %d fires in a minute, and have %d activations at once", s.calls, s.fires, s.atOnce)
	if s.namespaces != nil {
		text += fmt.Sprintf("; guest %d, %d and %d (--strict-limits for the same)", guestRate, guestRate, guestFlight)
	}
	return text
}
