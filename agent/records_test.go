// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/whisk"
)

func TestEpochsOutliveTheAgent(t *testing.T) {
	inBubble(t, recoverable(t), func(n *node) {
		n.session()
		n.command(whisk.CreateContainer{Epoch: 5, Container: "c", Spec: spec})
		expect[whisk.ContainerCreated](n)
		n.command(whisk.KeepAlive{Epoch: 7}) // no record says that
		synctest.Wait()
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
