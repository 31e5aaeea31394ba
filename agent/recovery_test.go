// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/agent"
	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/whisk"
)

func TestACrashKeepsContainers(t *testing.T) {
	inBubble(t, recoverable(t, talks, func(s *setup) {
		s.driver.Script.Create = func(_ *rand.Rand, req whisk.CreateSandbox) fake.Creation {
			if req.ID == "slow" {
				return fake.Creation{Delay: time.Hour}
			}
			return fake.Creation{}
		}
	}), func(n *node) {
		n.session()
		warm := n.create("warm", "ctl")
		n.create("prewarmed", "")
		n.create("kept", "a")
		n.command(whisk.GrantLease{Epoch: 1, Container: "kept", From: "a"})
		expect[whisk.LeaseGranted](n)
		n.command(whisk.CreateContainer{Epoch: 1, Container: "slow", Spec: spec, Lessee: "ctl"})
		conn := n.connect(warm)
		n.init(conn, "x")
		post(t, conn, "/run", `{"value":{}}`)
		n.controller("ctl").call((&controller{id: "ctl"}).collect("warm", 1, nil))

		report := n.crash()
		if got, want := summary(report), []string{`kept "" true`, `prewarmed "" false`, `warm "ctl" true`}; !slices.Equal(got, want) {
			t.Fatalf("the next agent reports %q, want %q", got, want)
		}
		if got := report.Containers[2].Container; got != warm {
			t.Errorf("recovered %+v, it was %+v", got, warm)
		}
		ctl := n.controller("ctl")
		ctl.renewFor(time.Minute)
		if status := post(t, conn, "/run", `{"value":{}}`); status != http.StatusOK {
			t.Errorf("a warm run: %d", status)
		}
		reply := ctl.call(ctl.collect("warm", 2, nil))
		if got := n.texts(ctl, "warm", 2); reply.Err != "" || reply.Logs.Missing || len(got) != 2 || !slices.Contains(got, "stdout: out 2") {
			t.Errorf("run 2: %q, %+v", got, reply)
		}
		n.nothing(0)
		n.command(whisk.GrantLease{Epoch: 1, Container: "kept", To: "ctl"})
		expect[whisk.LeaseGranted](n)
		if status := n.agent.Status(); status.Used != 3*spec.Memory {
			t.Errorf("%v in use", status.Used)
		}
	})
}

// TestARecoveredLease is nobody else's for a whole lease, and then ends.
func TestARecoveredLease(t *testing.T) {
	inBubble(t, recoverable(t), func(n *node) {
		n.session()
		n.create("c", "ctl")
		n.controller("ctl").renewFor(time.Minute)
		n.crash(func() { time.Sleep(3 * time.Second) })
		began := time.Now()
		for _, from := range []whisk.ControllerID{"", "b"} {
			n.command(whisk.GrantLease{Epoch: 1, Container: "c", From: from, To: "b"})
			if refused := expect[whisk.LeaseRefused](n); refused.Lessee != "ctl" {
				t.Errorf("%+v", refused)
			}
		}
		if err := n.controller("b").do(whisk.Resume, "c"); whisk.KindOf(err) != whisk.Denied {
			t.Errorf("another's resume: %v", err)
		}
		expect[whisk.ContainerGone](n)
		if after := time.Since(began); after != whisk.LeaseTTL {
			t.Errorf("it ended after %v, a lease is %v", after, whisk.LeaseTTL)
		}
	})
}

// TestARecoveredLeaseGoesOn when its lessee gives it up.
func TestARecoveredLeaseGoesOn(t *testing.T) {
	inBubble(t, recoverable(t, talks), func(n *node) {
		n.session()
		c := n.create("c", "a")
		conn := n.connect(c)
		n.init(conn, "x")
		for range 3 {
			post(t, conn, "/run", `{"value":{}}`)
		}
		synctest.Wait()
		n.crash()
		n.command(whisk.GrantLease{Epoch: 1, Container: "c", From: "a", To: "b"})
		expect[whisk.LeaseGranted](n)
		post(t, conn, "/run", `{"value":{}}`)
		synctest.Wait()
		n.crash()
		post(t, conn, "/run", `{"value":{}}`)
		b := n.controller("b")
		for run, want := range map[uint64]string{2: "stdout: out 5"} {
			reply := b.call(b.collect("c", run, nil))
			if got := n.texts(b, "c", run); reply.Err != "" || reply.Logs.Missing || len(got) != 2 || !slices.Contains(got, want) {
				t.Errorf("run %d of the second lessee: %q, %+v", run, got, reply)
			}
		}
		// The output of the run before the crash was in the agent's memory: that
		// is not passed over in silence.
		if reply := b.call(b.collect("c", 1, nil)); !reply.Logs.Missing || reply.Logs.Lines != 1 {
			t.Errorf("the run whose output was lost: %+v", reply)
		}
	})
}

