// SPDX-License-Identifier: Apache-2.0

// Package recorder brings activation records into the store, in batches.
//
// It never drops a record while the process lives, and its memory is bounded
// all the same, because room is taken before there is anything to hold: a place
// before an activation is accepted ([Recorder.Reserve]), and memory for the
// longest result before it runs ([Slot.Expect]). When the store is slow or away
// records wait here, then activations wait for room, and then new ones are refused.
//
// A slot goes reserved → announced (readers of this process see the record) →
// written (queued for the store) → stored, or is released instead. Each step
// is taken by the one goroutine that owns the activation; Find may be called by
// anybody at any time.
//
// An accepted activation leaves the durable queue after its record was stored,
// never before: docs/architecture.md tells why this makes exactly one record.
package recorder

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/whirl-faas/whirl/whisk"
)

// Config bounds a [Recorder].
type Config struct {
	Records      int           // places: activations that run or whose record is not stored yet
	Memory       whisk.Bytes   // of the results among them
	Batch        int           // records in one transaction, at most
	Linger       time.Duration // how long a record waits for others to share its transaction
	FlushTimeout time.Duration // how long Run tries to store what is left when it ends
	Attempts     int           // tries to store a record that the store refuses, outages not counted
}

// Default returns settings for a machine with some GB of memory.
func Default() Config {
	return Config{
		Records:      20_000,
		Memory:       256 * whisk.MB,
		Batch:        1000,
		Linger:       20 * time.Millisecond,
		FlushTimeout: 10 * time.Second,
		Attempts:     3,
	}
}

// Validate says what is impossible about c.
func (c Config) Validate() error {
	if c.Records < 1 || c.Memory < 1 || c.Batch < 1 || c.Attempts < 1 || c.Linger < 0 || c.FlushTimeout < 0 {
		return whisk.Errorf(whisk.Invalid, "the recorder needs a positive number of records, memory, batch and attempts, and no negative time: %+v", c)
	}
	return nil
}

// Recorder is the way of records into an activation store.
type Recorder struct {
	config Config
	store  whisk.ActivationStore
	queue  whisk.Queue
	logger *slog.Logger

	places  *semaphore.Weighted
	memory  *semaphore.Weighted
	written chan *Slot    // never closed; each slot has room in it
	full    chan struct{} // never closed; holds a token when a whole batch has come

	mu      sync.Mutex
	pending backlog
}

// New returns a recorder of valid config. Until Run is called it only fills up.
func New(config Config, store whisk.ActivationStore, queue whisk.Queue, logger *slog.Logger) *Recorder {
	return &Recorder{
		config:  config,
		store:   store,
		queue:   queue,
		logger:  logger,
		places:  semaphore.NewWeighted(int64(config.Records)),
		memory:  semaphore.NewWeighted(int64(config.Memory)),
		written: make(chan *Slot, config.Records),
		full:    make(chan struct{}, 1),
		pending: newBacklog(config.Records),
	}
}

// Slot is the place of one activation. Its owner ends it by Write or Release.
type Slot struct {
	recorder *Recorder
	memory   int64 // taken from the recorder
	record   *whisk.Activation
	accepted bool                    // an entry of the queue goes when the record is stored
	dropped  bool                    // set before it is queued: the record is not to be stored
	complete bool                    // guarded by recorder.mu: Write was called
	stamp    func(*whisk.Activation) // set before it is queued: completes what is stored; nil for none
	ready    chan struct{}           // guarded by recorder.mu: nil until somebody waits, closed by Write
	settled  chan struct{}           // guarded by recorder.mu: nil until somebody waits, closed when it is pending no more
	pile     *pile                   // guarded by recorder.mu: where it is pending
}

// Reserve takes a place. While there is none it waits for one, until patience
// is over or ctx ends, and is then Unavailable. 0 is patience without end.
func (r *Recorder) Reserve(ctx context.Context, patience time.Duration) (*Slot, error) {
	if r.places.TryAcquire(1) {
		return &Slot{recorder: r}, nil
	}
	if patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	if err := r.places.Acquire(ctx, 1); err != nil {
		return nil, whisk.Errorf(whisk.Unavailable, "Too many activations wait for their records to be stored (limit: %d).", r.config.Records)
	}
	return &Slot{recorder: r}, nil
}

