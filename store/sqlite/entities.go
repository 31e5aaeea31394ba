// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/whirl-faas/whirl/whisk"
)

// Entities is the database of what must never be lost: it implements
// [whisk.EntityStore], [whisk.SubjectStore], [whisk.APIStore], [whisk.Queue] and
// [whisk.Alarms].
type Entities struct{ db *database }

// A path is a name within its namespace, "name" or "package/name": it is what
// lists are sorted by and, with the namespace, what names are unique by. The
// indexes serve the two kinds of lists in their order. The body comes last, so
// that a list does not read it.
const entitiesSchema = `
CREATE TABLE documents (
	id         INTEGER PRIMARY KEY,
	namespace  TEXT NOT NULL,
	path       TEXT NOT NULL,
	package    TEXT NOT NULL,
	collection TEXT NOT NULL,
	revision   INTEGER NOT NULL,
	updated    INTEGER NOT NULL, -- ms since 1970
	code       TEXT NOT NULL,
	summary    TEXT,
	body       TEXT
) STRICT;
CREATE UNIQUE INDEX documents_path ON documents (namespace, path);
CREATE INDEX documents_list ON documents (namespace, collection, updated DESC, path);
CREATE INDEX documents_package_list ON documents (namespace, collection, package, updated DESC, path);
CREATE INDEX documents_code ON documents (code) WHERE code <> '';

CREATE TABLE changes (
	position  INTEGER PRIMARY KEY AUTOINCREMENT,
	made      INTEGER NOT NULL, -- ms since 1970
	namespace TEXT NOT NULL,    -- of an entity, '' for a subject
	path      TEXT NOT NULL,
	subject   TEXT NOT NULL     -- '' for an entity
) STRICT;

CREATE TABLE subjects (
	name TEXT PRIMARY KEY,
	body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE subject_namespaces (
	uuid      TEXT PRIMARY KEY,
	namespace TEXT NOT NULL UNIQUE,
	subject   TEXT NOT NULL REFERENCES subjects (name)
) STRICT, WITHOUT ROWID;
CREATE INDEX subject_namespaces_subject ON subject_namespaces (subject);

CREATE TABLE accepted (
	position   INTEGER PRIMARY KEY, -- in the order of acceptance
	activation TEXT NOT NULL UNIQUE,
	namespace  TEXT NOT NULL,
	at         INTEGER NOT NULL, -- ms since 1970
	body       TEXT
) STRICT;
CREATE TABLE claims (
	position   INTEGER PRIMARY KEY, -- of the accepted entry
	claimed_by TEXT NOT NULL
) STRICT;
`

// publicSchema makes the table anew, because a column that is added comes after
// the body, where each list would have to skip it.
const publicSchema = `
CREATE TABLE documents_2 (
	id         INTEGER PRIMARY KEY,
	namespace  TEXT NOT NULL,
	path       TEXT NOT NULL,
	package    TEXT NOT NULL,
	collection TEXT NOT NULL,
	revision   INTEGER NOT NULL,
	updated    INTEGER NOT NULL, -- ms since 1970
	code       TEXT NOT NULL,
	public     INTEGER NOT NULL, -- 1 if lists for other namespaces show it
	summary    TEXT,
	body       TEXT
) STRICT;
INSERT INTO documents_2 (id, namespace, path, package, collection, revision, updated, code, public, summary, body)
	SELECT id, namespace, path, package, collection, revision, updated, code, 0, summary, body FROM documents;
DROP TABLE documents;
ALTER TABLE documents_2 RENAME TO documents;
CREATE UNIQUE INDEX documents_path ON documents (namespace, path);
CREATE INDEX documents_list ON documents (namespace, collection, updated DESC, path);
CREATE INDEX documents_package_list ON documents (namespace, collection, package, updated DESC, path);
CREATE INDEX documents_public_list ON documents (namespace, collection, updated DESC, path) WHERE public;
CREATE INDEX documents_code ON documents (code) WHERE code <> '';
`

// accepterSchema adds who accepted an entry. The column comes after the body,
// which every reader of entries reads anyway.
const accepterSchema = `ALTER TABLE accepted ADD COLUMN accepted_by TEXT NOT NULL DEFAULT ''`

// OpenEntities opens the database at path and makes it if it is not there; its
// directory must exist. A database that a newer program wrote is Conflict. The
// caller closes it; ctx matters during the call only.
func OpenEntities(ctx context.Context, path string) (*Entities, error) {
	db, err := openDatabase(ctx, path, layout{
		migrations:  []string{entitiesSchema, publicSchema, namespaceLimitsSchema, accepterSchema, alarmsSchema, apisSchema},
		synchronous: "FULL",
		cache:       16 * whisk.MB,
	})
	if err != nil {
		return nil, err
	}
	return &Entities{db}, nil
}

