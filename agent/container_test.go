// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/whisk"
)

func TestCreateAndRemove(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Script.Create = func(*rand.Rand, whisk.CreateSandbox) fake.Creation { return fake.Creation{Delay: time.Second} }
	}, func(n *node) {
		if report := n.session(); report.Node != "n1" || report.Memory != whisk.GB || report.Problem != "" || report.Containers != nil {
			t.Errorf("%+v", report)
		}
		n.command(whisk.CreateContainer{Epoch: 1, Container: "c", Spec: spec})
		made := expect[whisk.ContainerCreated](n)
		if c := made.Container; c.ID != "c" || c.Node != "n1" || c.Spec != spec || c.Address.Address == "" || made.Took != time.Second {
			t.Errorf("%+v", made)
		}
		n.command(whisk.CreateContainer{Epoch: 1, Container: "c", Spec: spec})
		if again := expect[whisk.ContainerCreated](n); again.Container != made.Container {
			t.Errorf("the same command again: %+v", again)
		}
		n.command(whisk.CreateContainer{Epoch: 1, Container: "c", Spec: spec, Lessee: "x"})
		if failed := expect[whisk.CreationFailed](n); failed.Fault != whisk.NodeFault {
			t.Errorf("%+v", failed)
		}
		n.command(whisk.RemoveContainer{Epoch: 1, Container: "c"})
		expect[whisk.ContainerGone](n)
	})
}

func TestCreationsInFlightAreCapped(t *testing.T) {
	var now, most atomic.Int64
	inBubble(t, func(s *setup) {
		s.agent.Creations = 3
		s.agent.Memory = 100 * whisk.GB
		s.driver.Script.Create = func(*rand.Rand, whisk.CreateSandbox) fake.Creation {
			most.Store(max(most.Load(), now.Add(1)))
			time.AfterFunc(time.Second, func() { now.Add(-1) })
			return fake.Creation{Delay: time.Second + 1}
		}
	}, func(n *node) {
		n.session()
		began := time.Now()
		for i := range 12 {
			n.command(whisk.CreateContainer{Epoch: 1, Container: whisk.ContainerID(fmt.Sprint("c", i)), Spec: spec})
		}
		for range 12 {
			expect[whisk.ContainerCreated](n)
		}
		if most.Load() != 3 || time.Since(began) > 5*time.Second {
			t.Errorf("%d at once, all took %v", most.Load(), time.Since(began))
		}
	})
}

func TestMemoryIsNotOversold(t *testing.T) {
	inBubble(t, func(s *setup) { s.agent.Memory = 2 * spec.Memory }, func(n *node) {
		n.session()
		n.create("a", "")
		n.create("b", "")
		n.command(whisk.CreateContainer{Epoch: 1, Container: "c", Spec: spec})
		if failed := expect[whisk.CreationFailed](n); failed.Fault != whisk.NodeFault {
			t.Errorf("%+v", failed)
		}
		n.command(whisk.RemoveContainer{Epoch: 1, Container: "a"})
		expect[whisk.ContainerGone](n)
		n.create("c2", "")
		if problem := n.agent.Report().Problem; problem != "" {
			t.Errorf("a full node is not a sick one: %q", problem)
		}
	})
}

func TestFaults(t *testing.T) {
	user := &whisk.CreateError{Text: "no such image", Err: errors.New("404")}
	inBubble(t, func(s *setup) {
		s.driver.Script.Create = func(_ *rand.Rand, req whisk.CreateSandbox) fake.Creation {
			switch req.ID[0] {
			case 'u':
				return fake.Creation{Err: fmt.Errorf("pull: %w", user)}
			case 'n':
				return fake.Creation{Err: errors.New("disk full")}
			}
			return fake.Creation{}
		}
	}, func(n *node) {
		n.session()
		fails := func(id whisk.ContainerID, fault whisk.Fault, message string) {
			t.Helper()
			n.command(whisk.CreateContainer{Epoch: 1, Container: id, Spec: spec})
			if got := expect[whisk.CreationFailed](n); got.Container != id || got.Fault != fault || got.Message != message {
				t.Errorf("%+v", got)
			}
		}
		for i := range 5 {
			fails(whisk.ContainerID(fmt.Sprint("u", i)), whisk.UserFault, "no such image")
		}
		fails("n1", whisk.NodeFault, "disk full")
		fails("n2", whisk.NodeFault, "disk full")
		n.create("good", "")
		for i := range 3 {
			fails(whisk.ContainerID(fmt.Sprint("n3", i)), whisk.NodeFault, "disk full")
		}
		if report := expect[whisk.NodeReport](n); !strings.Contains(report.Problem, "disk full") {
			t.Errorf("after three faults: %+v", report)
		}
		began := time.Now()
		if report := expect[whisk.NodeReport](n); report.Problem != "" || time.Since(began) != 10*time.Second {
			t.Errorf("after %v: %+v", time.Since(began), report)
		}
		fails("n4", whisk.NodeFault, "disk full")
		if report := expect[whisk.NodeReport](n); report.Problem == "" {
			t.Error("the first fault after the rest must tell that the problem stays")
		}
		n.create("good2", "")
		if report := n.agent.Report(); report.Problem != "" {
			t.Errorf("after a success: %q", report.Problem)
		}
	})
}

