// SPDX-License-Identifier: Apache-2.0

// Package ledger keeps in files what must outlive an agent's process: who holds
// which container, and how far its output was read. A later agent of the node
// needs it to take the containers over.
//
// Each container has a [Record] in a file of its own, replaced as a whole when
// its lessee changes, and a few numbers, [Marks], that change with its runs and
// are overwritten in place. Nothing is synced: it is the process that may die
// here, not the machine, whose end the containers do not survive either.
package ledger

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/whirl-faas/whirl/agent/output"
	"github.com/whirl-faas/whirl/whisk"
)

// Record is what a later agent must know of a container.
type Record struct {
	Container whisk.ContainerID
	Label     string `json:",omitempty"`
	Serial    uint64 // counts the container's changes of lessee
	Lessee    whisk.ControllerID
	Used      bool     // it was ever leased
	Tenures   []Tenure `json:",omitempty"`

	// Left is the output that a former agent had read and nobody had asked for,
	// nil if that was killed and could not leave it.
	Left *output.Leftover `json:",omitempty"`

	// Marks are not part of the record's file. Load fills them in.
	Marks Marks `json:"-"`
}

// Tenure is a period in which one controller held the container.
type Tenure struct {
	Lessee whisk.ControllerID
	Base   uint64 // runs before it
	Runs   uint64 // the highest that its lessee spoke of
}

// Marks are a container's numbers.
type Marks struct {
	Ended  [2]uint64 // runs that have ended on stdout, stderr
	Frozen uint64    // 0, or the serial at which it may have been frozen
}

// Mark names one number of [Marks].
type Mark int64

// The marks.
const (
	EndedStdout Mark = iota
	EndedStderr
	Frozen
	marks = iota
)

const (
	slotSize  = 8 * marks
	marksFile = "marks"
	epochFile = "epoch"
	suffix    = ".json"
)

// Dir is a ledger in a directory. Its methods may be called concurrently; those
// that save or delete one container's record, one after the other.
type Dir struct {
	path  string
	marks *os.File // one slot of numbers for each container

	mu    sync.Mutex
	slots map[whisk.ContainerID]int64
	free  []int64
	next  int64 // the first slot that was never used
}

// entry is a record in its file.
type entry struct {
	Slot int64
	Record
}

// Open opens the ledger in a directory, which it makes if need be. It is Conflict
// if another process has it open: two agents would both be the lessor of one
// container.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(path, marksFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if err := lock(file); err != nil {
		return nil, errors.Join(whisk.Errorf(whisk.Conflict, "another agent uses the ledger %s: %w", path, err), file.Close())
	}
	return &Dir{path: path, marks: file, slots: map[whisk.ContainerID]int64{}}, nil
}

// Close closes the ledger. What it holds stays.
func (d *Dir) Close() error { return d.marks.Close() }

