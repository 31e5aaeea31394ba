// SPDX-License-Identifier: Apache-2.0

package output

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/whirl-faas/whirl/whisk"
)

// ShipperConfig bounds how logs travel to the store.
type ShipperConfig struct {
	Memory     whisk.Bytes   // of all entries that wait or are being stored
	Batch      int           // entries of one write
	BatchBytes whisk.Bytes   // of one write; a single larger entry still goes
	Linger     time.Duration // an entry waits so long for company
	Try        time.Duration // one write may take so long
	Patience   time.Duration // a store is unavailable for so long before it counts as away
	Keep       time.Duration // an entry is kept so long for a store that is away
}

// DefaultShipper returns the usual bounds.
func DefaultShipper() ShipperConfig {
	return ShipperConfig{
		Memory:     64 * whisk.MB,
		Batch:      500,
		BatchBytes: 4 * whisk.MB,
		Linger:     2 * time.Millisecond,
		Try:        15 * time.Second,
		Patience:   time.Second,
		Keep:       10 * time.Minute,
	}
}

// Validate reports what makes no sense.
func (c ShipperConfig) Validate() error {
	if c.Memory < 1 || c.Batch < 1 || c.BatchBytes < 1 || c.Linger < 0 || c.Try <= 0 || c.Patience < 0 || c.Keep < 0 {
		return whisk.Errorf(whisk.Invalid, "bounds of the log writer must be positive")
	}
	return nil
}

// Shipper stores logs in batches, in the order in which they come.
//
// When the store is slow, whoever ships waits: nothing is dropped, and memory
// stays bounded. When it is away nobody waits, since activations' records wait for
// those who ship: the logs are kept for it, in the same memory, and those who ship
// are told so. What finds no room then, and what was kept for too long, is
// dropped, counted, and told to the operator.
//
// Ship and Standing may be called concurrently, Run once.
type Shipper struct {
	config ShipperConfig
	store  whisk.LogStore
	logger *slog.Logger
	memory *semaphore.Weighted
	wake   chan struct{} // holds a token when something was queued
	ended  chan struct{} // closed by Run

	mu       sync.Mutex
	queue    []*parcel   // oldest first
	queued   whisk.Bytes // of the queue
	standing Standing
	present  context.Context // ends, with the store's error, when the store is found away; a new one when it is back
	leave    context.CancelCauseFunc
	untold   int       // dropped for want of room since the operator was told last
	told     time.Time // when that was
}

// Standing is how the shipping of logs goes.
type Standing struct {
	Waiting int         // entries that are not stored yet
	Bytes   whisk.Bytes // of memory that they take
	Stored  uint64      // entries, so far
	Dropped uint64      // entries that are lost, so far
	Away    string      // what the store says instead of taking logs; "" while it does
}

// parcel is an entry on its way.
type parcel struct {
	entry  whisk.LogEntry
	size   whisk.Bytes // of memory
	since  time.Time
	result chan error // takes one
}

// What an entry and a line take beside their bytes.
const (
	entryOverhead = 400
	lineOverhead  = 24
)

// NewShipper returns a shipper to that store.
func NewShipper(config ShipperConfig, store whisk.LogStore, logger *slog.Logger) *Shipper {
	s := &Shipper{
		config: config,
		store:  store,
		logger: logger,
		memory: semaphore.NewWeighted(int64(config.Memory)),
		wake:   make(chan struct{}, 1),
		ended:  make(chan struct{}),
	}
	s.present, s.leave = context.WithCancelCause(context.Background())
	return s
}

// Standing returns how it goes now.
func (s *Shipper) Standing() Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.standing
}

// Ship returns when the entry, of size bytes in its lines, is stored, or an error
// if it is not. Unavailable may mean that it waits for a store that is away, and
// the text says so; or if ctx ends before, that it may be stored or not.
func (s *Shipper) Ship(ctx context.Context, entry whisk.LogEntry, size whisk.Bytes) error {
	size += entryOverhead + lineOverhead*whisk.Bytes(len(entry.Lines))
	p := &parcel{entry: entry, size: min(size, s.config.Memory), since: time.Now(), result: make(chan error, 1)}
	if err := s.takeRoom(ctx, p); err != nil {
		return err
	}
	present := s.put(p)
	select {
	case err := <-p.result:
		return err
	case <-present.Done():
		return p.resultOr(whisk.Errorf(whisk.Unavailable, "the log is kept until its store is back: %w", context.Cause(present)))
	case <-s.ended:
		return p.resultOr(whisk.Errorf(whisk.Unavailable, "the log writer has ended"))
	case <-ctx.Done():
		return whisk.Errorf(whisk.Unavailable, "wait for the log store: %w", context.Cause(ctx))
	}
}

// resultOr returns what became of the parcel, or else an error.
func (p *parcel) resultOr(unknown error) error {
	select {
	case err := <-p.result:
		return err
	default:
		return unknown
	}
}

// takeRoom waits for memory while the store is there.
func (s *Shipper) takeRoom(ctx context.Context, p *parcel) error {
	if s.memory.TryAcquire(int64(p.size)) {
		return nil
	}
	present := s.weather()
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(present, func() { cancel(context.Cause(present)) })()
	switch {
	case s.memory.Acquire(waiting, int64(p.size)) == nil:
		return nil
	case ctx.Err() != nil:
		return whisk.Errorf(whisk.Unavailable, "wait for the log store: %w", context.Cause(ctx))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.standing.Dropped++
	s.untold++
	return whisk.Errorf(whisk.Unavailable, "the log is dropped, since %s of others are kept until the store is back: %w", s.config.Memory, context.Cause(present))
}

// weather returns a context that ends when the store is found away.
func (s *Shipper) weather() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present
}

// put queues a parcel, and returns a context that ends when the store is found away.
func (s *Shipper) put(p *parcel) (present context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, p)
	s.queued += p.size
	s.standing.Waiting++
	s.standing.Bytes += p.size
	select {
	case s.wake <- struct{}{}:
	default: // it holds one already
	}
	return s.present
}
