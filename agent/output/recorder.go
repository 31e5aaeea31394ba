// SPDX-License-Identifier: Apache-2.0

// Package output takes what a container writes from its pipes to the log store.
//
// A [Recorder] reads the two pipes of one container, always and at once: a
// container never waits for us, and what it writes beyond the bounds is dropped
// and counted. The recorder tells runs apart by the sentinel lines with which a
// runtime ends each run on each stream, so that the output of several runs may
// lie here at a time, and hands out one run's lines when asked. A [Shipper]
// stores them in batches.
//
// Counting by sentinels has two consequences, as in OpenWhisk. What a container
// writes between two runs belongs to the later one. And an action that prints
// the sentinel itself cuts its own output short, and its next one's.
package output

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Config bounds what is kept of a container's output, and how long a collection
// waits for it.
type Config struct {
	Held whisk.Bytes   // of all runs together; what comes beyond is dropped
	Line int           // a longer line is cut in pieces
	Runs int           // runs held; older ones nobody collected are dropped
	Idle time.Duration // without output until a sentinel is given up
	Calm time.Duration // without output until all is there, where no sentinel is expected

	// A collection waits PerMB for each MB of the action's limit, at least Wait.
	PerMB, Wait time.Duration
}

// Default returns OpenWhisk's bounds.
func Default() Config {
	return Config{
		Held:  whisk.DefaultLimits().MaxAction.Logs + whisk.MB,
		Line:  16 << 10,
		Runs:  1024,
		Idle:  2 * time.Second,
		Calm:  100 * time.Millisecond,
		PerMB: 2 * time.Second,
		Wait:  10 * time.Second,
	}
}

// Validate reports what makes no sense.
func (c Config) Validate() error {
	if c.Held <= 0 || c.Line < 2*len(sentinel) || c.Runs < 1 || c.Idle <= 0 || c.Calm <= 0 || c.PerMB < 0 || c.Wait <= 0 {
		return whisk.Errorf(whisk.Invalid, "output bounds must be positive, and a line at least %d bytes", 2*len(sentinel))
	}
	return nil
}

// Recorder holds the output of one container. Its methods may be called
// concurrently, Run once.
type Recorder struct {
	config  Config
	ended   func(stream int, run uint64) // see TellEnded; nil for nobody
	telling sync.Mutex                   // held while ended is called
	told    [2]uint64                    // to ended; guarded by telling

	mu      sync.Mutex
	streams [2]stream // stdout, stderr
	runs    map[uint64]*run
	held    whisk.Bytes
	leaving bool          // another recorder will read on: the pipes' ends are not the output's
	muted   bool          // what comes is discarded
	lost    uint64        // the last run of which a former recorder may have lost output
	waiting int           // collections that wait for pulse
	pulse   chan struct{} // closed and replaced when something came and somebody waits
	done    chan struct{} // closed by Run
}

// stream is one of the two pipes.
type stream struct {
	pipe  io.ReadCloser
	split splitter
	seen  uint64 // runs that have ended on this stream
	ended bool   // no more will come
}

// NewRecorder returns a recorder of the two pipes, which it owns from now on.
func NewRecorder(config Config, stdout, stderr io.ReadCloser) *Recorder {
	r := &Recorder{config: config, runs: map[uint64]*run{}, pulse: make(chan struct{}), done: make(chan struct{})}
	for i, pipe := range []io.ReadCloser{stdout, stderr} {
		r.streams[i] = stream{pipe: pipe, split: splitter{max: config.Line}}
	}
	return r
}

// Run reads both pipes until they end, and closes them.
func (r *Recorder) Run() {
	var reads sync.WaitGroup
	reads.Go(func() { r.readLoop(stdout) })
	reads.Go(func() { r.readLoop(stderr) })
	reads.Wait()
	close(r.done)
}

