// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/whirl-faas/whirl/whisk"
)

// Blocks that are stored together mostly have records of the same actions, and a
// row in names costs as much as a few records. So names has one for each action of
// a group of blocks, which span blockSpan at most as one block does.

// groupBlocks is how many blocks a group has at most: they are expired together.
const groupBlocks = 16

// naming is a row of names: those blocks of a group that have records of an action.
type naming struct {
	name, pkg string
	maxStart  int64  // the group's when it was stored; with group it tells groups apart
	group     int64  // the position of its first block then
	parts     []part // at least one, by position
}

// part is what a block has of an action.
type part struct {
	block    int64
	maxStart int64 // of the block
	minStart int64 // of the action
	count    int
}

// insertBlocks stores blocks that newBlocks made, and their names.
func insertBlocks(c *connection, blocks []extent) error {
	for len(blocks) > 0 {
		n := groupOf(blocks)
		if err := insertGroup(c, blocks[:n]); err != nil {
			return err
		}
		blocks = blocks[n:]
	}
	return nil
}

// groupOf returns how many of the first blocks are a group.
func groupOf(blocks []extent) int {
	minStart, maxStart := blocks[0].minStart, blocks[0].maxStart
	for i := range blocks {
		minStart, maxStart = min(minStart, blocks[i].minStart), max(maxStart, blocks[i].maxStart)
		if i == groupBlocks || blocks[i].namespace != blocks[0].namespace || maxStart-minStart > blockSpan {
			return i
		}
	}
	return len(blocks)
}

func insertGroup(c *connection, blocks []extent) error {
	maxStart := blocks[0].maxStart
	for i := range blocks {
		maxStart = max(maxStart, blocks[i].maxStart)
	}
	positions := make([]int64, len(blocks))
	for i := range blocks {
		var err error
		if positions[i], err = blocks[i].insertBlock(c, len(blocks) > 1, i, maxStart); err != nil {
			return err
		}
	}
	for _, n := range namingsOf(blocks, positions) {
		n.maxStart, n.group = maxStart, positions[0]
		if err := n.insert(c, blocks[0].namespace); err != nil {
			return err
		}
	}
	return nil
}

// namingsOf returns what a group has of each action.
func namingsOf(blocks []extent, positions []int64) (namings []naming) {
	type action struct{ name, pkg string }
	places := make(map[action]int, len(blocks[0].actions))
	for i := range blocks {
		for _, a := range blocks[i].actions {
			place, known := places[action{a.name, a.pkg}]
			if !known {
				place = len(namings)
				places[action{a.name, a.pkg}] = place
				namings = append(namings, naming{name: a.name, pkg: a.pkg})
			}
			n := &namings[place]
			n.parts = append(n.parts, part{positions[i], blocks[i].maxStart, a.minStart, a.count})
		}
	}
	// SQLite is quicker where one row goes beside the one before.
	slices.SortFunc(namings, func(a, b naming) int { return cmp.Compare(a.name, b.name) })
	return namings
}

// sum returns what the columns tell of all parts.
func (n *naming) sum() (minStart int64, count int) {
	minStart = n.parts[0].minStart
	for _, p := range n.parts {
		minStart, count = min(minStart, p.minStart), count+p.count
	}
	return minStart, count
}

func (n *naming) insert(c *connection, namespace string) error {
	minStart, count := n.sum()
	return c.prepare("INSERT INTO names (namespace, name, max_start, block, package, min_start, count, parts) VALUES (?, ?, ?, ?, ?, ?, ?, ?)").
		text(namespace).text(n.name).integer(n.maxStart).integer(n.group).text(n.pkg).
		integer(minStart).integer(int64(count)).blob(n.encode()).run()
}

// encode returns nil for one block alone, of which the other columns tell
// everything, as they did in rows before there were groups.
func (n *naming) encode() (parts []byte) {
	if len(n.parts) == 1 && n.parts[0].block == n.group && n.parts[0].maxStart == n.maxStart {
		return nil
	}
	for _, p := range n.parts {
		parts = binary.AppendUvarint(parts, uint64(p.block-n.group))
		parts = binary.AppendUvarint(parts, uint64(n.maxStart-p.maxStart))
		parts = binary.AppendUvarint(parts, uint64(p.maxStart-p.minStart))
		parts = binary.AppendUvarint(parts, uint64(p.count))
	}
	return parts
}

