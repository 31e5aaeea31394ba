// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/whisk"
)

func TestLeaseRunsOut(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		n.session()
		n.create("c", "ctl")
		began := time.Now()
		gone := expect[whisk.ContainerGone](n)
		if gone.Container != "c" || gone.Expected || !strings.Contains(gone.Reason, "ctl") {
			t.Errorf("%+v", gone)
		}
		if after := time.Since(began); after != whisk.LeaseTTL {
			t.Errorf("destroyed after %v, the lease is %v", after, whisk.LeaseTTL)
		}
	})
}

func TestRenewalKeepsTheLease(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		n.session()
		n.create("c", "ctl")
		ctl := n.controller("ctl")
		ctl.renewFor(time.Hour)
		last := time.Now()
		expect[whisk.ContainerGone](n)
		if after := time.Since(last); after != whisk.LeaseTTL {
			t.Errorf("destroyed %v after the last renewal", after)
		}
	})
}

func TestEveryRequestRenews(t *testing.T) {
	requests := map[string]whisk.SandboxRequest{
		"resume":      {Op: whisk.Resume, Container: "c"},
		"inspect":     {Op: whisk.Inspect, Container: "c"},
		"collect":     {Op: whisk.CollectLogs, Container: "c", Logs: whisk.LogRequest{Run: 1}},
		"of no avail": {Op: whisk.Suspend, Container: "other"},
	}
	for name, request := range requests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(n *node) {
				n.session()
				n.create("c", "ctl")
				ctl := n.controller("ctl")
				sleepUntil(time.Now().Add(whisk.LeaseTTL - time.Second))
				sent := time.Now()
				ctl.call(request)
				expect[whisk.ContainerGone](n)
				if after := time.Since(sent); after != whisk.LeaseTTL {
					t.Errorf("destroyed after %v", after)
				}
			})
		})
	}
}

func TestAFreshGrantHasAFullLease(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		n.session()
		n.create("old", "ctl")
		n.controller("ctl")
		sleepUntil(time.Now().Add(whisk.LeaseTTL - time.Second))
		n.create("new", "ctl")
		granted := time.Now()
		if gone := expect[whisk.ContainerGone](n); gone.Container != "old" {
			t.Fatalf("%+v", gone)
		}
		if gone := expect[whisk.ContainerGone](n); gone.Container != "new" || time.Since(granted) != whisk.LeaseTTL {
			t.Errorf("%+v after %v", gone, time.Since(granted))
		}
	})
}

// A frozen container may have an activation of its former lessee before it.
func TestASuspendedContainerEndsWithItsLease(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		n.session()
		n.create("c", "ctl")
		ctl := n.controller("ctl")
		if err := ctl.do(whisk.Suspend, "c"); err != nil {
			t.Fatal(err)
		}
		if gone := expect[whisk.ContainerGone](n); gone.Container != "c" || gone.Expected {
			t.Errorf("%+v", gone)
		}
	})
}

func TestCompareAndSet(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		n.session()
		n.create("c", "a")
		refused := func(command whisk.AgentCommand, holder whisk.ControllerID) {
			t.Helper()
			n.command(command)
			if r := expect[whisk.LeaseRefused](n); r.Container != "c" || r.Lessee != holder || r.Reason == "" {
				t.Errorf("%+v", r)
			}
		}
		granted := func(from, to whisk.ControllerID) {
			t.Helper()
			n.command(whisk.GrantLease{Epoch: 1, Container: "c", From: from, To: to})
			if g := expect[whisk.LeaseGranted](n); g.Lessee != to {
				t.Errorf("%+v", g)
			}
		}
		refused(whisk.GrantLease{Epoch: 1, Container: "c", From: "b", To: "d"}, "a")
		refused(whisk.GrantLease{Epoch: 1, Container: "c", To: "d"}, "a")
		refused(whisk.RemoveContainer{Epoch: 1, Container: "c"}, "a")
		granted("a", "b")
		refused(whisk.GrantLease{Epoch: 1, Container: "c", From: "a", To: "d"}, "b")
		granted("b", "")
		refused(whisk.RemoveContainer{Epoch: 1, Container: "c", Lessee: "b"}, "")
		granted("", "a")
		n.command(whisk.RemoveContainer{Epoch: 1, Container: "c", Lessee: "a"})
		if gone := expect[whisk.ContainerGone](n); !gone.Expected {
			t.Errorf("%+v", gone)
		}
		refused(whisk.GrantLease{Epoch: 1, Container: "c", From: "a", To: "b"}, "a")
		n.command(whisk.RemoveContainer{Epoch: 1, Container: "c", Lessee: "a"})
		if gone := expect[whisk.ContainerGone](n); !gone.Expected {
			t.Errorf("%+v", gone)
		}
	})
}

