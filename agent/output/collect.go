// SPDX-License-Identifier: Apache-2.0

package output

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// OpenWhisk's remarks at the end of a log.
const (
	truncatedText = "Logs were truncated because the total bytes size exceeds the limit of %d bytes."
	missingText   = "There was an issue while collecting your logs. Data might be missing."
	developerText = "The action did not initialize or run as expected. Log data might be missing."
)

// Log is one run's output.
type Log struct {
	Lines   []string // as users read them
	Summary whisk.LogSummary
}

// Collect waits until the output of a run is complete, or its bounds are
// reached, and takes it: a second collection of the run finds nothing. req.Run
// counts from the container's start. If ctx ends, what is there is taken.
func (r *Recorder) Collect(ctx context.Context, req whisk.LogRequest) Log {
	overall := time.NewTimer(max(r.config.Wait, time.Duration(req.Limit.Megabytes())*r.config.PerMB))
	defer overall.Stop()
	patience := r.config.Idle
	if !awaitsSentinels(req) {
		patience = r.config.Calm
		overall.Reset(r.config.Idle) // somebody who never stops writing is not waited for
	}
	idle := time.NewTimer(patience)
	defer idle.Stop()
	defer r.tell()
	for {
		log, pulse, ok := r.takeOrWait(req)
		if ok {
			return log
		}
		select {
		case <-pulse:
			r.stopWaiting()
			idle.Reset(patience)
			continue
		case <-idle.C:
		case <-overall.C:
		case <-ctx.Done():
		}
		r.stopWaiting()
		return r.take(req)
	}
}

// TryCollect is Collect if that needs no waiting; else it does nothing and ok
// is false.
func (r *Recorder) TryCollect(req whisk.LogRequest) (log Log, ok bool) {
	r.mu.Lock()
	if !r.complete(req) {
		r.mu.Unlock()
		return Log{}, false
	}
	log = r.takeLocked(req)
	r.mu.Unlock()
	r.tell()
	return log, true
}

// awaitsSentinels: after a failure it is unknown whether any will come, though
// if both come there is nothing more to wait for.
func awaitsSentinels(req whisk.LogRequest) bool { return req.Sentinels && !req.Failed }

func (r *Recorder) takeOrWait(req whisk.LogRequest) (log Log, pulse <-chan struct{}, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.complete(req) {
		return r.takeLocked(req), nil, true
	}
	r.waiting++
	return Log{}, r.pulse, false
}

func (r *Recorder) stopWaiting() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting--
}

// complete reports whether there is nothing to wait for.
func (r *Recorder) complete(req whisk.LogRequest) bool {
	if req.Limit == 0 || r.streams[stdout].ended && r.streams[stderr].ended {
		return true
	}
	if held := r.runs[req.Run]; held != nil && (held.size > req.Limit || held.dropped) {
		return true
	}
	return req.Sentinels && r.over(req.Run)
}

func (r *Recorder) take(req whisk.LogRequest) Log {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.takeLocked(req)
}

func (r *Recorder) takeLocked(req whisk.LogRequest) Log {
	if !awaitsSentinels(req) {
		for which := range prefixes {
			r.flush(streamID(which), time.Now())
		}
	}
	r.mute(req.Limit == 0)
	held := r.remove(req)
	log := Log{}
	if req.Limit > 0 {
		log = held.log(req, r.seen(req.Run) && req.Run > r.lost)
	}
	// A run that was cut, or that nobody wants to see, may go on. Any other is
	// ended here and now if its sentinels did not come: else all later runs
	// would be taken for their predecessors.
	if !awaitsSentinels(req) || req.Limit > 0 && !log.Summary.Truncated {
		r.close(req.Run)
	}
	return log
}

// mute has all output discarded that is here or comes, or ends that.
func (r *Recorder) mute(muted bool) {
	if r.muted = muted; muted {
		clear(r.runs)
		r.held = 0
	}
}

// remove takes out the run's output. If the run has not ended, what still comes
// of it will be dropped. It returns nil if there is none.
func (r *Recorder) remove(req whisk.LogRequest) *run {
	if !req.Sentinels {
		return r.removeUpTo(req.Run)
	}
	held := r.runs[req.Run]
	if held != nil {
		r.forget(req.Run)
	}
	if !r.over(req.Run) {
		r.runs[req.Run] = &run{collected: true}
	}
	return held
}

// removeUpTo serves runtimes without sentinels, where nothing tells runs apart:
// all output up to now is the run's.
func (r *Recorder) removeUpTo(last uint64) *run {
	all := &run{}
	for n := r.oldest(); n != 0 && n <= last; n = r.oldest() {
		part := r.runs[n]
		for i, l := range part.lines {
			all.add(l.stream, time.Unix(0, l.at), part.line(i), whisk.Bytes(l.size))
		}
		all.dropped = all.dropped || part.dropped
		r.forget(n)
	}
	return all
}

// seen reports whether both sentinels of run n came.
func (r *Recorder) seen(n uint64) bool {
	return r.streams[stdout].seen >= n && r.streams[stderr].seen >= n
}

// close ends run n, and those before it, on both streams.
func (r *Recorder) close(n uint64) {
	for i := range r.streams {
		r.streams[i].seen = max(r.streams[i].seen, n)
	}
	maps.DeleteFunc(r.runs, func(n uint64, held *run) bool { return held.collected && r.over(n) })
}

// log formats the run's output and adds our remarks.
func (r *run) log(req whisk.LogRequest, sentinels bool) (log Log) {
	log.Lines, log.Summary.Truncated = r.format(req.Limit)
	log.Summary.Missing = awaitsSentinels(req) && !log.Summary.Truncated && !sentinels
	if log.Summary.Truncated {
		log.Lines = append(log.Lines, remark(fmt.Sprintf(truncatedText, int64(req.Limit))))
	}
	if log.Summary.Missing {
		log.Lines = append(log.Lines, remark(missingText))
	}
	if req.Failed {
		log.Lines = append(log.Lines, remark(developerText))
	}
	log.Summary.Lines = len(log.Lines)
	for _, line := range log.Lines {
		log.Summary.Bytes += whisk.Bytes(len(line))
	}
	return log
}
