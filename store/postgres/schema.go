// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/whirl-faas/whirl/whisk"
)

// layout is one contract's part of the schema. Its tables lie where the
// session's search_path says, so that several installations can share a
// database.
type layout struct {
	part       string   // its name in whirl_schema
	migrations []string // number i takes it from version i to i+1; never edited once released
	// usable is the oldest version whose programs can work with the newest. The
	// hosts of a cluster are not upgraded all at once.
	usable int
}

// schemaTable tells which version each part has. Beside it programs write down
// which older ones may go on.
const schemaTable = `
CREATE TABLE IF NOT EXISTS whirl_schema (
	part    text PRIMARY KEY,
	version integer NOT NULL,
	usable  integer NOT NULL -- by programs that know this version
)`

// schemaLock is the advisory lock of who changes the schema: "whirl" in ASCII.
const schemaLock = 0x776869726c

// prepare returns when the part is there in this version, or a newer one that
// this program can work with; else it makes it. A newer one that it cannot work
// with is Conflict.
func (l layout) prepare(ctx context.Context, conn *pgx.Conn) error {
	// Looked at without a lock and without the right to make tables, which most
	// roles do not have and, once it is done, do not need.
	done, err := l.done(ctx, conn)
	if done || err != nil && !isMissing(err) {
		return explain("look at the schema", err)
	}
	// One statement sees what was committed before it, so that whoever comes second
	// waits for the lock and then finds all done.
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", schemaLock); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, schemaTable); err != nil {
			return err
		}
		return l.migrate(ctx, tx)
	})
	return explain("make the tables", err)
}

// querier is a connection or a transaction on it.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// done reports whether there is nothing to do.
func (l layout) done(ctx context.Context, q querier) (bool, error) {
	version, usable, err := l.look(ctx, q)
	if err == nil && usable > len(l.migrations) {
		err = whisk.Errorf(whisk.Conflict, "the schema of %s is version %d, which needs a program that knows version %d, and this one knows none above %d: it was made by a newer one",
			l.part, version, usable, len(l.migrations))
	}
	return version >= len(l.migrations), err
}

// look returns the part's version, 0 if it is not there.
func (l layout) look(ctx context.Context, q querier) (version, usable int, err error) {
	err = q.QueryRow(ctx, "SELECT version, usable FROM whirl_schema WHERE part = $1", l.part).Scan(&version, &usable)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, 0, nil
	}
	return version, usable, err
}

func (l layout) migrate(ctx context.Context, tx pgx.Tx) error {
	if done, err := l.done(ctx, tx); done || err != nil {
		return err
	}
	version, _, err := l.look(ctx, tx)
	if err != nil {
		return err
	}
	for _, step := range l.migrations[version:] {
		if _, err := tx.Exec(ctx, step); err != nil {
			return fmt.Errorf("from version %d: %w", version, err)
		}
		version++
	}
	_, err = tx.Exec(ctx, `INSERT INTO whirl_schema (part, version, usable) VALUES ($1, $2, $3)
		ON CONFLICT (part) DO UPDATE SET version = excluded.version, usable = excluded.usable`, l.part, version, l.usable)
	return err
}

// isMissing reports whether a table is not there.
func isMissing(err error) bool {
	refusal, ok := errors.AsType[*pgconn.PgError](err)
	return ok && refusal.Code == undefinedTable
}

// explain says what was tried, and what to do where this role may not.
func explain(tried string, err error) error {
	if err == nil {
		return nil
	}
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok && refusal.Code == insufficientPrivilege {
		return whisk.Errorf(whisk.Unavailable, "%s: %w; a role that owns the schema makes the tables, and grants this one what it needs", tried, err)
	}
	return fmt.Errorf("%s: %w", tried, classify(err))
}
