// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/agent"
	"github.com/whirl-faas/whirl/agent/ledger"
	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/whisk"
)

// mortal is a ledger as one process has it: with the process it ends.
type mortal struct {
	*ledger.Dir
	path   string
	saving func() error // what Save does instead, if it is not nil
	struck func() error // likewise Delete

	mu     sync.Mutex
	writes int           // so far
	killAt int           // the number of the write at which the process hangs, to be killed; 0 for none
	dead   bool          // nothing happens any more
	gate   chan struct{} // closed when what hangs goes on
}

func (m *mortal) open(t *testing.T) *mortal {
	t.Helper()
	dir, err := ledger.Open(m.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	return &mortal{Dir: dir, path: m.path, gate: make(chan struct{})}
}

// alive counts a write, and reports whether it happens.
func (m *mortal) alive() bool {
	m.mu.Lock()
	m.writes++
	hangs := m.writes == m.killAt
	m.mu.Unlock()
	if hangs {
		<-m.gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.dead
}

func (m *mortal) kill() {
	m.mu.Lock()
	m.dead = true
	m.mu.Unlock()
	m.goOn()
}

func (m *mortal) goOn() { close(m.gate) }

// hangAt has the nth write from now hang.
func (m *mortal) hangAt(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.killAt = m.writes + n
}

func (m *mortal) Save(record ledger.Record) error {
	if !m.alive() {
		return nil
	}
	if m.saving != nil {
		return m.saving()
	}
	return m.Dir.Save(record)
}

func (m *mortal) Delete(id whisk.ContainerID) error {
	if !m.alive() {
		return nil
	}
	if m.struck != nil {
		return m.struck()
	}
	return m.Dir.Delete(id)
}

func (m *mortal) Mark(id whisk.ContainerID, mark ledger.Mark, value uint64) error {
	if !m.alive() {
		return nil
	}
	return m.Dir.Mark(id, mark, value)
}

// recoverable gives the node a ledger.
func recoverable(t *testing.T, more ...func(*setup)) func(*setup) {
	dir := t.TempDir()
	return func(s *setup) {
		s.ledger = dir
		for _, change := range more {
			change(s)
		}
	}
}

// crash kills the agent's process, and starts another after meanwhile. The
// sandboxes and the files live on. It returns the next agent's first report.
func (n *node) crash(meanwhile ...func()) whisk.NodeReport {
	n.t.Helper()
	driver := n.driver.Restart()
	n.ledger.kill()
	n.stop() // whatever it still does, it does to nothing
	return n.succeed(driver, meanwhile)
}

// upgrade stops the agent so that it leaves its containers, and starts another,
// which will not.
func (n *node) upgrade(meanwhile ...func()) whisk.NodeReport {
	n.t.Helper()
	n.stop()
	if n.runErr != nil {
		n.t.Errorf("Run = %v", n.runErr)
	}
	n.config.KeepOnStop = false
	return n.succeed(n.driver.Restart(), meanwhile)
}

func (n *node) succeed(driver *fake.Driver, meanwhile []func()) whisk.NodeReport {
	n.t.Helper()
	for len(n.sessions) > 0 {
		<-n.sessions
	}
	n.driver = driver
	for _, do := range meanwhile {
		do()
	}
	n.launch(driver)
	return n.session()
}

// summary of a report's containers, as "id lessee used".
func summary(report whisk.NodeReport) (lines []string) {
	for _, h := range report.Containers {
		lines = append(lines, fmt.Sprintf("%s %q %t", h.Container.ID, h.Lessee, h.Used))
	}
	return lines
}

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
				n.agent.Suspend(n.t.Context(), agent.Operator, "spare"),
				n.agent.Suspend(n.t.Context(), agent.Operator, "moved"),
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
		if err := n.agent.Suspend(n.t.Context(), agent.Operator, "c"); err != nil {
			t.Fatal(err)
		}
		report := n.crash(func() { broken.Store(true) })
		if got := summary(report); !slices.Equal(got, []string{`d "ctl" true`}) {
			t.Errorf("recovered %q: one cannot be thawed", got)
		}
	})
}

func TestEpochsOutliveTheAgent(t *testing.T) {
	inBubble(t, recoverable(t), func(n *node) {
		n.session()
		n.command(whisk.CreateContainer{Epoch: 7, Container: "c", Spec: spec})
		expect[whisk.ContainerCreated](n)
		n.crash()
		n.command(whisk.GrantLease{Epoch: 6, Container: "c", To: "b"})
		if refused := expect[whisk.LeaseRefused](n); !strings.Contains(refused.Reason, "epoch") {
			t.Errorf("%+v", refused)
		}
	})
}

// TestWithoutRecords holds that nothing is taken over that nobody can tell the
// lessee of.
func TestWithoutRecords(t *testing.T) {
	spoil := map[string]func(dir string) error{
		"lost": func(dir string) error { return os.Remove(filepath.Join(dir, "c.json")) },
		"damaged": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "c.json"), []byte(`{"Slot":0,"Contai`), 0o600)
		},
		"another's": func(dir string) error { return os.Rename(filepath.Join(dir, "c.json"), filepath.Join(dir, "d.json")) },
	}
	for name, spoil := range spoil {
		inBubble(t, recoverable(t), func(n *node) {
			n.session()
			n.create("c", "ctl")
			report := n.crash(func() {
				if err := spoil(n.ledger.path); err != nil {
					t.Fatal(err)
				}
			})
			if len(report.Containers) != 0 || n.driver.Living() != 0 {
				t.Errorf("%s: recovered %q, %d live", name, summary(report), n.driver.Living())
			}
		})
	}
}

