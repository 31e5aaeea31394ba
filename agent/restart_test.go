// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"fmt"
	"sync"
	"testing"

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
	defer m.mu.Unlock()
	m.dead = true
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

func (m *mortal) SaveEpoch(epoch uint64) error {
	if !m.alive() {
		return nil
	}
	return m.Dir.SaveEpoch(epoch)
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
	n.ledger.kill()
	if n.hand != nil {
		n.hand.dead.Store(true)
	}
	driver := n.driver.Restart()
	n.ledger.goOn() // what hangs ends with the rest
	n.stop()        // whatever it still does, it does to nothing
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
	_ = n.ledger.Close() // with the process
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
