// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/whirl-faas/whirl/whisk"
)

// Page selects a part of a list.
type Page struct {
	Skip  int
	Limit int // at least 1
}

// Action returns an action, with its code as it was sent if withCode is set and
// nil otherwise, or if it has none.
func (c *Controller) Action(ctx context.Context, caller *Caller, name whisk.FullName, withCode bool) (whisk.Action, []byte, error) {
	if err := c.mayUse(ctx, caller, name); err != nil {
		return whisk.Action{}, nil, err
	}
	action, _, err := c.fetch(ctx, name)
	if err != nil || !withCode {
		return action, nil, err
	}
	code, err := c.code(ctx, action)
	return action, code, err
}

// Actions returns the summaries of actions, newest first: those of one package,
// or all of the namespace if pkg is "".
func (c *Controller) Actions(ctx context.Context, caller *Caller, namespace, pkg string, page Page) ([]json.RawMessage, error) {
	query, err := c.actionQuery(ctx, caller, namespace, pkg)
	if err != nil {
		return nil, err
	}
	query.Skip, query.Limit = page.Skip, page.Limit
	documents, err := c.deps.Entities.List(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("list actions of %s: %w", namespace, err)
	}
	summaries := make([]json.RawMessage, len(documents))
	for i, doc := range documents {
		summaries[i] = doc.Summary
	}
	return summaries, nil
}

// CountActions returns how many entries Actions would yield after skipping some.
func (c *Controller) CountActions(ctx context.Context, caller *Caller, namespace, pkg string, skip int) (int, error) {
	query, err := c.actionQuery(ctx, caller, namespace, pkg)
	if err != nil {
		return 0, err
	}
	total, err := c.deps.Entities.Count(ctx, query)
	if err != nil {
		return 0, fmt.Errorf("count actions of %s: %w", namespace, err)
	}
	return max(0, total-skip), nil
}

func (c *Controller) actionQuery(ctx context.Context, caller *Caller, namespace, pkg string) (whisk.EntityQuery, error) {
	query := whisk.EntityQuery{Collection: whisk.Actions, Namespace: namespace}
	if pkg != "" {
		query.Package = &pkg
	}
	return query, c.mayUse(ctx, caller, whisk.FullName{Namespace: namespace, Package: pkg})
}

// DeleteAction removes an action and returns it with its code. The code itself
// goes later, when no action refers to it any more.
func (c *Controller) DeleteAction(ctx context.Context, caller *Caller, name whisk.FullName) (whisk.Action, []byte, error) {
	if err := c.mayUse(ctx, caller, name); err != nil {
		return whisk.Action{}, nil, err
	}
	action, revision, err := c.fetch(ctx, name)
	if err != nil {
		return whisk.Action{}, nil, err
	}
	// Read before the deletion, but its loss must not keep the action from being deleted.
	code, err := c.code(ctx, action)
	if err != nil {
		c.deps.Logger.Warn("code of a deleted action not read", "action", name.Path(), "err", err)
	}
	err = c.deps.Entities.Delete(ctx, name, revision)
	switch {
	case err != nil && whisk.KindOf(err) == whisk.NotFound:
		return whisk.Action{}, nil, errNotFound()
	case err != nil && whisk.KindOf(err) == whisk.Conflict:
		return whisk.Action{}, nil, errConcurrentWrite()
	case err != nil:
		return whisk.Action{}, nil, fmt.Errorf("delete %s: %w", name, err)
	}
	c.actions.invalidate(name, name.Path())
	c.deps.Balancer.Retire(name, 0)
	return action, code, nil
}

// mayUse checks that the caller owns what name stands in, and that its package is there.
func (c *Controller) mayUse(ctx context.Context, caller *Caller, name whisk.FullName) error {
	if err := caller.Owns(name); err != nil {
		return err
	}
	return c.enterPackage(ctx, name)
}

// code returns an action's code as it was sent; without an error it is nil only
// for a blackbox action that has none.
func (c *Controller) code(ctx context.Context, action whisk.Action) ([]byte, error) {
	if action.Exec.Code == "" {
		return noCode(action.Exec), nil
	}
	code, err := c.deps.Blobs.Get(ctx, action.Exec.Code)
	if err != nil {
		return nil, fmt.Errorf("read the code of %s: %w", action.Name, err)
	}
	return code, nil
}
