// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"errors"

	"github.com/ncruces/go-sqlite3"

	"github.com/whirl-faas/whirl/whisk"
)

// classify gives an error of SQLite its kind. Errors that have one, and nil,
// stay what they are.
func classify(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*whisk.Error](err); ok {
		return err
	}
	var code sqlite3.ErrorCode
	if !errors.As(err, &code) {
		return whisk.Errorf(whisk.Internal, "%w", err)
	}
	switch code {
	case sqlite3.FULL, sqlite3.BUSY, sqlite3.LOCKED, sqlite3.PROTOCOL, sqlite3.IOERR, sqlite3.NOMEM:
		return whisk.Errorf(whisk.Unavailable, "%w", err)
	}
	return whisk.Errorf(whisk.Internal, "%w", err)
}

// interrupted is the error of a call whose context ended before it was done.
func interrupted(ctx context.Context) error {
	kind := whisk.Unavailable
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		kind = whisk.Timeout
	}
	return whisk.Errorf(kind, "%w", context.Cause(ctx))
}

// closed is the error of a call on a store that is closed or about to be.
func closed() error { return whisk.Errorf(whisk.Unavailable, "the store is closed") }

// refused reports whether err is an operation's own answer rather than the
// database's failure. Operations refuse before they change anything.
func refused(err error) bool {
	switch whisk.KindOf(err) {
	case whisk.Conflict, whisk.NotFound, whisk.Invalid:
		return true
	}
	return false
}
