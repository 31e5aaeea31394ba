// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/whirl-faas/whirl/whisk"
)

// Codes of PostgreSQL's errors that are looked at one by one.
const (
	undefinedTable        = "42P01"
	insufficientPrivilege = "42501"
	readOnly              = "25006"
)

// classify gives an error of the driver or the server its kind. Errors that have
// one stay what they are.
func classify(err error) error {
	if _, ok := errors.AsType[*whisk.Error](err); ok {
		return err
	}
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok {
		return whisk.Errorf(kindOf(refusal.Code), "%w", err)
	}
	if _, ok := errors.AsType[pgx.ScanArgError](err); ok {
		return whisk.Errorf(whisk.Internal, "%w", err)
	}
	return whisk.Errorf(whisk.Unavailable, "%w", err) // the way to the server
}

// kindOf maps what a server says: the first two characters are the class. What
// an operator can mend while we run is Unavailable, wrong passwords and missing
// rights included: it may be just now that they are changed.
func kindOf(code string) whisk.Kind {
	switch code {
	case undefinedTable, insufficientPrivilege:
		return whisk.Unavailable
	}
	switch code[:min(2, len(code))] {
	case "08", // connection
		"25", // the transaction's state: read-only, idle for too long
		"28", // who we are
		"3D", // no such database
		"3F", // no such schema
		"40", // deadlock, serialisation
		"53", // disk full, out of memory, too many connections
		"55", // locked
		"57", // stopped, starting, cancelled
		"58": // the server's system
		return whisk.Unavailable
	case "54": // a limit of the server's own
		return whisk.TooLarge
	}
	return whisk.Internal
}

// isOutdated reports whether the connections are no good any more, though they
// stand: the tables have gone, or the server is a standby now.
func isOutdated(err error) bool {
	refusal, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (refusal.Code == undefinedTable || refusal.Code == readOnly)
}

// interrupted is the error of a call whose context ended before it was done.
func interrupted(ctx context.Context) error {
	kind := whisk.Unavailable
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		kind = whisk.Timeout
	}
	return whisk.Errorf(kind, "%w", context.Cause(ctx))
}
