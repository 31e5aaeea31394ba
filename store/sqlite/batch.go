// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"slices"

	"github.com/whirl-faas/whirl/store/internal/block"
	"github.com/whirl-faas/whirl/whisk"
)

// What recent holds before its records become blocks. Each read looks at all its
// rows. A batch of half of that, or more, becomes blocks at once.
const (
	recentRows    = 32
	recentRecords = 1024
	recentBytes   = whisk.MB
)

// batch is what one transaction stores: records of any namespaces.
type batch struct {
	records []keyed  // in the order of byKey, each once
	blocks  []extent // of all of them; or none, and all are in recent
	recent  extent
}

// newBatch encodes records, in the caller's goroutine to spare the writer's. Of
// two with the same id it takes the first.
func newBatch(records []whisk.Activation) (*batch, error) {
	all := make([]keyed, len(records))
	for i := range records {
		key, err := block.KeyOf(records[i].ID)
		if err != nil {
			return nil, whisk.Errorf(whisk.Invalid, "record %q: %w", records[i].ID, err)
		}
		all[i] = keyed{key, &records[i]}
	}
	slices.SortStableFunc(all, byKey)
	all = slices.CompactFunc(all, func(a, b keyed) bool { return byKey(a, b) == 0 })
	return encodeBatch(all)
}

// encodeBatch takes records in the order of byKey.
func encodeBatch(records []keyed) (b *batch, err error) {
	b = &batch{records: records}
	size := whisk.Bytes(0)
	for _, r := range records {
		size += bodySize(r)
	}
	switch {
	case len(records) == 0:
	case len(records) < recentRecords/2 && size < recentBytes/2:
		b.recent, err = newExtent(records)
	default:
		b.blocks, err = newBlocks(slices.Clone(records))
	}
	return b, err
}

func (b *batch) size() whisk.Bytes {
	size := b.recent.size()
	for i := range b.blocks {
		size += b.blocks[i].size()
	}
	return size
}

// put stores what is not stored yet. It returns what it had to set aside.
func (b *batch) put(c *connection) (aside []damage, err error) {
	state, err := b.lookAtRecent(c)
	if err != nil {
		return nil, err
	}
	stored, err := b.findStored(c, state.overlapping)
	if err != nil {
		return nil, err
	}
	if len(stored) > 0 {
		var missing []keyed
		for i, r := range b.records {
			if !stored[i] {
				missing = append(missing, r)
			}
		}
		if b, err = encodeBatch(missing); err != nil {
			return nil, err
		}
	}
	return b.insert(c, state)
}

func (b *batch) insert(c *connection, state recentState) (aside []damage, err error) {
	if err := insertBlocks(c, b.blocks); err != nil {
		return nil, err
	}
	if b.recent.count == 0 {
		return nil, nil
	}
	if err := b.recent.insertRecent(c); err != nil {
		return nil, err
	}
	if state.rows+1 < recentRows && state.records+b.recent.count < recentRecords && state.size+b.recent.size() < recentBytes {
		return nil, nil
	}
	return compact(c)
}

// recentState is how much is in recent.
type recentState struct {
	rows, records int
	size          whisk.Bytes
	overlapping   []int64 // positions of the rows that may hold a batch's ids
}

func (b *batch) lookAtRecent(c *connection) (state recentState, err error) {
	first, last := b.records[0].key, b.records[len(b.records)-1].key
	err = c.prepare("SELECT position, count, size, max_id >= ? AND min_id <= ? FROM recent").
		blob(first[:]).blob(last[:]).
		each(func(r *row) error {
			position := r.integer()
			state.rows++
			state.records += int(r.integer())
			state.size += whisk.Bytes(r.integer())
			if r.integer() != 0 {
				state.overlapping = append(state.overlapping, position)
			}
			return nil
		})
	return state, err
}

// findStored returns which records are stored, by their indexes.
func (b *batch) findStored(c *connection, recent []int64) (map[int]bool, error) {
	stored := make(map[int]bool)
	for _, position := range recent {
		if err := b.compare(c, headsOfRecent, position, stored); err != nil {
			return nil, err
		}
	}
	blocks, err := b.findBlocks(c)
	if err != nil {
		return nil, err
	}
	for _, position := range blocks {
		if err := b.compare(c, headsOfBlock, position, stored); err != nil {
			return nil, err
		}
	}
	return stored, nil
}

