// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// How long Drain takes after its ctx has ended: to let what it cut return, and
// to tell the scheduler.
const (
	cutPatience   = time.Second
	flushPatience = time.Second
)

// Drain ends the balancer's work while Run still runs: new activations are
// refused as Unavailable, others' are refused too, admitted ones run to their
// end, those that run here for others among them, and then the containers go back to the scheduler, warm as they are. When ctx ends before
// that, what still waits fails, what still runs is cut, and the containers it
// ran in are given back as failed. It returns when the scheduler was told or
// shortly after ctx ended; the error is Timeout if activations had to be ended.
func (b *Balancer) Drain(ctx context.Context) error {
	b.stopping.Store(true)
	err := b.awaitQuiet(ctx)
	if err != nil {
		b.abort()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), cutPatience)
		b.awaitQuiet(grace)
		cancel()
	}
	for _, a := range b.allActions() {
		a.mu.Lock()
		a.giveAllBackLocked(unwanted, whisk.ReleaseLeaving)
		a.mu.Unlock()
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushPatience)
	defer cancel()
	b.awaitReleases(ctx)
	b.factory.flush(flush)
	return err
}

// awaitQuiet waits until no activation is left.
func (b *Balancer) awaitQuiet(ctx context.Context) error {
	for {
		n := b.inflight.Load()
		if n == 0 {
			return nil
		}
		select {
		case <-b.quiet:
		case <-ctx.Done():
			return whisk.Errorf(whisk.Timeout, "drain: %d activations did not end: %w", n, context.Cause(ctx))
		}
	}
}

// awaitReleases waits until no container waits for its logs any more. Those that
// still do when ctx ends go back without.
func (b *Balancer) awaitReleases(ctx context.Context) {
	for b.registry.count() > 0 && ctx.Err() == nil {
		select {
		case <-b.registry.vacant:
		case <-ctx.Done():
		}
	}
	for _, c := range b.registry.all() {
		c.action.mu.Lock()
		if c.returned != 0 {
			c.sendReleaseLocked()
		}
		c.action.mu.Unlock()
	}
}

// abort fails what waits, cuts what runs, and gives up what others have of ours.
func (b *Balancer) abort() {
	b.stopped.Store(true)
	for _, a := range b.allActions() {
		a.mu.Lock()
		for a.waiting.len() > 0 {
			a.waiting.next(verdict{response: whisk.ErrorResponse(whisk.WhiskError, textShuttingDown)})
		}
		a.needLocked()
		a.mu.Unlock()
	}
	for _, c := range b.registry.all() {
		c.wire.cut()
	}
	b.peers.abandon()
}
