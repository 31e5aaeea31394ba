// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
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

// sayEvery is how often the operator, who waits for the start, hears how far it is.
const sayEvery = 10 * time.Second

// takeOver is that of the records that the former schema left.
type takeOver struct {
	db     *database
	atOnce int // records in one transaction
	log    *slog.Logger

	all         int64 // records there were at first
	taken       int   // of them, by this process
	began, said time.Time
}

func (a *Activations) takeOver(atOnce int) *takeOver {
	return &takeOver{db: a.db, atOnce: atOnce, log: a.log}
}

// run takes over all records, if there are any. Several processes may do it at
// once, and each goes on where any other ended.
func (t *takeOver) run(ctx context.Context) (err error) {
	if t.all, err = t.count(ctx); err != nil {
		return err
	}
	t.began = time.Now()
	t.said = t.began
	if t.all > 0 {
		t.log.Warn("records of a former form are taken over before the start", "records", t.all)
	}
	if err := t.takeAll(ctx); err != nil {
		return err
	}
	if t.all > 0 {
		t.log.Warn("records taken over", "records", t.taken, "took", time.Since(t.began))
	}
	return nil
}

// hasFormer is 1 until all records are taken over.
const hasFormer = "SELECT count(*) FROM sqlite_schema WHERE name = 'former'"

// count returns how many records there are to be taken over.
func (t *takeOver) count(ctx context.Context) (n int64, err error) {
	err = t.db.readAll(ctx, func(c *connection) error {
		there, err := c.number(hasFormer)
		if err == nil && there != 0 {
			n, err = c.number("SELECT count(*) FROM former")
		}
		return err
	})
	return n, err
}

func (t *takeOver) takeAll(ctx context.Context) error {
	busy := 0
	for {
		var some formerPart
		err := t.db.write(ctx, 0, func(c *connection) (err error) {
			some, err = takeFormer(c, t.atOnce)
			return err
		})
		switch {
		case err == nil && some.ends:
			return nil
		case err == nil:
			busy = 0
			t.say(some)
		case !errors.Is(err, sqlite3.BUSY) || busy == formerPatience:
			return err
		default:
			busy++
		}
	}
}

// say notes what was taken over, and tells of it now and then.
func (t *takeOver) say(some formerPart) {
	report(t.log, some.aside)
	t.taken += len(some.records)
	if time.Since(t.said) >= sayEvery {
		t.log.Warn("records being taken over", "records", t.taken, "of", t.all)
		t.said = time.Now()
	}
}

// formerPart is what one transaction takes over.
type formerPart struct {
	records []keyed
	aside   []damage
	last    int64 // position
	size    whisk.Bytes
	ends    bool // there are no more
}

func takeFormer(c *connection, atOnce int) (part formerPart, err error) {
	there, err := c.number(hasFormer)
	if err != nil || there == 0 {
		return formerPart{ends: true}, err
	}
	err = c.prepare("SELECT " + formerColumns + ", position FROM former ORDER BY position LIMIT ?").integer(int64(atOnce)).each(part.add)
	if err := ignoreEnough(err); err != nil {
		return part, err
	}
	if part.last == 0 {
		return formerPart{ends: true}, c.forget("former")
	}
	for i := range part.aside {
		if err := part.aside[i].keep(c); err != nil {
			return part, err
		}
	}
	blocks, err := newBlocks(part.records)
	if err != nil {
		return part, err
	}
	if err := insertBlocks(c, blocks); err != nil {
		return part, err
	}
	return part, c.prepare("DELETE FROM former WHERE position <= ?").integer(part.last).run()
}

// add takes a row, or notes that it cannot be read. It returns errEnough after
// the last one.
func (p *formerPart) add(r *row) error {
	record, wrong := formerRecord(r)
	p.last = r.integer()
	key, err := block.KeyOf(record.ID)
	if wrong = cmp.Or(wrong, err); wrong != nil {
		p.aside = append(p.aside, damage{source: "former", row: p.last, records: 1, err: wrong})
		return nil
	}
	p.records = append(p.records, keyed{key, &record})
	if p.size += bodySize(p.records[len(p.records)-1]); p.size >= formerBytes {
		return errEnough
	}
	return nil
}

const formerColumns = `id, namespace, name, package, version, publish, subject, start, "end", duration, cause, status, annotations, size, logs, result`

// formerRecord reads all of these columns, also when it returns an error.
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
	err := r.decode((*[]whisk.Parameter)(&record.Annotations))
	record.Response.Size = int(r.integer())
	logs, logsErr := r.lines()
	record.Logs, record.Response.Result = logs, r.bytes()
	return record, cmp.Or(err, logsErr)
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