// TestAGoodStopLeavesNothing behind, on the node or in the ledger.
func TestAGoodStopLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	inBubble(t, func(s *setup) {
		s.ledger = dir
		s.driver.Script.Create = func(_ *rand.Rand, req whisk.CreateSandbox) fake.Creation {
			if req.ID == "bad" {
				return fake.Creation{Err: errors.New("no")}
			}
			return fake.Creation{}
		}
	}, func(n *node) {
		n.session()
		n.create("c", "ctl")
		n.create("d", "")
		n.command(whisk.CreateContainer{Epoch: 1, Container: "bad", Spec: spec})
		expect[whisk.CreationFailed](n)
		if err := n.controller("ctl").do(whisk.Suspend, "c"); err != nil {
			t.Fatal(err)
		}
	})
	files, err := filepath.Glob(filepath.Join(dir, "*.json*"))
	if err != nil || len(files) != 0 {
		t.Errorf("left: %q, %v", files, err)
	}
}

// TestAFullDisk costs a container nothing but its survival.
func TestAFullDisk(t *testing.T) {
	full := errors.New("no space left on device")
	inBubble(t, recoverable(t), func(n *node) {
		n.session()
		n.create("c", "")
		n.ledger.saving = func() error { return full }
		n.command(whisk.GrantLease{Epoch: 1, Container: "c", To: "a"})
		if granted := expect[whisk.LeaseGranted](n); granted.Lessee != "a" {
			t.Errorf("%+v", granted)
		}
		n.create("d", "a")
		if report := n.crash(); len(report.Containers) != 0 {
			t.Errorf("recovered %q, of which nothing could be written down", summary(report))
		}
	})
	inBubble(t, recoverable(t), func(n *node) {
		n.session()
		n.create("c", "")
		n.ledger.saving = func() error { return full }
		n.ledger.struck = func() error { return full }
		n.command(whisk.GrantLease{Epoch: 1, Container: "c", To: "a"})
		if refused := expect[whisk.LeaseRefused](n); refused.Lessee != "" {
			t.Errorf("%+v", refused)
		}
		if gone := expect[whisk.ContainerGone](n); !strings.Contains(gone.Reason, "written down") {
			t.Errorf("%+v", gone)
		}
	})
}

// TestADriverThatDoesNotRecover begins anew.
func TestADriverThatDoesNotRecover(t *testing.T) {
	inBubble(t, recoverable(t, func(s *setup) {
		s.driver.Capabilities.Recovers = false
		s.agent.KeepOnStop = true
	}), func(n *node) {
		n.session()
		n.create("c", "ctl")
		n.stop()
		if n.runErr != nil || n.driver.Living() != 0 {
			t.Errorf("Run = %v, %d live", n.runErr, n.driver.Living())
		}
	})
}

// TestAKillAtEveryWrite has the agent hang at each of its writes in turn, while a
// container is handed around, and be killed there. Who holds it afterwards is who
// was last told so, or the one that it was on its way to.
func TestAKillAtEveryWrite(t *testing.T) {
	holders := []whisk.ControllerID{"a", "b", "", "b", "a"}
	for killAt, done := 1, false; !done; killAt++ {
		if killAt > 100 {
			t.Fatal("a hundred writes for five grants")
		}
		inBubble(t, recoverable(t), func(n *node) {
			n.session()
			n.ledger.hangAt(killAt)
			n.command(whisk.CreateContainer{Epoch: 1, Container: "c", Spec: spec, Lessee: holders[0]})
			told, next := whisk.ControllerID("nobody"), 0
			for !done && next < len(holders) {
				switch m := n.report(time.Second).(type) {
				case nil:
					done = true // it hangs
					continue
				case whisk.ContainerCreated:
					told = holders[0]
				case whisk.LeaseGranted:
					told = m.Lessee
				default:
					t.Fatalf("%+v", m)
				}
				if next++; next < len(holders) {
					n.command(whisk.GrantLease{Epoch: 1, Container: "c", From: told, To: holders[next]})
				}
			}
			done = !done
			report := n.crash()
			switch {
			case len(report.Containers) == 0 && next == 0: // before it was made
			case len(report.Containers) != 1:
				t.Errorf("killed at write %d: recovered %q", killAt, summary(report))
			default:
				lessee := report.Containers[0].Lessee
				if lessee != told && (next >= len(holders) || lessee != holders[next]) {
					t.Errorf("killed at write %d: held by %q, who was told is %q", killAt, lessee, told)
				}
			}
		})
	}
}

// TestCommandsWaitForTheRecord: until it is written nobody knows who holds the
// container, and then they are carried out in order.
func TestCommandsWaitForTheRecord(t *testing.T) {
	inBubble(t, recoverable(t), func(n *node) {
		n.session()
		n.create("c", "a")
		n.ledger.hangAt(1)
		n.command(whisk.GrantLease{Epoch: 1, Container: "c", From: "a", To: "b"})
		n.command(whisk.GrantLease{Epoch: 1, Container: "c", From: "b", To: "d"})
		n.command(whisk.GrantLease{Epoch: 1, Container: "c", From: "a", To: "e"})
		n.nothing(time.Second)
		if report := n.agent.Report(); report.Containers[0].Lessee != "a" {
			t.Errorf("%q holds it, who was not written down", report.Containers[0].Lessee)
		}
		n.ledger.goOn()
		if refused := expect[whisk.LeaseRefused](n); refused.Lessee != "d" {
			t.Errorf("%+v", refused)
		}
		if granted := expect[whisk.LeaseGranted](n); granted.Lessee != "d" {
			t.Errorf("%+v", granted)
		}
		n.nothing(time.Second)
	})
}
