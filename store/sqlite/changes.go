// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// changesKept is longer than the hour that readers may take, for slow ones and
// for clocks that are set.
const changesKept = 2 * time.Hour

// noteChange appends to the change feed and returns the position, which is the
// revision of an entity's write. Each change takes at most two outdated ones
// away, so the feed shrinks to its span without ever being swept.
func noteChange(c *connection, entity whisk.FullName, subject string) (whisk.Revision, error) {
	path := ""
	if subject == "" {
		path = entity.InNamespace()
	}
	now := time.Now()
	err := c.prepare("INSERT INTO changes (made, namespace, path, subject) VALUES (?, ?, ?, ?)").
		time(now).text(entity.Namespace).text(path).text(subject).run()
	if err != nil {
		return 0, err
	}
	position := c.LastInsertRowID()
	err = c.prepare("DELETE FROM changes WHERE position IN (SELECT position FROM changes ORDER BY position LIMIT 2) AND made < ? AND position < ?").
		time(now.Add(-changesKept)).integer(position).run()
	return whisk.Revision(position), err
}

// Changes implements [whisk.EntityStore].
func (e *Entities) Changes(ctx context.Context, since int64, limit int) ([]whisk.Change, error) {
	var changes []whisk.Change
	err := e.db.read(ctx, func(c *connection) error {
		return c.prepare("SELECT position, namespace, path, subject FROM changes WHERE position > ? ORDER BY position LIMIT ?").
			integer(since).integer(int64(max(limit, 0))).
			each(func(r *row) error {
				changes = append(changes, whisk.Change{
					Position: r.integer(),
					Entity:   fullName(r.text(), r.text()),
					Subject:  r.text(),
				})
				return nil
			})
	})
	if err != nil {
		return nil, fmt.Errorf("read changes after %d: %w", since, err)
	}
	return changes, nil
}

// LastChange implements [whisk.EntityStore].
func (e *Entities) LastChange(ctx context.Context) (int64, error) {
	var position int64
	err := e.db.read(ctx, func(c *connection) (err error) {
		position, err = c.number("SELECT max(position) FROM changes")
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read last change: %w", err)
	}
	return position, nil
}
