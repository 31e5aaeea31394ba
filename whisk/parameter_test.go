// SPDX-License-Identifier: Apache-2.0

package whisk_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

func parameters(t *testing.T, text string) whisk.Parameters {
	t.Helper()
	var p whisk.Parameters
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatalf("parameters %s: %v", text, err)
	}
	return p
}

func encode(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestParametersKeepTheirJSON(t *testing.T) {
	text := `[{"key":"big","value":12345678901234567890},{"key":"env","value":"x","init":true}]`
	if got := encode(t, parameters(t, text)); got != text {
		t.Errorf("got %s, want %s", got, text)
	}
	if got := encode(t, whisk.Parameters(nil)); got != "[]" {
		t.Errorf("nil encodes as %s, want []", got)
	}
}

func TestParametersRefuseOtherShapes(t *testing.T) {
	for _, text := range []string{`{}`, `[{"key":"a"}]`, `[{"value":1}]`, `[1]`, `"x"`} {
		var p whisk.Parameters
		if err := json.Unmarshal([]byte(text), &p); err == nil {
			t.Errorf("%s was taken as %v", text, p)
		}
	}
}

func TestParametersLastOfDuplicatesWins(t *testing.T) {
	p := parameters(t, `[{"key":"a","value":1},{"key":"b","value":2},{"key":"a","value":3}]`)
	if got, want := encode(t, p), `[{"key":"a","value":3},{"key":"b","value":2}]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestParametersMergeAndWithout(t *testing.T) {
	under := parameters(t, `[{"key":"a","value":1},{"key":"b","value":2}]`)
	over := parameters(t, `[{"key":"b","value":3},{"key":"c","value":4}]`)
	if got, want := encode(t, under.Merge(over)), `[{"key":"a","value":1},{"key":"b","value":3},{"key":"c","value":4}]`; got != want {
		t.Errorf("merged: %s, want %s", got, want)
	}
	if got, want := encode(t, under.Without("a", "z")), `[{"key":"b","value":2}]`; got != want {
		t.Errorf("without: %s, want %s", got, want)
	}
	if got, want := encode(t, under), `[{"key":"a","value":1},{"key":"b","value":2}]`; got != want {
		t.Errorf("merging changed its input to %s", got)
	}
}

func TestParametersTruthy(t *testing.T) {
	p := parameters(t, `[{"key":"no","value":false},{"key":"zero","value":0},{"key":"empty","value":""},{"key":"null","value":null},{"key":"yes","value":true},{"key":"object","value":{}}]`)
	for key, want := range map[string]bool{"no": false, "zero": false, "empty": false, "null": false, "absent": false, "yes": true, "object": true} {
		if got := p.Truthy(key); got != want {
			t.Errorf("Truthy(%s) = %t, want %t", key, got, want)
		}
	}
}

func FuzzParameters(f *testing.F) {
	f.Add([]byte(`[{"key":"a","value":{"b":[1,2.50]}}]`))
	f.Add([]byte(`[{"key":"a","value":null,"init":true,"encryption":"aes-128"}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var p whisk.Parameters
		if json.Unmarshal(text, &p) != nil {
			return
		}
		first, err := json.Marshal(p)
		if err != nil {
			t.Fatalf("%s was read but cannot be written: %v", text, err)
		}
		var again whisk.Parameters
		if err := json.Unmarshal(first, &again); err != nil {
			t.Fatalf("%s was written but cannot be read: %v", first, err)
		}
		if second, _ := json.Marshal(again); !bytes.Equal(first, second) {
			t.Errorf("%s changes to %s", first, second)
		}
	})
}

// A user may send a hundred thousand short parameters within the size limits.
// If the cost were the square of their number this would take tens of minutes,
// and stop the test.
func TestManyParametersCostLittle(t *testing.T) {
	const n = 300_000
	text := []byte{'['}
	keys := make([]string, n)
	for i := range keys {
		keys[i] = "key" + strconv.Itoa(i)
		text = fmt.Appendf(text, `{"key":%q,"value":%d},`, keys[i], i)
	}
	text[len(text)-1] = ']'
	p := parameters(t, string(text))
	if merged := p.Merge(p); len(merged) != n || string(merged.Get(keys[n-1])) != strconv.Itoa(n-1) {
		t.Errorf("merged with itself there are %d, want %d", len(merged), n)
	}
	if left := p.Without(keys[1:]...); len(left) != 1 || left[0].Key != keys[0] {
		t.Errorf("left are %d, want the first", len(left))
	}
}
