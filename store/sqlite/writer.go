// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// How much the writer takes into one transaction, and how many writes may wait
// for their turn before callers block.
const (
	groupWrites = 512
	groupBytes  = 4 * whisk.MB
	queueLength = 1024
)

// SQLite gives its lock to whoever asks in the right moment, and others that wait
// look about every 2 ms. A writer with one transaction after the other leaves them
// only instants, so it pauses now and then.
const (
	longestHold = 500 * time.Millisecond
	breather    = 5 * time.Millisecond
)

// writer owns the writing connection of a database. Its goroutine takes all
// writes that are waiting, applies them in one transaction, and answers them
// when the transaction is as durable as the database promises. So the flush of
// a commit, which is by far its dearest part, is shared by all that came
// while the one before was under way.
type writer struct {
	conn  *connection
	queue chan *write
	stop  chan struct{} // closed by close: take no more
	done  chan struct{} // closed by writeLoop when it has answered all that it will
}

// write is one caller's part of a transaction.
type write struct {
	// apply makes the change. It may run again if the first transaction failed,
	// and returns Conflict, NotFound or Invalid only if it has changed nothing.
	apply  func(*connection) error
	size   whisk.Bytes
	turn   atomic.Int32 // waiting, then taken by the writer or abandoned by the caller
	err    error        // of apply; the writer's until it answers
	answer chan error   // takes one without blocking
}

const (
	waiting int32 = iota
	taken
	abandoned
)

func startWriter(conn *connection) *writer {
	w := &writer{
		conn:  conn,
		queue: make(chan *write, queueLength),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	go w.writeLoop()
	return w
}

// do has apply run in a transaction and returns after its commit. size is
// about how many bytes it writes. A ctx that ends has effect only until the
// write's turn has come; from then on the caller waits for what becomes of it.
func (w *writer) do(ctx context.Context, size whisk.Bytes, apply func(*connection) error) error {
	if ctx.Err() != nil {
		return interrupted(ctx)
	}
	op := &write{apply: apply, size: size, answer: make(chan error, 1)}
	select {
	case w.queue <- op:
	case <-ctx.Done():
		return interrupted(ctx)
	case <-w.stop:
		return closed()
	}
	select {
	case err := <-op.answer:
		return err
	case <-ctx.Done():
		if op.turn.CompareAndSwap(waiting, abandoned) {
			return interrupted(ctx)
		}
		return <-op.answer
	case <-w.done:
		select {
		case err := <-op.answer:
			return err
		default:
			return closed() // it was queued after the loop's last look
		}
	}
}

// close lets the writes that wait be done, and then closes the connection.
func (w *writer) close() error {
	close(w.stop)
	<-w.done
	return w.conn.close()
}

// writeLoop commits group after group until close is called and the queue is empty.
func (w *writer) writeLoop() {
	defer close(w.done)
	var held hold
	for {
		select {
		case op := <-w.queue:
			w.serve(op, &held)
			continue
		default:
		}
		select {
		case op := <-w.queue:
			w.serve(op, &held)
		case <-w.stop:
			if len(w.queue) == 0 {
				return
			}
		}
	}
}

// serve commits what waits, first of all op.
func (w *writer) serve(op *write, held *hold) {
	held.begin()
	w.commitOnce(w.gather(op))
	held.end()
}

// hold is how long the writer has had the file with no more than instants between.
type hold struct{ since, until time.Time }

func (h *hold) begin() {
	now := time.Now()
	switch {
	case now.Sub(h.until) >= breather:
		h.since = now
	case now.Sub(h.since) >= longestHold:
		time.Sleep(breather)
		h.since = time.Now()
	}
}

func (h *hold) end() { h.until = time.Now() }

// gather takes what waits behind first, as much as fits into one transaction.
func (w *writer) gather(first *write) []*write {
	var group []*write
	var size whisk.Bytes
	for op := first; ; {
		if op.turn.CompareAndSwap(waiting, taken) {
			group = append(group, op)
			size += op.size
		}
		if len(group) == groupWrites || size >= groupBytes {
			return group
		}
		select {
		case op = <-w.queue:
		default:
			return group
		}
	}
}

// commitOnce commits a group and answers it. When a group fails because of one
// of its writes, the others must not suffer: each is tried again alone. When the
// database as a whole fails to answer, that would only take longer.
func (w *writer) commitOnce(group []*write) {
	err := w.transaction(group)
	if err == nil || whisk.KindOf(err) == whisk.Unavailable || len(group) < 2 {
		for _, op := range group {
			op.finish(err)
		}
		return
	}
	for i := range group {
		op := group[i]
		op.finish(w.transaction(group[i : i+1]))
	}
}

// finish answers the caller with the transaction's error, or else with the write's own.
func (op *write) finish(transaction error) {
	if transaction != nil {
		op.err = transaction
	}
	op.answer <- op.err
}

// transaction applies a group. After an error nothing of it is in the database.
func (w *writer) transaction(group []*write) (err error) {
	if len(group) == 0 {
		return nil
	}
	if err := w.conn.prepare("BEGIN IMMEDIATE").run(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			w.rollback()
		}
	}()
	for _, op := range group {
		if op.err = op.apply(w.conn); op.err != nil && !refused(op.err) {
			return op.err
		}
	}
	return w.conn.prepare("COMMIT").run()
}

// rollback undoes what is left of a failed transaction: SQLite has undone most
// of the graver ones itself by then.
func (w *writer) rollback() {
	if !w.conn.GetAutocommit() {
		// It cannot fail but for a broken disk, and then the next BEGIN fails.
		_ = w.conn.prepare("ROLLBACK").run()
	}
}
