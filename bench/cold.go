// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/client"
)

// coldStarts measures a kind's cold starts, first one after the other, with all
// endpoints in turns, then at once.
func (r *runner) coldStarts(ctx context.Context, kind string) error {
	if n := r.config.ColdSequential; n > 0 {
		r.display.step("%s: %d cold starts, one by one", kind, n)
		starts, err := r.coldBatch(ctx, kind, "cold-1", n, 1, r.endpoints)
		if err != nil {
			return err
		}
		r.addCold(kind, "one by one", starts, compareCold)
	}
	if r.config.ColdBurst > 0 {
		return r.coldBursts(ctx, kind)
	}
	return nil
}

// coldBursts lets the endpoints take turns.
func (r *runner) coldBursts(ctx context.Context, kind string) error {
	n := r.config.ColdBurst
	all := make([][]coldStart, len(r.endpoints))
	turns := slices.Clone(r.endpoints)
	for batch := range r.config.coldBatches() {
		for _, e := range turns {
			r.display.step("%s: %d cold starts, at once, %s", kind, n, e.name)
			starts, err := r.coldBatch(ctx, kind, fmt.Sprintf("cold-%d-%d", n, batch), n, n, []*endpoint{e})
			if err != nil {
				return err
			}
			i := slices.Index(r.endpoints, e)
			all[i] = append(all[i], starts[0]...)
		}
		slices.Reverse(turns)
	}
	r.addCold(kind, "at once", all, func(platform, versus []coldStart) []Ratio {
		return compareCold(middles(platform, n), middles(versus, n))
	})
	return nil
}

// middles stands each batch's medians for the batch: cold starts at once depend
// on each other, and are no pairs of their own. A batch with a failure is left out.
func middles(starts []coldStart, size int) (all []coldStart) {
	for batch := range slices.Chunk(starts, size) {
		var whole, invoke []float64
		good := true
		for _, one := range batch {
			whole, invoke = append(whole, float64(one.whole)), append(invoke, float64(one.invoke))
			good = good && one.cold
		}
		all = append(all, coldStart{whole: time.Duration(median(whole)), invoke: time.Duration(median(invoke)), cold: good})
	}
	return all
}

// addCold reports the cold starts of each endpoint.
func (r *runner) addCold(kind, mode string, starts [][]coldStart, compare func(platform, versus []coldStart) []Ratio) {
	for i, e := range r.endpoints {
		cold := sumCold(kind, mode, starts[i])
		cold.Endpoint = e.name
		if i == 0 && len(starts) > 1 {
			cold.Ratios = compare(starts[0], starts[1])
		}
		r.report.Cold = append(r.report.Cold, cold)
		r.display.note("%s", cold.summary())
	}
}

// coldStart is one fresh action, made and invoked.
type coldStart struct {
	whole  time.Duration // from sending the PUT to the invoke's answer
	invoke time.Duration // from sending the invoke to its answer
	wait   time.Duration // as the record tells it: until /init was sent
	init   time.Duration // as the record tells it
	cold   bool          // the record says that /init was sent
	fault  string        // "" if all went well
}

// coldBatch makes n cold starts at each endpoint, as many at once as told. An
// action lives until the whole batch is done, so that no deletion disturbs the
// others.
func (r *runner) coldBatch(ctx context.Context, kind, purpose string, n, atOnce int, endpoints []*endpoint) ([][]coldStart, error) {
	var (
		starts = make([][]coldStart, len(endpoints))
		made   leavings
		slots  = make(chan struct{}, atOnce)
		all    sync.WaitGroup
	)
	for i := range n {
		for j, e := range endpoints {
			if i == 0 {
				starts[j] = make([]coldStart, n)
			}
			slots <- struct{}{}
			all.Go(func() {
				defer func() { <-slots }()
				starts[j][i] = r.coldStart(ctx, &made, e, e.actionName(kind, fmt.Sprintf("%s-%d", purpose, i)), kind)
			})
		}
	}
	all.Wait()
	r.clean(ctx, &made)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return starts, nil
}

func (r *runner) coldStart(ctx context.Context, made *leavings, e *endpoint, name, kind string) coldStart {
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	begin := time.Now()
	if _, err := e.deploy(ctx, made, name, r.spec(kind, "start")); err != nil {
		return coldStart{fault: coldFault(err)}
	}
	invoked := time.Now()
	record, err := e.client.Invoke(ctx, name, nil, 0)
	end := time.Now()
	if err != nil {
		return coldStart{fault: coldFault(err)}
	}
	if !record.Response.Success {
		return coldStart{fault: record.Response.Status}
	}
	init, cold := milliseconds(record, "initTime")
	wait, _ := milliseconds(record, "waitTime")
	return coldStart{whole: end.Sub(begin), invoke: end.Sub(invoked), wait: wait, init: init, cold: cold}
}

// milliseconds reads a duration among a record's annotations.
func milliseconds(record client.Activation, key string) (time.Duration, bool) {
	var ms int64
	err := json.Unmarshal(record.Annotations.Get(key), &ms)
	return time.Duration(ms) * time.Millisecond, err == nil
}

func coldFault(err error) string {
	if refused, ok := errors.AsType[*client.Error](err); ok {
		return fmt.Sprintf("status %d", refused.Status)
	}
	if _, ok := errors.AsType[*client.PendingError](err); ok {
		return "not finished in time (202)"
	}
	return cause(err)
}

func sumCold(kind, mode string, starts []coldStart) Cold {
	whole, invoke, wait, init := newHistogram(), newHistogram(), newHistogram(), newHistogram()
	cold := Cold{Kind: kind, Mode: mode, Errors: map[string]int64{}}
	for _, one := range starts {
		switch {
		case one.fault != "":
			cold.Errors[one.fault]++
		case !one.cold:
			cold.Warm++
		default:
			whole.record(one.whole)
			invoke.record(one.invoke)
			wait.record(one.wait)
			init.record(one.init)
		}
	}
	cold.Whole, cold.Invoke, cold.Wait, cold.Init = whole.curved(), invoke.curved(), wait.latency(), init.latency()
	return cold
}

// compareCold compares cold starts that were made in turns. A pair of which one
// failed or was no cold start has a zero, and is left out.
func compareCold(platform, versus []coldStart) []Ratio {
	each := func(starts []coldStart, of func(coldStart) time.Duration) (values []float64) {
		for _, one := range starts {
			if !one.cold {
				one = coldStart{}
			}
			values = append(values, of(one).Seconds())
		}
		return values
	}
	whole := func(one coldStart) time.Duration { return one.whole }
	invoke := func(one coldStart) time.Duration { return one.invoke }
	return []Ratio{
		ratio("create", each(platform, whole), each(versus, whole)),
		ratio("invoke", each(platform, invoke), each(versus, invoke)),
	}
}
