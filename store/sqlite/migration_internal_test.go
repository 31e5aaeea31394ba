// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// TestFormerSchemas opens what each former version of the program left.
func TestFormerSchemas(t *testing.T) {
	all := []string{entitiesSchema, publicSchema, namespaceLimitsSchema, accepterSchema, alarmsSchema, apisSchema}
	for version := 1; version < len(all); version++ {
		path := filepath.Join(t.TempDir(), "entities.db")
		db, err := openDatabase(t.Context(), path, layout{migrations: all[:version], synchronous: "FULL", cache: whisk.MB})
		if err != nil {
			t.Fatal(err)
		}
		former := &Entities{db}
		if err := former.PutSubject(t.Context(), whisk.Subject{Name: "alice"}); err != nil {
			t.Fatal(err)
		}
		entry := fmt.Sprintf("INSERT INTO accepted (activation, namespace, at, body) VALUES ('old', 'guest', %d, '{}')", version)
		if err := db.write(t.Context(), 0, func(c *connection) error { return c.prepare(entry).run() }); err != nil {
			t.Fatal(err)
		}
		if err := former.Close(); err != nil {
			t.Fatal(err)
		}
		now, err := OpenEntities(t.Context(), path)
		if err != nil {
			t.Fatalf("schema %d: %v", version, err)
		}
		if _, err := now.Subject(t.Context(), "alice"); err != nil {
			t.Errorf("schema %d: %v", version, err)
		}
		if err := now.PutNamespaceLimits(t.Context(), "alice", whisk.NamespaceLimits{}); err != nil {
			t.Errorf("schema %d: %v", version, err)
		}
		if _, err := now.PutAPI(t.Context(), whisk.API{Namespace: "alice", BasePath: "/"}); err != nil {
			t.Errorf("schema %d: %v", version, err)
		}
		want := whisk.Accepted{Activation: "old", Namespace: "guest", At: time.UnixMilli(int64(version)).UTC(), Body: json.RawMessage("{}")}
		for entry, err := range now.Pending(t.Context()) {
			if err != nil || !reflect.DeepEqual(entry, want) {
				t.Errorf("schema %d left the entry %+v, %v; want %+v", version, entry, err, want)
			}
		}
		if err := now.Close(); err != nil {
			t.Error(err)
		}
	}
}
