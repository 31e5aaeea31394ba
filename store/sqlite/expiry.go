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
			e.left, e.deleted = limit-total, 0
			more = true
			for more && e.left > 0 && e.deleted < expireBatch {
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
}

// step deletes what is old of one block, or makes blocks of what is in recent, if
// there is something old. It reports false when there is no more.
func (e *expiry) step(c *connection) (more bool, err error) {
	old, err := c.numberOf("SELECT count(*) FROM recent WHERE min_start < ?", e.before)
	if err != nil {
		return false, err
	}
	if old > 0 {
		return true, compact(c)
	}
	position, err := c.numberOf("SELECT position FROM blocks INDEXED BY blocks_start WHERE min_start < ? ORDER BY min_start LIMIT 1", e.before)
	if err != nil || position == 0 {
		return false, err
	}
	return true, e.block(c, place{position: position})
}

// block deletes a block, and puts those of its records back that are to stay.
func (e *expiry) block(c *connection, p place) error {
	heads, err := p.heads(c, nil)
	if err != nil {
		return err
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
		if blocks, err = blocksOf(c, p, staying); err != nil {
			return err
		}
	}
	if err := deleteBlock(c, p, heads); err != nil {
		return err
	}
	if err := insertBlocks(c, blocks); err != nil {
		return err
	}
	e.left -= deleted
	e.deleted += deleted
	return nil
}

// blocksOf makes blocks of a part of one.
func blocksOf(c *connection, p place, heads []block.Head) ([]extent, error) {
	bodies, err := p.bodies(c)
	if err != nil {
		return nil, err
	}
	records, err := wholeRecords(heads, bodies)
	if err != nil {
		return nil, err
	}
	return newBlocks(records)
}

func deleteBlock(c *connection, p place, heads []block.Head) error {
	named, err := c.numberOf("SELECT coalesce(named, max_start) FROM blocks WHERE position = ?", p.position)
	if err != nil {
		return err
	}
	names := make(map[string]bool, 1)
	for i := range heads {
		names[heads[i].Name] = true
	}
	for name := range names {
		if err := forgetNamed(c, heads[0].Namespace, name, named, p.position); err != nil {
			return err
		}
	}
	return c.prepare("DELETE FROM blocks WHERE position = ?").integer(p.position).run()
}