const (
	headsOfRecent = "SELECT heads FROM recent WHERE position = ?"
	headsOfBlock  = "SELECT heads FROM blocks WHERE position = ?"
)

const blocksOfIDs = `SELECT position, min_id, max_id FROM blocks INDEXED BY blocks_ids
	WHERE namespace = ? AND max_id >= ? AND max_id <= ? AND min_id <= ?`

// findBlocks returns the positions of the blocks that may hold a record of the batch.
func (b *batch) findBlocks(c *connection) (positions []int64, err error) {
	for namespace, spans := range b.spans() {
		for _, span := range spans {
			end := span.last.Later(blockSpan)
			err = c.prepare(blocksOfIDs).text(namespace).blob(span.first[:]).blob(end[:]).blob(span.last[:]).
				each(func(r *row) error {
					position := r.integer()
					if b.hasWithin(namespace, r.key(), r.key()) {
						positions = append(positions, position)
					}
					return nil
				})
			if err != nil {
				return nil, err
			}
		}
	}
	return positions, nil
}

// span is some ids of a batch, of which each is near the next.
type span struct{ first, last block.Key }

// spans returns those of each namespace. Between two of them is more than a block
// may span: ids of all times, as imports have them, must not be one span, or each
// batch would look at all blocks there are.
func (b *batch) spans() map[string][]span {
	all := make(map[string][]span, 1)
	for _, r := range b.records { // in the order of keys
		spans := all[r.Namespace]
		if last := len(spans) - 1; last >= 0 && r.key.Milli()-spans[last].last.Milli() <= blockSpan {
			spans[last].last = r.key
		} else {
			all[r.Namespace] = append(spans, span{r.key, r.key})
		}
	}
	return all
}

func (b *batch) hasWithin(namespace string, first, last block.Key) bool {
	for _, r := range b.records[b.index(first):] {
		if r.key.Compare(last) > 0 {
			break
		}
		if r.Namespace == namespace {
			return true
		}
	}
	return false
}

// index returns that of the first record whose id is at least k.
func (b *batch) index(k block.Key) int {
	i, _ := slices.BinarySearchFunc(b.records, k, func(r keyed, k block.Key) int { return r.key.Compare(k) })
	return i
}

// compare notes which records a row holds. One that cannot be read holds none that
// anybody can have, so what may be in it is stored anew.
func (b *batch) compare(c *connection, query string, position int64, stored map[int]bool) error {
	heads, err := c.bytes(query, position)
	if err != nil {
		return err
	}
	known := false
	err = block.Keys(heads, func(_ int, k block.Key) bool {
		i := b.index(k)
		known = i < len(b.records) && b.records[i].key == k
		return !known
	})
	if err != nil || !known {
		return nil
	}
	all, err := block.Heads(heads)
	if err != nil {
		return nil
	}
	for _, h := range all {
		for i := b.index(h.Key); i < len(b.records) && b.records[i].key == h.Key; i++ {
			if b.records[i].Namespace == h.Namespace {
				stored[i] = true
			}
		}
	}
	return nil
}

// compact makes blocks of all that is in recent and can be read, and sets aside the rest.
func compact(c *connection) (aside []damage, err error) {
	var records []keyed
	err = c.prepare("SELECT position, count, heads, bodies FROM recent").each(func(r *row) error {
		d := damage{source: "recent", row: r.integer(), records: int(r.integer())}
		some, err := readableRecords(r.bytes(), r.bytes())
		records = append(records, some...)
		if err != nil {
			d.readable, d.err = len(some), err
			aside = append(aside, d)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range aside {
		if err := aside[i].keep(c); err != nil {
			return nil, err
		}
	}
	blocks, err := newBlocks(records)
	if err != nil {
		return nil, err
	}
	if err := insertBlocks(c, blocks); err != nil {
		return nil, err
	}
	return aside, c.prepare("DELETE FROM recent").run()
}
