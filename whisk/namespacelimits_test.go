// SPDX-License-Identifier: Apache-2.0

package whisk_test

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

func TestNamespaceLimitsOverride(t *testing.T) {
	all := whisk.DefaultLimits()
	for _, test := range []struct {
		document string
		want     func(*whisk.Limits)
	}{
		{`{}`, func(*whisk.Limits) {}},
		{`{"invocationsPerMinute":6000,"concurrentInvocations":0,"firesPerMinute":1}`, func(l *whisk.Limits) {
			l.InvocationsPerMinute, l.ConcurrentActions, l.FiresPerMinute = 6000, 0, 1
		}},
		{`{"allowedKinds":["nodejs:20","go:1","nodejs:20"],"storeActivations":false}`, func(l *whisk.Limits) {
			l.Kinds, l.Unrecorded = []string{"go:1", "nodejs:20"}, true
		}},
		{`{"storeActivations":true}`, func(*whisk.Limits) {}},
		{`{"minActionMemory":200,"maxActionMemory":300}`, func(l *whisk.Limits) {
			l.MinAction.Memory, l.MaxAction.Memory = 200*whisk.MB, 300*whisk.MB
		}},
		{`{"minActionMemory":1,"maxActionMemory":100000}`, func(*whisk.Limits) {}}, // bounded by what all are allowed
		{`{"maxActionTimeout":1000,"minActionTimeout":1}`, func(l *whisk.Limits) { l.MaxAction.Timeout = time.Second }},
		{`{"maxActionLogs":0}`, func(l *whisk.Limits) { l.MaxAction.Logs = 0 }},
		{`{"maxActionConcurrency":500}`, func(*whisk.Limits) {}},
		{`{"maxActionMemory":9223372036854775807}`, func(*whisk.Limits) {}},
		{`{"maxParameterSize":"2 MB","maxPayloadSize":"100 KB","truncationSize":"1k"}`, func(l *whisk.Limits) {
			l.Payload, l.Result = 100*whisk.KB, whisk.KB
		}},
	} {
		var own whisk.NamespaceLimits
		if err := json.Unmarshal([]byte(test.document), &own); err != nil {
			t.Fatal(err)
		}
		if err := own.Validate(); err != nil {
			t.Errorf("%s: %v", test.document, err)
		}
		want := all
		test.want(&want)
		if got := all.For(own); !reflect.DeepEqual(got, want) {
			t.Errorf("%s gives %+v, want %+v", test.document, got, want)
		}
	}
}

func TestNamespaceLimitsWithoutSense(t *testing.T) {
	for document, text := range map[string]string{
		`{"invocationsPerMinute":-1}`:                          "invocationsPerMinute must be 0 or more, not -1",
		`{"minActionMemory":0}`:                                "minActionMemory must be at least 1, not 0",
		`{"maxActionLogs":-1}`:                                 "maxActionLogs must be at least 0, not -1",
		`{"minActionTimeout":10,"maxActionTimeout":9}`:         "minActionTimeout is 10, above maxActionTimeout, which is 9",
		`{"maxActionConcurrency":0}`:                           "maxActionConcurrency must be at least 1, not 0",
		`{"maxPayloadSize":"much"}`:                            `maxPayloadSize: bad size "much", want a number and a unit such as 256m or 2 GB`,
		`{"minActionConcurrency":-9,"maxActionConcurrency":1}`: "minActionConcurrency must be at least 1, not -9",
	} {
		var own whisk.NamespaceLimits
		if err := json.Unmarshal([]byte(document), &own); err != nil {
			t.Fatal(err)
		}
		err := own.Validate()
		if err == nil || err.Error() != text || whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("%s: %v, want %s", document, err, text)
		}
	}
}

// FuzzNamespaceLimits holds that no document takes a namespace beyond what all are allowed.
func FuzzNamespaceLimits(f *testing.F) {
	f.Add(int64(1), int64(2), "1 MB")
	f.Add(int64(math.MaxInt64), int64(math.MinInt64), "9223372036854775807")
	all := whisk.DefaultLimits()
	f.Fuzz(func(t *testing.T, low, high int64, size string) {
		least, most := int(low), int(high)
		got := all.For(whisk.NamespaceLimits{
			MinActionMemory: &low, MaxActionMemory: &high, MinActionLogs: &low, MaxActionLogs: &high,
			MinActionTimeout: &low, MaxActionTimeout: &high, MinActionConcurrency: &least, MaxActionConcurrency: &most,
			MaxParameterSize: size, MaxPayloadSize: size, TruncationSize: size,
		})
		for _, action := range []whisk.ActionLimits{got.MinAction, got.MaxAction} {
			if action.Memory < all.MinAction.Memory || action.Memory > all.MaxAction.Memory ||
				action.Timeout < all.MinAction.Timeout || action.Timeout > all.MaxAction.Timeout ||
				action.Logs < all.MinAction.Logs || action.Logs > all.MaxAction.Logs ||
				action.Concurrency < all.MinAction.Concurrency || action.Concurrency > all.MaxAction.Concurrency {
				t.Errorf("%+v", action)
			}
		}
		if got.Parameters > all.Parameters || got.Payload > all.Payload || got.Result > all.Result {
			t.Errorf("%+v", got)
		}
	})
}
