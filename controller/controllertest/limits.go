// SPDX-License-Identifier: Apache-2.0

package controllertest

import "github.com/whirl-faas/whirl/whisk"

// Unthrottled returns OpenWhisk's limits, but that namespaces may do as much as
// they like, for tests of other things.
func Unthrottled() whisk.Limits {
	const plenty = 1 << 30
	limits := whisk.DefaultLimits()
	limits.InvocationsPerMinute, limits.ConcurrentActions, limits.FiresPerMinute = plenty, plenty, plenty
	return limits
}
