// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/whirl-faas/whirl/whisk"
)

const namespaceLimitsSchema = `
CREATE TABLE namespace_limits (
	namespace TEXT PRIMARY KEY,
	body      TEXT NOT NULL
) STRICT, WITHOUT ROWID;
`

// NamespaceLimits implements [whisk.SubjectStore].
func (e *Entities) NamespaceLimits(ctx context.Context, namespace string) (whisk.NamespaceLimits, error) {
	var limits whisk.NamespaceLimits
	err := e.db.read(ctx, func(c *connection) error {
		return c.prepare("SELECT body FROM namespace_limits WHERE namespace = ?").text(namespace).each(func(r *row) error {
			return r.decode(&limits)
		})
	})
	if err != nil {
		return whisk.NamespaceLimits{}, fmt.Errorf("get the limits of %s: %w", namespace, err)
	}
	return limits, nil
}

// PutNamespaceLimits implements [whisk.SubjectStore].
func (e *Entities) PutNamespaceLimits(ctx context.Context, namespace string, limits whisk.NamespaceLimits) error {
	body, err := json.Marshal(limits)
	if err == nil {
		err = e.db.write(ctx, whisk.Bytes(len(body)), func(c *connection) error {
			err := c.prepare("INSERT INTO namespace_limits (namespace, body) VALUES (?, ?) ON CONFLICT (namespace) DO UPDATE SET body = excluded.body").
				text(namespace).json(body).run()
			if err != nil {
				return err
			}
			return noteOwner(c, namespace)
		})
	}
	if err != nil {
		return fmt.Errorf("put the limits of %s: %w", namespace, err)
	}
	return nil
}

// DeleteNamespaceLimits implements [whisk.SubjectStore].
func (e *Entities) DeleteNamespaceLimits(ctx context.Context, namespace string) error {
	err := e.db.write(ctx, 0, func(c *connection) error {
		err := c.prepare("DELETE FROM namespace_limits WHERE namespace = ?").text(namespace).run()
		if err != nil {
			return err
		}
		if c.Changes() == 0 {
			return whisk.Errorf(whisk.NotFound, "it has none")
		}
		return noteOwner(c, namespace)
	})
	if err != nil {
		return fmt.Errorf("delete the limits of %s: %w", namespace, err)
	}
	return nil
}

// noteOwner notes a change of who owns a namespace, if anybody does: what is
// cached of its limits is cached with the owner's keys.
func noteOwner(c *connection, namespace string) error {
	var owner string
	err := c.prepare("SELECT subject FROM subject_namespaces WHERE namespace = ?").text(namespace).each(func(r *row) error {
		owner = r.text()
		return nil
	})
	if err != nil || owner == "" {
		return err
	}
	_, err = noteChange(c, whisk.FullName{}, owner)
	return err
}
