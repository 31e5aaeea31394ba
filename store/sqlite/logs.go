// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/whirl-faas/whirl/store/internal/lines"
	"github.com/whirl-faas/whirl/whisk"
)

// Logs is the database of the activations' output. It implements
// [whisk.LogStore].
type Logs struct{ db *database }

const logsSchema = `
CREATE TABLE logs (
	position   INTEGER PRIMARY KEY,
	activation TEXT NOT NULL UNIQUE,
	namespace  TEXT NOT NULL,
	made       INTEGER NOT NULL, -- ms since 1970
	lines      BLOB -- see lines.Encode
) STRICT;
CREATE INDEX logs_made ON logs (made);
`

// OpenLogs opens the database at path and makes it if it is not there; its
// directory must exist. A database that a newer program wrote is Conflict. The
// caller closes it; ctx matters during the call only.
func OpenLogs(ctx context.Context, path string) (*Logs, error) {
	db, err := openDatabase(ctx, path, layout{
		migrations:  []string{logsSchema},
		synchronous: "NORMAL",
		cache:       16 * whisk.MB,
	})
	if err != nil {
		return nil, err
	}
	return &Logs{db}, nil
}

// Close waits for the calls under way and closes the database. Later calls are
// Unavailable. It is idempotent.
func (l *Logs) Close() error { return l.db.close() }

// AppendLogs implements [whisk.LogStore].
func (l *Logs) AppendLogs(ctx context.Context, entries []whisk.LogEntry) error {
	if len(entries) == 0 {
		return nil
	}
	// Encoded here, in the caller's goroutine, to spare the writer's.
	encoded, size := make([][]byte, len(entries)), 0
	for i, entry := range entries {
		encoded[i] = lines.Encode(entry.Lines)
		size += len(encoded[i])
	}
	err := l.db.write(ctx, whisk.Bytes(size), func(c *connection) error {
		for i, entry := range entries {
			err := c.prepare("INSERT INTO logs (activation, namespace, made, lines) VALUES (?, ?, ?, ?) ON CONFLICT (activation) DO NOTHING").
				text(string(entry.Activation)).text(entry.Namespace).time(entry.Made).blob(encoded[i]).run()
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("append logs of %d activations: %w", len(entries), err)
	}
	return nil
}

// Logs implements [whisk.LogStore].
func (l *Logs) Logs(ctx context.Context, namespace string, id whisk.ActivationID) ([]string, error) {
	var found []string
	err := l.db.read(ctx, func(c *connection) error {
		return c.prepare("SELECT lines FROM logs WHERE activation = ? AND namespace = ?").
			text(string(id)).text(namespace).
			each(func(r *row) (err error) {
				found, err = r.lines()
				return err
			})
	})
	if err != nil {
		return nil, fmt.Errorf("get logs of %s: %w", id, err)
	}
	return found, nil
}

// ExpireLogs implements [whisk.LogStore].
func (l *Logs) ExpireLogs(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := l.db.expire(ctx, before, limit, `
		DELETE FROM logs WHERE position IN
			(SELECT position FROM logs WHERE made < ? ORDER BY made LIMIT ?)`)
	if err != nil {
		return 0, fmt.Errorf("expire logs: %w", err)
	}
	return n, nil
}
