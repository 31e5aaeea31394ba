// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/whirl-faas/whirl/whisk"
)

// database is a pool of connections that each found the layout in place.
type database struct {
	config  Config
	pool    *pgxpool.Pool
	closing sync.Once
	closed  chan struct{} // closed by close
}

// openDatabase returns a database to which nobody has connected yet.
func openDatabase(config Config, l layout) (*database, error) {
	parsed, err := config.parse()
	if err != nil {
		return nil, err
	}
	parsed.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		ctx, cancel := context.WithTimeoutCause(ctx, config.Timeout, errSilent)
		defer cancel()
		return l.prepare(ctx, conn)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), parsed)
	if err != nil {
		return nil, whisk.Errorf(whisk.Internal, "open %s: %w", config, err)
	}
	return &database{config: config, pool: pool, closed: make(chan struct{})}, nil
}

// errSilent is why calls end that the database leaves without an answer.
var errSilent = errors.New("the database does not answer in time")

// call runs use with a connection. It ends when ctx does, and in any case when a
// connection could have been made and a statement's time is over: the server
// itself ends statements, but cannot say so when the network is down.
func (db *database) call(ctx context.Context, use func(context.Context, *pgxpool.Conn) error) error {
	if ctx.Err() != nil {
		return interrupted(ctx)
	}
	within, cancel := context.WithTimeoutCause(ctx, 2*db.config.Timeout+time.Second, errSilent)
	defer cancel()
	err := db.pool.AcquireFunc(within, func(conn *pgxpool.Conn) error { return use(within, conn) })
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return interrupted(ctx)
	case within.Err() != nil:
		return whisk.Errorf(whisk.Unavailable, "%w", errSilent)
	}
	select {
	case <-db.closed:
		return whisk.Errorf(whisk.Unavailable, "the store is closed")
	default:
	}
	if isOutdated(err) {
		db.pool.Reset()
	}
	return classify(err)
}

// ping returns nil if the database answers and has the layout.
func (db *database) ping(ctx context.Context) error {
	if err := db.call(ctx, func(ctx context.Context, conn *pgxpool.Conn) error { return conn.Ping(ctx) }); err != nil {
		return fmt.Errorf("reach %s: %w", db.config, err)
	}
	return nil
}

// close waits for the calls under way. Later ones fail. It is idempotent.
func (db *database) close() {
	db.closing.Do(func() { close(db.closed) })
	db.pool.Close()
}
