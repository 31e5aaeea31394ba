// SPDX-License-Identifier: Apache-2.0

package output

import (
	"context"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Run stores what is shipped until ctx ends, and then what is already queued,
// for which it tries a failing store no more than once.
func (s *Shipper) Run(ctx context.Context) {
	defer close(s.ended)
	defer s.tell(0)
	for {
		batch := s.next(ctx)
		if batch == nil {
			return
		}
		if away := context.Cause(s.weather()); away != nil && ctx.Err() != nil {
			s.finish(batch, away)
			continue
		}
		s.write(ctx, batch)
	}
}

// next returns what is queued, as much as a write takes, after a moment in which
// more may come. It is nil when ctx has ended and there is nothing.
func (s *Shipper) next(ctx context.Context) []*parcel {
	var linger <-chan time.Time // nil while there is nothing
	for {
		some, full := s.look()
		if full {
			return s.take()
		}
		if some && linger == nil {
			linger = time.After(s.config.Linger)
		}
		select {
		case <-s.wake:
		case <-linger:
			return s.take()
		case <-ctx.Done():
			return s.take()
		}
	}
}

// look reports whether something is queued, and whether it fills a write.
func (s *Shipper) look() (some, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue) > 0, len(s.queue) >= s.config.Batch || s.queued >= s.config.BatchBytes
}

func (s *Shipper) take() (batch []*parcel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var size whisk.Bytes
	for len(s.queue) > 0 && len(batch) < s.config.Batch && size < s.config.BatchBytes {
		p := s.queue[0]
		s.queue[0] = nil // the array lives on
		s.queue = s.queue[1:]
		batch, size = append(batch, p), size+p.size
	}
	s.queued -= size
	return batch
}

// write stores a batch and tells its shippers. While the store is away it tries
// again, until there is nothing left that was not kept for too long, or once more
// when ctx ends. Another error may be due to one entry: then each is stored by
// itself.
func (s *Shipper) write(ctx context.Context, batch []*parcel) {
	began := time.Now()
	for wait := 10 * time.Millisecond; len(batch) > 0; wait = min(2*wait, time.Second) {
		err := s.appendOnce(ctx, batch)
		if err == nil || !isAway(err) {
			s.noteBack()
			s.settle(ctx, batch, err)
			return
		}
		old := s.old(batch)
		if ctx.Err() != nil {
			old = len(batch)
		}
		if old > 0 || time.Since(began) >= s.config.Patience {
			s.noteAway(err)
		}
		s.finish(batch[:old], err)
		batch = batch[old:]
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// settle ends a batch that the store answered.
func (s *Shipper) settle(ctx context.Context, batch []*parcel, err error) {
	if err == nil || len(batch) == 1 {
		s.finish(batch, err)
		return
	}
	for i := range batch {
		s.write(ctx, batch[i:i+1])
	}
}

// old returns how many of a batch were kept for too long. The oldest come first.
func (s *Shipper) old(batch []*parcel) int {
	for i, p := range batch {
		if time.Since(p.since) < s.config.Keep {
			return i
		}
	}
	return len(batch)
}

// finish tells the shippers of a batch, and the operator if it is lost.
func (s *Shipper) finish(batch []*parcel, err error) {
	var size whisk.Bytes
	for _, p := range batch {
		size += p.size
		s.memory.Release(int64(p.size))
		p.result <- err
	}
	s.mu.Lock()
	s.standing.Waiting -= len(batch)
	s.standing.Bytes -= size
	if err == nil {
		s.standing.Stored += uint64(len(batch))
	} else {
		s.standing.Dropped += uint64(len(batch))
	}
	s.mu.Unlock()
	if err != nil && len(batch) > 0 {
		s.logger.Error("logs not stored", "entries", len(batch), "activation", batch[0].entry.Activation, "err", err)
	}
	s.tell(tellEvery)
}

// tellEvery is how often the operator hears of logs that find no room, at most.
const tellEvery = 10 * time.Second

// tell tells the operator how many logs found no room, unless that was told since.
func (s *Shipper) tell(since time.Duration) {
	s.mu.Lock()
	n := s.untold
	if n == 0 || time.Since(s.told) < since {
		s.mu.Unlock()
		return
	}
	s.untold, s.told = 0, time.Now()
	s.mu.Unlock()
	s.logger.Error("logs dropped for want of room", "entries", n)
}

// appendOnce gives the store its own time: the agent's end must not break off
// a write that flushes.
func (s *Shipper) appendOnce(ctx context.Context, batch []*parcel) error {
	entries := make([]whisk.LogEntry, len(batch))
	for i, p := range batch {
		entries[i] = p.entry
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.Try)
	defer cancel()
	return s.store.AppendLogs(ctx, entries)
}

// isAway reports whether an error says that the store did not do its part,
// rather than that it refused an entry.
func isAway(err error) bool {
	kind := whisk.KindOf(err)
	return kind == whisk.Unavailable || kind == whisk.Timeout
}

// noteAway lets those go who wait for the store, and those who will come.
func (s *Shipper) noteAway(err error) {
	s.mu.Lock()
	found := s.present.Err() == nil
	s.leave(err)
	s.standing.Away = err.Error()
	s.mu.Unlock()
	if found {
		s.logger.Warn("log store away, keeping logs for it", "most", s.config.Memory, "longest", s.config.Keep, "err", err)
	}
}

func (s *Shipper) noteBack() {
	s.mu.Lock()
	found := s.present.Err() != nil
	if found {
		s.present, s.leave = context.WithCancelCause(context.Background())
		s.standing.Away = ""
	}
	kept := s.standing.Waiting
	s.mu.Unlock()
	if found {
		s.logger.Warn("log store is back", "kept", kept)
		s.tell(0)
	}
}
