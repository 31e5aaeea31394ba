// SPDX-License-Identifier: Apache-2.0

package couchdb_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

const (
	id1 = "0123456789abcdef0123456789abcdef"
	id2 = "fedcba9876543210fedcba9876543210"
)

func TestActivation(t *testing.T) {
	got, err := document("guest/"+id1, `{'_id':'guest/`+id1+`','entityType':'activation','activationId':'`+id1+`','namespace':'guest','name':'a',
		'subject':'alice','version':'0.0.7','publish':false,'start':1700000000000,'end':1700000000035,'duration':30,'cause':'`+id2+`',
		'response':{'statusCode':1,'result':{'error':'no'},'size':14},'logs':['2023-11-14T22:13:20.000Z stdout: a','b'],
		'annotations':[{'key':'path','value':'other/lab/a'},{'key':'limits','value':{'memory':256}}],'updated':1700000000040}`).Activation()
	want := whisk.Activation{
		ID: id1, Namespace: "guest", Subject: "alice", Name: "a", Package: "lab", Version: whisk.Version{Patch: 7},
		Start: time.UnixMilli(1700000000000), End: time.UnixMilli(1700000000035), Duration: 30 * time.Millisecond, Cause: id2,
		Response:    whisk.Response{Status: whisk.ApplicationError, Result: []byte(`{"error":"no"}`), Size: 14},
		Annotations: parameters("path", "'other/lab/a'", "limits", "{'memory':256}"),
		Logs:        []string{"2023-11-14T22:13:20.000Z stdout: a", "b"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

func TestActivationOfATrigger(t *testing.T) {
	got, err := document("guest/"+id1, `{'activationId':'`+id1+`','namespace':'guest','name':'t','subject':'guest','start':1700000000000,'end':0,
		'response':{'statusCode':0,'result':{}},'logs':[]}`).Activation()
	want := whisk.Activation{
		ID: id1, Namespace: "guest", Subject: "guest", Name: "t", Version: whisk.FirstVersion, Start: time.UnixMilli(1700000000000),
		Response: whisk.Response{Result: []byte(`{}`), Size: 2}, Logs: []string{},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

func TestActivationOfOld(t *testing.T) {
	// Without a duration, a result and logs; called through a binding.
	got, err := document("guest/"+id1, `{'activationId':'`+id1+`','namespace':'guest','name':'a','subject':'guest','start':10,'end':25,
		'response':{'statusCode':3,'result':null},'annotations':[{'key':'path','value':'other/lab/a'},{'key':'binding','value':'guest/mylab'}]}`).Activation()
	if err != nil || got.Duration != 15*time.Millisecond || got.Package != "mylab" || got.Response.Status != whisk.WhiskError ||
		got.Response.Result != nil || got.Response.Size != 0 || got.Logs == nil {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestBadActivationsAreRefused(t *testing.T) {
	good := `{'activationId':'` + id1 + `','namespace':'guest','name':'a','subject':'guest','start':10,'end':25,'response':{'statusCode':0}}`
	if _, err := document("guest/"+id1, good).Activation(); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ id, old, new, want string }{
		{"guest/" + id2, "", "", "it says that it is guest/" + id1},
		{"guest/" + id1, id1, "x", "must be 32"},
		{"guest/" + id1, `'name':'a',`, ``, "no name"},
		{"guest/" + id1, `'start':10,`, ``, "no start"},
		{"guest/" + id1, `'guest',`, `'gu/est',`, "illegal characters"},
		{"guest/" + id1, `'statusCode':0`, `'statusCode':4`, "0 to 3"},
		{"guest/" + id1, `'statusCode':0`, `'statusCode':0,'result':7`, "neither an object nor an array"},
		{"guest/" + id1, `'end':25`, `'end':25,'cause':'me'`, "its cause"},
		{"guest/" + id1, `'end':25`, `'end':25,'logs':{}`, "cannot be read"},
	} {
		_, err := document(row.id, strings.Replace(good, row.old, row.new, 1)).Activation()
		if err == nil || whisk.KindOf(err) != whisk.Invalid || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%q for %q: %v, want it refused with %q", row.new, row.old, err, row.want)
		}
	}
}
