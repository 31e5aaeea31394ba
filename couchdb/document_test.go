// SPDX-License-Identifier: Apache-2.0

package couchdb_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/couchdb"
	"github.com/whirl-faas/whirl/whisk"
)

// document makes a document, in which ' stands for ".
func document(id, body string) couchdb.Document {
	return couchdb.Document{ID: id, Body: []byte(strings.ReplaceAll(body, "'", `"`))}
}

func parameters(pairs ...string) whisk.Parameters {
	list := whisk.Parameters{}
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, whisk.Parameter{Key: pairs[i], Value: []byte(strings.ReplaceAll(pairs[i+1], "'", `"`))})
	}
	return list
}

func TestType(t *testing.T) {
	for _, row := range []struct {
		body string
		want couchdb.Type
	}{
		{`{'entityType':'action','exec':{}}`, couchdb.TypeAction},
		{`{'entityType':'package','binding':{}}`, couchdb.TypePackage},
		{`{'entityType':'trigger','parameters':[]}`, couchdb.TypeTrigger},
		{`{'entityType':'rule','trigger':{}}`, couchdb.TypeRule},
		{`{'exec':{},'parameters':[]}`, couchdb.TypeAction},
		{`{'binding':{},'parameters':[]}`, couchdb.TypePackage},
		{`{'trigger':'t','action':'a'}`, couchdb.TypeRule},
		{`{'parameters':[]}`, couchdb.TypeTrigger},
	} {
		if got, err := document("x", row.body).Type(); err != nil || got != row.want {
			t.Errorf("%s is %q, %v, want %q", row.body, got, err, row.want)
		}
	}
	for _, body := range []string{`{}`, `{'entityType':'activation'}`, `[]`} {
		if got, err := document("x", body).Type(); err == nil || whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("%s is %q, %v, want it refused", body, got, err)
		}
	}
}

