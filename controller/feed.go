// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

const (
	feedBatch = 500
	// feedGap is how long the feed may be out of reach before the caches are
	// dropped: the store keeps changes for an hour at least.
	feedGap = 30 * time.Minute
)

// feedLoop keeps the caches in step with writes of other processes.
func (c *Controller) feedLoop(ctx context.Context) {
	ticker := time.NewTicker(c.config.FeedInterval)
	defer ticker.Stop()
	var position int64
	var fresh time.Time // when the feed was last read to its end; zero before the first time
	for {
		next, err := c.followFeed(ctx, position, fresh)
		switch {
		case err == nil:
			position, fresh = next, time.Now()
		case ctx.Err() == nil:
			c.deps.Logger.Warn("change feed not read, caches may be stale", "position", position, "err", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// followFeed applies all changes after position and returns the new position.
func (c *Controller) followFeed(ctx context.Context, position int64, fresh time.Time) (int64, error) {
	if time.Since(fresh) > feedGap {
		last, err := c.deps.Entities.LastChange(ctx)
		if err != nil {
			return position, err
		}
		// What was cached until now may be older than this position.
		c.identities.invalidateIf(func(string, *Caller) bool { return true })
		c.owners.invalidateIf(func(string, *Caller) bool { return true })
		c.packages.invalidateIf(func(whisk.FullName, *whisk.Package) bool { return true })
		c.triggers.invalidateIf(func(whisk.FullName, *whisk.Trigger) bool { return true })
		c.actions.invalidateIf(func(whisk.FullName, *resolvedAction) bool { return true })
		c.offers.invalidateIf(func(string, *Offer) bool { return true })
		return last, nil
	}
	for {
		changes, err := c.deps.Entities.Changes(ctx, position, feedBatch)
		if err != nil {
			return position, err
		}
		for _, change := range changes {
			c.apply(change)
			position = change.Position
		}
		if len(changes) < feedBatch {
			return position, nil
		}
	}
}

func (c *Controller) apply(change whisk.Change) {
	if change.APIs != "" {
		c.forgetAPIs(change.APIs)
		return
	}
	if change.Subject != "" {
		changed := func(_ string, caller *Caller) bool { return caller.Subject == change.Subject }
		c.identities.invalidateIf(changed)
		c.owners.invalidateIf(changed)
		c.offers.invalidateIf(func(_ string, offer *Offer) bool { return offer.subject == change.Subject })
		return
	}
	c.forget(change.Entity)
	// Containers of former revisions should go at once, also where the cache has had no
	// room for the action. What was no action has none.
	c.deps.Balancer.Retire(change.Entity, whisk.Revision(change.Position))
}
