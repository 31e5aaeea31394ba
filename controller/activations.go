// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// ActivationFilter selects activations of one namespace.
type ActivationFilter struct {
	Action      string // name of the action, "" for all
	Package     string // of the action; "" for the default package
	Since, Upto time.Time
}

func (f ActivationFilter) query(namespace string) whisk.ActivationQuery {
	query := whisk.ActivationQuery{Namespace: namespace, Since: f.Since, Upto: f.Upto}
	if f.Action != "" {
		query.Name, query.Package = f.Action, &f.Package
	}
	return query
}

// Activations returns records, newest first: without result, size and logs,
// or whole if full is set.
func (c *Controller) Activations(ctx context.Context, caller *Caller, namespace string, filter ActivationFilter, page Page, full bool) ([]whisk.Activation, error) {
	if err := caller.Owns(whisk.FullName{Namespace: namespace}); err != nil {
		return nil, err
	}
	c.settle(ctx, namespace)
	query := filter.query(namespace)
	query.Skip, query.Limit, query.Full = page.Skip, page.Limit, full
	records, err := c.deps.Activations.ListActivations(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("list activations of %s: %w", namespace, err)
	}
	if !full {
		return records, nil
	}
	for i := range records {
		if err := c.addLogs(ctx, &records[i]); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// settleWait is how long a list waits for the records of what this controller has
// answered already: longer than they wait for company on their way to the store.
const settleWait = 200 * time.Millisecond

// settle waits for the records that a list should have, so that clients find in it
// what they were just answered. Where the store or the logs are slow, they do not.
func (c *Controller) settle(ctx context.Context, namespace string) {
	patience, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	c.recorder.Settle(patience, namespace)
}

// CountActivations returns how many entries Activations would yield after skipping some.
func (c *Controller) CountActivations(ctx context.Context, caller *Caller, namespace string, filter ActivationFilter, skip int) (int, error) {
	if err := caller.Owns(whisk.FullName{Namespace: namespace}); err != nil {
		return 0, err
	}
	c.settle(ctx, namespace)
	total, err := c.deps.Activations.CountActivations(ctx, filter.query(namespace))
	if err != nil {
		return 0, fmt.Errorf("count activations of %s: %w", namespace, err)
	}
	return max(0, total-skip), nil
}

// Activation returns a record, without its logs. A record that has not reached
// the store yet is found too, so that a client can read what it was just answered.
func (c *Controller) Activation(ctx context.Context, caller *Caller, namespace string, id whisk.ActivationID) (whisk.Activation, error) {
	if err := caller.Owns(whisk.FullName{Namespace: namespace, Name: string(id)}); err != nil {
		return whisk.Activation{}, err
	}
	patience, cancel := context.WithTimeout(ctx, c.config.LogWait)
	defer cancel()
	if record, found := c.recorder.Find(patience, namespace, id); found {
		return *record, nil
	}
	record, err := c.deps.Activations.Activation(ctx, namespace, id)
	switch {
	case err != nil && whisk.KindOf(err) == whisk.NotFound:
		return whisk.Activation{}, errNotFound()
	case err != nil:
		return whisk.Activation{}, fmt.Errorf("get activation %s: %w", id, err)
	}
	return record, nil
}

// ActivationWithLogs returns a record with its logs.
func (c *Controller) ActivationWithLogs(ctx context.Context, caller *Caller, namespace string, id whisk.ActivationID) (whisk.Activation, error) {
	record, err := c.Activation(ctx, caller, namespace, id)
	if err != nil {
		return whisk.Activation{}, err
	}
	return record, c.addLogs(ctx, &record)
}

// addLogs joins a record with what the log store has of it. Records that keep
// lines of their own are left as they are. A store that is away is no reason to
// say that there are no logs.
func (c *Controller) addLogs(ctx context.Context, record *whisk.Activation) error {
	if record.Logs != nil {
		return nil
	}
	lines, err := c.deps.Logs.Logs(ctx, record.Namespace, record.ID)
	switch kind := whisk.KindOf(err); {
	case err == nil:
		record.Logs = lines
		return nil
	case kind == whisk.Unavailable, kind == whisk.Timeout:
		// The store's words, which may name hosts, are not for the user.
		c.deps.Logger.Warn("logs not read", "activation", record.ID, "err", err)
		return whisk.Errorf(whisk.Unavailable, "The logs cannot be read now because their store does not answer. Try again later.")
	}
	return fmt.Errorf("read the logs of activation %s: %w", record.ID, err)
}
