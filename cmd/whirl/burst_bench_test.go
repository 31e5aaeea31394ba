// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// BenchmarkColdBurst has many new actions called at once while another one's calls go on, as
// before each burst. A creation that waits for its turn is not counted as under way.
func BenchmarkColdBurst(b *testing.B) {
	for _, size := range []int{20, 100} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			bed := newColdBed(b)
			warm := bed.traffic(b)
			var cold, last, before, during sample
			for b.Loop() {
				names := bed.deploy(b, size, "native:default", nativeNoop)
				warm.into(&before)
				time.Sleep(time.Second)
				warm.into(&during)
				start := time.Now()
				var all sync.WaitGroup
				for _, name := range names {
					all.Go(func() {
						bed.invoke(b, name)
						cold.add(time.Since(start))
					})
				}
				all.Wait()
				last.add(time.Since(start))
				warm.into(nil)
				for _, name := range names {
					_, err := bed.guest.DeleteAction(b.Context(), name)
					must(b, err)
				}
			}
			warm.stop()
			cold.report(b, "cold")
			last.report(b, "last")
			before.report(b, "warm")
			during.report(b, "warm-meanwhile")
			b.ReportMetric(float64(bed.clock.most), "creations-at-once")
		})
	}
}

// traffic is two callers of an action that has its containers.
type traffic struct {
	mu      sync.Mutex
	sample  *sample // nil for none
	stop    func()
	callers sync.WaitGroup
}

func (bed *coldBed) traffic(b *testing.B) *traffic {
	name := bed.deploy(b, 1, "native:default", nativeNoop)[0]
	ctx, cancel := context.WithCancel(b.Context())
	t := &traffic{}
	t.stop = func() { cancel(); t.callers.Wait() }
	for range 2 {
		bed.invoke(b, name)
		t.callers.Go(func() {
			for ctx.Err() == nil {
				start := time.Now()
				bed.invoke(b, name)
				t.note(time.Since(start))
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	return t
}

func (t *traffic) into(s *sample) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sample = s
}

func (t *traffic) note(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sample != nil {
		t.sample.add(took)
	}
}