// Close waits for the calls under way and closes the database. Later calls are
// Unavailable. It is idempotent.
func (e *Entities) Close() error { return e.db.close() }

const documentColumns = "collection, namespace, path, revision, updated, code, public, summary"

// Get implements [whisk.EntityStore].
func (e *Entities) Get(ctx context.Context, name whisk.FullName) (whisk.Document, error) {
	var doc whisk.Document
	err := e.db.read(ctx, func(c *connection) error {
		return c.prepare("SELECT " + documentColumns + ", body FROM documents WHERE namespace = ? AND path = ?").
			text(name.Namespace).text(name.InNamespace()).
			each(func(r *row) error {
				doc = document(r)
				doc.Body = r.bytes()
				return nil
			})
	})
	if err == nil && doc.Revision == 0 {
		err = whisk.Errorf(whisk.NotFound, "no such document")
	}
	if err != nil {
		return whisk.Document{}, fmt.Errorf("get %s: %w", name, err)
	}
	return doc, nil
}

// List implements [whisk.EntityStore].
func (e *Entities) List(ctx context.Context, query whisk.EntityQuery) ([]whisk.Document, error) {
	columns := documentColumns
	if query.Full {
		columns += ", body"
	}
	var docs []whisk.Document
	err := e.db.read(ctx, func(c *connection) error {
		return selectDocuments(c, columns, query, " ORDER BY updated DESC, path LIMIT ? OFFSET ?").
			integer(int64(max(query.Limit, 0))).integer(int64(query.Skip)).
			each(func(r *row) error {
				doc := document(r)
				if query.Full {
					doc.Body = r.bytes()
				}
				docs = append(docs, doc)
				return nil
			})
	})
	if err != nil {
		return nil, fmt.Errorf("list %s of %s: %w", query.Collection, query.Namespace, err)
	}
	return docs, nil
}

// Count implements [whisk.EntityStore].
func (e *Entities) Count(ctx context.Context, query whisk.EntityQuery) (int, error) {
	var n int
	err := e.db.read(ctx, func(c *connection) error {
		return selectDocuments(c, "count(*)", query, "").each(func(r *row) error {
			n = int(r.integer())
			return nil
		})
	})
	if err != nil {
		return 0, fmt.Errorf("count %s of %s: %w", query.Collection, query.Namespace, err)
	}
	return n, nil
}

// selectDocuments selects what query wants, and binds its own parameters.
func selectDocuments(c *connection, columns string, query whisk.EntityQuery, suffix string) *statement {
	sql := "SELECT " + columns + " FROM documents WHERE namespace = ? AND collection = ?"
	if query.Package != nil {
		sql += " AND package = ?"
	}
	if query.Public {
		sql += " AND public"
	}
	s := c.prepare(sql + suffix).text(query.Namespace).text(string(query.Collection))
	if query.Package != nil {
		s.text(*query.Package)
	}
	return s
}

// document reads the documentColumns.
func document(r *row) whisk.Document {
	return whisk.Document{
		Collection: whisk.Collection(r.text()),
		Name:       fullName(r.text(), r.text()),
		Revision:   whisk.Revision(r.integer()),
		Updated:    r.time(),
		Code:       whisk.Digest(r.text()),
		Public:     r.integer() != 0,
		Summary:    r.bytes(),
	}
}

func fullName(namespace, path string) whisk.FullName {
	pkg, name, packaged := strings.Cut(path, "/")
	if !packaged {
		pkg, name = "", path
	}
	return whisk.FullName{Namespace: namespace, Package: pkg, Name: name}
}

// Digests implements [whisk.EntityStore]. It reads page by page, so that no
// connection waits for the consumer.
func (e *Entities) Digests(ctx context.Context) iter.Seq2[whisk.Digest, error] {
	const page = 500
	return func(yield func(whisk.Digest, error) bool) {
		last := ""
		for {
			var digests []string
			err := e.db.read(ctx, func(c *connection) error {
				return c.prepare("SELECT DISTINCT code FROM documents WHERE code <> '' AND code > ? ORDER BY code LIMIT ?").
					text(last).integer(page).
					each(func(r *row) error {
						digests = append(digests, r.text())
						return nil
					})
			})
			if err != nil {
				yield("", fmt.Errorf("list digests: %w", err))
				return
			}
			for _, digest := range digests {
				if !yield(whisk.Digest(digest), nil) {
					return
				}
			}
			if len(digests) < page {
				return
			}
			last = digests[page-1]
		}
	}
}
