// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/whirl-faas/whirl/store/internal/block"
	"github.com/whirl-faas/whirl/store/internal/lines"
	"github.com/whirl-faas/whirl/whisk"
)

// connection is a connection to a database with the statements that it has
// prepared so far. It belongs to one goroutine at a time.
type connection struct {
	*sqlite3.Conn
	statements map[string]*statement
}

// openConnection opens the file at path, which must be absolute, and makes it if it is not there.
func openConnection(path string, settings string) (*connection, error) {
	conn, err := sqlite3.OpenFlags(path, sqlite3.OPEN_READWRITE|sqlite3.OPEN_CREATE)
	if err != nil {
		return nil, classify(err)
	}
	c := &connection{Conn: conn, statements: make(map[string]*statement)}
	if err := conn.BusyTimeout(busyTimeout); err != nil {
		return nil, classify(joinClose(err, c))
	}
	if err := conn.Exec(settings); err != nil {
		return nil, classify(joinClose(err, c))
	}
	return c, nil
}

// joinClose closes c, which is of no more use, and returns err.
func joinClose(err error, c *connection) error {
	if closeErr := c.close(); closeErr != nil {
		return fmt.Errorf("%w (and then %w)", err, closeErr)
	}
	return err
}

// close also finalizes the statements.
func (c *connection) close() error {
	for _, s := range c.statements {
		if err := s.stmt.Close(); err != nil {
			return classify(err)
		}
	}
	return classify(c.Close())
}

// prepare returns the statement of that text, ready to have its parameters
// bound. Texts must be few, since each stays prepared. An error shows when the
// statement is used.
func (c *connection) prepare(sql string) *statement {
	if s, ok := c.statements[sql]; ok {
		s.bound, s.err = 0, nil
		return s
	}
	stmt, _, err := c.PrepareFlags(sql, sqlite3.PREPARE_PERSISTENT)
	s := &statement{stmt: stmt, err: err}
	if err == nil {
		c.statements[sql] = s
	}
	return s
}

// number runs a statement whose result is one number; 0 stands for none.
func (c *connection) number(sql string) (int64, error) {
	var n int64
	err := c.prepare(sql).each(func(r *row) error {
		n = r.integer()
		return nil
	})
	return n, err
}

// numberOf is number with one parameter.
func (c *connection) numberOf(sql string, parameter int64) (int64, error) {
	var n int64
	err := c.prepare(sql).integer(parameter).each(func(r *row) error {
		n = r.integer()
		return nil
	})
	return n, err
}

// bytes returns the one value that a statement selects by a number; nil for none.
func (c *connection) bytes(sql string, parameter int64) (value []byte, err error) {
	err = c.prepare(sql).integer(parameter).each(func(r *row) error {
		value = r.bytes()
		return nil
	})
	return value, err
}

// forget drops a table. No statement of it can be prepared any longer.
func (c *connection) forget(table string) error {
	for sql, s := range c.statements {
		if strings.Contains(sql, " "+table+" ") {
			if err := s.stmt.Close(); err != nil {
				return classify(err)
			}
			delete(c.statements, sql)
		}
	}
	return classify(c.Exec("DROP TABLE " + table))
}

// maxValue is the longest text or blob. SQLite works in 256 MB of memory for each
// connection, holds a value about twice, and brings the process down if that is
// not enough; what the platform's limits let through is far shorter.
const maxValue = 32 * whisk.MB

// statement is a prepared statement. Its parameters are bound in their order;
// the first error of all is kept until the statement is used.
type statement struct {
	stmt  *sqlite3.Stmt
	bound int
	err   error
}

func (s *statement) text(v string) *statement {
	if s.checkLength(len(v)); s.err == nil {
		s.err = s.stmt.BindText(s.bound, v)
	}
	return s
}

// blob binds bytes, or NULL for nil.
func (s *statement) blob(v []byte) *statement {
	if s.checkLength(len(v)); s.err == nil {
		s.err = s.stmt.BindBlob(s.bound, v)
	}
	return s
}

// checkLength counts a parameter and keeps an error if it is too long.
func (s *statement) checkLength(n int) {
	if s.bound++; s.err == nil && whisk.Bytes(n) > maxValue {
		s.err = whisk.Errorf(whisk.TooLarge, "a value of %d bytes is longer than %s", n, maxValue)
	}
}

func (s *statement) integer(v int64) *statement {
	if s.bound++; s.err == nil {
		s.err = s.stmt.BindInt64(s.bound, v)
	}
	return s
}

func (s *statement) flag(v bool) *statement {
	if v {
		return s.integer(1)
	}
	return s.integer(0)
}

// time binds milliseconds since 1970.
func (s *statement) time(v time.Time) *statement { return s.integer(v.UnixMilli()) }

// json binds a JSON text, or NULL if v is empty.
func (s *statement) json(v json.RawMessage) *statement {
	if len(v) == 0 {
		return s.null()
	}
	if s.checkLength(len(v)); s.err == nil {
		s.err = s.stmt.BindRawText(s.bound, v)
	}
	return s
}

func (s *statement) null() *statement {
	if s.bound++; s.err == nil {
		s.err = s.stmt.BindNull(s.bound)
	}
	return s
}

// run executes a statement that yields no rows.
func (s *statement) run() error {
	if s.err != nil {
		return classify(s.err)
	}
	return classify(s.stmt.Exec())
}

// each calls visit for every row, until one returns an error. A row is valid
// only within its call.
func (s *statement) each(visit func(*row) error) error {
	if s.err != nil {
		return classify(s.err)
	}
	var err error
	r := row{stmt: s.stmt}
	for err == nil && s.stmt.Step() {
		r.read = 0
		err = visit(&r)
		// A column that could not be read was nil to visit, and the next Step forgets why.
		if columnErr := s.stmt.Err(); columnErr != nil {
			err = classify(columnErr)
		}
	}
	stepErr := s.stmt.Err()
	resetErr := s.stmt.Reset()
	switch {
	case err != nil:
		return err
	case stepErr != nil:
		return classify(stepErr)
	}
	return classify(resetErr)
}

// row reads a row of a result, column by column.
type row struct {
	stmt *sqlite3.Stmt
	read int
}

func (r *row) column() int {
	r.read++
	return r.read - 1
}

func (r *row) text() string   { return r.stmt.ColumnText(r.column()) }
func (r *row) integer() int64 { return r.stmt.ColumnInt64(r.column()) }

// time returns the time zero for NULL.
func (r *row) time() time.Time {
	column := r.column()
	if r.stmt.ColumnType(column) == sqlite3.NULL {
		return time.Time{}
	}
	return time.UnixMilli(r.stmt.ColumnInt64(column)).UTC()
}

// bytes returns a copy of a text or blob, nil for NULL.
func (r *row) bytes() []byte {
	column := r.column()
	if r.stmt.ColumnType(column) == sqlite3.NULL {
		return nil
	}
	return r.stmt.ColumnBlob(column, []byte{})
}

// key reads an activation's id as bytes.
func (r *row) key() (k block.Key) {
	copy(k[:], r.stmt.ColumnRawBlob(r.column()))
	return k
}

// lines reads what lines.Encode wrote; nil for NULL.
func (r *row) lines() ([]string, error) { return lines.Decode(r.bytes()) }

// decode decodes JSON into v, and leaves v alone if the column is NULL.
func (r *row) decode(v any) error {
	raw := r.stmt.ColumnRawText(r.column())
	if len(raw) == 0 {
		return nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return whisk.Errorf(whisk.Internal, "damaged column %s: %w", r.stmt.ColumnName(r.read-1), err)
	}
	return nil
}
