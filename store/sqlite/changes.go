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
// revision of an entity's write. An entity without a name stands for the APIs of
// its namespace. Each change takes at most two outdated ones
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
				changes = append(changes, change(r))
				return nil
			})
	})
	if err != nil {
		return nil, fmt.Errorf("read changes after %d: %w", since, err)
	}
	return changes, nil
}

// change reads the columns of a change. One of neither path nor subject is of the
// APIs of the namespace.
func change(r *row) whisk.Change {
	position, namespace, path, subject := r.integer(), r.text(), r.text(), r.text()
	switch {
	case subject != "":
		return whisk.Change{Position: position, Subject: subject}
	case path == "":
		return whisk.Change{Position: position, APIs: namespace}
	}
	return whisk.Change{Position: position, Entity: fullName(namespace, path)}
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
