// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/whirl-faas/whirl/bench/cputime"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/controller/recorder"
	"github.com/whirl-faas/whirl/whisk"
)

// BenchmarkRecord is a record from its place to the store, the activations of one
// namespace or of many in turns.
func BenchmarkRecord(b *testing.B) {
	for _, namespaces := range []int{1, 1000, 30_000} {
		b.Run(fmt.Sprintf("namespaces=%d", namespaces), func(b *testing.B) {
			r, stop := discarding()
			records := recordsOf(namespaces, 30_000)
			next := 0
			end := cputime.Report(b)
			for b.Loop() {
				slot, err := r.Reserve(b.Context(), 0)
				if err != nil {
					b.Fatal(err)
				}
				if err := slot.Expect(b.Context(), whisk.MB); err != nil {
					b.Fatal(err)
				}
				slot.Announce(records[next%len(records)], false)
				slot.Write()
				next++
			}
			end()
			stop()
		})
	}
}

// BenchmarkSettle is what a list costs before it asks the store, while thousands of
// records of other namespaces are on their way.
func BenchmarkSettle(b *testing.B) {
	r, stop := discarding()
	var slots []*recorder.Slot
	for _, record := range recordsOf(1000, 10_000) {
		slot, err := r.Reserve(b.Context(), 0)
		if err != nil {
			b.Fatal(err)
		}
		slot.Announce(record, false)
		slots = append(slots, slot)
	}
	end := cputime.Report(b)
	for b.Loop() {
		r.Settle(b.Context(), "nobody")
	}
	end()
	for _, slot := range slots {
		slot.Write()
	}
	stop()
}

// discarding starts a recorder whose store takes everything at no cost.
func discarding() (r *recorder.Recorder, stop func()) {
	store := discard{controllertest.NewStore()}
	r = recorder.New(recorder.Default(), store, store, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.Run(ctx)
	}()
	return r, func() {
		cancel()
		<-done
	}
}

// discard stores no records.
type discard struct{ *controllertest.Store }

func (discard) PutActivations(context.Context, []whisk.Activation) error { return nil }

// recordsOf makes records with ids of their own, of so many namespaces in turns.
func recordsOf(namespaces, count int) (records []*whisk.Activation) {
	for i := range count {
		records = append(records, &whisk.Activation{
			ID:        whisk.ActivationID(fmt.Sprintf("%032x", i)),
			Namespace: fmt.Sprint("namespace", i%namespaces),
			Response:  whisk.Response{Result: []byte(`{"ok":true}`)},
		})
	}
	return records
}
