// SPDX-License-Identifier: Apache-2.0

package output

import (
	"maps"
	"slices"
	"time"
)

// Leftover is what one recorder leaves to the next recorder of the same
// container, in another process. It is made to be written as JSON.
type Leftover struct {
	Ended   [2]uint64 // runs that have ended on stdout, stderr
	Partial [2][]byte // lines whose ends have not come
	Runs    []LeftRun
	Muted   bool `json:",omitempty"` // what comes is discarded
}

// LeftRun is a run's output that nobody has taken yet.
type LeftRun struct {
	Run       uint64
	Lines     []LeftLine `json:",omitempty"`
	Dropped   bool       `json:",omitempty"` // lines beyond the bound were
	Collected bool       `json:",omitempty"` // before it had ended: what still comes is dropped
}

// LeftLine is one line of it.
type LeftLine struct {
	At     int64 // Unix time in nanoseconds
	Stderr bool  `json:",omitempty"`
	Text   []byte
}

// Leave ends Run, and returns what the next recorder needs to go on. What comes
// by the pipes from now on is the next one's to read.
func (r *Recorder) Leave() *Leftover {
	r.mu.Lock()
	r.leaving = true
	r.mu.Unlock()
	r.Abandon()
	<-r.done
	r.mu.Lock()
	defer r.mu.Unlock()
	left := &Leftover{Muted: r.muted}
	for i := range r.streams {
		s := &r.streams[i]
		left.Ended[i], left.Partial[i] = s.seen, slices.Clone(s.split.partial)
	}
	for _, n := range slices.Sorted(maps.Keys(r.runs)) {
		held := r.runs[n]
		run := LeftRun{Run: n, Dropped: held.dropped, Collected: held.collected}
		for i, l := range held.lines {
			run.Lines = append(run.Lines, LeftLine{At: l.at, Stderr: l.stream == stderr, Text: slices.Clone(held.line(i))})
		}
		left.Runs = append(left.Runs, run)
	}
	return left
}

// Continue has the recorder go on where the last one stopped, which left all it
// had. It is called before Run.
func (r *Recorder) Continue(left *Leftover) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.muted = left.Muted
	for i := range r.streams {
		r.streams[i].seen = left.Ended[i]
		r.streams[i].split.partial = left.Partial[i]
	}
	for _, was := range left.Runs {
		into := &run{dropped: was.Dropped, collected: was.Collected}
		for _, l := range was.Lines {
			which := stdout
			if l.Stderr {
				which = stderr
			}
			into.add(which, time.Unix(0, l.At), l.Text, jsonFileSize(which, l.Text))
		}
		r.runs[was.Run] = into
		r.held += into.size
	}
}

// ContinueAfter has the recorder go on after the last one's sudden end, when so
// many runs had ended on each stream. What it held of them is lost. It is called
// before Run.
func (r *Recorder) ContinueAfter(ended [2]uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.streams {
		r.streams[i].seen = ended[i]
	}
	r.lost = max(ended[stdout], ended[stderr])
}

// TellEnded has f called when runs have ended on a stream, 0 for stdout, with
// the number of the last: one call at a time, the numbers rising. The reading of
// the container's output waits for f. It is called before Run.
func (r *Recorder) TellEnded(f func(stream int, run uint64)) { r.ended = f }

// tell calls what TellEnded left, which may do I/O: never under mu.
func (r *Recorder) tell() {
	if r.ended == nil {
		return
	}
	r.telling.Lock() // this container's two readers, and its collections
	defer r.telling.Unlock()
	r.mu.Lock()
	seen := [2]uint64{r.streams[stdout].seen, r.streams[stderr].seen}
	r.mu.Unlock()
	for i, n := range seen {
		if n != r.told[i] {
			r.told[i] = n
			r.ended(i, n)
		}
	}
}