// TestRunsWithoutAnAgent are attributed when there is one again.
func TestRunsWithoutAnAgent(t *testing.T) {
	for _, orderly := range []bool{false, true} {
		inBubble(t, recoverable(t, talks, func(s *setup) { s.agent.KeepOnStop = orderly }), func(n *node) {
			n.session()
			conn := n.connect(n.create("c", "ctl"))
			n.init(conn, "x")
			run := func() { post(t, conn, "/run", `{"value":{}}`) }
			run()
			run()
			synctest.Wait()
			succeed := n.crash
			if orderly {
				succeed = n.upgrade
			}
			succeed(run, run, run)
			run()
			ctl := n.controller("ctl")
			for n1 := range uint64(6) {
				at := n1 + 1
				reply := ctl.call(ctl.collect("c", at, nil))
				got := n.texts(ctl, "c", at)
				want := fmt.Sprintf("stdout: out %d", at)
				kept := len(got) == 2 && slices.Contains(got, want) && !reply.Logs.Missing
				lost := reply.Logs.Missing && len(got) == 1
				if at <= 2 && !orderly && !lost || (at > 2 || orderly) && !kept {
					t.Errorf("orderly %t: run %d: %q, %+v", orderly, at, got, reply)
				}
			}
		})
	}
}

// TestAnUpgradeInTheMiddleOfARun keeps what the run wrote before.
func TestAnUpgradeInTheMiddleOfARun(t *testing.T) {
	inBubble(t, recoverable(t, func(s *setup) {
		s.agent.KeepOnStop = true
		s.driver.Script.Run = func(*rand.Rand, fake.Call) fake.Answer {
			return fake.Answer{Stdout: "whole\nhalf", Late: time.Second}
		}
	}), func(n *node) {
		n.session()
		conn := n.connect(n.create("c", "ctl"))
		n.init(conn, "x")
		post(t, conn, "/run", `{"value":{}}`)
		synctest.Wait()
		n.upgrade(func() { time.Sleep(3 * time.Second) })
		ctl := n.controller("ctl")
		reply := ctl.call(ctl.collect("c", 1, nil))
		// The sentinel joins the half line, as it does without an upgrade.
		if got := n.texts(ctl, "c", 1); reply.Err != "" || reply.Logs.Missing || len(got) < 1 || got[0] != "stdout: whole" {
			t.Errorf("%q, %+v", got, reply)
		}
		post(t, conn, "/run", `{"value":{}}`)
		if reply := ctl.call(ctl.collect("c", 2, nil)); reply.Err != "" || reply.Logs.Missing {
			t.Errorf("the next run: %+v", reply)
		}
	})
}

// TestFrozenContainersAreFound holds that after a crash, and after an upgrade,
// what its lessee froze is frozen until its lessee resumes it, and nothing else.
func TestFrozenContainersAreFound(t *testing.T) {
	for _, orderly := range []bool{false, true} {
		inBubble(t, recoverable(t, func(s *setup) {
			s.agent.KeepOnStop = orderly
			s.driver.Script.Resume = func(_ *rand.Rand, id whisk.ContainerID) fake.Operation {
				return fake.Operation{Delay: time.Second}
			}
		}), func(n *node) {
			n.session()
			held := n.create("held", "ctl")
			n.create("spare", "")
			moved := n.create("moved", "")
			ctl := n.controller("ctl")
			conn := n.connect(held)
			n.init(conn, "x")
			err := errors.Join(
				ctl.do(whisk.Suspend, "held"),
				n.agent.Suspend(n.t.Context(), agent.Caller{Operator: true}, "spare"),
				n.agent.Suspend(n.t.Context(), agent.Caller{Operator: true}, "moved"),
			)
			if err != nil {
				t.Fatal(err)
			}
			n.command(whisk.GrantLease{Epoch: 1, Container: "moved", To: "b"})
			synctest.Wait() // the thaw is under way, and takes a second
			var answer chan int
			next := n.crash
			if orderly {
				next = n.upgrade
			}
			next(func() {
				answer = make(chan int, 1)
				go func() { answer <- post(t, conn, "/run", `{"value":{}}`) }()
				time.Sleep(2 * time.Second)
			})
			states := map[whisk.ContainerID]string{}
			for _, c := range n.agent.Status().Containers {
				states[c.ID] = c.State
			}
			if states["held"] != "suspended" || states["spare"] != "running" || states["moved"] != "running" {
				t.Errorf("orderly %t: %v", orderly, states)
			}
			if len(answer) > 0 {
				t.Error("a frozen container answered")
			}
			n.init(n.connect(moved), "y") // its heir was never told that it slept
			if err := n.controller("ctl").do(whisk.Resume, "held"); err != nil {
				t.Error(err)
			}
			if status := <-answer; status != http.StatusOK {
				t.Errorf("the run sent before the resume: %d", status)
			}
		})
	}
}