// Expect takes memory for a record with a result of up to size. While there is
// none it waits until ctx ends, and is then Unavailable.
func (s *Slot) Expect(ctx context.Context, size whisk.Bytes) error {
	if s.TryExpect(size) {
		return nil
	}
	want := min(int64(size), int64(s.recorder.config.Memory))
	if err := s.recorder.memory.Acquire(ctx, want); err != nil {
		return whisk.Errorf(whisk.Unavailable, "no memory for the record while others wait to be stored: %w", err)
	}
	s.memory += want
	return nil
}

// TryExpect is Expect where there is memory at once; else it does nothing and
// reports false.
func (s *Slot) TryExpect(size whisk.Bytes) bool {
	want := min(int64(size), int64(s.recorder.config.Memory))
	if !s.recorder.memory.TryAcquire(want) {
		return false
	}
	s.memory += want
	return true
}

// Forgo gives back what Expect took: there will be no record for a while.
func (s *Slot) Forgo() {
	s.recorder.memory.Release(s.memory)
	s.memory = 0
}

// Trim gives back what Expect took beyond what the record has. Announce does that, too.
func (s *Slot) Trim(record *whisk.Activation) {
	if spare := s.memory - int64(len(record.Response.Result)); spare > 0 {
		s.recorder.memory.Release(spare)
		s.memory -= spare
	}
}

// Announce makes the record visible to Find. It belongs to the recorder from
// then on and must not change. accepted says that the queue has an entry of it.
func (s *Slot) Announce(record *whisk.Activation, accepted bool) {
	s.record, s.accepted = record, accepted
	s.Trim(record)
	s.recorder.mu.Lock()
	defer s.recorder.mu.Unlock()
	s.recorder.pending.add(s)
}

// Stamp has f complete the record when it is about to be stored. f gets a copy of
// what was announced, and must not change what that points to. It may be called
// again for another try. Stamp is called before Write.
func (s *Slot) Stamp(f func(record *whisk.Activation)) { s.stamp = f }

// Write queues the announced record for the store. It never blocks.
func (s *Slot) Write() {
	s.recorder.mu.Lock()
	s.complete = true
	if s.ready != nil {
		close(s.ready)
	}
	s.recorder.mu.Unlock()
	s.recorder.written <- s
	if s.recorder.isFull() {
		select {
		case s.recorder.full <- struct{}{}:
		default:
		}
	}
}

// Drop is Write for a record that nobody is to keep: it is forgotten when it would
// be stored, and its entry leaves the queue.
func (s *Slot) Drop() {
	s.dropped = true
	s.Write()
}

// Release gives the place back when there will be no record.
func (s *Slot) Release() {
	s.Forgo()
	s.recorder.places.Release(1)
}

// Settle waits until those records of a namespace that are announced now have been
// stored or dropped, or until ctx ends.
func (r *Recorder) Settle(ctx context.Context, namespace string) {
	for _, settled := range r.settling(namespace) {
		select {
		case <-settled:
		case <-ctx.Done():
			return
		}
	}
}

// settling returns what is closed when the pending records of a namespace are settled.
func (r *Recorder) settling(namespace string) (all []<-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, slot := range r.pending.of(namespace) {
		if slot.settled == nil {
			slot.settled = make(chan struct{})
		}
		all = append(all, slot.settled)
	}
	return all
}

// Find returns a record that was announced and is not stored yet. If it is not
// complete, because its logs are still being collected, Find waits for that
// until ctx ends. It reports false if it does not know the activation.
func (r *Recorder) Find(ctx context.Context, namespace string, id whisk.ActivationID) (*whisk.Activation, bool) {
	r.mu.Lock()
	slot := r.pending.find(namespace, id)
	if slot == nil {
		r.mu.Unlock()
		return nil, false
	}
	if slot.complete {
		r.mu.Unlock()
		return slot.record, true
	}
	if slot.ready == nil {
		slot.ready = make(chan struct{})
	}
	ready := slot.ready
	r.mu.Unlock()

	select {
	case <-ready:
	case <-ctx.Done():
	}
	return slot.record, true
}

// Holds reports whether a record was announced and is not stored yet.
func (r *Recorder) Holds(namespace string, id whisk.ActivationID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pending.find(namespace, id) != nil
}

// Pending returns how many records are announced and not stored yet.
func (r *Recorder) Pending() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pending.slots
}
