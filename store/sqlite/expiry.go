// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/store/internal/block"
)

// ExpireActivations implements [whisk.ActivationStore]. Each of its transactions
// ends with the block that makes expireBatch records full.
func (a *Activations) ExpireActivations(ctx context.Context, before time.Time, limit int) (int, error) {
	total, more := 0, true
	for more && total < limit {
		e := expiry{before: ceilMilli(before)}
		err := a.db.write(ctx, 0, func(c *connection) error {
			e.left, e.deleted, e.aside = limit-total, 0, nil
			more = true
			for more && e.left > 0 && e.deleted+len(e.aside) < expireBatch {
				var err error
				if more, err = e.step(c); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return total, fmt.Errorf("expire activations: %w", err)
		}
		total += e.deleted
		report(a.log, e.aside)
	}
	if total == 0 {
		return 0, nil
	}
	if err := a.db.shrink(ctx); err != nil {
		return total, fmt.Errorf("expire activations: %w", err)
	}
	return total, nil
}

// expiry deletes records that started before a time.
type expiry struct {
	before        int64 // ms since 1970
	left, deleted int
	aside         []damage // by the transaction under way
}

// step deletes what is old of one block, or makes blocks of what is in recent, if
// there is something old. It reports false when there is no more.
func (e *expiry) step(c *connection) (more bool, err error) {
	old, err := c.numberOf("SELECT count(*) FROM recent WHERE min_start < ?", e.before)
	if err != nil {
		return false, err
	}
	if old > 0 {
		e.aside, err = compact(c)
		return true, err
	}
	position, err := c.numberOf("SELECT position FROM blocks INDEXED BY blocks_start WHERE min_start < ? ORDER BY min_start LIMIT 1", e.before)
	if err != nil {
		return false, err
	}
	if position == 0 {
		return false, c.prepare("DELETE FROM damaged WHERE max_start < ?").integer(e.before).run()
	}
	g, err := groupOfBlock(c, position)
	if err != nil {
		return false, err
	}
	if g != nil && g.maxStart < e.before && g.count <= e.left {
		return true, e.group(c, g)
	}
	return true, e.block(c, place{position: position}, g)
}

// group deletes a group of blocks that are all old.
func (e *expiry) group(c *connection, g *group) error {
	names := make(map[string]bool, 1)
	for _, p := range g.blocks {
		encoded, err := c.bytes(headsOfBlock, p.position)
		if err != nil {
			return err
		}
		heads, err := readableHeads(encoded)
		if err != nil {
			if err := e.setAside(c, p, g, err); err != nil {
				return err
			}
			continue
		}
		for i := range heads {
			names[heads[i].Name] = true
		}
		if err := c.prepare("DELETE FROM blocks WHERE position = ?").integer(p.position).run(); err != nil {
			return err
		}
	}
	e.left -= g.count
	e.deleted += g.count
	return deleteNames(c, g.namespace, names, g.named, g.lead)
}

// block deletes a block, and puts those of its records back that are to stay.
func (e *expiry) block(c *connection, p place, of *group) error {
	encoded, err := c.bytes(headsOfBlock, p.position)
	if err != nil {
		return err
	}
	heads, err := readableHeads(encoded)
	if err != nil {
		return e.setAside(c, p, of, err)
	}
	deleted := 0
	staying := slices.DeleteFunc(slices.Clone(heads), func(h block.Head) bool {
		goes := h.Start < e.before && deleted < e.left
		if goes {
			deleted++
		}
		return goes
	})
	var blocks []extent
	if len(staying) > 0 {
		if blocks, err = e.blocksOf(c, p, staying); err != nil {
			return err
		}
	}
	if err := deleteBlock(c, p, of, heads); err != nil {
		return err
	}
	if err := insertBlocks(c, blocks); err != nil {
		return err
	}
	e.left -= deleted
	e.deleted += deleted
	return nil
}

// setAside moves a block whose heads cannot be read out of the way.
func (e *expiry) setAside(c *connection, p place, of *group, cause error) error {
	d, err := setBlockAside(c, p.position, of, cause)
	e.aside = append(e.aside, d)
	return err
}

// blocksOf makes blocks of a part of one, as far as that can be read.
func (e *expiry) blocksOf(c *connection, p place, heads []block.Head) ([]extent, error) {
	bodies, err := p.bodies(c)
	if err != nil {
		return nil, err
	}
	records, err := readableOf(heads, bodies)
	if err != nil {
		d := damage{source: "blocks", row: p.position, records: len(heads), readable: len(records), err: err}
		e.aside = append(e.aside, d)
		if err := d.keep(c); err != nil {
			return nil, err
		}
	}
	return newBlocks(records)
}

// deleteBlock deletes one of a group, or one that was stored alone: then of is nil.
func deleteBlock(c *connection, p place, of *group, heads []block.Head) error {
	maxStart, names := heads[0].Start, make(map[string]bool, 1)
	for i := range heads {
		maxStart = max(maxStart, heads[i].Start)
		names[heads[i].Name] = true
	}
	return deleteNamedBlock(c, p.position, of, heads[0].Namespace, maxStart, names)
}

func deleteNamedBlock(c *connection, position int64, of *group, namespace string, maxStart int64, names map[string]bool) error {
	if of == nil {
		if err := deleteNames(c, namespace, names, maxStart, position); err != nil {
			return err
		}
	} else {
		for name := range names {
			if err := of.forget(c, name, position); err != nil {
				return err
			}
		}
	}
	return c.prepare("DELETE FROM blocks WHERE position = ?").integer(position).run()
}

// deleteNames deletes the rows of a group of one block or more.
func deleteNames(c *connection, namespace string, names map[string]bool, maxStart, group int64) error {
	for name := range names {
		err := c.prepare("DELETE FROM names WHERE namespace = ? AND name = ? AND max_start = ? AND block = ?").
			text(namespace).text(name).integer(maxStart).integer(group).run()
		if err != nil {
			return err
		}
	}
	return nil
}