func TestOnlyTheLesseeCommands(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		n.session()
		n.create("c", "a")
		a, b := n.controller("a"), n.controller("b")
		for _, op := range []whisk.SandboxOp{whisk.Suspend, whisk.Resume, whisk.Inspect} {
			if err := b.do(op, "c"); whisk.KindOf(err) != whisk.Denied {
				t.Errorf("operation %d by another: %v", op, err)
			}
			if err := a.do(op, "c"); err != nil {
				t.Errorf("operation %d by the lessee: %v", op, err)
			}
			if err := a.do(op, "none"); whisk.KindOf(err) != whisk.NotFound {
				t.Errorf("operation %d on nothing: %v", op, err)
			}
		}
		if err := b.call(b.collect("c", 1, nil)).Error(); whisk.KindOf(err) != whisk.Denied {
			t.Errorf("collection by another: %v", err)
		}
	})
}

func TestEpochs(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		n.session()
		n.command(whisk.CreateContainer{Epoch: 5, Container: "c", Spec: spec})
		expect[whisk.ContainerCreated](n)
		for _, old := range []whisk.AgentCommand{
			whisk.CreateContainer{Epoch: 4, Container: "d", Spec: spec},
			whisk.GrantLease{Epoch: 4, Container: "c", To: "a"},
			whisk.RemoveContainer{Epoch: 4, Container: "c"},
		} {
			n.current.epoch.Store(0)
			n.command(old)
			if r := expect[whisk.LeaseRefused](n); !strings.Contains(r.Reason, "epoch") {
				t.Errorf("%+v", r)
			}
			if told := n.current.epoch.Load(); told != 5 {
				t.Errorf("the leader of epoch 4 was told of epoch %d before it was refused", told)
			}
		}
		n.command(whisk.KeepAlive{Epoch: 7})
		n.command(whisk.RemoveContainer{Epoch: 6, Container: "c"})
		expect[whisk.LeaseRefused](n)

		// The epoch outlives the session.
		_ = n.current.Close()
		if report := n.session(); len(report.Containers) != 1 || report.Epoch != 7 {
			t.Fatalf("%+v", report)
		}
		n.command(whisk.RemoveContainer{Epoch: 6, Container: "c"})
		expect[whisk.LeaseRefused](n)
		n.command(whisk.RemoveContainer{Epoch: 7, Container: "c"})
		expect[whisk.ContainerGone](n)
	})
}

// TestGrantWhileItIsMade confirms a lease only when there is a container.
func TestGrantWhileItIsMade(t *testing.T) {
	for _, fails := range []bool{false, true} {
		inBubble(t, func(s *setup) {
			s.driver.Script.Create = func(*rand.Rand, whisk.CreateSandbox) fake.Creation {
				plan := fake.Creation{Delay: time.Minute / 2}
				if fails {
					plan.Err = errors.New("no")
				}
				return plan
			}
		}, func(n *node) {
			n.session()
			n.command(whisk.CreateContainer{Epoch: 1, Container: "c", Spec: spec, Lessee: "a"})
			n.command(whisk.GrantLease{Epoch: 1, Container: "c", From: "a", To: "b"})
			if fails {
				expect[whisk.CreationFailed](n)
				expect[whisk.LeaseRefused](n)
				return
			}
			expect[whisk.ContainerCreated](n)
			if granted := expect[whisk.LeaseGranted](n); granted.Lessee != "b" {
				t.Errorf("%+v", granted)
			}
		})
	}
}