func TestAction(t *testing.T) {
	got, _, err := document("guest/lab/a", `{'_id':'guest/lab/a','_rev':'1-x','entityType':'action','namespace':'guest/lab','name':'a','version':'1.2.3',
		'publish':true,'updated':1700000000123,'exec':{'kind':'nodejs:6','code':'x','binary':false,'main':'run'},
		'parameters':[{'key':'k','value':'AAAADA==','encryption':'aes-128'},{'key':'e','value':1,'init':true}],
		'annotations':[{'key':'exec','value':'nodejs:6'}],'limits':{'timeout':1000,'memory':8192,'logs':0}}`).Action()
	want := whisk.Action{
		Name: whisk.FullName{Namespace: "guest", Package: "lab", Name: "a"}, Version: whisk.Version{Major: 1, Minor: 2, Patch: 3},
		Publish: true, Updated: time.UnixMilli(1700000000123), Exec: whisk.Exec{Kind: "nodejs:6", Main: "run"},
		Parameters: whisk.Parameters{
			{Key: "k", Value: []byte(`"AAAADA=="`), Encryption: "aes-128"}, {Key: "e", Value: []byte("1"), Init: true},
		},
		Annotations: parameters("exec", "'nodejs:6'"),
		Limits:      whisk.ActionLimits{Timeout: time.Second, Memory: 8 * whisk.GB, Concurrency: 1},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
	// What a document of old lacks.
	got, _, err = document("guest/a", `{'namespace':'guest','name':'a','exec':{'kind':'Python','code':'x'},'updated':'2016-05-01T10:00:00.250Z'}`).Action()
	want = whisk.Action{
		Name: whisk.FullName{Namespace: "guest", Name: "a"}, Version: whisk.FirstVersion, Exec: whisk.Exec{Kind: "python"},
		Limits: whisk.DefaultActionLimits, Updated: got.Updated,
	}
	if at := time.Date(2016, 5, 1, 10, 0, 0, 250e6, time.UTC); err != nil || !reflect.DeepEqual(got, want) || !got.Updated.Equal(at) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

func TestExecWithoutCode(t *testing.T) {
	for _, row := range []struct {
		name, exec string
		want       whisk.Exec
	}{
		{"image", `{'kind':'blackbox','image':'me/image:1','binary':false}`, whisk.Exec{Kind: whisk.Blackbox, Image: "me/image:1"}},
		{"blank code", `{'kind':'blackbox','image':'me/image:1','code':' '}`, whisk.Exec{Kind: whisk.Blackbox, Image: "me/image:1"}},
		{"sequence", `{'kind':'sequence','components':['/guest/a','/_/b','whisk.system/utils/cat',{'path':'guest/lab','name':'c'},'d']}`,
			whisk.Exec{Kind: whisk.Sequence, Components: []whisk.FullName{
				{Namespace: "guest", Name: "a"}, {Namespace: "guest", Name: "b"}, {Namespace: "whisk.system", Package: "utils", Name: "cat"},
				{Namespace: "guest", Package: "lab", Name: "c"}, {Namespace: "guest", Name: "d"},
			}}},
		{"sequence of old", `{'kind':'sequence','code':'pipe','main':'pipe','components':['/guest/a']}`,
			whisk.Exec{Kind: whisk.Sequence, Components: []whisk.FullName{{Namespace: "guest", Name: "a"}}}},
	} {
		action, code, err := document("guest/x", `{'namespace':'guest','name':'x','exec':`+row.exec+`}`).Action()
		if err != nil || code.Exists() || !reflect.DeepEqual(action.Exec, row.want) {
			t.Errorf("%s: got %+v, with code: %v, %v\nwant %+v", row.name, action.Exec, code.Exists(), err, row.want)
		}
	}
}

func TestCode(t *testing.T) {
	const text = "function main() { return {a: '\u00fc'} }" // whose base64 differs from the URLs' alphabet
	binary := bytes.Repeat([]byte{0, 0xfb, 0xff, 0x3e}, 10_001)
	said := fmt.Sprintf("'length':%d,'digest':'sha256-%x'", len(text), sha256.Sum256([]byte(text)))
	inName := "mem:" + base64.URLEncoding.EncodeToString([]byte(text))
	attachments := attached{"u-1": text, "codefile": text, "jarfile": string(binary), "u-2": string(binary)}
	encoded := base64.StdEncoding.EncodeToString(binary)
	for _, row := range []struct {
		name, exec, want string
		binary           bool
	}{
		{"inline", `'code':'let a','binary':false`, "let a", false},
		{"inline and binary, whatever it says", `'code':'UEsDBA==','binary':false`, "UEsDBA==", true},
		{"inline jar", `'jar':'UEsDBA=='`, "UEsDBA==", true},
		{"empty", `'code':''`, "", false},
		{"in the name", `'binary':false,'code':{'attachmentName':'` + inName + `','attachmentType':'text/plain; charset=UTF-8',` + said + `}`, text, false},
		{"in the name, without padding", `'code':{'attachmentName':'` + strings.TrimRight(inName, "=") + `','attachmentType':'text/plain'}`, text, false},
		{"in the name, binary", `'binary':true,'code':{'attachmentName':'mem:-_8=','attachmentType':'application/octet-stream'}`, "+/8=", true},
		{"attached", `'binary':false,'code':{'attachmentName':'couch:u-1','attachmentType':'text/plain; charset=UTF-8','digest':'md5-x'}`, text, false},
		{"attached, binary", `'binary':true,'code':{'attachmentName':'couch:u-2','attachmentType':'application/octet-stream'}`, encoded, true},
		{"attached of old", `'code':{'attachmentName':'codefile','attachmentType':'text/plain'}`, text, false},
		{"attached jar of old", `'jar':{'attachmentName':'jarfile','attachmentType':'application/java-archive'}`, encoded, true},
	} {
		action, code, err := document("guest/x", `{'namespace':'guest','name':'x','exec':{'kind':'any:1',`+row.exec+`}}`).Action()
		if err != nil || !code.Exists() || action.Exec.Binary != row.binary {
			t.Errorf("%s: %v, exists: %v, binary: %v, want %v", row.name, err, code.Exists(), action.Exec.Binary, row.binary)
			continue
		}
		got, err := readCode(t.Context(), code, attachments)
		if err != nil || got != row.want {
			t.Errorf("%s: %d bytes, %v, want %d: %.40q", row.name, len(got), err, len(row.want), got)
		}
	}
}

// attached are a source's attachments.
type attached map[string]string

func (attached) Documents(context.Context, couchdb.Database) iter.Seq2[couchdb.Document, error] {
	return nil
}

func (a attached) Attachment(_ context.Context, _ couchdb.Document, name string) (io.ReadCloser, error) {
	if content, there := a[name]; there {
		return io.NopCloser(strings.NewReader(content)), nil
	}
	return nil, whisk.Errorf(whisk.NotFound, "no %s", name)
}

func readCode(ctx context.Context, code couchdb.Code, source couchdb.Source) (string, error) {
	content, err := code.Open(ctx, source)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(content)
	return string(text), errors.Join(err, content.Close())
}

func TestCodeThatCannotBeHad(t *testing.T) {
	for _, row := range []struct{ code, want string }{
		{`{'attachmentName':'s3:u-1','attachmentType':'text/plain'}`, "outside of CouchDB, in s3:u-1"},
		{`{'attachmentName':'mem:%%','attachmentType':'text/plain'}`, "damaged"},
		{`{'attachmentName':'couch:u-9','attachmentType':'text/plain'}`, "no u-9"},
		{`{'attachmentName':'couch:u-1','attachmentType':'text/plain','length':4}`, "damaged: 3 bytes, not 4"},
		{`{'attachmentName':'mem:YWJj','attachmentType':'text/plain','digest':'sha256-00'}`, "damaged: its SHA-256 is "},
	} {
		_, code, err := document("guest/x", `{'namespace':'guest','name':'x','exec':{'kind':'any:1','code':`+row.code+`}}`).Action()
		if err == nil {
			_, err = readCode(t.Context(), code, attached{"u-1": "abc"})
		}
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.code, err, row.want)
		}
	}
}

