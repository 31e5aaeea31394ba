// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/whisk"
)

// archivedRows are the rows of a view, a line for each: the id, the key, the value, the document.
func archivedRows(t *testing.T, p *platform, database, view string) (lines []string, docs []json.RawMessage) {
	t.Helper()
	archive := controller.Archive{Entities: p.store, Subjects: p.store, Activations: p.store}
	rows, err := archive.Rows(t.Context(), database, view, true)
	if err != nil {
		t.Fatal(err)
	}
	for row, err := range rows {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s %s", row.ID, row.Key))
		docs = append(docs, row.Doc)
	}
	return lines, docs
}

func TestArchivedEntities(t *testing.T) {
	p := newPlatform(t)
	p.must(200, "PUT", guest+"/actions/a", `{"exec":{"kind":"nodejs:20","code":"let x"},"annotations":[{"key":"note","value":{"exec":{"code":1},"response":2}}]}`)
	p.must(200, "PUT", guest+"/packages/p", `{"publish":true}`)
	p.must(200, "PUT", guest+"/actions/p/s", `{"exec":{"kind":"sequence","components":["/_/a"]}}`)
	p.must(200, "PUT", guest+"/triggers/t", `{}`)
	p.must(200, "PUT", guest+"/rules/r", `{"trigger":"/_/t","action":"/_/a"}`)

	lines, docs := archivedRows(t, p, "whisks", "")
	if got := strings.Join(lines, "\n"); got != "guest/a \"guest/a\"\nguest/p \"guest/p\"\nguest/p/s \"guest/p/s\"\nguest/r \"guest/r\"\nguest/t \"guest/t\"" {
		t.Errorf("primary index:\n%s", got)
	}
	const head = `"_rev":"<any>","version":"0.0.1","publish":false,"updated":"<any>"`
	sameJSON(t, anyNumbers(t, docs[0]), `{"_id":"guest/a","entityType":"action","namespace":"guest","name":"a",`+head+`,
		"annotations":[{"key":"note","value":{"exec":{"code":1},"response":2}},{"key":"provide-api-key","value":false},{"key":"exec","value":"nodejs:20"}],
		"parameters":[],"limits":{"concurrency":1,"logs":10,"memory":256,"timeout":60000},
		"exec":{"kind":"nodejs:20","binary":false,"code":{"attachmentName":"<any>","digest":"<any>","length":5}}}`)
	sameJSON(t, anyNumbers(t, docs[3]), `{"_id":"guest/r","entityType":"rule","namespace":"guest","name":"r",`+head+`,"annotations":[],
		"trigger":{"path":"guest","name":"t"},"action":{"path":"guest","name":"a"}}`)
	for i, kind := range []string{"action", "package", "action", "rule", "trigger"} {
		if !strings.Contains(string(docs[i]), `"entityType":"`+kind+`"`) {
			t.Errorf("document %d is %s", i, docs[i])
		}
	}
	for view, want := range map[string][]string{
		"whisks.v2.1.0/actions":         {"guest/a [\"guest\",", "guest/p/s [\"guest/p\",", "guest/p/s [\"guest\","},
		"whisks.v2.1.0/packages":        {"guest/p [\"guest\","},
		"whisks.v2.1.0/packages-public": {"guest/p [\"guest\","},
		"whisks.v2.1.0/triggers":        {"guest/t [\"guest\","},
		"whisks.v2.1.0/rules":           {"guest/r [\"guest\","},
	} {
		lines, _ := archivedRows(t, p, "whisks", view)
		for i := range max(len(lines), len(want)) {
			if len(lines) != len(want) || !strings.HasPrefix(lines[i], want[i]) {
				t.Errorf("%s: %q, want %q", view, lines, want)
				break
			}
		}
	}
}

// anyNumbers replaces the time and the revision of a document.
func anyNumbers(t *testing.T, doc json.RawMessage) string {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(doc, &object); err != nil {
		t.Fatalf("%v in %s", err, doc)
	}
	if updated, ok := object["updated"].(float64); !ok || updated < 1e12 {
		t.Errorf("updated is %v", object["updated"])
	}
	object["updated"] = "some time"
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestArchivedRecords(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.must(200, "PUT", guest+"/packages/p", `{}`)
	p.must(200, "PUT", guest+"/actions/p/a", hello)
	p.must(200, "PUT", guest+"/actions/s", `{"exec":{"kind":"sequence","components":["/_/p/a"]}}`)
	id, _ := p.must(200, "POST", guest+"/actions/s?blocking=true", `{"response":{"statusCode":7}}`).decode(t)["activationId"].(string)
	p.recordOf(t, id)
	eventually(t, func() bool { return len(p.store.Records()) == 2 })

	byName, docs := archivedRows(t, p, "activations", "whisks-filters.v2.1.1/activations")
	if got := strings.Join(byName, "\n"); !strings.Contains(got, `["guest/p/a",`) || !strings.Contains(got, `["guest/s",`) || len(byName) != 2 {
		t.Errorf("by name:\n%s", got)
	}
	for _, doc := range docs {
		if !strings.Contains(string(doc), `"response":{"statusCode":0,"result":{"response":{"statusCode":7}},"size":29}`) || !json.Valid(doc) {
			t.Errorf("a record is %s", doc)
		}
	}
	for view, want := range map[string]int{"whisks.v2.1.0/activations": 2, "activations/byDate": 2, "logCleanup/byDateWithLogs": 0} {
		if lines, _ := archivedRows(t, p, "activations", view); len(lines) != want {
			t.Errorf("%s: %q", view, lines)
		}
	}
}

func TestArchivedSubjects(t *testing.T) {
	p := newPlatform(t)
	zero := 0
	subject, err := p.store.Subject(t.Context(), "other-user")
	if err != nil {
		t.Fatal(err)
	}
	subject.Blocked = true
	if err := p.store.PutSubject(t.Context(), subject); err != nil {
		t.Fatal(err)
	}
	if err := p.store.PutNamespaceLimits(t.Context(), "guest", whisk.NamespaceLimits{ConcurrentInvocations: &zero}); err != nil {
		t.Fatal(err)
	}
	blocked, _ := archivedRows(t, p, "subjects", "namespaceThrottlings/blockedNamespaces")
	if got := strings.Join(blocked, ", "); got != `other-user "other", guest/limits "guest"` {
		t.Errorf("blocked are %s", got)
	}
	identities, docs := archivedRows(t, p, "subjects", "subjects.v2.0.0/identities")
	if len(identities) != 2 || identities[0] != `guest-user ["guest"]` || string(docs[0]) != `{"_id":"guest/limits","_rev":"0","concurrentInvocations":0}` {
		t.Errorf("identities are %q, %s", identities, docs)
	}
	all, docs := archivedRows(t, p, "subjects", "")
	if len(all) != 3 || strings.Contains(string(docs[0]), guestKey) || !strings.Contains(string(docs[0]), `"subject":"guest-user"`) {
		t.Errorf("subjects are %q, %s", all, docs)
	}
}
