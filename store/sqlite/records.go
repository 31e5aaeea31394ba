// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/whirl-faas/whirl/store/internal/block"
	"github.com/whirl-faas/whirl/whisk"
)

// errEnough ends the reading of rows.
var errEnough = errors.New("enough")

// place is a row of recent or of blocks.
type place struct {
	recent   bool
	position int64
	maxStart int64
}

// heads returns those that are wanted, all for nil.
func (p place) heads(c *connection, wanted *block.Filter) ([]block.Head, error) {
	query := headsOfBlock
	if p.recent {
		query = headsOfRecent
	}
	heads, err := c.bytes(query, p.position)
	if err != nil {
		return nil, err
	}
	if wanted == nil {
		return block.Heads(heads)
	}
	return block.Select(heads, wanted)
}

func (p place) bodies(c *connection) ([]byte, error) {
	if p.recent {
		return c.bytes("SELECT bodies FROM recent WHERE position = ?", p.position)
	}
	return c.bytes("SELECT bodies FROM blocks WHERE position = ?", p.position)
}

// Activation implements [whisk.ActivationStore].
func (a *Activations) Activation(ctx context.Context, namespace string, id whisk.ActivationID) (whisk.Activation, error) {
	var record whisk.Activation
	key, err := block.KeyOf(id)
	if err == nil {
		err = a.db.readAll(ctx, func(c *connection) (err error) {
			record, err = find(c, namespace, key)
			return err
		})
	}
	if err != nil && whisk.KindOf(err) == whisk.Invalid || err == nil && record.ID == "" {
		err = whisk.Errorf(whisk.NotFound, "no such activation")
	}
	if err != nil {
		return whisk.Activation{}, fmt.Errorf("get activation %s: %w", id, err)
	}
	return record, nil
}

// find returns a record, one without an id if it is not there.
func find(c *connection, namespace string, key block.Key) (record whisk.Activation, err error) {
	wanted := block.Filter{Namespace: namespace, Key: &key, Since: math.MinInt64, Upto: math.MaxInt64}
	take := func(p place) error {
		heads, err := p.heads(c, &wanted)
		if err != nil || len(heads) == 0 {
			return err
		}
		bodies, err := p.bodies(c)
		if err == nil {
			record, err = heads[0].Whole(bodies)
		}
		return cmp.Or(err, errEnough)
	}
	err = c.prepare("SELECT position FROM recent WHERE max_id >= ? AND min_id <= ?").blob(key[:]).blob(key[:]).
		each(func(r *row) error { return take(place{recent: true, position: r.integer()}) })
	if err == nil {
		end := key.Later(blockSpan)
		err = c.prepare(`SELECT position FROM blocks INDEXED BY blocks_ids
			WHERE namespace = ? AND max_id >= ? AND max_id <= ? AND min_id <= ? ORDER BY max_id`).
			text(namespace).blob(key[:]).blob(end[:]).blob(key[:]).
			each(func(r *row) error { return take(place{position: r.integer()}) })
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return record, err
}
