// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Old records are removed in small transactions, with pauses, so that new ones
// never wait long for the store.
const (
	recordsBatch   = 2500 // more than the embedded store keeps together, and deletes far sooner as a whole
	logsBatch      = 500
	retentionPause = 20 * time.Millisecond
)

// retentionLoop removes old records, old logs and code that nothing refers to.
func (c *Controller) retentionLoop(ctx context.Context) {
	ticker := time.NewTicker(c.config.RetentionInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if err := c.retainOnce(ctx); err != nil && ctx.Err() == nil {
			c.deps.Logger.Warn("clean-up not finished, going on next time", "err", err)
		}
	}
}

func (c *Controller) retainOnce(ctx context.Context) error {
	var records, logs int
	if c.config.Retention > 0 {
		before := time.Now().Add(-c.config.Retention)
		var err error
		if records, err = expire(ctx, before, recordsBatch, c.deps.Activations.ExpireActivations); err != nil {
			return fmt.Errorf("expire activations: %w", err)
		}
		if logs, err = expire(ctx, before, logsBatch, c.deps.Logs.ExpireLogs); err != nil {
			return fmt.Errorf("expire logs: %w", err)
		}
	}
	blobs, err := c.sweepCode(ctx)
	if err != nil {
		return err
	}
	if records+logs+blobs > 0 {
		c.deps.Logger.Info("old data removed", "records", records, "logs", logs, "blobs", blobs)
	}
	return nil
}

// expire calls a store's expiry, each time for a batch, until nothing old is left.
func expire(ctx context.Context, before time.Time, batch int, expireSome func(context.Context, time.Time, int) (int, error)) (int, error) {
	total := 0
	for {
		n, err := expireSome(ctx, before, batch)
		total += n
		if err != nil || n < batch {
			return total, err
		}
		if !pause(ctx, retentionPause) {
			return total, ctx.Err()
		}
	}
}

// sweepCode deletes code that no action refers to. Code is put before the
// action that names it is written; the grace period covers the time between.
func (c *Controller) sweepCode(ctx context.Context) (int, error) {
	olderThan := time.Now().Add(-c.config.BlobGrace)
	used := map[whisk.Digest]struct{}{}
	for digest, err := range c.deps.Entities.Digests(ctx) {
		if err != nil {
			return 0, fmt.Errorf("list the code in use: %w", err)
		}
		used[digest] = struct{}{}
	}
	n, err := c.deps.Blobs.Sweep(ctx, func(digest whisk.Digest) bool { _, keep := used[digest]; return keep }, olderThan)
	if err != nil {
		return n, fmt.Errorf("sweep code: %w", err)
	}
	return n, nil
}
