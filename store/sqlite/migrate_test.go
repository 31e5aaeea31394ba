// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// What the first schema holds is there in the newest, and can be written.
func TestEntitiesOfTheFirstSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "entities.db")
	conn, err := openWriting(path, layout{migrations: []string{entitiesSchema}, synchronous: "FULL", cache: whisk.MB})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Exec(`INSERT INTO documents (namespace, path, package, collection, revision, updated, code, summary, body)
		VALUES ('guest', 'hello', '', 'actions', 7, 1000, 'sha256-x', '{"s":1}', '{"b":1}');
		INSERT INTO changes (position, made, namespace, path, subject) VALUES (7, 1000, 'guest', 'hello', '')`); err != nil {
		t.Fatal(err)
	}
	if err := conn.close(); err != nil {
		t.Fatal(err)
	}
	s, err := OpenEntities(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	doc, err := s.Get(t.Context(), whisk.FullName{Namespace: "guest", Name: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	if doc.Revision != 7 || doc.Code != "sha256-x" || doc.Public || string(doc.Summary) != `{"s":1}` || string(doc.Body) != `{"b":1}` || !doc.Updated.Equal(time.UnixMilli(1000)) {
		t.Errorf("got %+v", doc)
	}
	doc.Public = true
	if revision, err := s.Put(t.Context(), doc); err != nil || revision <= 7 {
		t.Errorf("put with the revision %d and %v", revision, err)
	}
	listed, err := s.List(t.Context(), whisk.EntityQuery{Collection: whisk.Actions, Namespace: "guest", Public: true, Limit: 9})
	if err != nil || len(listed) != 1 {
		t.Errorf("listed %v and %v", listed, err)
	}
}