// namingColumns are those that row.naming reads.
const namingColumns = "package, max_start, block, min_start, count, parts"

// naming reads a row of names, but for the name.
func (r *row) naming() (n naming, err error) {
	n = naming{pkg: r.text(), maxStart: r.integer(), group: r.integer()}
	alone := part{n.group, n.maxStart, r.integer(), int(r.integer())}
	parts := r.bytes()
	if parts == nil {
		n.parts = []part{alone}
		return n, nil
	}
	for len(parts) > 0 {
		var v [4]int64
		for i := range v {
			value, size := binary.Uvarint(parts)
			if size <= 0 {
				return n, whisk.Errorf(whisk.Internal, "a row of names is damaged")
			}
			v[i], parts = int64(value), parts[size:]
		}
		maxStart := n.maxStart - v[1]
		n.parts = append(n.parts, part{n.group + v[0], maxStart, maxStart - v[2], int(v[3])})
	}
	return n, nil
}

// group is what is left of several blocks that were stored together.
type group struct {
	namespace   string
	named, lead int64 // maxStart and group of its namings
	maxStart    int64
	count       int // of records
	blocks      []place
}

// groupOfBlock returns the group of a block, nil if it was stored alone.
func groupOfBlock(c *connection, position int64) (*group, error) {
	rank, err := c.numberOf("SELECT coalesce(rank, -1) FROM blocks WHERE position = ?", position)
	if err != nil || rank < 0 {
		return nil, err
	}
	g := group{lead: position - rank, maxStart: math.MinInt64}
	err = c.prepare("SELECT position, coalesce(rank, -1), namespace, named, max_start, count FROM blocks WHERE position >= ? ORDER BY position LIMIT ?").
		integer(g.lead).integer(groupBlocks).
		each(func(r *row) error {
			p := place{position: r.integer()}
			if rank := r.integer(); rank < 0 || p.position-rank != g.lead {
				return errEnough
			}
			g.namespace, g.named, p.maxStart = r.text(), r.integer(), r.integer()
			g.maxStart, g.count = max(g.maxStart, p.maxStart), g.count+int(r.integer())
			g.blocks = append(g.blocks, p)
			return nil
		})
	return &g, ignoreEnough(err)
}

// forget takes a block out of what names has of an action.
func (g *group) forget(c *connection, name string, position int64) error {
	var changed []naming
	err := c.prepare("SELECT " + namingColumns + " FROM names WHERE namespace = ? AND name = ? AND max_start = ? AND block = ?").
		text(g.namespace).text(name).integer(g.named).integer(g.lead).
		each(func(r *row) error {
			n, err := r.naming()
			n.name = name
			all := len(n.parts)
			n.parts = slices.DeleteFunc(n.parts, func(p part) bool { return p.block == position })
			if len(n.parts) < all {
				changed = append(changed, n)
			}
			return err
		})
	for i := range changed {
		if err == nil {
			err = changed[i].update(c, g.namespace)
		}
	}
	return err
}

// update stores which parts are left of a row.
func (n *naming) update(c *connection, namespace string) error {
	if len(n.parts) == 0 {
		return c.prepare("DELETE FROM names WHERE namespace = ? AND name = ? AND max_start = ? AND block = ? AND package = ?").
			text(namespace).text(n.name).integer(n.maxStart).integer(n.group).text(n.pkg).run()
	}
	minStart, count := n.sum()
	return c.prepare("UPDATE names SET min_start = ?, count = ?, parts = ? WHERE namespace = ? AND name = ? AND max_start = ? AND block = ? AND package = ?").
		integer(minStart).integer(int64(count)).blob(n.encode()).
		text(namespace).text(n.name).integer(n.maxStart).integer(n.group).text(n.pkg).run()
}
