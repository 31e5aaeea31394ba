// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"context"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Between tries the recorder waits, at first briefly.
const (
	firstBackoff = 20 * time.Millisecond
	lastBackoff  = 2 * time.Second
)

// Run stores records until ctx ends, then what is left for at most
// FlushTimeout. By then all owners of slots must have ended them. The error
// says how many records could not be stored.
func (r *Recorder) Run(ctx context.Context) error {
	// Stores must not fail just because ctx ended: what is left is still written.
	storing, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(r.config.FlushTimeout)
		defer timer.Stop()
		select {
		case <-timer.C:
			abandon()
		case <-storing.Done():
		}
	})
	defer stop()

	for {
		batch := r.gather(ctx)
		if len(batch) == 0 {
			return r.leftover()
		}
		r.persist(storing, batch)
	}
}

// gather waits for a record and for those that come soon after it. It returns
// none when ctx has ended and nothing is queued.
//
// Those that come meanwhile stay in the queue: to be woken for each of them costs
// more than all else that is done with it here.
func (r *Recorder) gather(ctx context.Context) []*Slot {
	var first *Slot
	select {
	case first = <-r.written:
	default:
		select {
		case first = <-r.written:
		case <-ctx.Done():
			return nil
		}
	}
	r.linger(ctx)
	batch := []*Slot{first}
	for len(batch) < r.config.Batch {
		select {
		case slot := <-r.written:
			batch = append(batch, slot)
		default:
			return batch
		}
	}
	return batch
}

// linger waits until a batch has come together, or there was time for it.
func (r *Recorder) linger(ctx context.Context) {
	timer := time.NewTimer(r.config.Linger)
	defer timer.Stop()
	for !r.isFull() {
		select {
		case <-r.full: // which may have been said of a former batch
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// isFull reports whether a batch waits behind the record that gather has.
func (r *Recorder) isFull() bool { return len(r.written) >= r.config.Batch-1 }

// persist stores a batch, then removes its entries from the queue, then frees
// the slots. A batch that the store refuses for another reason than an outage
// is stored record by record, so that one bad record does not hold up the rest.
func (r *Recorder) persist(ctx context.Context, batch []*Slot) {
	err := r.storeBatch(ctx, batch)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil && len(batch) > 1:
		for i := range batch {
			r.persist(ctx, batch[i:i+1])
		}
		return
	case err != nil:
		// Its queue entry, if any, stays: the next start will find it claimed
		// and record that it was lost.
		record := batch[0].record
		r.logger.Error("activation record refused by the store", "activation", record.ID, "namespace", record.Namespace, "err", err)
	default:
		r.complete(ctx, batch)
	}
	r.forget(batch)
}

// storeBatch puts the batch into the store as one transaction. It outlasts outages.
func (r *Recorder) storeBatch(ctx context.Context, batch []*Slot) error {
	records := make([]whisk.Activation, 0, len(batch))
	for _, slot := range batch {
		if slot.dropped {
			continue
		}
		records = append(records, *slot.record)
		if slot.stamp != nil {
			slot.stamp(&records[len(records)-1])
		}
	}
	if len(records) == 0 {
		return nil
	}
	attempts := 0
	return r.retry(ctx, "store activation records", func() (again bool, err error) {
		err = r.store.PutActivations(ctx, records)
		if err != nil && whisk.KindOf(err) != whisk.Unavailable {
			attempts++
		}
		return attempts < r.config.Attempts, err
	})
}

func (r *Recorder) complete(ctx context.Context, batch []*Slot) {
	var ids []whisk.ActivationID
	for _, slot := range batch {
		if slot.accepted {
			ids = append(ids, slot.record.ID)
		}
	}
	if len(ids) == 0 {
		return
	}
	attempts := 0
	err := r.retry(ctx, "complete accepted activations", func() (again bool, err error) {
		attempts++
		err = r.queue.Complete(ctx, ids)
		return attempts < r.config.Attempts || whisk.KindOf(err) == whisk.Unavailable, err
	})
	if err != nil && ctx.Err() == nil {
		// Harmless: the next start tries again, and the record stays as it is.
		r.logger.Error("queue entries not removed", "count", len(ids), "err", err)
	}
}

// retry calls try until it succeeds, wants no other try, or ctx ends.
func (r *Recorder) retry(ctx context.Context, what string, try func() (again bool, err error)) error {
	backoff := firstBackoff
	for {
		again, err := try()
		if err == nil || !again || ctx.Err() != nil {
			return err
		}
		r.logger.Warn("store does not take records, trying again", "what", what, "after", backoff, "err", err)
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
			return err
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

func (r *Recorder) forget(batch []*Slot) {
	r.mu.Lock()
	for _, slot := range batch {
		r.pending.remove(slot)
		if slot.settled != nil {
			close(slot.settled)
		}
	}
	r.mu.Unlock()
	for _, slot := range batch {
		slot.Release()
	}
}

// leftover reports the records that nothing could store before Run gave up.
func (r *Recorder) leftover() error {
	if lost := r.Pending(); lost > 0 {
		return whisk.Errorf(whisk.Unavailable, "%d activation records could not be stored", lost)
	}
	return nil
}
