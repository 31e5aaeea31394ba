// SPDX-License-Identifier: Apache-2.0

package couchdb_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

var key = strings.Repeat("k", whisk.KeyLength)

func TestSubject(t *testing.T) {
	hash := whisk.HashKey(key)
	for _, row := range []struct {
		name, body string
		want       whisk.Subject
	}{
		{"several namespaces", `{'_id':'alice','subject':'alice','namespaces':[{'name':'alice','uuid':'u-1','key':'KEY'},{'name':'lab','uuid':'u-2','key':'KEY'}]}`,
			whisk.Subject{Name: "alice", Namespaces: []whisk.SubjectNamespace{{Name: "alice", UUID: "u-1", Key: hash}, {Name: "lab", UUID: "u-2", Key: hash}}}},
		{"blocked", `{'subject':'alice','namespaces':[{'name':'alice','uuid':'u-1','key':'KEY'}],'blocked':true}`,
			whisk.Subject{Name: "alice", Blocked: true, Namespaces: []whisk.SubjectNamespace{{Name: "alice", UUID: "u-1", Key: hash}}}},
		{"of old", `{'subject':'alice','uuid':'u-1','key':'KEY'}`,
			whisk.Subject{Name: "alice", Namespaces: []whisk.SubjectNamespace{{Name: "alice", UUID: "u-1", Key: hash}}}},
		{"none", `{'subject':'alice','namespaces':[]}`, whisk.Subject{Name: "alice"}},
	} {
		doc := document("alice", strings.ReplaceAll(row.body, "KEY", key))
		if got, err := doc.Subject(); err != nil || doc.IsLimits() || !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s: got %+v, %v\nwant %+v", row.name, got, err, row.want)
		}
	}
}

func TestBadSubjectsAreRefusedWithoutTheirKeys(t *testing.T) {
	for _, row := range []struct{ body, want string }{
		{`{'subject':'bob','namespaces':[]}`, `subject "bob"`},
		{`{'subject':'alice','namespaces':[{'name':'a/b','uuid':'u-1','key':'KEY'}]}`, "illegal characters"},
		{`{'subject':'alice','namespaces':[{'name':'lab','uuid':'u-1','key':'shortKEY'}]}`, "namespace lab lacks"},
		{`{'subject':'alice','namespaces':[{'name':'lab','key':'KEY'}]}`, "namespace lab lacks"},
		{`{'subject':'alice','namespaces':{'KEY':1}}`, "cannot be read"},
	} {
		_, err := document("alice", strings.ReplaceAll(row.body, "KEY", key)).Subject()
		if err == nil || whisk.KindOf(err) != whisk.Invalid || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v, want %q", row.body, err, row.want)
		}
	}
}

func TestLimits(t *testing.T) {
	doc := document("guest/limits", `{'_id':'guest/limits','_rev':'1-x','invocationsPerMinute':120,'concurrentInvocations':0,'firesPerMinute':3,
		'allowedKinds':['nodejs:20'],'storeActivations':false,'minActionMemory':128,'maxActionMemory':1024,'minActionLogs':0,'maxActionLogs':20,
		'minActionTimeout':100,'maxActionTimeout':600000,'minActionConcurrency':1,'maxActionConcurrency':5,'maxParameterSize':'2 MB',
		'maxPayloadSize':'3 MB','truncationSize':'1048576 B','warmedContainerKeepingCount':2,'warmedContainerKeepingTimeout':'24 hours','other':null}`)
	got, err := doc.Limits()
	want := whisk.NamespaceLimits{
		InvocationsPerMinute: new(120), ConcurrentInvocations: new(0), FiresPerMinute: new(3),
		AllowedKinds: []string{"nodejs:20"}, StoreActivations: new(false),
		MinActionMemory: new(int64(128)), MaxActionMemory: new(int64(1024)), MinActionLogs: new(int64(0)), MaxActionLogs: new(int64(20)),
		MinActionTimeout: new(int64(100)), MaxActionTimeout: new(int64(600000)), MinActionConcurrency: new(1), MaxActionConcurrency: new(5),
		MaxParameterSize: "2 MB", MaxPayloadSize: "3 MB", TruncationSize: "1048576 B",
	}
	unknown := []string{"warmedContainerKeepingCount", "warmedContainerKeepingTimeout"}
	if err != nil || !doc.IsLimits() || got.Namespace != "guest" || !reflect.DeepEqual(got.NamespaceLimits, want) || !slices.Equal(got.Unknown, unknown) {
		t.Errorf("got  %+v, %v\nwant %+v and %v", got, err, want, unknown)
	}
	if got, err := document("guest/limits", `{'allowedKinds':[],'maxPayloadSize':''}`).Limits(); err != nil ||
		!reflect.DeepEqual(got.NamespaceLimits, whisk.NamespaceLimits{}) || got.Unknown != nil {
		t.Errorf("got %+v, %v, want none", got, err)
	}
}

func TestBadLimitsAreRefused(t *testing.T) {
	for _, row := range []struct{ id, body, want string }{
		{"gu/est/limits", `{}`, "illegal characters"},
		{"guest/limits", `{'invocationsPerMinute':-1}`, "0 or more"},
		{"guest/limits", `{'invocationsPerMinute':'many'}`, "cannot be read"},
		{"guest/limits", `{'maxPayloadSize':'much'}`, "maxPayloadSize"},
	} {
		if _, err := document(row.id, row.body).Limits(); err == nil || whisk.KindOf(err) != whisk.Invalid || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.body, err, row.want)
		}
	}
}