// TestAnUpgradeDoesNotFailAResumeUnderWay: an error would say that the container
// stays frozen, and its lessee would give what it sent there to another.
func TestAnUpgradeDoesNotFailAResumeUnderWay(t *testing.T) {
	inBubble(t, recoverable(t, func(s *setup) {
		s.agent.KeepOnStop = true
		s.driver.Script.Resume = func(*rand.Rand, whisk.ContainerID) fake.Operation { return fake.Operation{Delay: time.Second} }
	}), func(n *node) {
		n.session()
		n.create("c", "ctl")
		ctl := n.controller("ctl")
		if err := ctl.do(whisk.Suspend, "c"); err != nil {
			t.Fatal(err)
		}
		ctl.send(whisk.SandboxRequest{Op: whisk.Resume, Container: "c"})
		synctest.Wait()
		n.upgrade()
		if reply, err := ctl.stream.Recv(n.t.Context()); err == nil {
			t.Errorf("the resume was answered with %+v", reply)
		}
		if state := n.agent.Status().Containers[0].State; state != "running" {
			t.Errorf("the container is %s", state)
		}
	})
}

// TestRequestsWaitForTheRecovery: a lessee that is back before its container was
// found must not be told that there is none.
func TestRequestsWaitForTheRecovery(t *testing.T) {
	inBubble(t, recoverable(t, func(s *setup) {
		s.driver.Script.Resume = func(*rand.Rand, whisk.ContainerID) fake.Operation { return fake.Operation{Delay: time.Second} }
	}), func(n *node) {
		n.session()
		n.create("c", "ctl")
		n.create("sleeper", "")
		if err := n.agent.Suspend(n.t.Context(), agent.Caller{Operator: true}, "sleeper"); err != nil {
			t.Fatal(err)
		}
		n.ledger.kill()
		driver := n.driver.Restart()
		n.stop()
		_ = n.ledger.Close() // with the process
		n.launch(driver)
		began := time.Now()
		if err := n.agent.Resume(n.t.Context(), agent.Caller{Operator: true}, "sleeper"); whisk.KindOf(err) != whisk.Unavailable {
			t.Errorf("while it starts: %v", err)
		}
		ctl := n.controller("ctl")
		if err := ctl.do(whisk.Resume, "c"); err != nil || time.Since(began) != time.Second {
			t.Errorf("the lessee's resume: %v after %v", err, time.Since(began))
		}
	})
}

// TestAFrozenContainerWhoseLesseeIsGone goes when the lease ends.
func TestAFrozenContainerWhoseLesseeIsGone(t *testing.T) {
	inBubble(t, recoverable(t), func(n *node) {
		n.session()
		n.create("c", "ctl")
		if err := n.controller("ctl").do(whisk.Suspend, "c"); err != nil {
			t.Fatal(err)
		}
		n.crash()
		expect[whisk.ContainerGone](n)
		if n.driver.Living() != 0 {
			t.Error("it lives")
		}
	})
}

// TestWhatCannotBeFrozenAgain is not trusted.
func TestWhatCannotBeFrozenAgain(t *testing.T) {
	var broken atomic.Bool
	fails := func(*rand.Rand, whisk.ContainerID) fake.Operation {
		if broken.Load() {
			return fake.Operation{Err: errors.New("no freezer")}
		}
		return fake.Operation{}
	}
	inBubble(t, recoverable(t, func(s *setup) {
		s.driver.Script.Suspend, s.driver.Script.Resume = fails, fails
	}), func(n *node) {
		n.session()
		n.create("c", "")
		n.create("d", "ctl")
		if err := n.agent.Suspend(n.t.Context(), agent.Caller{Operator: true}, "c"); err != nil {
			t.Fatal(err)
		}
		report := n.crash(func() { broken.Store(true) })
		if got := summary(report); !slices.Equal(got, []string{`d "ctl" true`}) {
			t.Errorf("recovered %q: one cannot be thawed", got)
		}
	})
}
