// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/client"
)

// coldStarts measures a kind's cold starts, first one after the other, then at once.
func (r *runner) coldStarts(ctx context.Context, kind string) error {
	for _, mode := range []struct {
		name      string
		n, atOnce int
	}{
		{"one by one", r.config.ColdSequential, 1},
		{"at once", r.config.ColdBurst, r.config.ColdBurst},
	} {
		if mode.n == 0 {
			continue
		}
		r.display.step("%s: %d cold starts, %s", kind, mode.n, mode.name)
		starts := r.coldBatch(ctx, kind, mode.n, mode.atOnce)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		cold := sumCold(kind, mode.name, starts)
		r.report.Cold = append(r.report.Cold, cold)
		r.display.note("%s", cold.summary())
	}
	return nil
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

// coldBatch makes n cold starts, as many at once as told. An action lives until
// the whole batch is done, so that no deletion disturbs the others.
func (r *runner) coldBatch(ctx context.Context, kind string, n, atOnce int) []coldStart {
	var (
		starts  = make([]coldStart, n)
		removes = make([]func(), n)
		slots   = make(chan struct{}, atOnce)
		all     sync.WaitGroup
	)
	for i := range n {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			starts[i], removes[i] = r.coldStart(ctx, r.name(kind, fmt.Sprintf("cold-%d-%d", atOnce, i)), kind)
		})
	}
	all.Wait()
	for _, remove := range removes {
		if remove != nil {
			remove()
		}
	}
	return starts
}

func (r *runner) coldStart(ctx context.Context, name, kind string) (coldStart, func()) {
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	begin := time.Now()
	_, remove, err := r.platform.deploy(ctx, name, r.spec(kind, "noop"))
	if err != nil {
		return coldStart{fault: coldFault(err)}, nil
	}
	invoked := time.Now()
	record, err := r.platform.client.Invoke(ctx, name, nil, 0)
	end := time.Now()
	if err != nil {
		return coldStart{fault: coldFault(err)}, remove
	}
	if !record.Response.Success {
		return coldStart{fault: record.Response.Status}, remove
	}
	init, cold := milliseconds(record, "initTime")
	wait, _ := milliseconds(record, "waitTime")
	return coldStart{whole: end.Sub(begin), invoke: end.Sub(invoked), wait: wait, init: init, cold: cold}, remove
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
	cold.Whole, cold.Invoke, cold.Wait, cold.Init = whole.latency(), invoke.latency(), wait.latency(), init.latency()
	return cold
}