func TestPackage(t *testing.T) {
	for _, row := range []struct {
		binding string
		want    whisk.FullName
	}{
		{`{}`, whisk.FullName{}},
		{`null`, whisk.FullName{}},
		{`{'namespace':'whisk.system','name':'utils'}`, whisk.FullName{Namespace: "whisk.system", Name: "utils"}},
		{`{'namespace':'_','name':'lab'}`, whisk.FullName{Namespace: "guest", Name: "lab"}},
	} {
		got, err := document("guest/p", `{'namespace':'guest','name':'p','version':'0.0.2','publish':true,'updated':5,'binding':`+row.binding+`,
			'parameters':[{'key':'k','value':{'a': 1}}],'annotations':[]}`).Package()
		want := whisk.Package{
			Name: whisk.FullName{Namespace: "guest", Name: "p"}, Version: whisk.Version{Patch: 2}, Publish: true, Binding: row.want,
			Parameters: parameters("k", "{'a': 1}"), Annotations: whisk.Parameters{}, Updated: time.UnixMilli(5),
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
		}
	}
}

func TestTrigger(t *testing.T) {
	got, err := document("guest/t", `{'entityType':'trigger','namespace':'guest','name':'t','limits':{},'rules':{
		'guest/r':{'action':{'path':'guest/lab','name':'a'},'status':'active'},
		'guest/s':{'action':{'path':'guest','name':'b'},'status':'inactive'}}}`).Trigger()
	rule := func(name string) whisk.FullName { return whisk.FullName{Namespace: "guest", Name: name} }
	want := whisk.Trigger{
		Name: rule("t"), Version: whisk.FirstVersion, Updated: time.UnixMilli(0),
		Rules: map[whisk.FullName]whisk.RuleLink{
			rule("r"): {Action: whisk.FullName{Namespace: "guest", Package: "lab", Name: "a"}, Status: whisk.Active},
			rule("s"): {Action: rule("b"), Status: whisk.Inactive},
		},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

func TestRule(t *testing.T) {
	for _, row := range []struct{ trigger, action string }{
		{`{'path':'guest','name':'t'}`, `{'path':'guest/lab','name':'a'}`},
		{`'t'`, `'guest/lab/a'`},
		{`'/_/t'`, `'/guest/lab/a'`},
	} {
		got, err := document("guest/r", `{'namespace':'guest','name':'r','trigger':`+row.trigger+`,'action':`+row.action+`,'status':'active'}`).Rule()
		want := whisk.Rule{
			Name: whisk.FullName{Namespace: "guest", Name: "r"}, Version: whisk.FirstVersion, Updated: time.UnixMilli(0),
			Trigger: whisk.FullName{Namespace: "guest", Name: "t"}, Action: whisk.FullName{Namespace: "guest", Package: "lab", Name: "a"},
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
		}
	}
}

func TestBadEntitiesAreRefused(t *testing.T) {
	for _, row := range []struct{ id, body, want string }{
		{"guest/b", `{'namespace':'guest','name':'a','exec':{'kind':'x','code':''}}`, "it says that it is /guest/a"},
		{"guest/a", `{'namespace':'guest','name':'a','exec':{'code':''}}`, "no kind"},
		{"guest/a", `{'namespace':'guest','name':'a','exec':{'kind':'x'}}`, "no code"},
		{"guest/a", `{'namespace':'guest','name':'a','exec':{'kind':'x','code':7}}`, "neither a string nor an attachment"},
		{"guest/a", `{'namespace':'guest','name':'a','exec':{'kind':'blackbox'}}`, "no image"},
		{"guest/a", `{'namespace':'guest','name':'a','exec':{'kind':'sequence','components':[7]}}`, "component"},
		{"guest/a", `{'namespace':'guest','name':'a','exec':{'kind':'x','code':''},'limits':{'memory':0}}`, "limits make no sense"},
		{"guest/a", `{'namespace':'guest','name':'a','version':'new','exec':{'kind':'x','code':''}}`, "version"},
		{"guest/a", `{'namespace':'guest','name':'a','exec':{'kind':'x','code':''},'parameters':{'k':1}}`, "array"},
		{"guest/a/b/c", `{'namespace':'guest/a/b','name':'c','exec':{'kind':'x','code':''}}`, "more parts"},
		{"guest/a", `{'namespace':'guest','name':'a','binding':{'namespace':'guest','name':'a/b'}}`, "no package's name"},
		{"guest/p/q", `{'namespace':'guest/p','name':'q','binding':{}}`, "only actions"},
		{"guest/p/q", `{'namespace':'guest/p','name':'q','trigger':'t','action':'a'}`, "only actions"},
		{"guest/t", `{'namespace':'guest','name':'t','parameters':[],'rules':{'r':{}}}`, "rule"},
		{"guest/t", `{'namespace':'guest','name':'t','parameters':[],'rules':{'guest/r':{'action':'a','status':'activating'}}}`, "neither active nor inactive"},
		{"guest/t", `{'namespace':'guest','name':'t','parameters':[],'updated':'soon'}`, "cannot be read"},
		{"guest/r", `{'namespace':'guest','name':'r','trigger':'t'}`, "action"},
		{"guest/r", `{'namespace':'guest','name':'r','trigger':{'path':'guest'},'action':'a'}`, "trigger"},
	} {
		if err := readAny(document(row.id, row.body)); err == nil || whisk.KindOf(err) != whisk.Invalid || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want it refused with %q", row.body, err, row.want)
		}
	}
}

// readAny reads a document of whisks as what it is.
func readAny(doc couchdb.Document) error {
	kind, err := doc.Type()
	if err != nil {
		return err
	}
	switch kind {
	case couchdb.TypeAction:
		_, _, err = doc.Action()
	case couchdb.TypePackage:
		_, err = doc.Package()
	case couchdb.TypeTrigger:
		_, err = doc.Trigger()
	case couchdb.TypeRule:
		_, err = doc.Rule()
	}
	return err
}
