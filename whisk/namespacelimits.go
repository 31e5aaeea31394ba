// SPDX-License-Identifier: Apache-2.0

package whisk

import (
	"fmt"
	"slices"
	"time"
)

// NamespaceLimits are what one namespace is allowed where that differs from what
// all are. A nil or empty field leaves what holds for all. Its JSON is that of
// OpenWhisk's limits documents.
type NamespaceLimits struct {
	InvocationsPerMinute  *int `json:"invocationsPerMinute,omitempty"`
	ConcurrentInvocations *int `json:"concurrentInvocations,omitempty"`
	FiresPerMinute        *int `json:"firesPerMinute,omitempty"`

	AllowedKinds     []string `json:"allowedKinds,omitempty"`     // empty for all
	StoreActivations *bool    `json:"storeActivations,omitempty"` // false keeps no records

	MinActionMemory      *int64 `json:"minActionMemory,omitempty"` // MB
	MaxActionMemory      *int64 `json:"maxActionMemory,omitempty"`
	MinActionLogs        *int64 `json:"minActionLogs,omitempty"` // MB
	MaxActionLogs        *int64 `json:"maxActionLogs,omitempty"`
	MinActionTimeout     *int64 `json:"minActionTimeout,omitempty"` // ms
	MaxActionTimeout     *int64 `json:"maxActionTimeout,omitempty"`
	MinActionConcurrency *int   `json:"minActionConcurrency,omitempty"`
	MaxActionConcurrency *int   `json:"maxActionConcurrency,omitempty"`

	MaxParameterSize string `json:"maxParameterSize,omitempty"` // such as "2 MB"
	MaxPayloadSize   string `json:"maxPayloadSize,omitempty"`
	TruncationSize   string `json:"truncationSize,omitempty"`
}

// Validate says what makes no sense: a negative number, a size that cannot be read,
// a least value above its greatest.
func (l NamespaceLimits) Validate() error {
	for _, n := range []struct {
		field string
		value *int
	}{
		{"invocationsPerMinute", l.InvocationsPerMinute}, {"concurrentInvocations", l.ConcurrentInvocations},
		{"firesPerMinute", l.FiresPerMinute},
	} {
		if n.value != nil && *n.value < 0 {
			return Errorf(Invalid, "%s must be 0 or more, not %d", n.field, *n.value)
		}
	}
	for _, pair := range []struct {
		field     string
		low, high *int64
		least     int64
	}{
		{"ActionMemory", l.MinActionMemory, l.MaxActionMemory, 1},
		{"ActionLogs", l.MinActionLogs, l.MaxActionLogs, 0},
		{"ActionTimeout", l.MinActionTimeout, l.MaxActionTimeout, 1},
		{"ActionConcurrency", wide(l.MinActionConcurrency), wide(l.MaxActionConcurrency), 1},
	} {
		switch {
		case pair.low != nil && *pair.low < pair.least:
			return Errorf(Invalid, "min%s must be at least %d, not %d", pair.field, pair.least, *pair.low)
		case pair.high != nil && *pair.high < pair.least:
			return Errorf(Invalid, "max%s must be at least %d, not %d", pair.field, pair.least, *pair.high)
		case pair.low != nil && pair.high != nil && *pair.low > *pair.high:
			return Errorf(Invalid, "min%s is %d, above max%s, which is %d", pair.field, *pair.low, pair.field, *pair.high)
		}
	}
	for _, size := range []struct{ field, text string }{
		{"maxParameterSize", l.MaxParameterSize}, {"maxPayloadSize", l.MaxPayloadSize}, {"truncationSize", l.TruncationSize},
	} {
		if size.text == "" {
			continue
		}
		if _, err := ParseBytes(size.text); err != nil {
			return fmt.Errorf("%s: %w", size.field, err)
		}
	}
	return nil
}

func wide(n *int) *int64 {
	if n == nil {
		return nil
	}
	return new(int64(*n))
}

// For returns what a namespace is allowed. How often it may do something is its
// own matter; how large its actions may be is bounded by what all are allowed.
func (l Limits) For(own NamespaceLimits) Limits {
	setInt(&l.InvocationsPerMinute, own.InvocationsPerMinute)
	setInt(&l.ConcurrentActions, own.ConcurrentInvocations)
	setInt(&l.FiresPerMinute, own.FiresPerMinute)
	if len(own.AllowedKinds) > 0 {
		l.Kinds = slices.Compact(slices.Sorted(slices.Values(slices.Concat(l.Kinds, own.AllowedKinds))))
	}
	if own.StoreActivations != nil {
		l.Unrecorded = !*own.StoreActivations
	}

	low, high := l.MinAction, l.MaxAction
	within(&l.MinAction.Memory, &l.MaxAction.Memory, low.Memory, high.Memory, own.MinActionMemory, own.MaxActionMemory, MB)
	within(&l.MinAction.Logs, &l.MaxAction.Logs, low.Logs, high.Logs, own.MinActionLogs, own.MaxActionLogs, MB)
	within(&l.MinAction.Timeout, &l.MaxAction.Timeout, low.Timeout, high.Timeout, own.MinActionTimeout, own.MaxActionTimeout, time.Millisecond)
	within(&l.MinAction.Concurrency, &l.MaxAction.Concurrency, low.Concurrency, high.Concurrency,
		wide(own.MinActionConcurrency), wide(own.MaxActionConcurrency), 1)

	lower(&l.Parameters, own.MaxParameterSize)
	lower(&l.Payload, own.MaxPayloadSize)
	lower(&l.Result, own.TruncationSize)
	return l
}

func setInt(to *int, own *int) {
	if own != nil {
		*to = *own
	}
}

// within sets the bounds of one limit from a namespace's own, in units, which cannot
// leave those of all.
func within[T ~int | ~int64](toLow, toHigh *T, low, high T, ownLow, ownHigh *int64, unit T) {
	if ownLow != nil {
		*toLow = min(max(T(min(*ownLow, int64(high/unit)))*unit, low), high)
	}
	if ownHigh != nil {
		*toHigh = min(max(T(min(*ownHigh, int64(high/unit)))*unit, low), high)
	}
}

// lower takes a size as its limit if it is smaller. What is no size changes nothing.
func lower(to *Bytes, text string) {
	if size, err := ParseBytes(text); err == nil {
		*to = min(*to, size)
	}
}

// Allows reports whether actions of a kind may be used.
func (l Limits) Allows(kind string) bool { return len(l.Kinds) == 0 || slices.Contains(l.Kinds, kind) }
