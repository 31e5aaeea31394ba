// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"encoding/json"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

// Annotations are written by hand, and must come out as encoding/json has them.
func TestEncodeAnnotations(t *testing.T) {
	raw := func(text string) json.RawMessage { return json.RawMessage(text) }
	for _, annotations := range []whisk.Parameters{
		{{Key: "path", Value: raw(`"guest/hello"`)}},
		{{Key: "path", Value: raw(`"guest/hello"`)}, {Key: "limits", Value: raw(`{"memory":256,"logs":[1,null]}`)}, {Key: "timeout", Value: raw(`false`)}},
		{{Key: "", Value: raw(`1`)}},
		{{Key: "with \"quotes\" and \\", Value: raw(`1`)}, {Key: "é\x01", Value: raw(`"é"`)}},
		{{Key: "a", Value: raw(`1`), Init: true}, {Key: "b", Value: raw(`2`), Encryption: "aes"}, {Key: "c", Value: raw(`3`)}},
	} {
		want, err := json.Marshal([]whisk.Parameter(annotations))
		if err != nil {
			t.Fatal(err)
		}
		got, err := encodeAnnotations(annotations)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s, %v\nwant %s", got, err, want)
		}
	}
	if got, err := encodeAnnotations(nil); got != nil || err != nil {
		t.Errorf("of none: %s, %v", got, err)
	}
	if got, err := encodeAnnotations(whisk.Parameters{{Key: "k", Value: raw(`{"broken`)}}); err == nil {
		t.Errorf("what is no JSON became %s", got)
	}
}

func BenchmarkEncodeAnnotations(b *testing.B) {
	annotations := whisk.Parameters{
		{Key: "path", Value: json.RawMessage(`"guest/hello"`)},
		{Key: "waitTime", Value: json.RawMessage(`3`)},
		{Key: "kind", Value: json.RawMessage(`"nodejs:20"`)},
		{Key: "timeout", Value: json.RawMessage(`false`)},
		{Key: "limits", Value: json.RawMessage(`{"concurrency":1,"logs":10,"memory":256,"timeout":60000}`)},
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := encodeAnnotations(annotations); err != nil {
			b.Fatal(err)
		}
	}
}
