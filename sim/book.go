// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/whirl-faas/whirl/agent"
	"github.com/whirl-faas/whirl/agent/ledger"
	"github.com/whirl-faas/whirl/whisk"
)

// book is where the agents of a node write down what the next must know: in
// files, or in memory, which costs less.
type book struct {
	path string // of the files; "" for memory
	full atomic.Bool

	mu    sync.Mutex
	pages map[whisk.ContainerID]ledger.Record // in memory
	epoch uint64                              // likewise
}

// mortal is a ledger in the hands of one process: it ends with it.
type mortal struct {
	agent.Ledger
	close func() error
	full  *atomic.Bool // nothing can be written, though removed and overwritten
	dead  atomic.Bool  // killed: nothing has an effect any more
}

var errFull = errors.New("no space left on the disk")

func (b *book) open() (*mortal, error) {
	if b.path == "" {
		return &mortal{Ledger: b, close: func() error { return nil }, full: &b.full}, nil
	}
	dir, err := ledger.Open(b.path)
	if err != nil {
		return nil, err
	}
	return &mortal{Ledger: dir, close: dir.Close, full: &b.full}, nil
}

// records returns how many there are.
func (b *book) records() int {
	if b.path != "" {
		files, _ := filepath.Glob(filepath.Join(b.path, "*.json")) // a good pattern
		return len(files)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.pages)
}

// Load implements [agent.Ledger].
func (b *book) Load() ([]ledger.Record, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Values(b.pages)), nil
}

// Epoch implements [agent.Ledger].
func (b *book) Epoch() (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.epoch, nil
}

// SaveEpoch implements [agent.Ledger].
func (b *book) SaveEpoch(epoch uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.epoch = epoch
	return nil
}

// Save implements [agent.Ledger].
func (b *book) Save(record ledger.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pages == nil {
		b.pages = map[whisk.ContainerID]ledger.Record{}
	}
	record.Marks = b.pages[record.Container].Marks
	b.pages[record.Container] = record
	return nil
}

// Delete implements [agent.Ledger].
func (b *book) Delete(id whisk.ContainerID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pages, id)
	return nil
}

// Mark implements [agent.Ledger].
func (b *book) Mark(id whisk.ContainerID, mark ledger.Mark, value uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	record, there := b.pages[id]
	if !there {
		return whisk.Errorf(whisk.NotFound, "container %s has no record", id)
	}
	switch mark {
	case ledger.Frozen:
		record.Marks.Frozen = value
	default:
		record.Marks.Ended[mark-ledger.EndedStdout] = value
	}
	b.pages[id] = record
	return nil
}

// Save implements [agent.Ledger]; likewise the others.
func (m *mortal) Save(record ledger.Record) error {
	if m.dead.Load() {
		return nil
	}
	if m.full.Load() {
		return errFull
	}
	return m.Ledger.Save(record)
}

// SaveEpoch notes an epoch.
func (m *mortal) SaveEpoch(epoch uint64) error {
	if m.dead.Load() {
		return nil
	}
	if m.full.Load() {
		return errFull
	}
	return m.Ledger.SaveEpoch(epoch)
}

// Delete removes a record.
func (m *mortal) Delete(id whisk.ContainerID) error {
	if m.dead.Load() {
		return nil
	}
	return m.Ledger.Delete(id)
}

// Mark overwrites a number.
func (m *mortal) Mark(id whisk.ContainerID, mark ledger.Mark, value uint64) error {
	if m.dead.Load() {
		return nil
	}
	return m.Ledger.Mark(id, mark, value)
}
