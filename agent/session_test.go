// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/agent"
	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/whisk"
)

func TestReconnect(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Script.Create = func(_ *rand.Rand, req whisk.CreateSandbox) fake.Creation {
			if req.ID == "slow" {
				return fake.Creation{Delay: 10 * time.Second}
			}
			return fake.Creation{}
		}
	}, func(n *node) {
		n.session()
		n.create("kept", "ctl")
		n.create("removed", "")
		ctl := n.controller("ctl")
		n.command(whisk.CreateContainer{Epoch: 1, Container: "slow", Spec: spec})
		n.command(whisk.RemoveContainer{Epoch: 1, Container: "removed"})
		synctest.Wait()
		_ = n.current.Close()

		report := n.session()
		if len(report.Containers) != 2 {
			t.Fatalf("%+v", report)
		}
		if kept := report.Containers[0]; kept.Container.ID != "kept" || kept.Lessee != "ctl" || !kept.Used || kept.Making {
			t.Errorf("%+v", kept)
		}
		if slow := report.Containers[1]; slow.Container.ID != "slow" || !slow.Making {
			t.Errorf("%+v", slow)
		}
		ctl.renewFor(20 * time.Second)
		if made := expect[whisk.ContainerCreated](n); made.Container.ID != "slow" {
			t.Errorf("%+v", made)
		}
		n.nothing(5 * time.Second)
	})
}

// TestTheSchedulersAbsence holds that leases, suspends and logs go on without a
// scheduler.
func TestTheSchedulersAbsence(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		n.session()
		c := n.create("c", "ctl")
		ctl := n.controller("ctl")
		_ = n.current.Close()
		absent := n.session
		conn := n.connect(c)
		n.init(conn, "x")
		for run := range uint64(10) {
			ctl.renewFor(10 * time.Minute)
			post(t, conn, "/run", `{"value":{}}`)
			if reply := ctl.call(ctl.collect("c", run+1, nil)); reply.Err != "" || reply.Logs != (whisk.LogSummary{}) {
				t.Errorf("%+v", reply)
			}
			if err := ctl.do(whisk.Suspend, "c"); err != nil {
				t.Error(err)
			}
			if err := ctl.do(whisk.Resume, "c"); err != nil {
				t.Error(err)
			}
		}
		if report := absent(); len(report.Containers) != 1 {
			t.Errorf("%+v", report)
		}
	})
}

func TestASilentSchedulerIsGivenUp(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		n.session()
		n.command(whisk.KeepAlive{Epoch: 3})
		sleepUntil(time.Now().Add(time.Hour))
		if len(n.sessions) != 0 {
			t.Fatal("redialled although the scheduler lives")
		}
		if epoch := n.current.epoch.Load(); epoch != 3 {
			t.Errorf("the agent knows epoch %d", epoch)
		}
		n.current.mute.Store(true)
		began := time.Now()
		n.session()
		if after := time.Since(began); after < 10*time.Second || after > 25*time.Second {
			t.Errorf("redialled after %v", after)
		}
	})
}

func TestAControllerMustSayWhoItIs(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		n.session()
		here, there := inmem.Pipe[whisk.SandboxRequest, whisk.SandboxReply]()
		defer here.Close()
		if err := here.Send(n.t.Context(), whisk.SandboxRequest{Seq: 1, Op: whisk.Inspect, Container: "c"}); err != nil {
			t.Fatal(err)
		}
		if err := n.agent.ServeController(n.t.Context(), there); whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("ServeController = %v", err)
		}
	})
}

func TestShutdownLeavesNothing(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.agent.Memory, s.agent.Creations = 100*whisk.GB, 100
		s.driver.Script.Create = func(_ *rand.Rand, req whisk.CreateSandbox) fake.Creation {
			if strings.HasPrefix(string(req.ID), "slow") {
				return fake.Creation{Delay: time.Hour}
			}
			return fake.Creation{}
		}
		s.driver.Script.Destroy = func(*rand.Rand, whisk.ContainerID) fake.Operation { return fake.Operation{Delay: time.Second} }
		s.driver.Script.Run = func(*rand.Rand, fake.Call) fake.Answer {
			return fake.Answer{Stdout: "last words\n", Hang: true}
		}
	}, func(n *node) {
		n.session()
		ctl := n.controller("ctl")
		for i := range 20 {
			n.create(whisk.ContainerID(fmt.Sprint("c", i)), "ctl")
			n.command(whisk.CreateContainer{Epoch: 1, Container: whisk.ContainerID(fmt.Sprint("slow", i)), Spec: spec})
		}
		if err := ctl.do(whisk.Suspend, "c1"); err != nil {
			t.Fatal(err)
		}
		conn := n.connect(n.agent.Report().Containers[0].Container)
		n.init(conn, "x")
		go post(t, conn, "/run", `{"value":{}}`)
		synctest.Wait()
		seq := ctl.send(ctl.collect("c0", 1, func(r *whisk.LogRequest) { r.Failed = true }))
		synctest.Wait()
		began := time.Now()
		n.stop()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("shutdown took %v", took)
		}
		if reply := ctl.reply(seq); reply.Err != "" || len(n.texts(ctl, "c0", 1)) != 2 {
			t.Errorf("%+v, stored %q", reply, n.texts(ctl, "c0", 1))
		}
	})
}

