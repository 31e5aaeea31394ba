// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	got, err := parse("file", `
# Not read.
group A group
serial
client wsk
let CODE = {"kind": "nodejs:default"}

fixture
PUT triggers/$t
{}

case [1 22] first
GET /ping?a=b
as: nobody
X-One: a: b
X-One:
=> 200
Content-Type: text/plain
text: one\ntwo

case second
POST actions/$a
times: 3
{"a":
 1}
eventually => 202 exactly
{"activationId": "<id>"}
=> whirl 400 (a reason)
error: Bad.
DELETE actions/$a
`)
	if err != nil {
		t.Fatal(err)
	}
	want := script{
		file: "file", title: "A group", serial: true, wsk: true, lets: []let{{"CODE", `{"kind": "nodejs:default"}`}},
		fixture: conversation{{line: 9, method: "PUT", target: "triggers/$t", header: map[string][]string{}, body: "{}"}},
		cases: []compatCase{
			{line: 12, rows: []int{1, 22}, title: "first", conversation: conversation{
				{line: 13, method: "GET", target: "/ping?a=b", as: asNobody, header: map[string][]string{"X-One": {"a: b", ""}},
					answer: &answer{status: 200, header: []headerLine{{"Content-Type", "text/plain"}}, kind: bodyText, body: "one\ntwo"}},
			}},
			{line: 21, title: "second", conversation: conversation{
				{line: 22, method: "POST", target: "actions/$a", times: 3, header: map[string][]string{}, body: "{\"a\":\n 1}", patient: true,
					answer: &answer{status: 202, kind: bodyExactly, body: `{"activationId": "<id>"}`},
					whirl:  &answer{status: 400, kind: bodyError, body: "Bad."}, reason: "a reason"},
				{line: 30, method: "DELETE", target: "actions/$a", header: map[string][]string{}},
			}},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no title":            "case one\nGET /\n=> 200",
		"request in no case":  "group G\nGET /",
		"answer to nothing":   "group G\ncase one\n=> 200",
		"line of no form":     "group G\nhello",
		"two answers":         "group G\ncase one\nGET /\n=> 200\n=> 201",
		"whirl's answer only": "group G\ncase one\nGET /\n=> whirl 200 (why)",
		"no reason":           "group G\ncase one\nGET /\n=> 200\n=> whirl 200",
		"two bodies":          "group G\ncase one\nGET /\n=> 200\ntext: a\n{}",
	} {
		if _, err := parse("file", text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestExpand(t *testing.T) {
	vars := map[string]string{"NAMESPACE": "guest", "id": "0123"}
	own := func(name string) string { return name + "_1" }
	for text, want := range map[string]string{
		"/$NAMESPACE/$a":      "/guest/a_1",
		"$id/$idle.b$c2":      "0123/idle_1.bc2_1",
		`"$x(3)" ^\d+$ 5$`:    `"xxx" ^\d+$ 5$`,
		"$a-$a":               "a_1-a_1",
		"nothing to put here": "nothing to put here",
	} {
		if got, err := expand(text, vars, own); err != nil || got != want {
			t.Errorf("%s: got %s, %v", text, got, err)
		}
	}
	if _, err := expand("$UNKNOWN", vars, own); err == nil || !strings.Contains(err.Error(), "$UNKNOWN") {
		t.Errorf("an unknown name: %v", err)
	}
}
