// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/whirl-faas/whirl/store/internal/block"
	"github.com/whirl-faas/whirl/whisk"
)

// A row whose bytes are not what was written must not stop those beside it: what
// makes blocks of recent meets it every time, and so does what expires old blocks.
// So it is moved out of their way, as it is, and what can be read of it stays.
const damagedSchema = `
CREATE TABLE damaged ( -- rows that could not be read, or not all of them
	position  INTEGER PRIMARY KEY,
	source    TEXT NOT NULL,    -- the table that it was in
	row       INTEGER NOT NULL, -- its position there
	count     INTEGER NOT NULL, -- of records
	min_start INTEGER NOT NULL,
	max_start INTEGER NOT NULL,
	heads     BLOB NOT NULL,    -- of the former table: a JSON object of all columns but logs
	bodies    BLOB NOT NULL     -- of the former table: logs
) STRICT;
`

// damage is a row that is moved to damaged.
type damage struct {
	source   string
	row      int64
	records  int // that it had
	readable int // of these, which stay
	err      error
}

const (
	keepRecent = `INSERT INTO damaged (source, row, count, min_start, max_start, heads, bodies)
		SELECT 'recent', position, count, min_start, max_start, heads, bodies FROM recent WHERE position = ?`
	keepBlock = `INSERT INTO damaged (source, row, count, min_start, max_start, heads, bodies)
		SELECT 'blocks', position, count, min_start, max_start, heads, bodies FROM blocks WHERE position = ?`
	keepFormer = `INSERT INTO damaged (source, row, count, min_start, max_start, heads, bodies)
		SELECT 'former', position, 1, start, start, CAST(json_object('id', id, 'namespace', namespace, 'name', name, 'package', package,
			'version', version, 'publish', publish, 'subject', subject, 'start', start, 'end', "end", 'duration', duration, 'cause', cause,
			'status', status, 'annotations', annotations, 'size', size, 'result', result) AS BLOB), coalesce(logs, x'')
		FROM former WHERE position = ?`
)

// keep copies the row to damaged.
func (d *damage) keep(c *connection) error {
	query := keepBlock
	switch d.source {
	case "recent":
		query = keepRecent
	case "former":
		query = keepFormer
	}
	return c.prepare(query).integer(d.row).run()
}

// report says what a transaction that is committed has set aside. Each row is
// named once, since it is met once.
func report(log *slog.Logger, aside []damage) {
	for _, d := range aside {
		log.Error("records cannot be read, and are set aside in table damaged until they expire: look for them in a backup",
			"table", d.source, "row", d.row, "records", d.records, "readable", d.readable, "err", d.err)
	}
}

// readableRecords decodes what it can of a row, and tells what is wrong with the rest.
func readableRecords(heads, bodies []byte) ([]keyed, error) {
	all, err := readableHeads(heads)
	if err != nil {
		return nil, err
	}
	return readableOf(all, bodies)
}

func readableHeads(encoded []byte) ([]block.Head, error) {
	heads, err := block.Heads(encoded)
	if err == nil && len(heads) == 0 {
		err = whisk.Errorf(whisk.Internal, "a row has no records")
	}
	return heads, err
}

// readableOf is readableRecords of these heads.
func readableOf(heads []block.Head, bodies []byte) (records []keyed, err error) {
	for i := range heads {
		record, wrong := heads[i].Whole(bodies)
		if wrong != nil {
			err = errors.Join(err, fmt.Errorf("record %s: %w", heads[i].Key.ID(), wrong))
			continue
		}
		records = append(records, keyed{heads[i].Key, &record})
	}
	return records, err
}

// setBlockAside moves a block, whose heads cannot be read, and forgets its names:
// of is its group, nil if it was stored alone.
func setBlockAside(c *connection, position int64, of *group, cause error) (damage, error) {
	d := damage{source: "blocks", row: position, err: cause}
	namespace, named := "", int64(0)
	err := c.prepare("SELECT count, namespace, coalesce(named, max_start) FROM blocks WHERE position = ?").integer(position).
		each(func(r *row) error {
			d.records, namespace, named = int(r.integer()), r.text(), r.integer()
			return nil
		})
	if err != nil {
		return d, err
	}
	if err := d.keep(c); err != nil {
		return d, err
	}
	lead := position
	if of != nil {
		lead = of.lead
	}
	names, err := namesOf(c, namespace, named, lead)
	if err != nil {
		return d, err
	}
	return d, deleteNamedBlock(c, position, of, namespace, named, names)
}

// namesOf returns the names of a group's rows. It looks at all of the namespace.
func namesOf(c *connection, namespace string, named, lead int64) (map[string]bool, error) {
	names := make(map[string]bool, 1)
	err := c.prepare("SELECT name FROM names WHERE namespace = ? AND max_start = ? AND block = ?").
		text(namespace).integer(named).integer(lead).
		each(func(r *row) error {
			names[r.text()] = true
			return nil
		})
	return names, err
}