// TestShutdownIsBounded has a driver that never destroys.
func TestShutdownIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := true
		n := start(t, func(s *setup) {
			s.driver.Script.Destroy = func(*rand.Rand, whisk.ContainerID) fake.Operation {
				if broken {
					return fake.Operation{Delay: time.Hour}
				}
				return fake.Operation{}
			}
		})
		n.session()
		c := n.create("c", "")
		began := time.Now()
		n.stop()
		if took := time.Since(began); took != n.config.Shutdown {
			t.Errorf("it took %v", took)
		}
		if n.runErr == nil || !strings.Contains(n.runErr.Error(), "c") {
			t.Errorf("Run = %v, must say what is left", n.runErr)
		}
		broken = false
		next := n.driver.Restart()
		left, err := next.Recover(t.Context())
		if err != nil || len(left) != 1 || left[0].ID() != c.ID {
			t.Fatalf("Recover = %v, %v", left, err)
		}
		if err := left[0].Destroy(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestLeftoversAreDestroyed(t *testing.T) {
	inBubble(t, func(s *setup) { s.left = []whisk.ContainerID{"old1", "old2"} }, func(n *node) {
		if report := n.session(); len(report.Containers) != 0 {
			t.Errorf("%+v", report)
		}
		if n.driver.Living() != 0 {
			t.Errorf("%d leftovers live", n.driver.Living())
		}
	})
}

func TestConfig(t *testing.T) {
	bad := map[string]func(*agent.Config){
		"no node":          func(c *agent.Config) { c.Node = "" },
		"no memory":        func(c *agent.Config) { c.Memory = 0 },
		"no creations":     func(c *agent.Config) { c.Creations = 0 },
		"no keep-alive":    func(c *agent.Config) { c.KeepAlive = 0 },
		"no output memory": func(c *agent.Config) { c.Output.Held = 0 },
		"no log memory":    func(c *agent.Config) { c.Logs.Memory = 0 },
	}
	for name, change := range bad {
		config := agent.Default()
		config.Node, config.Memory = "n", whisk.GB
		if err := config.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&config)
		if _, err := agent.New(config, agent.Deps{}); whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("%s: New = %v", name, err)
		}
	}
}

// TestASessionThatEndsDoesNotLoseOutput breaks the session while a collection
// waits.
func TestASessionThatEndsDoesNotLoseOutput(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Script.Run = func(*rand.Rand, fake.Call) fake.Answer {
			return fake.Answer{Stdout: "before\n", Late: time.Second}
		}
	}, func(n *node) {
		n.session()
		c := n.create("c", "ctl")
		ctl := n.controller("ctl")
		conn := n.connect(c)
		n.init(conn, "x")
		post(t, conn, "/run", `{"value":{}}`)
		ctl.send(ctl.collect("c", 1, nil))
		synctest.Wait()
		ctl.leave()
		again := n.controller("ctl")
		again.renewFor(2 * time.Second)
		if got := n.texts(ctl, "c", 1); len(got) != 1 || got[0] != "stdout: before" {
			t.Errorf("stored %q", got)
		}
	})
}

// TestADrainIsCarried holds that a drain is told to every scheduler, so that one
// that knows nothing learns of it, and that only the newest has a say in it.
func TestADrainIsCarried(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		if n.session().Draining {
			t.Error("draining from the start")
		}
		n.command(whisk.DrainNode{Epoch: 2, Drain: true})
		synctest.Wait()
		_ = n.current.Close()
		if !n.session().Draining {
			t.Error("the drain was forgotten")
		}
		n.command(whisk.DrainNode{Epoch: 1})
		synctest.Wait()
		if told := n.current.epoch.Load(); told != 2 {
			t.Errorf("a leader of the past was told of epoch %d, want 2", told)
		}
		_ = n.current.Close()
		if !n.session().Draining {
			t.Error("a leader of the past ended the drain")
		}
		n.command(whisk.DrainNode{Epoch: 2})
		synctest.Wait()
		_ = n.current.Close()
		if n.session().Draining {
			t.Error("the drain did not end")
		}
	})
}
