// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/whirl-faas/whirl/whisk"
)

// Listing says which entities to list.
type Listing struct {
	Collection whisk.Collection
	Namespace  string
	Package    string // of actions; "" for the whole namespace, packages included
}

// Page selects a part of a list.
type Page struct {
	Skip  int
	Limit int // at least 1
}

// MayList checks that the caller may see a list. Anybody may list packages; of
// those in other namespaces only the public ones are shown.
func (c *Controller) MayList(ctx context.Context, caller *Caller, listing Listing) error {
	switch {
	case listing.Package != "":
		return mayReadPackage(ctx, caller, whisk.FullName{Namespace: listing.Namespace, Name: listing.Package}, c.storedPackage)
	case listing.Collection == whisk.Packages:
		return nil
	}
	return caller.Owns(whisk.FullName{Namespace: listing.Namespace})
}

// List returns the summaries of entities, newest first.
func (c *Controller) List(ctx context.Context, caller *Caller, listing Listing, page Page) ([]json.RawMessage, error) {
	query, err := c.queryOf(ctx, caller, listing)
	if err != nil {
		return nil, err
	}
	query.Skip, query.Limit = page.Skip, page.Limit
	documents, err := c.deps.Entities.List(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("list %s of %s: %w", listing.Collection, listing.Namespace, err)
	}
	summaries := make([]json.RawMessage, len(documents))
	for i, doc := range documents {
		summaries[i] = doc.Summary
	}
	return summaries, nil
}

// Count returns how many entries List would yield after skipping some.
func (c *Controller) Count(ctx context.Context, caller *Caller, listing Listing, skip int) (int, error) {
	query, err := c.queryOf(ctx, caller, listing)
	if err != nil {
		return 0, err
	}
	total, err := c.deps.Entities.Count(ctx, query)
	if err != nil {
		return 0, fmt.Errorf("count %s of %s: %w", listing.Collection, listing.Namespace, err)
	}
	return max(0, total-skip), nil
}

func (c *Controller) queryOf(ctx context.Context, caller *Caller, listing Listing) (whisk.EntityQuery, error) {
	if err := c.MayList(ctx, caller, listing); err != nil {
		return whisk.EntityQuery{}, err
	}
	query := whisk.EntityQuery{Collection: listing.Collection, Namespace: listing.Namespace}
	if listing.Package == "" {
		query.Public = listing.Namespace != caller.Namespace
		return query, nil
	}
	packages, err := chainOf(ctx, whisk.FullName{Namespace: listing.Namespace, Name: listing.Package}, c.storedPackage)
	if err != nil {
		return whisk.EntityQuery{}, err
	}
	provider := packages.action("")
	query.Namespace, query.Package = provider.Namespace, &provider.Package
	return query, nil
}

// contents yields the actions of a package once each, without their bodies,
// newest first. It reads page by page: what is written meanwhile may be missing.
func (c *Controller) contents(ctx context.Context, pkg whisk.FullName, visit func(whisk.Document)) error {
	seen := map[whisk.FullName]bool{} // one that is written moves to the front, and others back
	query := whisk.EntityQuery{Collection: whisk.Actions, Namespace: pkg.Namespace, Package: &pkg.Name, Limit: c.config.Limits.ListMax}
	for {
		documents, err := c.deps.Entities.List(ctx, query)
		if err != nil {
			return fmt.Errorf("list the actions of %s: %w", pkg, err)
		}
		for _, doc := range documents {
			if !seen[doc.Name] {
				seen[doc.Name] = true
				visit(doc)
			}
		}
		if len(documents) < query.Limit {
			return nil
		}
		query.Skip += len(documents)
	}
}
