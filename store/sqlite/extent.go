// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"cmp"
	"slices"

	"github.com/whirl-faas/whirl/store/internal/block"
	"github.com/whirl-faas/whirl/whisk"
)

// What a block holds at most, so that one record is read in no more time than a
// page takes. A record that is longer has a block of its own.
const (
	blockRecords = 128
	blockBytes   = 64 * whisk.KB
	blockSpan    = 10_000 // ms
)

// keyed is a record with its id as bytes.
type keyed struct {
	key block.Key
	*whisk.Activation
}

// byKey is the order of ids. They are unique within a namespace.
func byKey(a, b keyed) int {
	return cmp.Or(a.key.Compare(b.key), cmp.Compare(a.Namespace, b.Namespace))
}

// byBlock brings those together that may share a block, oldest first. An
// activation that took long has an id much older than its neighbours', so ids
// come first, but roughly.
func byBlock(a, b keyed) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(era(a.key), era(b.key)),
		byStart(a, b))
}

// byStart is the order of archives.
func byStart(a, b keyed) int {
	return cmp.Or(cmp.Compare(a.Start.UnixMilli(), b.Start.UnixMilli()), a.key.Compare(b.key))
}

// era numbers the spans of time in which ids are made.
func era(k block.Key) int64 { return k.Milli() / blockSpan }

// cut splits records that are in the order of byBlock into what makes one block each.
func cut(records []keyed) (parts [][]keyed) {
	from, size := 0, whisk.Bytes(0)
	for i, r := range records {
		first, bytes := records[from], bodySize(r)
		if i > from && (i-from == blockRecords || size+bytes > blockBytes || r.Namespace != first.Namespace ||
			era(r.key) != era(first.key) || r.Start.UnixMilli()-first.Start.UnixMilli() > blockSpan) {
			parts = append(parts, records[from:i])
			from, size = i, 0
		}
		size += bytes
	}
	if len(records) > 0 {
		parts = append(parts, records[from:])
	}
	return parts
}

func bodySize(r keyed) whisk.Bytes {
	size := len(r.Response.Result)
	for _, line := range r.Logs {
		size += len(line) + 1
	}
	return whisk.Bytes(size)
}

// extent is a row of recent or of blocks.
type extent struct {
	namespace          string // of a block
	count              int
	minID, maxID       block.Key
	minStart, maxStart int64 // ms since 1970
	heads, bodies      []byte
	actions            []namedPart // of a block
}

// namedPart is what a block has of one action.
type namedPart struct {
	name, pkg string
	minStart  int64
	count     int
}

// newExtent encodes records, at least one.
func newExtent(records []keyed) (x extent, err error) {
	first := records[0].Start.UnixMilli()
	x = extent{count: len(records), minID: records[0].key, maxID: records[0].key, minStart: first, maxStart: first}
	plain := make([]*whisk.Activation, len(records))
	for i, r := range records {
		plain[i] = r.Activation
		if r.key.Compare(x.minID) < 0 {
			x.minID = r.key
		}
		if r.key.Compare(x.maxID) > 0 {
			x.maxID = r.key
		}
		start := r.Start.UnixMilli()
		x.minStart, x.maxStart = min(x.minStart, start), max(x.maxStart, start)
	}
	x.heads, x.bodies, err = block.Encode(plain)
	return x, err
}

// newBlocks encodes records, which it sorts, as blocks.
func newBlocks(records []keyed) (blocks []extent, err error) {
	slices.SortFunc(records, byBlock)
	for _, part := range cut(records) {
		x, err := newExtent(part)
		if err != nil {
			return nil, err
		}
		x.namespace, x.actions = part[0].Namespace, actionsOf(part)
		blocks = append(blocks, x)
	}
	return blocks, nil
}

func actionsOf(records []keyed) (parts []namedPart) {
	type action struct{ name, pkg string }
	places := make(map[action]int, 1)
	for _, r := range records {
		start := r.Start.UnixMilli()
		place, known := places[action{r.Name, r.Package}]
		if !known {
			place = len(parts)
			places[action{r.Name, r.Package}] = place
			parts = append(parts, namedPart{name: r.Name, pkg: r.Package, minStart: start})
		}
		parts[place].count++
		parts[place].minStart = min(parts[place].minStart, start)
	}
	return parts
}

func (x *extent) size() whisk.Bytes { return whisk.Bytes(len(x.heads) + len(x.bodies)) }

func (x *extent) insertRecent(c *connection) error {
	return c.prepare(`INSERT INTO recent (count, size, min_id, max_id, min_start, max_start, heads, bodies) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`).
		integer(int64(x.count)).integer(int64(x.size())).blob(x.minID[:]).blob(x.maxID[:]).
		integer(x.minStart).integer(x.maxStart).blob(x.heads).blob(x.bodies).run()
}

const insertBlock = `INSERT INTO blocks (namespace, count, min_id, max_id, min_start, max_start, heads, bodies, named, rank)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// insertBlock stores a block without names and returns its position. Of a group of
// several it has the rank in that, and the group's latest start.
func (x *extent) insertBlock(c *connection, several bool, rank int, named int64) (position int64, err error) {
	s := c.prepare(insertBlock).
		text(x.namespace).integer(int64(x.count)).blob(x.minID[:]).blob(x.maxID[:]).
		integer(x.minStart).integer(x.maxStart).blob(x.heads).blob(x.bodies)
	if several {
		err = s.integer(named).integer(int64(rank)).run()
	} else {
		err = s.null().null().run()
	}
	return c.LastInsertRowID(), err
}
