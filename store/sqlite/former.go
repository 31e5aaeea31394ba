// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/whirl-faas/whirl/store/internal/block"
	"github.com/whirl-faas/whirl/whisk"
)

// What one transaction takes over of the former schema: so many records, or fewer
// that are so long together, since all of them are in memory.
const (
	formerBatch = 1000
	formerBytes = 8 * whisk.MB
)

// formerPatience is how often in a row another process may hold the file for longer
// than a connection waits.
const formerPatience = 12

// takeFormer takes over the records that the former schema left, if there are any,
// so many at once. Several processes may do it at once, and each goes on where any
// other ended.
func takeFormer(ctx context.Context, db *database, atOnce int) error {
	busy := 0
	for {
		ends := false
		err := db.write(ctx, 0, func(c *connection) (err error) {
			ends, err = takeFormerOnce(c, atOnce)
			return err
		})
		switch {
		case err == nil && ends:
			return nil
		case err == nil:
			busy = 0
		case !errors.Is(err, sqlite3.BUSY) || busy == formerPatience:
			return err
		default:
			busy++
		}
	}
}

// takeFormerOnce reports true if there are no more.
func takeFormerOnce(c *connection, atOnce int) (ends bool, err error) {
	there, err := c.number("SELECT count(*) FROM sqlite_schema WHERE name = 'former'")
	if err != nil || there == 0 {
		return true, err
	}
	var records []keyed
	last, size := int64(0), whisk.Bytes(0)
	err = c.prepare("SELECT " + formerColumns + ", position FROM former ORDER BY position LIMIT ?").integer(int64(atOnce)).
		each(func(r *row) error {
			record, err := formerRecord(r)
			if err != nil {
				return err
			}
			last = r.integer()
			key, err := block.KeyOf(record.ID)
			if err != nil {
				return err
			}
			records = append(records, keyed{key, &record})
			if size += bodySize(records[len(records)-1]); size >= formerBytes {
				return errEnough
			}
			return nil
		})
	if err := ignoreEnough(err); err != nil {
		return false, err
	}
	if len(records) == 0 {
		return true, c.forget("former")
	}
	blocks, err := newBlocks(records)
	if err != nil {
		return false, err
	}
	if err := insertBlocks(c, blocks); err != nil {
		return false, err
	}
	return false, c.prepare("DELETE FROM former WHERE position <= ?").integer(last).run()
}

const formerColumns = `id, namespace, name, package, version, publish, subject, start, "end", duration, cause, status, annotations, size, logs, result`

func formerRecord(r *row) (whisk.Activation, error) {
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
	if err := r.decode((*[]whisk.Parameter)(&record.Annotations)); err != nil {
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
