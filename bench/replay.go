// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// replays sends the trace's calls to each endpoint, one after the other: a trace
// is one story, and has no rounds to take turns in.
func (r *runner) replays(ctx context.Context, kind string) error {
	if r.config.Trace == nil {
		return nil
	}
	for _, e := range r.endpoints {
		r.display.step("%s: %s", kind, r.config.describeTrace(e))
		if err := r.replay(ctx, e, kind, *r.config.Trace); err != nil {
			return err
		}
	}
	return nil
}

func (c Config) describeTrace(e *endpoint) string {
	return fmt.Sprintf("trace of %d calls, %s, %s", len(c.Trace.calls), c.Trace.length(c.TraceSpeed).Round(time.Second), e.name)
}

// replay makes an action for each function of a trace, which sleeps for as long
// as each call of the function ran.
func (r *runner) replay(ctx context.Context, e *endpoint, kind string, t Trace) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // breaks the connections that are still open
	made, s := &leavings{}, &stage{endpoint: e}
	defer r.clean(ctx, made)
	for i, f := range t.functions {
		spec := r.spec(kind, "sleep")
		spec.Limits.Memory, spec.Limits.Timeout = f.memory.Megabytes(), f.timeout().Milliseconds()
		name := e.actionName(kind, fmt.Sprintf("trace-%d", i))
		if _, err := e.deploy(ctx, made, name, spec); err != nil {
			return fmt.Errorf("function %q of the trace: %w", f.name, err)
		}
		s.actions = append(s.actions, deployed{e, name})
	}
	load := r.newLoad(ctx, e.trace(s.actions, t), r.config.Outstanding)
	defer load.close()
	side := newSide(e.name, openLoop{
		ctx: ctx, send: load.sender(0), outstanding: r.config.Outstanding, next: new(int),
		schedule: func() schedule { return t.schedule(r.config.TraceSpeed) },
		asked:    func(n int) time.Duration { return t.calls[n].ran },
	}, 0, nil)
	side.meter = r.meterOf(e)
	if err := side.round(t.length(r.config.TraceSpeed) + 1); err != nil { // + 1: the last call is due, too
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	replay := Replay{
		Kind: kind, Endpoint: e.name, Functions: len(t.functions), Calls: len(t.calls), Speed: r.config.TraceSpeed,
		Side: side.figures(), Warm: side.total.warms.curved(), Cold: side.total.colds.curved(),
	}
	replay.CPU, replay.Generator = side.cpuEach()
	r.report.Replays = append(r.report.Replays, replay)
	r.display.note("%s", replay.summary())
	return r.countRecords(ctx, replay.describe(), s.actions, side.total.good)
}

// timeout is the limit that a function's action needs.
func (f function) timeout() time.Duration {
	const usual, margin = time.Minute, 10 * time.Second
	return min(max(usual, f.longest+margin), longestRun)
}

// trace is where a trace's calls go: request n is call n.
func (e *endpoint) trace(actions []deployed, t Trace) target {
	target := e.target(nil, nil, nil)
	uris := make([]string, len(actions))
	for i, action := range actions {
		uris[i] = e.uri(action.name)
	}
	target.calls = slices.Grow(target.calls, len(t.calls))
	for _, one := range t.calls {
		target.calls = append(target.calls, call{uri: uris[one.function], body: sleepParameters(one.ran), want: []byte(`"ok"`)})
	}
	return target
}
