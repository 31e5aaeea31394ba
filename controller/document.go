// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"

	"github.com/whirl-faas/whirl/whisk"
)

// fetch reads an entity of a collection. The errors for the user are those of a
// missing resource and of one that is in another collection.
func fetch[E any](ctx context.Context, c *Controller, collection whisk.Collection, name whisk.FullName, decode func(whisk.Document) (E, error)) (E, whisk.Revision, error) {
	var none E
	doc, err := c.deps.Entities.Get(ctx, name)
	switch {
	case is(err, whisk.NotFound):
		return none, 0, errNotFound()
	case err != nil:
		return none, 0, fmt.Errorf("get %s: %w", name, err)
	case doc.Collection != collection:
		return none, 0, errOtherCollection()
	}
	entity, err := decode(doc)
	return entity, doc.Revision, err
}

func (c *Controller) fetchAction(ctx context.Context, name whisk.FullName) (whisk.Action, whisk.Revision, error) {
	return fetch(ctx, c, whisk.Actions, name, decodeAction)
}

func (c *Controller) fetchPackage(ctx context.Context, name whisk.FullName) (whisk.Package, whisk.Revision, error) {
	return fetch(ctx, c, whisk.Packages, name, decodePackage)
}

func (c *Controller) fetchTrigger(ctx context.Context, name whisk.FullName) (whisk.Trigger, whisk.Revision, error) {
	return fetch(ctx, c, whisk.Triggers, name, decodeTrigger)
}

func (c *Controller) fetchRule(ctx context.Context, name whisk.FullName) (whisk.Rule, whisk.Revision, error) {
	return fetch(ctx, c, whisk.Rules, name, decodeRule)
}

// replaceable sorts out what a PUT found under its name: nothing, which is the
// revision 0, something that it may replace, or a reason to refuse it.
func replaceable(revision whisk.Revision, err error, overwrite bool) (whisk.Revision, error) {
	switch {
	case is(err, whisk.NotFound):
		return 0, nil
	case err != nil:
		return 0, err
	case !overwrite:
		return 0, errExists()
	}
	return revision, nil
}

// commit writes to the store, and brings the caches in step. The error for the
// user is that somebody else wrote at the same time.
func (c *Controller) commit(ctx context.Context, tx whisk.Transaction) ([]whisk.Revision, error) {
	revisions, err := c.deps.Entities.Commit(ctx, tx)
	switch {
	case is(err, whisk.Conflict):
		return nil, errConcurrentWrite
	case err != nil:
		return nil, fmt.Errorf("write entities: %w", err)
	}
	for i, doc := range tx.Puts {
		c.forget(doc.Name)
		if doc.Collection == whisk.Actions && doc.Revision != 0 {
			c.deps.Balancer.Retire(doc.Name, revisions[i])
		}
	}
	for _, stored := range tx.Deletes {
		// What was no action has no containers.
		c.forget(stored.Name)
		c.deps.Balancer.Retire(stored.Name, 0)
	}
	return revisions, nil
}

// forget drops what the caches hold under a name.
func (c *Controller) forget(name whisk.FullName) {
	c.packages.invalidate(name, name.Path())
	c.triggers.invalidate(name, name.Path())
	c.actions.invalidate(name, name.Path())
}
