// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"fmt"
	"iter"

	"github.com/whirl-faas/whirl/whisk"
)

// Accept implements [whisk.Queue]. An entry whose id is stored already is left
// as it was, so that a call may be repeated.
func (e *Entities) Accept(ctx context.Context, entries ...whisk.Accepted) error {
	err := e.db.write(ctx, sizeOf(entries), func(c *connection) error { return accept(c, entries) })
	if err != nil {
		return fmt.Errorf("accept %d activations: %w", len(entries), err)
	}
	return nil
}

func sizeOf(entries []whisk.Accepted) (size whisk.Bytes) {
	for _, entry := range entries {
		size += whisk.Bytes(len(entry.Body))
	}
	return size
}

func accept(c *connection, entries []whisk.Accepted) error {
	for _, entry := range entries {
		err := c.prepare("INSERT INTO accepted (activation, namespace, at, accepted_by, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING").
			text(string(entry.Activation)).text(entry.Namespace).time(entry.At).text(string(entry.AcceptedBy)).json(entry.Body).run()
		if err != nil {
			return fmt.Errorf("entry %s: %w", entry.Activation, err)
		}
	}
	return nil
}

// Claim implements [whisk.Queue]. A claim is a row of its own, so that it does
// not rewrite the body.
func (e *Entities) Claim(ctx context.Context, id whisk.ActivationID, by whisk.ControllerID) error {
	err := e.db.write(ctx, 0, func(c *connection) error {
		position, claimed := int64(0), false
		err := c.prepare("SELECT a.position, c.position IS NOT NULL FROM accepted a LEFT JOIN claims c USING (position) WHERE activation = ?").
			text(string(id)).
			each(func(r *row) error {
				position, claimed = r.integer(), r.integer() != 0
				return nil
			})
		switch {
		case err != nil:
			return err
		case position == 0:
			return whisk.Errorf(whisk.NotFound, "it is not in the queue")
		case claimed:
			return whisk.Errorf(whisk.Conflict, "it is claimed already")
		}
		return c.prepare("INSERT INTO claims (position, claimed_by) VALUES (?, ?)").integer(position).text(string(by)).run()
	})
	if err != nil {
		return fmt.Errorf("claim %s: %w", id, err)
	}
	return nil
}

// Complete implements [whisk.Queue].
func (e *Entities) Complete(ctx context.Context, ids []whisk.ActivationID) error {
	if len(ids) == 0 {
		return nil
	}
	err := e.db.write(ctx, 0, func(c *connection) error {
		for _, id := range ids {
			err := c.prepare("DELETE FROM claims WHERE position = (SELECT position FROM accepted WHERE activation = ?)").
				text(string(id)).run()
			if err != nil {
				return err
			}
			if err := c.prepare("DELETE FROM accepted WHERE activation = ?").text(string(id)).run(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("complete %d activations: %w", len(ids), err)
	}
	return nil
}

// Pending implements [whisk.Queue]. It reads page by page, so that no connection
// waits for the consumer; the pages are small, since bodies may have a megabyte.
func (e *Entities) Pending(ctx context.Context) iter.Seq2[whisk.Accepted, error] {
	const page = 32
	return func(yield func(whisk.Accepted, error) bool) {
		last := int64(0)
		for {
			var entries []whisk.Accepted
			err := e.db.read(ctx, func(c *connection) error {
				return c.prepare(`
					SELECT position, activation, namespace, at, accepted_by, coalesce(claimed_by, ''), body
					FROM accepted LEFT JOIN claims USING (position)
					WHERE position > ? ORDER BY position LIMIT ?`).
					integer(last).integer(page).
					each(func(r *row) error {
						last = r.integer()
						entries = append(entries, whisk.Accepted{
							Activation: whisk.ActivationID(r.text()),
							Namespace:  r.text(),
							At:         r.time(),
							AcceptedBy: whisk.ControllerID(r.text()),
							ClaimedBy:  whisk.ControllerID(r.text()),
							Body:       r.bytes(),
						})
						return nil
					})
			})
			if err != nil {
				yield(whisk.Accepted{}, fmt.Errorf("list accepted activations: %w", err))
				return
			}
			for _, entry := range entries {
				if !yield(entry, nil) {
					return
				}
			}
			if len(entries) < page {
				return
			}
		}
	}
}
