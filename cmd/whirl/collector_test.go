// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime"
	"testing"
)

func TestCollectorLeavesHeadroom(t *testing.T) {
	c := collector{headroom: 256 << 20}
	for _, row := range []struct {
		alive uint64
		want  int
	}{
		{0, 6400},
		{1 << 20, 6400},
		{32 << 20, 800},
		{256 << 20, 100},
		{4 << 30, 100},
	} {
		if got := c.percent(row.alive); got != row.want {
			t.Errorf("with %d bytes alive: %d %%, want %d", row.alive, got, row.want)
		}
	}
	if got := (collector{}).percent(1 << 20); got != 100 {
		t.Errorf("without headroom: %d %%, want Go's 100", got)
	}
}

// TestCollectorComesBack has the percentage reckoned after each collection.
func TestCollectorComesBack(t *testing.T) {
	percents := make(chan int)
	over := make(chan struct{})
	defer close(over)
	c := collector{headroom: 1 << 50, set: func(percent int) {
		select {
		case percents <- percent:
		case <-over:
		}
	}}
	go c.adjust()
	<-percents
	for range 3 {
		runtime.GC()
		if percent := <-percents; percent <= 100 {
			t.Errorf("%d %% where there is much headroom", percent)
		}
	}
}
