// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"fmt"

	"github.com/whirl-faas/whirl/whisk"
)

// Put implements [whisk.EntityStore].
func (e *Entities) Put(ctx context.Context, doc whisk.Document) (whisk.Revision, error) {
	revisions, err := e.commit(ctx, whisk.Transaction{Puts: []whisk.Document{doc}})
	if err != nil {
		return 0, fmt.Errorf("put %s: %w", doc.Name, err)
	}
	return revisions[0], nil
}

// Delete implements [whisk.EntityStore].
func (e *Entities) Delete(ctx context.Context, name whisk.FullName, revision whisk.Revision) error {
	err := e.db.write(ctx, 0, func(c *connection) error {
		stored, err := storedVersion(c, name)
		switch {
		case err != nil:
			return err
		case stored.revision == 0:
			return whisk.Errorf(whisk.NotFound, "no such document")
		}
		if err := stored.check(revision); err != nil {
			return err
		}
		return deleteDocument(c, name)
	})
	if err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

// Commit implements [whisk.EntityStore].
func (e *Entities) Commit(ctx context.Context, tx whisk.Transaction) ([]whisk.Revision, error) {
	revisions, err := e.commit(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("commit %d puts and %d deletes: %w", len(tx.Puts), len(tx.Deletes), err)
	}
	return revisions, nil
}

func (e *Entities) commit(ctx context.Context, tx whisk.Transaction) ([]whisk.Revision, error) {
	plan, err := planOf(tx)
	if err != nil {
		return nil, err
	}
	var revisions []whisk.Revision
	err = e.db.write(ctx, plan.size, func(c *connection) error {
		// All checks come before the first change: a refusal must leave the
		// other writes of the group alone.
		if err := plan.check(c); err != nil {
			return err
		}
		revisions, err = plan.apply(c)
		return err
	})
	return revisions, err
}

// plan is a transaction with what its checks need to know.
type plan struct {
	whisk.Transaction
	stays map[whisk.FullName]bool // of each name written: whether it is there in the end
	size  whisk.Bytes
}

func planOf(tx whisk.Transaction) (plan, error) {
	p := plan{Transaction: tx, stays: make(map[whisk.FullName]bool, len(tx.Puts)+len(tx.Deletes))}
	for _, doc := range tx.Puts {
		p.stays[doc.Name] = true
		p.size += whisk.Bytes(len(doc.Body) + len(doc.Summary))
	}
	for _, stored := range tx.Deletes {
		p.stays[stored.Name] = false
	}
	if len(p.stays) < len(tx.Puts)+len(tx.Deletes) {
		return plan{}, whisk.Errorf(whisk.Invalid, "a name occurs more than once")
	}
	return p, nil
}

func (p plan) check(c *connection) error {
	for _, doc := range p.Puts {
		stored, err := storedVersion(c, doc.Name)
		if err != nil {
			return err
		}
		if err := stored.check(doc.Revision); err != nil {
			return err
		}
		if stored.revision != 0 && stored.collection != doc.Collection {
			return whisk.Errorf(whisk.Conflict, "the name is taken in %s", stored.collection)
		}
	}
	for _, wanted := range p.Deletes {
		stored, err := storedVersion(c, wanted.Name)
		switch {
		case err != nil:
			return err
		case stored.revision == 0:
			return whisk.Errorf(whisk.Conflict, "%s is not there", wanted.Name)
		}
		if err := stored.check(wanted.Revision); err != nil {
			return err
		}
	}
	return p.checkConditions(c)
}

func (p plan) checkConditions(c *connection) error {
	for _, name := range p.Needs {
		stays, written := p.stays[name]
		if !written {
			stored, err := storedVersion(c, name)
			if err != nil {
				return err
			}
			stays = stored.revision != 0
		}
		if !stays {
			return whisk.Errorf(whisk.Conflict, "%s is needed and not there", name)
		}
	}
	for _, pkg := range p.Vacant {
		occupant, err := p.occupantOf(c, pkg)
		if err != nil {
			return err
		}
		if occupant != "" {
			return whisk.Errorf(whisk.Conflict, "the package %s holds %s", pkg, occupant)
		}
	}
	return nil
}

// occupantOf returns the path of a document that is in the package in the end,
// "" if there is none.
func (p plan) occupantOf(c *connection, pkg whisk.FullName) (string, error) {
	for _, doc := range p.Puts {
		if doc.Name.Package == pkg.Name && doc.Name.Namespace == pkg.Namespace {
			return doc.Name.InNamespace(), nil
		}
	}
	occupant := ""
	// "0" is the character after "/".
	err := c.prepare("SELECT path FROM documents WHERE namespace = ? AND path > ? AND path < ? ORDER BY path LIMIT ?").
		text(pkg.Namespace).text(pkg.Name + "/").text(pkg.Name + "0").integer(int64(len(p.Deletes)) + 1).
		each(func(r *row) error {
			path := r.text()
			if _, goes := p.stays[fullName(pkg.Namespace, path)]; !goes {
				occupant = path
			}
			return nil
		})
	return occupant, err
}

func (p plan) apply(c *connection) ([]whisk.Revision, error) {
	revisions := make([]whisk.Revision, len(p.Puts))
	for i, doc := range p.Puts {
		revision, err := noteChange(c, doc.Name, "")
		if err != nil {
			return nil, err
		}
		if err := writeDocument(c, doc, revision); err != nil {
			return nil, err
		}
		revisions[i] = revision
	}
	for _, stored := range p.Deletes {
		if err := deleteDocument(c, stored.Name); err != nil {
			return nil, err
		}
	}
	return revisions, nil
}

// version is what decides whether a document may be written.
type version struct {
	revision   whisk.Revision // 0 if there is no document
	collection whisk.Collection
}

func storedVersion(c *connection, name whisk.FullName) (version, error) {
	var v version
	err := c.prepare("SELECT revision, collection FROM documents WHERE namespace = ? AND path = ?").
		text(name.Namespace).text(name.InNamespace()).
		each(func(r *row) error {
			v = version{whisk.Revision(r.integer()), whisk.Collection(r.text())}
			return nil
		})
	return v, err
}

// check is Conflict unless the writer knows the stored revision.
func (v version) check(known whisk.Revision) error {
	if v.revision != known {
		return whisk.Errorf(whisk.Conflict, "its revision is %d and not %d", v.revision, known)
	}
	return nil
}

func writeDocument(c *connection, doc whisk.Document, revision whisk.Revision) error {
	return c.prepare(`
		INSERT INTO documents (namespace, path, package, collection, revision, updated, code, public, summary, body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (namespace, path) DO UPDATE SET
			revision = excluded.revision, updated = excluded.updated, code = excluded.code,
			public = excluded.public, summary = excluded.summary, body = excluded.body`).
		text(doc.Name.Namespace).text(doc.Name.InNamespace()).text(doc.Name.Package).
		text(string(doc.Collection)).integer(int64(revision)).time(doc.Updated).
		text(string(doc.Code)).flag(doc.Public).json(doc.Summary).json(doc.Body).run()
}

// deleteDocument deletes a document that is there.
func deleteDocument(c *connection, name whisk.FullName) error {
	if _, err := noteChange(c, name, ""); err != nil {
		return err
	}
	return c.prepare("DELETE FROM documents WHERE namespace = ? AND path = ?").
		text(name.Namespace).text(name.InNamespace()).run()
}
