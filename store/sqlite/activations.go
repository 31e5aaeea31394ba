// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/whirl-faas/whirl/store/internal/lines"
	"github.com/whirl-faas/whirl/whisk"
)

// Activations is the database of activation records. It implements
// [whisk.ActivationStore].
type Activations struct{ db *database }

// Records are appended in the order in which they come, which is far cheaper
// than to cluster them under their namespaces; the indexes serve the two kinds
// of lists in their order, and the expiry. What only a full list needs comes
// last, so that the others do not read it.
const activationsSchema = `
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

// OpenActivations opens the database at path and makes it if it is not there;
// its directory must exist. A database that a newer program wrote is Conflict.
// The caller closes it; ctx matters during the call only.
func OpenActivations(ctx context.Context, path string) (*Activations, error) {
	db, err := openDatabase(ctx, path, layout{
		migrations:  []string{activationsSchema},
		synchronous: "NORMAL",
		cache:       64 * whisk.MB,
	})
	if err != nil {
		return nil, err
	}
	return &Activations{db}, nil
}

// Close waits for the calls under way and closes the database. Later calls are
// Unavailable. It is idempotent.
func (a *Activations) Close() error { return a.db.close() }

// PutActivations implements [whisk.ActivationStore].
func (a *Activations) PutActivations(ctx context.Context, records []whisk.Activation) error {
	if len(records) == 0 {
		return nil
	}
	rows, size, err := encodeRecords(records)
	if err == nil {
		err = a.db.write(ctx, size, func(c *connection) error {
			for i := range records {
				if err := insertRecord(c, &records[i], rows[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("put %d activations: %w", len(records), err)
	}
	return nil
}

// encodedRecord holds the fields of a record that are stored in another form.
type encodedRecord struct {
	annotations json.RawMessage
	logs        []byte
}

// encodeRecords does in the caller's goroutine what the writer's need not do.
func encodeRecords(records []whisk.Activation) (_ []encodedRecord, _ whisk.Bytes, err error) {
	rows, size := make([]encodedRecord, len(records)), 0
	for i := range records {
		r := &records[i]
		if rows[i].annotations, err = encodeAnnotations(r.Annotations); err != nil {
			return nil, 0, whisk.Errorf(whisk.Invalid, "annotations of %s: %w", r.ID, err)
		}
		rows[i].logs = lines.Encode(r.Logs)
		size += len(rows[i].annotations) + len(rows[i].logs) + len(r.Response.Result)
	}
	return rows, whisk.Bytes(size), nil
}

// encodeAnnotations returns the JSON of annotations, nil for none. Nearly all are
// plain, and there is nothing to encode about them: encoding/json takes more than
// twice the time.
func encodeAnnotations(annotations whisk.Parameters) (json.RawMessage, error) {
	if len(annotations) == 0 {
		return nil, nil
	}
	size := 1
	for i := range annotations {
		size += len(`,{"key":"","value":}`) + len(annotations[i].Key) + len(annotations[i].Value)
	}
	encoded := make([]byte, 0, size)
	for i := range annotations {
		encoded = append(encoded, ',')
		a := &annotations[i]
		if a.Init || a.Encryption != "" || !isPlain(a.Key) || !json.Valid(a.Value) {
			whole, err := json.Marshal(a)
			if err != nil {
				return nil, err
			}
			encoded = append(encoded, whole...)
			continue
		}
		encoded = append(append(encoded, `{"key":"`...), a.Key...)
		encoded = append(append(encoded, `","value":`...), a.Value...)
		encoded = append(encoded, '}')
	}
	encoded[0] = '['
	return append(encoded, ']'), nil
}

// isPlain reports whether s stands in JSON as it is.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func insertRecord(c *connection, r *whisk.Activation, encoded encodedRecord) error {
	s := c.prepare(`
		INSERT INTO activations (id, namespace, name, package, version, publish, subject, start, "end",
			duration, cause, status, annotations, size, logs, result)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO NOTHING`).
		text(string(r.ID)).text(r.Namespace).text(r.Name).text(r.Package).
		text(r.Version.String()).flag(r.Publish).text(r.Subject).time(r.Start)
	if r.End.IsZero() {
		s.null()
	} else {
		s.time(r.End)
	}
	return s.integer(int64(r.Duration)).text(string(r.Cause)).integer(int64(r.Response.Status)).
		json(encoded.annotations).integer(int64(r.Response.Size)).blob(encoded.logs).json(r.Response.Result).run()
}

const (
	recordColumns     = `id, namespace, name, package, version, publish, subject, start, "end", duration, cause, status, annotations`
	recordFullColumns = recordColumns + `, size, logs, result`
)

