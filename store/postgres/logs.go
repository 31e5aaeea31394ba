// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/whirl-faas/whirl/store/internal/lines"
	"github.com/whirl-faas/whirl/whisk"
)

// Logs is the database of the activations' output. It implements
// [whisk.LogStore].
type Logs struct{ db *database }

// One table and not one for each day. To drop a day is cheaper than to delete
// its rows, but ids would be unique within a day only, readers would have to
// look into all of them, and somebody would have to make tomorrow's in time.
// Ids and times both grow, so that new rows go to the right-hand edge of both
// indexes and old ones leave at the left: deleting reads nothing but what it
// deletes.
var logsLayout = layout{part: "logs", usable: 1, migrations: []string{`
CREATE TABLE logs (
	activation text COLLATE "C" PRIMARY KEY,
	namespace  text COLLATE "C" NOT NULL,
	made       timestamptz NOT NULL,
	lines      bytea -- of store/internal/lines
) WITH (autovacuum_vacuum_scale_factor = 0.02); -- a day is a seventh of it, and is to be reused soon
CREATE INDEX logs_made ON logs (made);
`}}

// OpenLogs returns a store that has not connected yet: see [Logs.Ping]. A config
// that makes no sense is Invalid. The caller closes it.
func OpenLogs(config Config) (*Logs, error) {
	db, err := openDatabase(config, logsLayout)
	if err != nil {
		return nil, err
	}
	return &Logs{db}, nil
}

// Ping returns nil if the database answers and has the tables, which it makes if
// they are not there.
func (l *Logs) Ping(ctx context.Context) error { return l.db.ping(ctx) }

// Close waits for the calls under way and closes the connections. Later calls
// are Unavailable. It is idempotent, and its error is nil.
func (l *Logs) Close() error {
	l.db.close()
	return nil
}

// Bounds of what is sent at once. The first is that of the embedded store.
const (
	largestEntry = 32 * whisk.MB
	largestBatch = 256 * whisk.MB
)

// columns are the entries of one statement.
type columns struct {
	activations, namespaces []string
	made                    []time.Time
	lines                   [][]byte
}

func columnsOf(entries []whisk.LogEntry) (c columns, err error) {
	var total whisk.Bytes
	for _, entry := range entries {
		encoded := lines.Encode(entry.Lines)
		size := whisk.Bytes(len(encoded))
		if total += size; size > largestEntry || total > largestBatch {
			return c, whisk.Errorf(whisk.TooLarge, "lines of %d bytes, %d with those before: more than %s, or %s for a batch", size, total, largestEntry, largestBatch)
		}
		c.activations = append(c.activations, string(entry.Activation))
		c.namespaces = append(c.namespaces, entry.Namespace)
		c.made = append(c.made, entry.Made)
		c.lines = append(c.lines, encoded)
	}
	return c, nil
}

// AppendLogs implements [whisk.LogStore]. The entries travel as four arrays in
// one statement, which is its own transaction: COPY could not leave alone what is
// stored already. Without a conflict target the role needs no right to read.
func (l *Logs) AppendLogs(ctx context.Context, entries []whisk.LogEntry) error {
	if len(entries) == 0 {
		return nil
	}
	batch, err := columnsOf(entries)
	if err == nil {
		err = l.db.call(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
			_, err := conn.Exec(ctx, `
				INSERT INTO logs (activation, namespace, made, lines)
				SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::bytea[])
				ON CONFLICT DO NOTHING`, batch.activations, batch.namespaces, batch.made, batch.lines)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("append logs of %d activations: %w", len(entries), err)
	}
	return nil
}

// Logs implements [whisk.LogStore].
func (l *Logs) Logs(ctx context.Context, namespace string, id whisk.ActivationID) ([]string, error) {
	var encoded []byte
	err := l.db.call(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		err := conn.QueryRow(ctx, "SELECT lines FROM logs WHERE activation = $1 AND namespace = $2", string(id), namespace).Scan(&encoded)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	var found []string
	if err == nil {
		found, err = lines.Decode(encoded)
	}
	if err != nil {
		return nil, fmt.Errorf("get logs of %s: %w", id, err)
	}
	return found, nil
}

// ExpireLogs implements [whisk.LogStore]. Several controllers may call it at
// once: each deletes what the others have not begun to.
func (l *Logs) ExpireLogs(ctx context.Context, before time.Time, limit int) (int, error) {
	deleted := 0
	err := l.db.call(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		tag, err := conn.Exec(ctx, `
			DELETE FROM logs WHERE ctid = ANY (ARRAY(
				SELECT ctid FROM logs WHERE made < $1 ORDER BY made LIMIT $2 FOR UPDATE SKIP LOCKED))`, before, limit)
		deleted = int(tag.RowsAffected())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("expire logs: %w", err)
	}
	return deleted, nil
}
