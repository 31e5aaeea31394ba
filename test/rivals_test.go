// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
)

// TestRivals has more actions, or more callers, than there is room for containers.
// These are the loads by which the prototype of the design was tested.
//
// No call may fail, there may never be more containers than fit, and every action
// must go on throughout. The last is not a matter of time, which depends on the
// machine, but of turns: what is shared out is containers. So the run is divided
// into parts, each as long as it takes until every caller was answered once. In
// one part no action may be given more new containers than there is room for:
// each of those went to it while somebody waited all along. An action that is
// passed over makes its part long, and those that pass it exceed their number;
// one that is passed over for good has its call fail in the end.
//
// And containers must be worth their making: if more than a third of the
// activations take a new one, the platform only hands containers round.
func TestRivals(t *testing.T) {
	for _, row := range []struct {
		name                         string
		language                     language
		actions, callers, containers int
		parts, calls                 int // at least
	}{
		{"four actions on four containers", native(), 4, 40, 4, 20, 2000},
		{"four actions on eight containers", native(), 4, 40, 8, 20, 2000},
		{"ten actions on four containers", native(), 10, 10, 4, 8, 800},
		{"ten busy actions on four containers", native(), 10, 40, 4, 5, 800},
		{"ten actions in nodejs on four containers", nodejs(), 10, 10, 4, 5, 400},
	} {
		t.Run(row.name, func(t *testing.T) {
			need(t, row.language.needs...)
			p := start(t, "--memory", fmt.Sprintf("%dm", 128*row.containers))
			var names []string
			for i := range row.actions {
				names = append(names, fmt.Sprintf("rival-%d", i))
				row.language.deploy(t, p, names[i], "one", client.LimitsSpec{Memory: 128})
			}
			c := newContest(row.callers)
			crowd := watchCrowd(p)
			c.run(t, p, names, func() bool { return len(c.parts) >= row.parts && c.calls >= row.calls })
			most := crowd.end()
			t.Logf("%d calls in %d parts, %d of them cold, at most %d containers at once", c.calls, len(c.parts), c.cold, most)
			if most > row.containers {
				t.Errorf("there were %d containers at once, and room for %d", most, row.containers)
			}
			c.check(t, row.containers)
		})
	}
}

// patience is how long a contest may take.
const patience = 4 * time.Minute

// contest is callers that each call one action, one call after the other.
type contest struct {
	mu       sync.Mutex
	calls    int
	cold     int
	parts    []part // that are over
	now      part
	answered []bool // by caller, in the present part
	missing  int    // callers that were not
}

// part is the time in which every caller was answered.
type part struct {
	cold map[string]int // answers of each action that took a new container
}

func newContest(callers int) *contest {
	return &contest{now: part{map[string]int{}}, answered: make([]bool, callers), missing: callers}
}

// run calls the actions until there is enough, each caller one of them.
func (c *contest) run(t *testing.T, p *platform, names []string, enough func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var callers sync.WaitGroup
	for caller := range c.answered {
		name := names[caller%len(names)]
		callers.Go(func() {
			for over := false; !over; {
				record, err := p.Invoke(ctx, name, nil, 0)
				if err != nil || !record.Response.Success {
					t.Errorf("a call of %s: %v, %+v", name, err, record.Response)
					cancel() // the others need not go on
					return
				}
				over = c.note(caller, name, record.Annotations.Get("initTime") != nil, enough)
			}
		})
	}
	callers.Wait()
}

// note takes down an answer and reports whether that is enough.
func (c *contest) note(caller int, name string, cold bool, enough func() bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if cold {
		c.cold++
		c.now.cold[name]++
	}
	if !c.answered[caller] {
		c.answered[caller] = true
		c.missing--
	}
	if c.missing == 0 {
		c.parts = append(c.parts, c.now)
		c.now = part{map[string]int{}}
		clear(c.answered)
		c.missing = len(c.answered)
	}
	return enough()
}

// check judges what was noted.
func (c *contest) check(t *testing.T, containers int) {
	t.Helper()
	for i, part := range c.parts {
		for name, cold := range part.cold {
			if cold > containers {
				t.Errorf("in part %d, %s was given %d new containers while another waited", i, name, cold)
			}
		}
	}
	if 3*c.cold > c.calls {
		t.Errorf("%d of %d calls had to wait for a new container", c.cold, c.calls)
	}
}

// crowd counts the sandboxes of a platform: each is a process that it started.
type crowd struct {
	stop chan struct{}
	most chan int
}

func watchCrowd(p *platform) *crowd {
	c := &crowd{stop: make(chan struct{}), most: make(chan int)}
	go func() {
		most := 0
		again := time.NewTicker(100 * time.Millisecond)
		defer again.Stop()
		for {
			here := 0
			for _, one := range descendants(p.cmd.Process.Pid) {
				if one.parent == p.cmd.Process.Pid {
					here++
				}
			}
			most = max(most, here)
			select {
			case <-again.C:
			case <-c.stop:
				c.most <- most
				return
			}
		}
	}()
	return c
}

// end returns the highest count.
func (c *crowd) end() int {
	close(c.stop)
	return <-c.most
}
