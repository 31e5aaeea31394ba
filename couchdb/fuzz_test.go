// SPDX-License-Identifier: Apache-2.0

package couchdb_test

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"github.com/whirl-faas/whirl/couchdb"
	"github.com/whirl-faas/whirl/whisk"
)

// FuzzDump has anything for a dump. Whatever the documents are, reading them ends, with
// what has the names that it should, or in an error that blames the document.
func FuzzDump(f *testing.F) {
	for _, document := range []string{
		`{'namespace':'guest','name':'a','updated':1.7e12,'exec':{'kind':'x','code':{'attachmentName':'couch:u','attachmentType':'text/plain'}},'_attachments':{'u':{'data':'aGk='}}}`,
		`{'namespace':'guest','name':'a','updated':'2016-05-01T10:00:00Z','exec':{'kind':'x','jar':{'attachmentName':'mem:aGk=','attachmentType':'x/y','length':2}}}`,
		`{'namespace':'guest','name':'a','exec':{'kind':'sequence','components':['a',{'path':'guest','name':'b'}]}}`,
		`{'namespace':'guest','name':'a','binding':{'namespace':'_','name':'b'}}`,
		`{'namespace':'guest','name':'a','parameters':[{'key':'k','value':1}],'rules':{'guest/r':{'action':'a','status':'active'}}}`,
		`{'namespace':'guest','name':'a','trigger':'t','action':{'path':'guest/p','name':'b'}}`,
		`{'activationId':'` + id1 + `','namespace':'guest','name':'a','start':1,'end':2,'response':{'statusCode':1,'result':[]},'annotations':[{'key':'path','value':'a/b/c'}]}`,
		`{'subject':'guest/a','namespaces':[{'name':'a','uuid':'u','key':'` + key + `'}],'invocationsPerMinute':1,'x':2}`,
	} {
		f.Add([]byte(strings.ReplaceAll(`{'rows':[{'id':'guest/a','doc':`+document+`}]}`, "'", `"`)))
	}
	f.Add([]byte(`{"total_rows":1,"rows":[{"id":"a"},{"id":"b","error":"x"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		dump := couchdb.Dump{Dir: fstest.MapFS{"whisks.json": {Data: text}}}
		for doc, err := range dump.Documents(t.Context(), couchdb.Whisks) {
			if err != nil {
				continue
			}
			if !json.Valid(doc.Body) {
				t.Fatalf("document %q is no JSON: %q", doc.ID, doc.Body)
			}
			checkRead(t, doc, dump)
		}
	})
}

// checkRead reads a document as all that it could be.
func checkRead(t *testing.T, doc couchdb.Document, source couchdb.Source) {
	action, code, actionErr := doc.Action()
	pkg, packageErr := doc.Package()
	trigger, triggerErr := doc.Trigger()
	rule, ruleErr := doc.Rule()
	record, recordErr := doc.Activation()
	subject, subjectErr := doc.Subject()
	limits, limitsErr := doc.Limits()
	for _, read := range []struct {
		id  string
		err error
	}{
		{action.Name.Path(), actionErr}, {pkg.Name.Path(), packageErr}, {trigger.Name.Path(), triggerErr}, {rule.Name.Path(), ruleErr},
		{record.Namespace + "/" + string(record.ID), recordErr}, {subject.Name, subjectErr}, {limits.Namespace + "/limits", limitsErr},
	} {
		switch {
		case read.err == nil && read.id != doc.ID && read.id != doc.ID+"/limits":
			t.Errorf("document %q was read as %q", doc.ID, read.id)
		case read.err != nil && whisk.KindOf(read.err) != whisk.Invalid:
			t.Errorf("document %q: an error of kind %v: %v", doc.ID, whisk.KindOf(read.err), read.err)
		}
	}
	if actionErr == nil && code.Exists() {
		checkCode(t, action, code, source)
	}
}

// checkCode reads code, which must not depend on how much is read at once.
func checkCode(t *testing.T, action whisk.Action, code couchdb.Code, source couchdb.Source) {
	whole, err := readCode(t.Context(), code, source)
	if err != nil {
		return
	}
	if action.Exec.Binary && whole != "" && !whisk.IsBase64(whole) {
		t.Errorf("binary code is %q", whole)
	}
	content, err := code.Open(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := io.ReadAll(iotest.OneByteReader(content)); err != nil || string(again) != whole {
		t.Errorf("byte by byte %q, %v, at once %q", again, err, whole)
	}
}