func TestOperationsAreDoneInOrder(t *testing.T) {
	inBubble(t, func(s *setup) {
		slow := func(*rand.Rand, whisk.ContainerID) fake.Operation { return fake.Operation{Delay: time.Second} }
		s.driver.Script.Suspend, s.driver.Script.Resume = slow, slow
	}, func(n *node) {
		n.session()
		n.create("c", "ctl")
		ctl := n.controller("ctl")
		began := time.Now()
		var seqs []uint64
		for _, op := range []whisk.SandboxOp{whisk.Resume, whisk.Suspend, whisk.Suspend, whisk.Resume, whisk.Suspend, whisk.Resume} {
			seqs = append(seqs, ctl.send(whisk.SandboxRequest{Op: op, Container: "c"}))
		}
		want := []time.Duration{0, 1, 1, 2, 3, 4} // no-ops take no time, but their turn
		for i, seq := range seqs {
			if err := ctl.reply(seq).Error(); err != nil {
				t.Error(err)
			}
			if got := time.Since(began); got != want[i]*time.Second {
				t.Errorf("operation %d was done after %v", i, got)
			}
		}
	})
}

func TestRemovalWins(t *testing.T) {
	hang := func(*rand.Rand, whisk.ContainerID) fake.Operation { return fake.Operation{Delay: time.Hour} }
	prepare := map[string]func(*node, *controller) uint64{
		"suspending": func(n *node, ctl *controller) uint64 {
			return ctl.send(whisk.SandboxRequest{Op: whisk.Suspend, Container: "c"})
		},
		"suspending, more waits": func(n *node, ctl *controller) uint64 {
			ctl.send(whisk.SandboxRequest{Op: whisk.Suspend, Container: "c"})
			return ctl.send(whisk.SandboxRequest{Op: whisk.Resume, Container: "c"})
		},
	}
	for name, do := range prepare {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(s *setup) { s.driver.Script.Suspend = hang }, func(n *node) {
				n.session()
				n.create("c", "ctl")
				ctl := n.controller("ctl")
				seq := do(n, ctl)
				synctest.Wait()
				began := time.Now()
				n.command(whisk.RemoveContainer{Epoch: 1, Container: "c", Lessee: "ctl"})
				expect[whisk.ContainerGone](n)
				if err := ctl.reply(seq).Error(); err == nil {
					t.Error("the operation was answered as if it had been done")
				}
				if took := time.Since(began); took != 0 {
					t.Errorf("it took %v", took)
				}
				n.nothing(time.Minute)
			})
		})
	}
	t.Run("creating", func(t *testing.T) {
		inBubble(t, func(s *setup) {
			s.driver.Script.Create = func(*rand.Rand, whisk.CreateSandbox) fake.Creation { return fake.Creation{Delay: time.Minute} }
		}, func(n *node) {
			n.session()
			n.command(whisk.CreateContainer{Epoch: 1, Container: "c", Spec: spec, Lessee: "ctl"})
			synctest.Wait()
			n.command(whisk.RemoveContainer{Epoch: 1, Container: "c", Lessee: "ctl"})
			if gone := expect[whisk.ContainerGone](n); !gone.Expected {
				t.Errorf("%+v", gone)
			}
			n.nothing(time.Hour)
		})
	})
}

func TestAContainerThatCannotBeResumedGoes(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Script.Resume = func(*rand.Rand, whisk.ContainerID) fake.Operation { return fake.Operation{Err: errors.New("stuck")} }
	}, func(n *node) {
		n.session()
		n.create("c", "ctl")
		ctl := n.controller("ctl")
		if err := ctl.do(whisk.Suspend, "c"); err != nil {
			t.Fatal(err)
		}
		if err := ctl.do(whisk.Resume, "c"); whisk.KindOf(err) != whisk.Unavailable {
			t.Errorf("resume = %v", err)
		}
		if gone := expect[whisk.ContainerGone](n); gone.Expected || !strings.Contains(gone.Reason, "resumed") {
			t.Errorf("%+v", gone)
		}
	})
}

