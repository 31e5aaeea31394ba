// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// lifecycle runs components that depend on each other: each may rely on those
// that were started before it. It stops them in reverse order and waits for
// each, so that a component never outlives what it relies on.
//
// It is used by one goroutine.
type lifecycle struct {
	logger  *slog.Logger
	running []*component
	failed  chan struct{} // holds a token once a component ended by itself
}

type component struct {
	name string
	stop context.CancelCauseFunc
	done chan struct{} // closed when run returned
	err  error         // of run; read after done
}

// errStopping is why components' contexts end in an orderly stop.
var errStopping = errors.New("stopping")

func newLifecycle(logger *slog.Logger) *lifecycle {
	return &lifecycle{logger: logger, failed: make(chan struct{}, 1)}
}

// start runs a component until its context ends. The context carries ctx's
// values, but only stop ends it.
func (l *lifecycle) start(ctx context.Context, name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	c := &component{name: name, stop: cancel, done: make(chan struct{})}
	l.running = append(l.running, c)
	go func() {
		defer close(c.done)
		c.err = run(ctx)
		if ctx.Err() == nil { // it ended by itself
			select {
			case l.failed <- struct{}{}:
			default: // another one was first
			}
		}
	}()
}

// wait returns when ctx ends or a component ended by itself.
func (l *lifecycle) wait(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-l.failed:
	}
}

// stop stops all components, the last started first, and returns what went wrong in any of them.
func (l *lifecycle) stop() error {
	var errs []error
	for len(l.running) > 0 {
		c := l.running[len(l.running)-1]
		l.running = l.running[:len(l.running)-1]
		begin := time.Now()
		c.stop(errStopping)
		<-c.done
		l.logger.Debug("stopped", "part", c.name, "took", time.Since(begin))
		if c.err != nil && !errors.Is(c.err, context.Canceled) && !errors.Is(c.err, errStopping) {
			errs = append(errs, fmt.Errorf("%s: %w", c.name, c.err))
		}
	}
	return errors.Join(errs...)
}