// Activation implements [whisk.ActivationStore].
func (a *Activations) Activation(ctx context.Context, namespace string, id whisk.ActivationID) (whisk.Activation, error) {
	var record whisk.Activation
	err := a.db.read(ctx, func(c *connection) error {
		return c.prepare("SELECT " + recordFullColumns + " FROM activations WHERE id = ? AND namespace = ?").
			text(string(id)).text(namespace).
			each(func(r *row) (err error) {
				record, err = activation(r, true)
				return err
			})
	})
	if err == nil && record.ID == "" {
		err = whisk.Errorf(whisk.NotFound, "no such activation")
	}
	if err != nil {
		return whisk.Activation{}, fmt.Errorf("get activation %s: %w", id, err)
	}
	return record, nil
}

// ListActivations implements [whisk.ActivationStore].
func (a *Activations) ListActivations(ctx context.Context, query whisk.ActivationQuery) ([]whisk.Activation, error) {
	columns := recordColumns
	if query.Full {
		columns = recordFullColumns
	}
	var records []whisk.Activation
	err := a.db.read(ctx, func(c *connection) error {
		return selectRecords(c, columns, query, " ORDER BY start DESC, id DESC LIMIT ? OFFSET ?").
			integer(int64(max(query.Limit, 0))).integer(int64(query.Skip)).
			each(func(r *row) error {
				record, err := activation(r, query.Full)
				records = append(records, record)
				return err
			})
	})
	if err != nil {
		return nil, fmt.Errorf("list activations of %s: %w", query.Namespace, err)
	}
	return records, nil
}

// CountActivations implements [whisk.ActivationStore].
func (a *Activations) CountActivations(ctx context.Context, query whisk.ActivationQuery) (int, error) {
	var n int
	err := a.db.read(ctx, func(c *connection) error {
		return selectRecords(c, "count(*)", query, "").each(func(r *row) error {
			n = int(r.integer())
			return nil
		})
	})
	if err != nil {
		return 0, fmt.Errorf("count activations of %s: %w", query.Namespace, err)
	}
	return n, nil
}

// selectRecords selects what query wants, and binds its own parameters.
func selectRecords(c *connection, columns string, query whisk.ActivationQuery, suffix string) *statement {
	// The planner thinks that a span of time selects more than a name, so it is told.
	index, conditions := "activations_list", "namespace = ? AND start >= ? AND start <= ?"
	if query.Name != "" {
		index = "activations_name_list"
		conditions += " AND name = ?"
		if query.Package != nil {
			conditions += " AND package = ?"
		}
	}
	since, upto := int64(math.MinInt64), int64(math.MaxInt64)
	if !query.Since.IsZero() {
		since = ceilMilli(query.Since)
	}
	if !query.Upto.IsZero() {
		upto = query.Upto.UnixMilli()
	}
	sql := "SELECT " + columns + " FROM activations INDEXED BY " + index + " WHERE " + conditions + suffix
	s := c.prepare(sql).text(query.Namespace).integer(since).integer(upto)
	if query.Name != "" {
		s.text(query.Name)
		if query.Package != nil {
			s.text(*query.Package)
		}
	}
	return s
}

// ceilMilli rounds up: stored times are whole milliseconds, and one that is at
// or after t is at or after this.
func ceilMilli(t time.Time) int64 { return t.Add(time.Millisecond - 1).UnixMilli() }

// activation reads the recordColumns, or the recordFullColumns.
func activation(r *row, full bool) (whisk.Activation, error) {
	record := whisk.Activation{
		ID:        whisk.ActivationID(r.text()),
		Namespace: r.text(),
		Name:      r.text(),
		Package:   r.text(),
		Version:   parseVersion(r.text()),
		Publish:   r.integer() != 0,
		Subject:   r.text(),
		Start:     r.time(),
		End:       r.time(),
		Duration:  time.Duration(r.integer()),
		Cause:     whisk.ActivationID(r.text()),
		Response:  whisk.Response{Status: whisk.Status(r.integer())},
	}
	if err := r.decode((*[]whisk.Parameter)(&record.Annotations)); err != nil || !full {
		return record, err
	}
	record.Response.Size = int(r.integer())
	var err error
	record.Logs, err = r.lines()
	record.Response.Result = r.bytes()
	return record, err
}

// parseVersion reads what [whisk.Version.String] wrote. The zero version is the
// one that the parser refuses.
func parseVersion(s string) whisk.Version {
	v, err := whisk.ParseVersion(s)
	if err != nil {
		return whisk.Version{}
	}
	return v
}

// ExpireActivations implements [whisk.ActivationStore].
func (a *Activations) ExpireActivations(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := a.db.expire(ctx, before, limit, `
		DELETE FROM activations WHERE position IN
			(SELECT position FROM activations WHERE start < ? ORDER BY start LIMIT ?)`)
	if err != nil {
		return 0, fmt.Errorf("expire activations: %w", err)
	}
	return n, nil
}
