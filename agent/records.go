// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"

	"github.com/whirl-faas/whirl/agent/ledger"
	"github.com/whirl-faas/whirl/whisk"
)

// Ledger is where an agent writes down what its successor must know. See
// [ledger.Dir], whose methods say more. Calls may overlap.
//
// A change of lessee is written before anybody learns of it, so that a record is
// never behind what the scheduler and the controllers know.
type Ledger interface {
	Load() ([]ledger.Record, error)
	Epoch() (uint64, error)
	SaveEpoch(epoch uint64) error
	Save(record ledger.Record) error
	Delete(id whisk.ContainerID) error
	Mark(id whisk.ContainerID, mark ledger.Mark, value uint64) error
}

// record returns what the container's record is to say.
func (c *container) record() ledger.Record {
	record := ledger.Record{
		Container: c.ID, Label: c.label,
		Serial: c.serial, Lessee: c.lessee, Used: c.used,
	}
	for _, t := range c.tenures {
		record.Tenures = append(record.Tenures, ledger.Tenure{Lessee: t.lessee, Base: t.base, Runs: t.runs})
	}
	return record
}

// recordLocked writes a container's record, and then goes on with next, which is
// called with the lock held: at once if nothing is to be written. Commands about
// the container wait meanwhile.
func (a *Agent) recordLocked(c *container, record ledger.Record, next func(error)) {
	if a.ledger == nil {
		a.writtenLocked(c, nil, next)
		return
	}
	c.writing = true
	a.tasks.Go(func() {
		err := a.write(record)
		a.mu.Lock()
		over := c.state == gone
		a.writtenLocked(c, err, next)
		a.mu.Unlock()
		if over {
			a.strike(c.ID) // again: its end came before the record
		}
	})
}

// writtenLocked carries out what waited for the container's record.
func (a *Agent) writtenLocked(c *container, err error, next func(error)) {
	c.writing = false
	next(err)
	for len(c.commands) > 0 && !c.writing {
		command := c.commands[0]
		c.commands = c.commands[1:]
		a.obeyLocked(command)
	}
}

// write saves a record. If that fails there must be none, rather than one that
// names a former lessee: then the container only does not outlive this process.
// It is an error if the old one cannot be removed either.
func (a *Agent) write(record ledger.Record) error {
	err := a.ledger.Save(record)
	if err == nil {
		return nil
	}
	a.logger.Warn("record not written", "container", string(record.Container), "err", err)
	if gone := a.ledger.Delete(record.Container); gone != nil {
		return errors.Join(err, gone)
	}
	return nil
}

// strike removes a container's record.
func (a *Agent) strike(id whisk.ContainerID) {
	if a.ledger == nil {
		return
	}
	if err := a.ledger.Delete(id); err != nil {
		a.logger.Warn("record not removed", "container", string(id), "err", err)
	}
}

// mark notes one of a container's numbers. One that has no record needs none.
func (a *Agent) mark(id whisk.ContainerID, mark ledger.Mark, value uint64) {
	if a.ledger == nil {
		return
	}
	if err := a.ledger.Mark(id, mark, value); err != nil && whisk.KindOf(err) != whisk.NotFound {
		a.logger.Warn("record not marked", "container", string(id), "err", err)
	}
}
