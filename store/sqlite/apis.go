// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"fmt"

	"github.com/whirl-faas/whirl/whisk"
)

const apisSchema = `
CREATE TABLE apis (
	namespace TEXT NOT NULL,
	base_path TEXT NOT NULL,
	revision  INTEGER NOT NULL,
	document  TEXT,
	PRIMARY KEY (namespace, base_path)
) STRICT;
`

// APIs implements [whisk.APIStore].
func (e *Entities) APIs(ctx context.Context, namespace string) ([]whisk.API, error) {
	var apis []whisk.API
	err := e.db.read(ctx, func(c *connection) error {
		return c.prepare("SELECT base_path, revision, document FROM apis WHERE namespace = ? ORDER BY base_path").text(namespace).
			each(func(r *row) error {
				apis = append(apis, whisk.API{
					Namespace: namespace, BasePath: r.text(), Revision: whisk.Revision(r.integer()), Document: r.bytes(),
				})
				return nil
			})
	})
	if err != nil {
		return nil, fmt.Errorf("list the APIs of %s: %w", namespace, err)
	}
	return apis, nil
}

// PutAPI implements [whisk.APIStore].
func (e *Entities) PutAPI(ctx context.Context, api whisk.API) (revision whisk.Revision, err error) {
	err = e.db.write(ctx, whisk.Bytes(len(api.Document)), func(c *connection) error {
		stored, err := storedAPI(c, api.Namespace, api.BasePath)
		if err != nil {
			return err
		}
		if err := stored.check(api.Revision); err != nil {
			return err
		}
		if revision, err = noteChange(c, whisk.FullName{Namespace: api.Namespace}, ""); err != nil {
			return err
		}
		return c.prepare(`
			INSERT INTO apis (namespace, base_path, revision, document) VALUES (?, ?, ?, ?)
			ON CONFLICT (namespace, base_path) DO UPDATE SET revision = excluded.revision, document = excluded.document`).
			text(api.Namespace).text(api.BasePath).integer(int64(revision)).json(api.Document).run()
	})
	if err != nil {
		return 0, fmt.Errorf("put the API %s of %s: %w", api.BasePath, api.Namespace, err)
	}
	return revision, nil
}

// DeleteAPI implements [whisk.APIStore].
func (e *Entities) DeleteAPI(ctx context.Context, namespace, basePath string, revision whisk.Revision) error {
	err := e.db.write(ctx, 0, func(c *connection) error {
		stored, err := storedAPI(c, namespace, basePath)
		switch {
		case err != nil:
			return err
		case stored.revision == 0:
			return whisk.Errorf(whisk.NotFound, "no such API")
		}
		if err := stored.check(revision); err != nil {
			return err
		}
		if _, err := noteChange(c, whisk.FullName{Namespace: namespace}, ""); err != nil {
			return err
		}
		return c.prepare("DELETE FROM apis WHERE namespace = ? AND base_path = ?").text(namespace).text(basePath).run()
	})
	if err != nil {
		return fmt.Errorf("delete the API %s of %s: %w", basePath, namespace, err)
	}
	return nil
}

func storedAPI(c *connection, namespace, basePath string) (version, error) {
	var v version
	err := c.prepare("SELECT revision FROM apis WHERE namespace = ? AND base_path = ?").text(namespace).text(basePath).
		each(func(r *row) error {
			v.revision = whisk.Revision(r.integer())
			return nil
		})
	return v, err
}
