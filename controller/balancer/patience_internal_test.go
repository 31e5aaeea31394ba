// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"testing"
	"time"
)

func TestTooLate(t *testing.T) {
	for _, row := range []struct {
		name           string
		queue          int
		wait, patience time.Duration
		want           bool
	}{
		{"soon enough", 5000, 2 * time.Second, 2 * time.Second, false},
		{"later than that", longQueue, 2001 * time.Millisecond, 2 * time.Second, true},
		{"not many", longQueue - 1, longWait, 2 * time.Second, false},
		{"not many, and slow", shortQueue, longWait + 1, 2 * time.Second, true},
		{"few, and slow", shortQueue - 1, time.Hour, 2 * time.Second, false},
		{"patient", 5000, 4 * time.Minute, 5 * time.Minute, false},
		{"not that patient", 5000, 6 * time.Minute, 5 * time.Minute, true},
	} {
		if got := tooLate(row.queue, row.wait, row.patience); got != row.want {
			t.Errorf("%s: %t", row.name, got)
		}
	}
}

func TestPace(t *testing.T) {
	var p pace
	now := int64(time.Hour)
	steps := func(n int, every time.Duration) {
		for range n {
			now += int64(every)
			p.step(now)
		}
	}
	p.begin(now)
	steps(paceKnown-1, 10*time.Millisecond)
	if _, ok := p.wait(10, now); ok {
		t.Error("it is known too early")
	}
	steps(1, 10*time.Millisecond)
	if wait, ok := p.wait(9, now); !ok || wait < int64(99*time.Millisecond) || wait > int64(101*time.Millisecond) {
		t.Errorf("behind nine at 10 ms each one waits %v", time.Duration(wait))
	}
	// While the queue is empty no time is counted.
	now += int64(time.Hour)
	p.begin(now)
	steps(1, 10*time.Millisecond)
	if wait, _ := p.wait(0, now); wait > int64(11*time.Millisecond) {
		t.Errorf("after a rest it takes %v", time.Duration(wait))
	}
	// It follows what changed.
	steps(200, time.Millisecond)
	if wait, _ := p.wait(0, now); wait > int64(1100*time.Microsecond) {
		t.Errorf("ten times as fast, it takes %v", time.Duration(wait))
	}
	// A pause counts before there is a step that ends it, and is soon forgotten.
	if wait, _ := p.wait(999, now+int64(time.Second)); wait < int64(30*time.Second) {
		t.Errorf("behind 999, of which none has gone for a second, one waits %v", time.Duration(wait))
	}
	if wait, _ := p.wait(999, now+int64(time.Millisecond)); wait > int64(1100*time.Millisecond) {
		t.Errorf("behind 999 that go on, one waits %v", time.Duration(wait))
	}
}

func TestRoughly(t *testing.T) {
	for wait, want := range map[time.Duration]time.Duration{
		400 * time.Microsecond:                             0,
		99*time.Millisecond + 900*time.Microsecond:         100 * time.Millisecond,
		2345 * time.Millisecond:                            2300 * time.Millisecond,
		12345 * time.Millisecond:                           12 * time.Second,
		time.Hour + 5*time.Minute + 21830*time.Millisecond: time.Hour + 5*time.Minute,
	} {
		if got := roughly(wait); got != want {
			t.Errorf("%v is roughly %v, want %v", wait, got, want)
		}
	}
}
