// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/whirl-faas/whirl/whisk"
)

// Activations is the database of activation records. It implements
// [whisk.ActivationStore].
type Activations struct {
	db  *database
	log *slog.Logger
}

// The schema of programs before the one below.
const recordsSchema = `
CREATE TABLE activations (
	position    INTEGER PRIMARY KEY,
	id          TEXT NOT NULL UNIQUE,
	namespace   TEXT NOT NULL,
	name        TEXT NOT NULL,
	package     TEXT NOT NULL,
	version     TEXT NOT NULL,
	publish     INTEGER NOT NULL,
	subject     TEXT NOT NULL,
	start       INTEGER NOT NULL, -- ms since 1970
	"end"       INTEGER,          -- the same; NULL for none
	duration    INTEGER NOT NULL, -- ns
	cause       TEXT NOT NULL,
	status      INTEGER NOT NULL,
	annotations TEXT,
	size        INTEGER NOT NULL,
	logs        BLOB,             -- see lines.Encode; NULL for none
	result      TEXT
) STRICT;
CREATE INDEX activations_list ON activations (namespace, start, id);
CREATE INDEX activations_name_list ON activations (namespace, name, start, id, package);
CREATE INDEX activations_start ON activations (start);
`

// A row and its entries in the indexes take SQLite some 30 µs, whatever is in
// them, and a transaction has few records of many namespaces. So a transaction's
// records are one row of recent, without an index, and when there are so many
// rows that reading them would be felt, they become blocks of one namespace each.
// docs/adr/0024 has the figures.
//
// A block's ids and starts span blockSpan at most. Thus what may hold an id or
// a time is found from one end: no index finds the intervals that hold a value.
// heads and bodies are of package block.
const blocksSchema = `
CREATE TABLE recent (
	position  INTEGER PRIMARY KEY,
	count     INTEGER NOT NULL,
	size      INTEGER NOT NULL, -- of heads and bodies
	min_id    BLOB NOT NULL,
	max_id    BLOB NOT NULL,
	min_start INTEGER NOT NULL, -- ms since 1970
	max_start INTEGER NOT NULL,
	heads     BLOB NOT NULL,
	bodies    BLOB NOT NULL
) STRICT;
CREATE TABLE blocks (
	position  INTEGER PRIMARY KEY,
	namespace TEXT NOT NULL,
	count     INTEGER NOT NULL,
	min_id    BLOB NOT NULL,
	max_id    BLOB NOT NULL,
	min_start INTEGER NOT NULL,
	max_start INTEGER NOT NULL,
	heads     BLOB NOT NULL,
	bodies    BLOB NOT NULL
) STRICT;
CREATE INDEX blocks_ids ON blocks (namespace, max_id, min_id);
CREATE INDEX blocks_list ON blocks (namespace, max_start, min_start, count);
CREATE INDEX blocks_start ON blocks (min_start);
CREATE TABLE names ( -- which blocks have records of which action
	namespace TEXT NOT NULL,
	name      TEXT NOT NULL,
	max_start INTEGER NOT NULL, -- of the block
	block     INTEGER NOT NULL,
	package   TEXT NOT NULL,
	min_start INTEGER NOT NULL,
	count     INTEGER NOT NULL, -- of the action's
	PRIMARY KEY (namespace, name, max_start, block, package)
) STRICT, WITHOUT ROWID;
ALTER TABLE activations RENAME TO former;
DROP INDEX activations_list;
DROP INDEX activations_name_list;
DROP INDEX activations_start;
`

// A row of names is of a group of blocks, see naming. A block alone has what former
// programs wrote: NULL in these columns.
const groupsSchema = `
ALTER TABLE blocks ADD COLUMN named INTEGER; -- max_start of the group's rows in names
ALTER TABLE blocks ADD COLUMN rank INTEGER;  -- in its group, from 0: of consecutive positions when they were stored
ALTER TABLE names ADD COLUMN parts BLOB;
`

// OpenActivations opens the database at path and makes it if it is not there;
// its directory must exist. A database that a newer program wrote is Conflict.
// Records that an older one wrote are brought into today's form first, which takes
// a while where there are many; what was done is done when it is interrupted.
// The caller closes it; ctx matters during the call only. A nil logger discards.
func OpenActivations(ctx context.Context, path string, logger *slog.Logger) (*Activations, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	db, err := openDatabase(ctx, path, layout{
		migrations:  []string{recordsSchema, blocksSchema, groupsSchema, damagedSchema},
		synchronous: "NORMAL",
		cache:       64 * whisk.MB,
	})
	if err != nil {
		return nil, err
	}
	a := &Activations{db, logger.With("file", db.path)}
	if err := a.takeOver(formerBatch).run(ctx); err != nil {
		err = fmt.Errorf("bring the records of %s into a new form: %w", path, err)
		if closeErr := db.close(); closeErr != nil {
			err = fmt.Errorf("%w (and then %w)", err, closeErr)
		}
		return nil, err
	}
	return a, nil
}

// Close waits for the calls under way and closes the database. Later calls are
// Unavailable. It is idempotent.
func (a *Activations) Close() error { return a.db.close() }

// PutActivations implements [whisk.ActivationStore].
func (a *Activations) PutActivations(ctx context.Context, records []whisk.Activation) error {
	if len(records) == 0 {
		return nil
	}
	b, err := newBatch(records)
	if err == nil {
		var aside []damage
		err = a.db.write(ctx, b.size(), func(c *connection) (err error) {
			aside, err = b.put(c)
			return err
		})
		if err == nil {
			report(a.log, aside)
		}
	}
	if err != nil {
		return fmt.Errorf("put %d activations: %w", len(records), err)
	}
	return nil
}
