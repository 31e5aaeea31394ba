// SPDX-License-Identifier: Apache-2.0

package web_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/controller/web"
	"github.com/whirl-faas/whirl/whisk"
)

// The metadata of a request without query and body.
func TestContext(t *testing.T) {
	request := web.Request{
		Method: "PATCH", Host: "localhost:3233", Path: "/x%20y", User: "guest",
		Header: map[string][]string{
			"Accept": {"text/html", "*/*"}, "Cookie": {"a=b", "c=d"}, "X-Quote": {`"ü"` + "\xff"}, "Content-Length": {"0"}, "X-Ow-Extra-Logging": {"on"}, "Authorization": {"Bearer x"},
		},
	}
	got, err := request.AppendPayload(nil, false, nil)
	const want = `{"__ow_method":"patch","__ow_headers":{"accept":"text/html, */*","authorization":"Bearer x","cookie":"a=b; c=d","x-quote":"\"ü\"\ufffd","host":"localhost:3233"},"__ow_path":"/x%20y","__ow_user":"guest"}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s %v\nwant %s", got, err, want)
	}
}

const (
	typeJSON = "application/json"
	typeForm = "application/x-www-form-urlencoded"
)

func TestArguments(t *testing.T) {
	for _, test := range []struct {
		name        string
		raw         bool
		query       string
		contentType string
		body        string
		want        string // beside method, path, headers
	}{
		{"nothing", false, "", "", "", `{}`},
		{"query", false, "a=b&c=d", "", "", `{"a":"b","c":"d"}`},
		{"query escaped", false, "a%20b=c+d%2B&%C3%BC=%22&e=1=2;3", "", "", `{"a b":"c d+","ü":"\"","e":"1=2;3"}`},
		{"query without values", false, "a&b=&=c", "", "", `{"a":"","b":"","":"c"}`},
		{"query twice", false, "a=1&b=2&a=3", "", "", `{"b":"2","a":"3"}`},
		{"broken UTF-8 in the query", false, "a=%ff", "", "", `{"a":"\ufffd"}`},

		{"object", false, "", typeJSON, `{"a":{"b":1.50}}`, `{"a":{"b":1.5}}`},
		{"object over query", false, "a=q&b=q", typeJSON, ` { "a" : 1 , "c" : null } `, `{"b":"q","a":1,"c":null}`},
		{"escaped key over query", false, "a=q", typeJSON, `{"\u0061":1}`, `{"a":1}`},
		{"empty object", false, "a=q", typeJSON, ` { } `, `{"a":"q"}`},
		{"no JSON at all", false, "a=q", typeJSON, ``, `{"a":"q"}`},
		{"array", false, "a=q", typeJSON, ` [1,{"a":2}] `, `{"a":"q","__ow_body":[1,{"a":2}]}`},
		{"string", false, "", typeJSON, `"text"`, `{"__ow_body":"text"}`},
		{"number", false, "", typeJSON, `99`, `{"__ow_body":99}`},
		{"null", false, "", typeJSON, `null`, `{"__ow_body":null}`},
		{"object of another JSON type", false, "", "application/cloudevents+json; charset=utf-8", `{"a":1}`, `{"a":1}`},
		{"JSON in capitals", false, "", "Application/JSON;charset=UTF-8", `{"a":1}`, `{"a":1}`},

		{"form", false, "", typeForm, "a=b+c&d=%26", `{"a":"b c","d":"&"}`},
		{"form over query", false, "a=q&b=q", typeForm + "; charset=UTF-8", "a=1&a=2&c=", `{"b":"q","a":"2","c":""}`},
		{"empty form", false, "a=q", typeForm, "", `{"a":"q"}`},

		{"text", false, "a=q", "text/plain", "1,2,3 \"ü\"\n", `{"a":"q","__ow_body":"1,2,3 \"ü\"\n"}`},
		{"empty text", false, "", "text/plain", "", `{"__ow_body":""}`},
		{"xml", false, "", "application/xml", "<a/>", `{"__ow_body":"<a/>"}`},
		{"broken UTF-8", false, "", "text/html", "a\xff", `{"__ow_body":"a\ufffd"}`},
		{"unknown type with a charset", false, "", "application/x-thing; charset=utf-8", "thing", `{"__ow_body":"thing"}`},
		{"unknown type", false, "", "application/x-thing", "thing", `{"__ow_body":"dGhpbmc="}`},
		{"picture", false, "", "image/png", "\x89PNG", `{"__ow_body":"iVBORw=="}`},
		{"picture with a charset", false, "", "image/png; charset=utf-8", "\x89PNG", `{"__ow_body":"iVBORw=="}`},
		{"multipart", false, "", "multipart/form-data; boundary=x", "--x--", `{"__ow_body":"LS14LS0="}`},
		{"no type", false, "", "", "thing", `{"__ow_body":"dGhpbmc="}`},
		{"bad type", false, "", "thing", "thing", `{"__ow_body":"dGhpbmc="}`},

		{"raw nothing", true, "", "", "", `{"__ow_query":"","__ow_body":""}`},
		{"raw query", true, "a=b&__ow_method=x&final=1&c", "", "", `{"__ow_query":"a=b&__ow_method=x&final=1&c","__ow_body":""}`},
		{"raw query normalized", true, "a=%41%20b+c&d=;+[]%2b&e=/?:@%ff&", "", "", `{"__ow_query":"a=A+b+c&d=%3B+%5B%5D%2B&e=/?:@%EF%BF%BD&","__ow_body":""}`},
		{"raw object", true, "", typeJSON, `{"final": 1}`, `{"__ow_query":"","__ow_body":"` + base64.StdEncoding.EncodeToString([]byte(`{"final": 1}`)) + `"}`},
		{"raw broken object", true, "", typeJSON, `{`, `{"__ow_query":"","__ow_body":"ew=="}`},
		{"raw empty object", true, "", typeJSON, ``, `{"__ow_query":"","__ow_body":""}`},
		{"raw known JSON type", true, "", "application/problem+json", `{}`, `{"__ow_query":"","__ow_body":"{}"}`},
		{"raw unknown JSON type", true, "", "application/hal+json", `{}`, `{"__ow_query":"","__ow_body":"e30="}`},
		{"raw form", true, "", typeForm, "a=%41", `{"__ow_query":"","__ow_body":"a=%41"}`},
		{"raw text", true, "", "text/plain", "text", `{"__ow_query":"","__ow_body":"text"}`},
		{"raw picture", true, "", "image/png", "\x89PNG", `{"__ow_query":"","__ow_body":"iVBORw=="}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			request := web.Request{Method: "POST", Host: "h", Query: test.query, Body: []byte(test.body), Header: map[string][]string{}}
			if test.contentType != "" {
				request.Header["Content-Type"] = []string{test.contentType}
			}
			payload, err := request.AppendPayload([]byte("x"), test.raw, map[string]bool{"final": true})
			if err != nil {
				t.Fatal(err)
			}
			got := decode(t, payload[1:])
			for _, key := range []string{"__ow_method", "__ow_headers", "__ow_path"} {
				if _, there := got[key]; !there {
					t.Errorf("no %s in %s", key, payload)
				}
				delete(got, key)
			}
			if want := decode(t, []byte(test.want)); !reflect.DeepEqual(got, want) {
				t.Errorf("payload %s, want %s", payload, test.want)
			}
		})
	}
}

