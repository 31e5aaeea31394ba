// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"fmt"
	"iter"

	"github.com/whirl-faas/whirl/whisk"
)

// Archives are read page by page, each from behind the last of the page before, so
// that neither memory nor a connection is held for long. A record may have a
// megabyte of result, and an entity as much of parameters.
const archivePage = 32

// pages yields what read appends to a page, until it appends less than a page.
func pages[E any](what string, read func(last *E) ([]E, error)) iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		var last *E
		for {
			page, err := read(last)
			if err != nil {
				var none E
				yield(none, fmt.Errorf("read all %s: %w", what, err))
				return
			}
			for _, each := range page {
				if !yield(each, nil) {
					return
				}
			}
			if len(page) < archivePage {
				return
			}
			last = &page[len(page)-1]
		}
	}
}

// Documents implements [whisk.EntityArchive].
func (e *Entities) Documents(ctx context.Context) iter.Seq2[whisk.Document, error] {
	return pages("documents", func(last *whisk.Document) (page []whisk.Document, err error) {
		namespace, path := "", ""
		if last != nil {
			namespace, path = last.Name.Namespace, last.Name.InNamespace()
		}
		err = e.db.read(ctx, func(c *connection) error {
			return c.prepare("SELECT " + documentColumns + ", body FROM documents WHERE (namespace, path) > (?, ?) ORDER BY namespace, path LIMIT ?").
				text(namespace).text(path).integer(archivePage).
				each(func(r *row) error {
					doc := document(r)
					doc.Body = r.bytes()
					page = append(page, doc)
					return nil
				})
		})
		return page, err
	})
}

// LimitedNamespaces implements [whisk.EntityArchive].
func (e *Entities) LimitedNamespaces(ctx context.Context) iter.Seq2[string, error] {
	return pages("limits", func(last *string) (page []string, err error) {
		namespace := ""
		if last != nil {
			namespace = *last
		}
		err = e.db.read(ctx, func(c *connection) error {
			return c.prepare("SELECT namespace FROM namespace_limits WHERE namespace > ? ORDER BY namespace LIMIT ?").
				text(namespace).integer(archivePage).
				each(func(r *row) error {
					page = append(page, r.text())
					return nil
				})
		})
		return page, err
	})
}
