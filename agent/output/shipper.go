// SPDX-License-Identifier: Apache-2.0

package output

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/whirl-faas/whirl/whisk"
)

// ShipperConfig bounds how logs travel to the store.
type ShipperConfig struct {
	Queue      int           // entries that wait for their batch
	Memory     whisk.Bytes   // of all entries that wait or are being stored
	Batch      int           // entries of one write
	BatchBytes whisk.Bytes   // of one write; a single larger entry still goes
	Linger     time.Duration // an entry waits so long for company
	Retry      time.Duration // a store that is unavailable is tried again for so long
}

// DefaultShipper returns the usual bounds.
func DefaultShipper() ShipperConfig {
	return ShipperConfig{
		Queue:      1024,
		Memory:     64 * whisk.MB,
		Batch:      500,
		BatchBytes: 4 * whisk.MB,
		Linger:     2 * time.Millisecond,
		Retry:      10 * time.Second,
	}
}

// Validate reports what makes no sense.
func (c ShipperConfig) Validate() error {
	if c.Queue < 1 || c.Memory < 1 || c.Batch < 1 || c.BatchBytes < 1 || c.Linger < 0 || c.Retry < 0 {
		return whisk.Errorf(whisk.Invalid, "bounds of the log writer must be positive")
	}
	return nil
}

// Shipper stores logs in batches. When the store is slow, whoever ships waits:
// nothing is dropped, and memory stays bounded. Ship may be called
// concurrently, Run once.
type Shipper struct {
	config ShipperConfig
	store  whisk.LogStore
	logger *slog.Logger
	memory *semaphore.Weighted
	queue  chan *parcel  // never closed: shippers may be many
	ended  chan struct{} // closed by Run
}

// parcel is an entry on its way.
type parcel struct {
	entry  whisk.LogEntry
	size   whisk.Bytes
	result chan error // takes one
}

// NewShipper returns a shipper to that store.
func NewShipper(config ShipperConfig, store whisk.LogStore, logger *slog.Logger) *Shipper {
	return &Shipper{
		config: config,
		store:  store,
		logger: logger,
		memory: semaphore.NewWeighted(int64(config.Memory)),
		queue:  make(chan *parcel, config.Queue),
		ended:  make(chan struct{}),
	}
}

// Ship returns when the entry is stored, and the store's error if it could not
// be, within bounds. If ctx ends before, the entry may be stored or not.
func (s *Shipper) Ship(ctx context.Context, entry whisk.LogEntry, size whisk.Bytes) error {
	size = min(max(size, 1), s.config.Memory)
	if err := s.memory.Acquire(ctx, int64(size)); err != nil {
		return whisk.Errorf(whisk.Unavailable, "wait for the log store: %w", context.Cause(ctx))
	}
	p := &parcel{entry, size, make(chan error, 1)}
	select {
	case s.queue <- p:
	case <-s.ended:
		s.memory.Release(int64(size))
		return whisk.Errorf(whisk.Unavailable, "the log writer has ended")
	case <-ctx.Done():
		s.memory.Release(int64(size))
		return whisk.Errorf(whisk.Unavailable, "wait for the log store: %w", context.Cause(ctx))
	}
	select {
	case err := <-p.result:
		return err
	case <-s.ended:
		select {
		case err := <-p.result:
			return err
		default:
			return whisk.Errorf(whisk.Unavailable, "the log writer has ended")
		}
	case <-ctx.Done():
		return whisk.Errorf(whisk.Unavailable, "wait for the log store: %w", context.Cause(ctx))
	}
}

// Run stores what is shipped until ctx ends, and then what is already queued,
// for which it tries a failing store no more than once.
func (s *Shipper) Run(ctx context.Context) {
	defer close(s.ended)
	for {
		select {
		case first := <-s.queue:
			s.write(ctx, s.gather(ctx, first))
		case <-ctx.Done():
			for {
				select {
				case first := <-s.queue:
					s.write(ctx, s.gather(ctx, first))
				default:
					return
				}
			}
		}
	}
}

// gather fills a batch with what is queued or comes within a moment.
func (s *Shipper) gather(ctx context.Context, first *parcel) []*parcel {
	batch, size := []*parcel{first}, first.size
	linger := time.NewTimer(s.config.Linger)
	defer linger.Stop()
	for len(batch) < s.config.Batch && size < s.config.BatchBytes {
		select {
		case p := <-s.queue:
			batch, size = append(batch, p), size+p.size
			continue
		default:
		}
		select {
		case p := <-s.queue:
			batch, size = append(batch, p), size+p.size
		case <-linger.C:
			return batch
		case <-ctx.Done():
			return batch
		}
	}
	return batch
}

// write stores a batch and tells its shippers. An error other than
// unavailability may be due to one entry: then each is stored by itself.
func (s *Shipper) write(ctx context.Context, batch []*parcel) {
	err := s.append(ctx, batch)
	if err != nil && len(batch) > 1 && whisk.KindOf(err) != whisk.Unavailable {
		for i := range batch {
			s.write(ctx, batch[i:i+1])
		}
		return
	}
	if err != nil {
		s.logger.Error("logs not stored", "entries", len(batch), "activation", batch[0].entry.Activation, "err", err)
	}
	for _, p := range batch {
		s.memory.Release(int64(p.size))
		p.result <- err
	}
}

// append tries the store again while it is unavailable, but not for ever.
func (s *Shipper) append(ctx context.Context, batch []*parcel) error {
	entries := make([]whisk.LogEntry, len(batch))
	for i, p := range batch {
		entries[i] = p.entry
	}
	patience := time.Now().Add(s.config.Retry)
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := s.appendOnce(ctx, entries)
		if err == nil || whisk.KindOf(err) != whisk.Unavailable || time.Now().Add(wait).After(patience) {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// appendOnce gives the store its own time: the agent's end must not break off
// a write that flushes.
func (s *Shipper) appendOnce(ctx context.Context, entries []whisk.LogEntry) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(s.config.Retry, time.Second))
	defer cancel()
	return s.store.AppendLogs(ctx, entries)
}