// What comes last must also come once: runtimes disagree on duplicates.
func TestNothingIsGivenTwice(t *testing.T) {
	request := web.Request{Query: "a=1&a=2&b=3", Body: []byte(`{"a":4}`), Header: map[string][]string{"Content-Type": {typeJSON}}}
	payload, err := request.AppendPayload(nil, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for member := range apijson.Members(payload) {
		seen[string(member.Key)]++
	}
	if want := map[string]int{"__ow_method": 1, "__ow_headers": 1, "__ow_path": 1, "a": 1, "b": 1}; !maps.Equal(seen, want) {
		t.Errorf("got %v, want %v", seen, want)
	}
}

func TestContentTypeIsSpeltTheUsualWay(t *testing.T) {
	for given, want := range map[string]string{
		"application/json; charset=utf-8":           "application/json",
		"Text/Plain;charset=utf-8":                  "text/plain; charset=UTF-8",
		"text/plain":                                "text/plain",
		"text/plain; charset=latin1; format=flowed": "text/plain; charset=latin1; format=flowed",
		`multipart/form-data; boundary="a b"`:       `multipart/form-data; boundary="a b"`,
		"image/png; charset=utf-8":                  "image/png",
		"thing":                                     "thing",
		"":                                          "application/octet-stream",
	} {
		request := web.Request{Body: []byte("[]"), Header: map[string][]string{"Content-Type": {given}}}
		payload, err := request.AppendPayload(nil, true, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := decode(t, payload)["__ow_headers"].(map[string]any)["content-type"]; got != want {
			t.Errorf("%s is told as %v, want %s", given, got, want)
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	const protected = "Request defines parameters that are not allowed (e.g., reserved properties)."
	for _, test := range []struct{ query, contentType, body, want string }{
		{"__ow_user=x", "", "", protected},
		{"a=1&%5f_ow_method=x", "", "", protected},
		{"final=1", "", "", protected},
		{"", typeJSON, `{"__ow_query":1}`, protected},
		{"", typeJSON, `{"__ow_\u0062ody":1}`, protected},
		{"", typeJSON, `{"a":1,"final":null}`, protected},
		{"", typeForm, `a=1&__ow_headers=2`, protected},
		{"", typeForm, `final`, protected},
		{"final=1", "text/plain", "x", protected},
		{"a=%zz", "", "", `Illegal request-target: invalid URL escape "%zz"`},
		{"", typeForm, "a=%zz", "The request content was malformed:\nIllegal form content: invalid URL escape \"%zz\""},
		{"", typeJSON, `{"a":`, "The request content was malformed:\nunexpected end of JSON input"},
		{"", typeJSON, ` `, "The request content was malformed:\nunexpected end of JSON input"},
		{"", typeJSON, "{\"a\":\"\xff\"}", "The request content was malformed:\nJSON must be UTF-8"},
		{"", typeJSON, strings.Repeat("[", 1001) + strings.Repeat("]", 1001), "The request content was malformed:\nJSON must not be nested more than 1000 levels deep"},
	} {
		request := web.Request{Query: test.query, Body: []byte(test.body), Header: map[string][]string{"Content-Type": {test.contentType}}}
		_, err := request.AppendPayload(nil, false, map[string]bool{"final": true})
		if err == nil || err.Error() != test.want || whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// Whatever is sent, the action gets one JSON object with what the platform says
// of the request, or the sender is told what is wrong.
func FuzzPayload(f *testing.F) {
	f.Add("a=b&a=%20&c", typeJSON, []byte(`{"a":[1,2]}`), "x", false)
	f.Add("%zz", typeForm, []byte("a=b&&="), "x", false)
	f.Add("+&=&&", "text/plain;charset=utf-8", []byte("\xff\x00"), "\xff", true)
	f.Add("", "multipart/form-data; boundary=\"", []byte(`"`), `"`, false)
	f.Add("a", "a/b+json", []byte(" [ ] "), "", true)
	f.Fuzz(func(t *testing.T, query, contentType string, body []byte, header string, raw bool) {
		request := web.Request{
			Method: "POST", Path: "/x", User: "guest", Query: query, Body: body,
			Header: map[string][]string{"Content-Type": {contentType}, "X-Header": {header}},
		}
		payload, err := request.AppendPayload(nil, raw, map[string]bool{"final": true})
		if err != nil {
			if _, forUser := err.(*whisk.Error); !forUser {
				t.Errorf("%v is nothing for the user", err)
			}
			return
		}
		got := decode(t, payload)
		if got["__ow_method"] != "post" || got["__ow_path"] != "/x" || got["__ow_user"] != "guest" || got["final"] != nil {
			t.Errorf("payload %s", payload)
		}
		if _, boxed := got["__ow_query"].(string); boxed != raw {
			t.Errorf("raw %t, payload %s", raw, payload)
		}
	})
}

func decode(t *testing.T, object []byte) map[string]any {
	t.Helper()
	var document map[string]any
	if err := json.Unmarshal(object, &document); err != nil {
		t.Fatalf("%v in %s", err, object)
	}
	return document
}
