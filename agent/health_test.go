// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/whisk"
)

// TestASilentEngine is told once, whatever it says each time, and so is its
// recovery; a single ping in vain is nothing.
func TestASilentEngine(t *testing.T) {
	var pings atomic.Int64
	var silent atomic.Bool
	inBubble(t, func(s *setup) {
		s.driver.Script.Ping = func() fake.Operation {
			if silent.Load() {
				return fake.Operation{Err: fmt.Errorf("no answer %d", pings.Add(1))}
			}
			return fake.Operation{}
		}
	}, func(n *node) {
		n.session()
		n.nothing(12 * time.Second)
		silent.Store(true)
		n.nothing(5 * time.Second)
		silent.Store(false)
		n.nothing(10 * time.Second)
		silent.Store(true)
		if report := expect[whisk.NodeReport](n); !strings.Contains(report.Problem, "engine does not answer: no answer") {
			t.Errorf("%+v", report)
		}
		n.nothing(time.Minute)
		silent.Store(false)
		if report := expect[whisk.NodeReport](n); report.Problem != "" {
			t.Errorf("%+v", report)
		}
	})
}

// TestAnEngineThatHangs does not hold the agent.
func TestAnEngineThatHangs(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Script.Ping = func() fake.Operation { return fake.Operation{Delay: time.Hour} }
	}, func(n *node) {
		n.session()
		if report := expect[whisk.NodeReport](n); !strings.Contains(report.Problem, "engine does not answer") {
			t.Errorf("%+v", report)
		}
		began := time.Now()
		n.stop()
		if took := time.Since(began); took != 0 {
			t.Errorf("the end took %v", took)
		}
	})
}

// TestAGrantOfADyingContainer must not look like a yes to the scheduler: the
// answer does not name the heir.
func TestAGrantOfADyingContainer(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Script.Resume = func(*rand.Rand, whisk.ContainerID) fake.Operation {
			return fake.Operation{Delay: time.Second, Err: errors.New("it stays frozen")}
		}
		s.driver.Script.Destroy = func(*rand.Rand, whisk.ContainerID) fake.Operation { return fake.Operation{Delay: time.Second} }
	}, func(n *node) {
		n.session()
		n.create("c", "a")
		if err := n.controller("a").do(whisk.Suspend, "c"); err != nil {
			t.Fatal(err)
		}
		n.command(whisk.GrantLease{Epoch: 1, Container: "c", From: "a", To: "b"})
		if refused := expect[whisk.LeaseRefused](n); refused.Container != "c" || refused.Lessee != "" {
			t.Errorf("%+v", refused)
		}
		// Whatever the scheduler makes of it, the end is the answer.
		n.command(whisk.RemoveContainer{Epoch: 1, Container: "c"})
		if gone := expect[whisk.ContainerGone](n); gone.Container != "c" {
			t.Errorf("%+v", gone)
		}
		n.nothing(time.Minute)
	})
}

// TestAGrantThatWasOvertaken is not answered: the one that overtook it is.
func TestAGrantThatWasOvertaken(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Script.Resume = func(*rand.Rand, whisk.ContainerID) fake.Operation { return fake.Operation{Delay: time.Second} }
	}, func(n *node) {
		n.session()
		n.create("c", "a")
		if err := n.controller("a").do(whisk.Suspend, "c"); err != nil {
			t.Fatal(err)
		}
		n.command(whisk.GrantLease{Epoch: 1, Container: "c", From: "a", To: "b"})
		n.command(whisk.GrantLease{Epoch: 1, Container: "c", From: "b", To: "d"})
		if granted := expect[whisk.LeaseGranted](n); granted.Lessee != "d" {
			t.Errorf("%+v", granted)
		}
		n.nothing(5 * time.Second)
	})
}
