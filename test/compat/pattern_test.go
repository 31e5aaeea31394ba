// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestPattern(t *testing.T) {
	for _, row := range []struct {
		want, got string
		exactly   bool
		differs   []string // nil if nothing does
	}{
		{want: `{"a": 1}`, got: `{"a": 1, "b": 2}`},
		{want: `{"a": 1}`, got: `{"a": 1, "b": 2}`, exactly: true, differs: []string{`b: is there and should not: 2`}},
		{want: `{"a": {"b": 1}}`, got: `{"a": {"b": 2}}`, differs: []string{`a.b: got 2, want 1`}},
		{want: `{"a": 1, "b": 2}`, got: `{}`, differs: []string{`a: is not there, want 1`, `b: is not there, want 2`}},
		{want: `{"a": "<absent>"}`, got: `{"b": 1}`},
		{want: `{"a": "<absent>"}`, got: `{"a": null}`, differs: []string{`a: is there: null`}},
		{want: `{"a": null}`, got: `{"a": null}`, exactly: true},
		{want: `[1, "two"]`, got: `[1, "two"]`},
		{want: `[1]`, got: `[1, 2]`, differs: []string{`the body: got 2 elements, want 1: [1,2]`}},
		{want: `{"a": [1, {"b": 2}]}`, got: `{"a": [1, {"b": 3}]}`, differs: []string{`a[1].b: got 3, want 2`}},
		{want: `["<some>", 3, 1]`, got: `[1, 2, 3]`},
		{want: `["<some>", 3, 3]`, got: `[1, 2, 3]`, differs: []string{`the body: has no 3 among what is left: [1,2]`}},
		{want: `["<set>", 3, 1, 2]`, got: `[1, 2, 3]`},
		{want: `["<set>", 3, 1]`, got: `[1, 2, 3]`, differs: []string{`the body: has more than wanted: [2]`}},
		{want: `["<in order>", 1, 3]`, got: `[1, 2, 3]`},
		{want: `["<in order>", 3, 1]`, got: `[1, 2, 3]`, differs: []string{`the body: has no 1, or not in this order: [1,2,3]`}},
		{want: `["<none>", {"a": 1}]`, got: `[{"a": 2}]`},
		{want: `["<none>", {"a": 1}]`, got: `[{"a": 1, "b": 2}]`, differs: []string{`the body: has {"a":1} and should not: [{"a":1,"b":2}]`}},
		{want: `["<each>", "<int>"]`, got: `[1, 2]`},
		{want: `["<each>", "<int>"]`, got: `[1, 2.5]`, differs: []string{`[1]: got 2.5, want <int>`}},
		{want: `["<count 2>"]`, got: `[1, 2]`},
		{want: `["<count 2>"]`, got: `[1]`, differs: []string{`the body: got 1 elements, want 2`}},
		{want: `"<any>"`, got: `null`},
		{want: `"<id>"`, got: `"0123456789abcdef0123456789abcdef"`},
		{want: `"<id>"`, got: `"0123456789ABCDEF0123456789abcdef"`, differs: []string{`the body: got "0123456789ABCDEF0123456789abcdef", want <id>`}},
		{want: `"<ms>"`, got: `1700000000000`},
		{want: `"<ms>"`, got: `1700000000`, differs: []string{`the body: got 1700000000, want <ms>`}},
		{want: `"<text>"`, got: `5`, differs: []string{`the body: got 5, want <text>`}},
		{want: `"<bool>"`, got: `"true"`, differs: []string{`the body: got "true", want <bool>`}},
		{want: `"<~^a.c$>"`, got: `"abc"`},
		{want: `"<~^a.c$>"`, got: `"abcd"`, differs: []string{`the body: got "abcd", want <~^a.c$>`}},
		{want: `"<b>bold</b>"`, got: `"<b>bold</b>"`},
		{want: `{"a": 1}`, got: `[1]`, differs: []string{`the body: got [1], want {"a":1}`}},
	} {
		pattern, err := parsePattern(row.want, row.exactly)
		if err != nil {
			t.Fatal(err)
		}
		var got any
		if err := json.Unmarshal([]byte(row.got), &got); err != nil {
			t.Fatal(err)
		}
		if differences, _ := pattern.against(got); !reflect.DeepEqual(differences, row.differs) {
			t.Errorf("%s against %s: %q", row.want, row.got, differences)
		}
	}
}

// TestPatternNames has what is found under several patterns named: only what the
// matching one names counts.
func TestPatternNames(t *testing.T) {
	pattern, err := parsePattern(`{"list": ["<some>", {"k": 2, "v": "<text as found>"}], "n": "<int as number>"}`, false)
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal([]byte(`{"list": [{"v": "no", "k": 1}, {"v": "yes", "k": 2}], "n": 7}`), &got); err != nil {
		t.Fatal(err)
	}
	differences, named := pattern.against(got)
	if want := map[string]string{"found": "yes", "number": "7"}; differences != nil || !reflect.DeepEqual(named, want) {
		t.Errorf("got %v, %q", named, differences)
	}
}

func TestPatternMustBeJSON(t *testing.T) {
	if _, err := parsePattern(`{"a": <id>}`, false); err == nil {
		t.Error("no error")
	}
}