// Load returns all records. It is called once, before any other method but
// Close. What cannot be read is left out and removed, and the error says so;
// the records are good also with an error.
func (d *Dir) Load() ([]Record, error) {
	names, err := filepath.Glob(filepath.Join(d.path, "*"))
	if err != nil {
		return nil, fmt.Errorf("load ledger: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var records []Record
	var errs []error
	for _, name := range names {
		if base := filepath.Base(name); base == marksFile || base == epochFile {
			continue
		}
		e, err := d.read(name)
		if err != nil {
			errs = append(errs, fmt.Errorf("load %s: %w", filepath.Base(name), err), os.Remove(name))
			continue
		}
		d.slots[e.Container] = e.Slot
		d.next = max(d.next, e.Slot+1)
		records = append(records, e.Record)
	}
	d.findFree()
	return records, errors.Join(errs...)
}

// maxSlots is more than any node has containers: a slot beyond it is damage.
const maxSlots = 1 << 20

func (d *Dir) read(name string) (entry, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return entry{}, err
	}
	var e entry
	if err := json.Unmarshal(text, &e); err != nil {
		return entry{}, err
	}
	switch {
	case d.file(e.Container) != name:
		return entry{}, errors.New("it is not the record of the container that it is named after")
	case e.Slot < 0 || e.Slot >= maxSlots:
		return entry{}, fmt.Errorf("it has no slot %d", e.Slot)
	}
	var slot [slotSize]byte
	if _, err := d.marks.ReadAt(slot[:], e.Slot*slotSize); err != nil && !errors.Is(err, io.EOF) {
		return entry{}, err
	}
	number := func(m Mark) uint64 { return binary.LittleEndian.Uint64(slot[8*m:]) }
	e.Marks = Marks{Ended: [2]uint64{number(EndedStdout), number(EndedStderr)}, Frozen: number(Frozen)}
	return e, nil
}

func (d *Dir) findFree() {
	used := make(map[int64]bool, len(d.slots))
	for _, slot := range d.slots {
		used[slot] = true
	}
	for slot := range d.next {
		if !used[slot] {
			d.free = append(d.free, slot)
		}
	}
}

// Save writes or replaces a container's record. A new one's marks are zero.
func (d *Dir) Save(record Record) error {
	slot, err := d.slotFor(record.Container)
	if err != nil {
		return fmt.Errorf("save record of %s: %w", record.Container, err)
	}
	text, err := json.Marshal(entry{slot, record})
	if err != nil {
		return fmt.Errorf("save record of %s: %w", record.Container, err)
	}
	if err := replace(d.file(record.Container), text); err != nil {
		return fmt.Errorf("save record of %s: %w", record.Container, err)
	}
	return nil
}

// replace gives a file new content, all of it or none.
func replace(name string, content []byte) error {
	whole := name + ".new"
	if err := os.WriteFile(whole, content, 0o600); err != nil {
		return errors.Join(err, os.Remove(whole))
	}
	return os.Rename(whole, name)
}

// slotFor returns the container's slot, a new and zero one if it has none.
func (d *Dir) slotFor(id whisk.ContainerID) (int64, error) {
	if id == "" || strings.ContainsAny(string(id), "./\x00") {
		return 0, whisk.Errorf(whisk.Invalid, "container id %q cannot name a file", id)
	}
	d.mu.Lock()
	slot, known := d.slots[id]
	switch {
	case known:
	case len(d.free) > 0:
		slot = d.free[len(d.free)-1]
		d.free = d.free[:len(d.free)-1]
	default:
		slot = d.next
		d.next++
	}
	d.mu.Unlock()
	if known {
		return slot, nil
	}
	// Before any record names it: another container's marks may be there.
	_, err := d.marks.WriteAt(make([]byte, slotSize), slot*slotSize)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.free = append(d.free, slot)
		return 0, err
	}
	d.slots[id] = slot
	return slot, nil
}

// Epoch returns what was saved last, 0 if nothing was.
func (d *Dir) Epoch() (uint64, error) {
	text, err := os.ReadFile(filepath.Join(d.path, epochFile))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("load epoch: %w", err)
	}
	epoch, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("load epoch: %w", err)
	}
	return epoch, nil
}

// SaveEpoch notes the highest epoch of a scheduler that the agent has heard of.
// One call at a time.
func (d *Dir) SaveEpoch(epoch uint64) error {
	if err := replace(filepath.Join(d.path, epochFile), strconv.AppendUint(nil, epoch, 10)); err != nil {
		return fmt.Errorf("save epoch %d: %w", epoch, err)
	}
	return nil
}

// Delete removes a container's record, if there is one.
func (d *Dir) Delete(id whisk.ContainerID) error {
	if err := os.Remove(d.file(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("delete record of %s: %w", id, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if slot, known := d.slots[id]; known {
		delete(d.slots, id)
		d.free = append(d.free, slot)
	}
	return nil
}

// Mark sets one of a container's numbers. NotFound if it has no record.
func (d *Dir) Mark(id whisk.ContainerID, mark Mark, value uint64) error {
	d.mu.Lock()
	slot, known := d.slots[id]
	d.mu.Unlock()
	if !known {
		return whisk.Errorf(whisk.NotFound, "container %s has no record", id)
	}
	if _, err := d.marks.WriteAt(binary.LittleEndian.AppendUint64(nil, value), slot*slotSize+8*int64(mark)); err != nil {
		return fmt.Errorf("mark %s: %w", id, err)
	}
	return nil
}

func (d *Dir) file(id whisk.ContainerID) string { return filepath.Join(d.path, string(id)+suffix) }
