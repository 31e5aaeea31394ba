// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// A write of an alarm is a new row, whose number is the revision: none is used
// twice. The index of times has no row for alarms without one.
const alarmsSchema = `
CREATE TABLE alarms (
	revision  INTEGER PRIMARY KEY AUTOINCREMENT,
	namespace TEXT NOT NULL,
	path      TEXT NOT NULL,
	at        INTEGER, -- ms since 1970, NULL for not at all
	body      TEXT
) STRICT;
CREATE UNIQUE INDEX alarms_path ON alarms (namespace, path);
CREATE INDEX alarms_at ON alarms (at, revision) WHERE at IS NOT NULL;
`

const alarmColumns = "namespace, path, revision, at, body"

func alarm(r *row) whisk.Alarm {
	return whisk.Alarm{
		Trigger:  fullName(r.text(), r.text()),
		Revision: whisk.Revision(r.integer()),
		At:       r.time(),
		Body:     r.bytes(),
	}
}

// Alarm implements [whisk.Alarms].
func (e *Entities) Alarm(ctx context.Context, trigger whisk.FullName) (found whisk.Alarm, err error) {
	err = e.db.read(ctx, func(c *connection) error {
		return c.prepare("SELECT " + alarmColumns + " FROM alarms WHERE namespace = ? AND path = ?").
			text(trigger.Namespace).text(trigger.InNamespace()).
			each(func(r *row) error { found = alarm(r); return nil })
	})
	if err == nil && found.Revision == 0 {
		err = whisk.Errorf(whisk.NotFound, "no such alarm")
	}
	if err != nil {
		return whisk.Alarm{}, fmt.Errorf("get the alarm of %s: %w", trigger, err)
	}
	return found, nil
}

// SetAlarm implements [whisk.Alarms].
func (e *Entities) SetAlarm(ctx context.Context, alarm whisk.Alarm, entries ...whisk.Accepted) (revision whisk.Revision, err error) {
	err = e.db.write(ctx, whisk.Bytes(len(alarm.Body))+sizeOf(entries), func(c *connection) error {
		if stored, err := alarmRevision(c, alarm.Trigger); err != nil {
			return err
		} else if stored != alarm.Revision {
			return whisk.Errorf(whisk.Conflict, "its revision is %d, not %d", stored, alarm.Revision)
		}
		if err := c.prepare("DELETE FROM alarms WHERE revision = ?").integer(int64(alarm.Revision)).run(); err != nil {
			return err
		}
		insert := c.prepare("INSERT INTO alarms (namespace, path, at, body) VALUES (?, ?, ?, ?)").
			text(alarm.Trigger.Namespace).text(alarm.Trigger.InNamespace())
		if alarm.At.IsZero() {
			insert = insert.null()
		} else {
			insert = insert.time(alarm.At)
		}
		if err := insert.json(alarm.Body).run(); err != nil {
			return err
		}
		revision = whisk.Revision(c.LastInsertRowID())
		return accept(c, entries)
	})
	if err != nil {
		return 0, fmt.Errorf("set the alarm of %s: %w", alarm.Trigger, err)
	}
	return revision, nil
}

// alarmRevision returns the revision of a trigger's alarm, 0 if it has none.
func alarmRevision(c *connection, trigger whisk.FullName) (revision whisk.Revision, err error) {
	err = c.prepare("SELECT revision FROM alarms WHERE namespace = ? AND path = ?").
		text(trigger.Namespace).text(trigger.InNamespace()).
		each(func(r *row) error { revision = whisk.Revision(r.integer()); return nil })
	return revision, err
}

// DeleteAlarm implements [whisk.Alarms].
func (e *Entities) DeleteAlarm(ctx context.Context, trigger whisk.FullName, revision whisk.Revision) error {
	err := e.db.write(ctx, 0, func(c *connection) error {
		switch stored, err := alarmRevision(c, trigger); {
		case err != nil:
			return err
		case stored == 0:
			return whisk.Errorf(whisk.NotFound, "no such alarm")
		case stored != revision:
			return whisk.Errorf(whisk.Conflict, "its revision is %d, not %d", stored, revision)
		}
		return c.prepare("DELETE FROM alarms WHERE revision = ?").integer(int64(revision)).run()
	})
	if err != nil {
		return fmt.Errorf("delete the alarm of %s: %w", trigger, err)
	}
	return nil
}

// DueAlarms implements [whisk.Alarms].
func (e *Entities) DueAlarms(ctx context.Context, by time.Time, limit int) (due []whisk.Alarm, err error) {
	err = e.db.read(ctx, func(c *connection) error {
		return c.prepare("SELECT " + alarmColumns + " FROM alarms WHERE at IS NOT NULL AND at <= ? ORDER BY at, revision LIMIT ?").
			time(by).integer(int64(limit)).
			each(func(r *row) error { due = append(due, alarm(r)); return nil })
	})
	if err != nil {
		return nil, fmt.Errorf("list the alarms that are due: %w", err)
	}
	return due, nil
}

// NextAlarm implements [whisk.Alarms].
func (e *Entities) NextAlarm(ctx context.Context) (next time.Time, err error) {
	err = e.db.read(ctx, func(c *connection) error {
		return c.prepare("SELECT min(at) FROM alarms WHERE at IS NOT NULL").each(func(r *row) error { next = r.time(); return nil })
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("find the next alarm: %w", err)
	}
	return next, nil
}
