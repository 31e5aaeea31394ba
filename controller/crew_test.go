// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// resting is how many of a crew wait for a job.
func resting(w *crew) int {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.idle
}

func TestCrew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var done atomic.Int32
		w := newCrew(func(j job) { j.after(); done.Add(1) })
		short := job{after: func() {}}
		long := job{after: func() { time.Sleep(time.Second) }}

		w.start(short)
		if n := resting(w); n != 0 || done.Load() != 1 {
			t.Errorf("before it gathers: %d stay after %d jobs", n, done.Load())
		}
		w.gather()
		for range 3 {
			w.start(short)
			if n := resting(w); n != 1 {
				t.Errorf("one job after the other: %d stay", n)
			}
		}
		for range crewIdle + 10 {
			w.start(long)
		}
		if n := resting(w); n != 0 {
			t.Errorf("while all are at work %d are idle", n)
		}
		time.Sleep(time.Second)
		if n := resting(w); n != crewIdle || done.Load() != 4+crewIdle+10 {
			t.Errorf("%d stay after %d jobs, want %d", n, done.Load(), crewIdle)
		}
		time.Sleep(crewStays)
		if n := resting(w); n != 0 {
			t.Errorf("%d stay without jobs", n)
		}
		w.start(long)
		w.start(short)
		if n := resting(w); n != 1 {
			t.Errorf("%d are idle beside one at work", n)
		}
		w.dismiss()
		if n := resting(w); n != 0 || done.Load() != 6+crewIdle+10 {
			t.Errorf("%d stay when all are dismissed, after %d jobs", n, done.Load())
		}
	})
}

func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p patience
		begun := time.Now()
		first := p.context(t.Context(), time.Minute)
		time.Sleep(patienceShared)
		if again := p.context(t.Context(), time.Minute); again != first {
			t.Error("not shared within a second")
		}
		time.Sleep(time.Millisecond)
		next := p.context(t.Context(), time.Minute)
		if next == first {
			t.Error("shared for longer than a second")
		}
		<-first.Done()
		if waited := time.Since(begun); waited != time.Minute+patienceShared {
			t.Errorf("the first ended after %v", waited)
		}
		if next.Err() != nil {
			t.Error("the next ended with the first")
		}
		<-next.Done()
	})
}