// Wait waits for the end of Run, and returns false if ctx or the time ended
// before.
func (r *Recorder) Wait(ctx context.Context, patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-r.done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// Abandon closes the pipes, so that Run returns even if something holds their
// other ends open.
func (r *Recorder) Abandon() {
	for i := range r.streams {
		_ = r.streams[i].pipe.Close() // the reader says more
	}
}

// Ended returns the number of the last run that has ended on either stream,
// counted from the container's start.
func (r *Recorder) Ended() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.streams[stdout].seen, r.streams[stderr].seen)
}

const (
	firstRead = 4 << 10 // most containers write next to nothing
	largeRead = 64 << 10
)

func (r *Recorder) readLoop(which streamID) {
	pipe := r.streams[which].pipe
	buffer := make([]byte, firstRead)
	for {
		n, err := pipe.Read(buffer)
		if r.note(which, buffer[:n], err != nil) {
			r.tell()
		}
		if err != nil {
			_ = pipe.Close() // it was read to the end
			return
		}
		if n == len(buffer) && n < largeRead {
			buffer = make([]byte, largeRead)
		}
	}
}

// note takes in a chunk, and reports whether runs ended in it. The time is read
// under the lock, so that the order of lines is the order of their times.
func (r *Recorder) note(which streamID, chunk []byte, ended bool) (runsEnded bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, s := time.Now(), &r.streams[which]
	before := s.seen
	for {
		line, rest, ok := s.split.next(chunk)
		if !ok {
			break
		}
		chunk = rest
		r.noteLine(which, now, line)
	}
	if ended && !r.leaving {
		r.flush(which, now)
		s.ended = true
	}
	r.wake()
	return s.seen != before
}

// flush takes a line whose end has not come for a whole one.
func (r *Recorder) flush(which streamID, now time.Time) {
	if line, ok := r.streams[which].split.last(); ok {
		r.noteLine(which, now, line)
	}
}

func (r *Recorder) noteLine(which streamID, now time.Time, line []byte) {
	s := &r.streams[which]
	if len(line) >= len(sentinel) && bytes.Contains(line, sentinel) {
		s.seen++
		r.settle(s.seen)
		return
	}
	if r.muted {
		return
	}
	into := r.runs[s.seen+1]
	if into == nil {
		into = &run{}
		r.runs[s.seen+1] = into
		r.trim(s.seen + 1)
	}
	if into.collected {
		return
	}
	size := jsonFileSize(which, line)
	if r.held+size > r.config.Held && !r.makeRoom(s.seen+1, size) {
		into.dropped = true
		return
	}
	r.held += size
	into.add(which, now, line, size)
}

// settle forgets a run that was collected before it ended, once it has.
func (r *Recorder) settle(n uint64) {
	if into := r.runs[n]; into != nil && into.collected && r.over(n) {
		delete(r.runs, n)
	}
}

// over reports whether run n has ended on both streams.
func (r *Recorder) over(n uint64) bool {
	return r.passed(stdout, n) && r.passed(stderr, n)
}

func (r *Recorder) passed(which streamID, n uint64) bool {
	return r.streams[which].seen >= n || r.streams[which].ended
}

// trim forgets the oldest runs when there are too many.
func (r *Recorder) trim(newest uint64) {
	for len(r.runs) > r.config.Runs {
		oldest := r.oldest()
		if oldest == newest {
			return
		}
		r.forget(oldest)
	}
}

// longAgo is how many runs later nobody will come for a run's output any more,
// if memory is wanted.
const longAgo = 64

// makeRoom drops runs that nobody collected long since, until size fits.
func (r *Recorder) makeRoom(newest uint64, size whisk.Bytes) bool {
	for r.held+size > r.config.Held {
		oldest := r.oldest()
		if oldest+longAgo > newest {
			return false
		}
		r.forget(oldest)
	}
	return true
}

func (r *Recorder) oldest() uint64 {
	var oldest uint64
	for n := range r.runs {
		if oldest == 0 || n < oldest {
			oldest = n
		}
	}
	return oldest
}

func (r *Recorder) forget(n uint64) {
	r.held -= r.runs[n].size
	delete(r.runs, n)
}

// wake tells the collections that wait.
func (r *Recorder) wake() {
	if r.waiting > 0 {
		close(r.pulse)
		r.pulse = make(chan struct{})
	}
}
