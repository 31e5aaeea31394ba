// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/whirl-faas/whirl/whisk"
)

const (
	// busyTimeout is how long a connection waits for another process.
	busyTimeout = 5 * time.Second
	// readConnections bounds the reads that run at once.
	readConnections = 4
)

// layout describes one of the databases.
type layout struct {
	migrations  []string    // number i takes the schema from version i to i+1; never edited once released
	synchronous string      // FULL: commits survive a power failure; NORMAL: the process's death only
	cache       whisk.Bytes // of pages, in the writing connection
}

// database is an open file: one writer and a pool of readers.
type database struct {
	path    string
	writer  *writer
	readers chan *connection // readConnections tokens; nil is a connection not opened yet

	closing  sync.Once
	closeErr error // set by closing
}

// openDatabase opens or makes the file at path, brings its schema up to date,
// and starts its writer.
func openDatabase(ctx context.Context, path string, l layout) (*database, error) {
	if ctx.Err() != nil {
		return nil, interrupted(ctx)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	conn, err := openWriting(path, l)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db := &database{path: path, writer: startWriter(conn), readers: make(chan *connection, readConnections)}
	for range readConnections {
		db.readers <- nil
	}
	return db, nil
}

func openWriting(path string, l layout) (*connection, error) {
	// auto_vacuum only has effect on a file without tables, and must come
	// before the journal mode makes the file.
	settings := fmt.Sprintf(`
		PRAGMA auto_vacuum = INCREMENTAL;
		PRAGMA journal_mode = WAL;
		PRAGMA synchronous = %s;
		PRAGMA cache_size = -%d;
		PRAGMA wal_autocheckpoint = 4000;
		PRAGMA journal_size_limit = %d;
		PRAGMA temp_store = MEMORY;`, l.synchronous, l.cache/whisk.KB, 64*whisk.MB)
	conn, err := openConnection(path, settings)
	if err != nil {
		return nil, err
	}
	if err := migrate(conn, l.migrations); err != nil {
		return nil, joinClose(err, conn)
	}
	if err := secure(path); err != nil {
		return nil, joinClose(whisk.Errorf(whisk.Internal, "%w", err), conn)
	}
	return conn, nil
}

// migrate brings the schema to the newest version. It refuses, with Conflict, a
// schema that a newer program made: what that one relies on is not known here.
func migrate(conn *connection, migrations []string) error {
	// The version is read inside the transaction, since two processes may start at once.
	err := conn.prepare("BEGIN IMMEDIATE").run()
	if err != nil {
		return err
	}
	version, err := conn.number("PRAGMA user_version")
	switch {
	case err != nil:
		return err
	case version > int64(len(migrations)):
		return whisk.Errorf(whisk.Conflict, "its schema is version %d and this program knows none above %d: it was written by a newer one",
			version, len(migrations))
	}
	for _, step := range migrations[version:] {
		if err := conn.Exec(step); err != nil {
			return fmt.Errorf("migrate from schema %d: %w", version, classify(err))
		}
		version++
	}
	if err := conn.Exec(fmt.Sprintf("PRAGMA user_version = %d", version)); err != nil {
		return classify(err)
	}
	return conn.prepare("COMMIT").run()
}

// secure makes the files private to their owner, since they hold users' data,
// and their names durable.
func secure(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Chmod(path+suffix, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// write has apply run in a transaction; see [writer.do].
func (db *database) write(ctx context.Context, size whisk.Bytes, apply func(*connection) error) error {
	err := db.writer.do(ctx, size, apply)
	if errors.Is(err, sqlite3.IOERR) || errors.Is(err, sqlite3.FULL) {
		return db.explainFull(err)
	}
	return err
}

// explainFull says so if the disk is full. SQLite's error alone does not: by
// the time it is made the system's reason is lost.
func (db *database) explainFull(err error) error {
	var disk syscall.Statfs_t
	dir := filepath.Dir(db.path)
	if statErr := syscall.Statfs(dir, &disk); statErr != nil {
		return err
	}
	if free := whisk.Bytes(disk.Bavail) * whisk.Bytes(disk.Bsize); free < whisk.MB {
		return whisk.Errorf(whisk.Unavailable, "the disk that holds %s is full: %w", dir, err)
	}
	return err
}

// read calls query with a connection for reading, and waits while all are in use.
// It stops the query when ctx ends.
func (db *database) read(ctx context.Context, query func(*connection) error) error {
	var conn *connection
	select {
	case conn = <-db.readers:
	case <-ctx.Done():
		return interrupted(ctx)
	case <-db.writer.stop:
		return closed()
	}
	defer func() {
		if conn != nil {
			conn.SetInterrupt(context.Background())
		}
		db.readers <- conn
	}()
	if conn == nil {
		opened, err := openConnection(db.path, "PRAGMA query_only = ON; PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY")
		if err != nil {
			return err
		}
		conn = opened
	}
	conn.SetInterrupt(ctx)
	err := query(conn)
	if err != nil && ctx.Err() != nil {
		return interrupted(ctx)
	}
	return err
}

// readAll is read for a query of several statements: what others write meanwhile
// is not seen.
func (db *database) readAll(ctx context.Context, query func(*connection) error) error {
	return db.read(ctx, func(c *connection) (err error) {
		if err := c.prepare("BEGIN").run(); err != nil {
			return err
		}
		defer func() {
			// Also when ctx has ended: the next reader gets this connection.
			c.SetInterrupt(context.Background())
			err = errors.Join(err, c.prepare("ROLLBACK").run())
		}()
		return query(c)
	})
}

// close waits for the calls under way. Later ones fail. It is idempotent.
func (db *database) close() error {
	db.closing.Do(func() {
		err := db.writer.close()
		for range readConnections {
			if conn := <-db.readers; conn != nil {
				err = errors.Join(err, conn.close())
			}
		}
		if err != nil {
			db.closeErr = fmt.Errorf("close %s: %w", db.path, err)
		}
	})
	return db.closeErr
}

// expireBatch bounds the rows that one transaction deletes, so that others
// never wait long behind it.
const expireBatch = 100

// expire runs a statement that deletes rows older than before and takes a limit,
// until limit rows or all are gone, and returns how many were.
func (db *database) expire(ctx context.Context, before time.Time, limit int, deletion string) (int, error) {
	total := 0
	for total < limit {
		batch, deleted := min(limit-total, expireBatch), 0
		err := db.write(ctx, 0, func(c *connection) error {
			err := c.prepare(deletion).integer(ceilMilli(before)).integer(int64(batch)).run()
			deleted = int(c.Changes())
			return err
		})
		if err != nil {
			return total, err
		}
		if total += deleted; deleted < batch {
			break
		}
	}
	if total == 0 {
		return 0, nil
	}
	return total, db.shrink(ctx)
}

// shrink gives space back to the file system, some megabytes at most. Free pages
// are reused, and to move the file's end into them is dear, so it waits until
// they are many.
func (db *database) shrink(ctx context.Context) error {
	const steps, stepPages, leastPages = 8, 512, 1024
	for range steps {
		enough := false
		err := db.write(ctx, 0, func(c *connection) error {
			free, err := c.number("PRAGMA freelist_count")
			if err != nil {
				return err
			}
			pages, err := c.number("PRAGMA page_count")
			if err != nil {
				return err
			}
			if enough = free < leastPages || free < pages/4; enough {
				return nil
			}
			return c.prepare(fmt.Sprintf("PRAGMA incremental_vacuum(%d)", stepPages)).run()
		})
		if err != nil || enough {
			return err
		}
	}
	return nil
}