func TestAFailedSuspendLeavesTheContainerRunning(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Script.Suspend = func(*rand.Rand, whisk.ContainerID) fake.Operation { return fake.Operation{Err: errors.New("no")} }
	}, func(n *node) {
		n.session()
		c := n.create("c", "ctl")
		ctl := n.controller("ctl")
		if err := ctl.do(whisk.Suspend, "c"); err == nil {
			t.Error("suspend succeeded")
		}
		n.init(n.connect(c), "x")
	})
}

func TestADriverThatCannotSuspend(t *testing.T) {
	inBubble(t, func(s *setup) { s.driver.Capabilities.Suspend = false }, func(n *node) {
		n.session()
		n.create("c", "ctl")
		ctl := n.controller("ctl")
		if err := ctl.do(whisk.Suspend, "c"); whisk.KindOf(err) != whisk.Unavailable {
			t.Errorf("suspend = %v", err)
		}
		// So it is not idle for sure when the lease runs out.
		expect[whisk.ContainerGone](n)
	})
}

func TestACrashIsReported(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Script.Create = func(*rand.Rand, whisk.CreateSandbox) fake.Creation {
			return fake.Creation{CrashAfter: 3 * time.Second, CrashExit: whisk.Exit{Code: -9, OutOfMemory: true}}
		}
	}, func(n *node) {
		n.session()
		n.create("c", "ctl")
		ctl := n.controller("ctl")
		if reply := ctl.call(whisk.SandboxRequest{Op: whisk.Inspect, Container: "c"}); reply.Exit != nil || reply.Err != "" {
			t.Errorf("inspection two seconds before the end: %+v", reply)
		}
		// The end comes while the second inspection waits.
		reply := ctl.call(whisk.SandboxRequest{Op: whisk.Inspect, Container: "c"})
		if reply.Exit == nil || !reply.Exit.OutOfMemory {
			t.Errorf("inspection at the end: %+v", reply)
		}
		if gone := expect[whisk.ContainerGone](n); gone.Expected || !strings.Contains(gone.Reason, "memory") {
			t.Errorf("%+v", gone)
		}
		// Who asks late still learns it, but not for ever.
		if reply := ctl.call(whisk.SandboxRequest{Op: whisk.Inspect, Container: "c"}); reply.Exit == nil {
			t.Errorf("late inspection: %+v", reply)
		}
		ctl.renewFor(time.Minute)
		if reply := ctl.call(whisk.SandboxRequest{Op: whisk.Inspect, Container: "c"}); whisk.KindOf(reply.Error()) != whisk.NotFound {
			t.Errorf("inspection after a minute: %+v", reply)
		}
	})
}

// Who asks how a container ended that the agent itself has ended must not take that for a crash.
func TestARemovalIsNoCrash(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		n.session()
		n.create("c", "ctl")
		ctl := n.controller("ctl")
		asked := ctl.send(whisk.SandboxRequest{Op: whisk.Inspect, Container: "c"})
		synctest.Wait()
		n.command(whisk.RemoveContainer{Epoch: 1, Container: "c", Lessee: "ctl"})
		if reply := ctl.reply(asked); reply.Exit != nil || whisk.KindOf(reply.Error()) != whisk.NotFound {
			t.Errorf("inspection that the removal meets: %+v", reply)
		}
		expect[whisk.ContainerGone](n)
		if reply := ctl.call(whisk.SandboxRequest{Op: whisk.Inspect, Container: "c"}); reply.Exit != nil || whisk.KindOf(reply.Error()) != whisk.NotFound {
			t.Errorf("inspection afterwards: %+v", reply)
		}
	})
}

func TestDestroyIsTriedUntilItWorks(t *testing.T) {
	var tries atomic.Int64
	inBubble(t, func(s *setup) {
		s.driver.Script.Destroy = func(*rand.Rand, whisk.ContainerID) fake.Operation {
			if tries.Add(1) <= 4 {
				return fake.Operation{Err: errors.New("busy")}
			}
			return fake.Operation{}
		}
	}, func(n *node) {
		n.session()
		n.create("c", "")
		n.command(whisk.RemoveContainer{Epoch: 1, Container: "c"})
		if report := expect[whisk.NodeReport](n); report.Problem == "" || len(report.Containers) != 1 {
			t.Errorf("while it is stuck: %+v", report)
		}
		expect[whisk.ContainerGone](n)
		if report := expect[whisk.NodeReport](n); report.Problem != "" {
			t.Errorf("afterwards: %+v", report)
		}
	})
}
