// SPDX-License-Identifier: Apache-2.0

package block_test

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/store/internal/block"
	"github.com/whirl-faas/whirl/whisk"
)

func records() []*whisk.Activation {
	at := time.UnixMilli(1_700_000_000_000).UTC()
	return []*whisk.Activation{
		{
			ID: "0190f5a0b0c07000800000000000000f", Namespace: "guest", Subject: "alice", Name: "hello", Package: "pkg",
			Version: whisk.Version{Major: 1, Minor: 2, Patch: 3}, Publish: true, Start: at, End: at.Add(3 * time.Millisecond), Duration: 3*time.Millisecond + 7,
			Cause: "0190f5a0b0c070008000000000000001", Response: whisk.Response{Status: whisk.DeveloperError, Result: json.RawMessage(`{"é":1.0}`), Size: 9},
			Annotations: whisk.Parameters{
				{Key: "path", Value: json.RawMessage(`"guest/pkg/hello"`)},
				{Key: "é\x00", Value: json.RawMessage(`1`), Init: true},
				{Key: "secret", Value: json.RawMessage(`"x"`), Encryption: "aes-256"},
				{Key: "none"},
			},
			Logs: []string{"one", "", "two\n"},
		},
		{ID: "00000000000000000000000000000000", Namespace: "guest", Name: "hello", Start: at.Add(-time.Hour)},
		{ID: "ffffffffffffffffffffffffffffffff", Name: "", Start: time.UnixMilli(-5).UTC(), End: at, Duration: -1, Logs: []string{}, Response: whisk.Response{Result: json.RawMessage(`{}`)}},
		{ID: "0190f5a0b0c07000800000000000000e", Namespace: "other", Start: at, Response: whisk.Response{Result: json.RawMessage(`{"x":"` + strings.Repeat("y", 1000) + `"}`)}},
	}
}

func TestRoundTrip(t *testing.T) {
	want := records()
	for n := range len(want) + 1 {
		heads, bodies, err := block.Encode(want[:n])
		if err != nil {
			t.Fatal(err)
		}
		all, err := block.Heads(heads)
		if err != nil || len(all) != n {
			t.Fatalf("of %d: %d heads, %v", n, len(all), err)
		}
		for i := range all {
			got, err := all[i].Whole(bodies)
			if err != nil || !reflect.DeepEqual(got, *want[i]) {
				t.Errorf("%d of %d: got %+v, %v\nwant %+v", i, n, got, err, *want[i])
			}
			part, err := all[i].Record()
			short := *want[i]
			short.Response.Result, short.Logs = nil, nil
			if err != nil || !reflect.DeepEqual(part, short) {
				t.Errorf("%d of %d: without its body %+v, %v", i, n, part, err)
			}
		}
	}
}

func TestKeys(t *testing.T) {
	heads, _, err := block.Encode(records())
	if err != nil {
		t.Fatal(err)
	}
	var ids []whisk.ActivationID
	err = block.Keys(heads, func(i int, k block.Key) bool {
		ids = append(ids, k.ID())
		return i < 2
	})
	if err != nil || len(ids) != 3 || ids[0] != records()[0].ID || ids[2] != records()[2].ID {
		t.Errorf("got %v, %v", ids, err)
	}
	k, err := block.KeyOf("0190f5a0b0c07000800000000000000f")
	if err != nil || k.Milli() != 0x0190f5a0b0c0 || k.Later(16).ID() != "0190f5a0b0d0ffffffffffffffffffff" {
		t.Errorf("made at %x, and 16 ms later is %s; %v", k.Milli(), k.Later(16).ID(), err)
	}
	last, err := block.KeyOf("fffffffffff07000800000000000000f")
	if err != nil || last.Later(16).Compare(last) != 1 || k.Compare(k) != 0 || k.Compare(last) != -1 {
		t.Errorf("after the end of times comes %s; %v", last.Later(16).ID(), err)
	}
	for _, id := range []whisk.ActivationID{"", "x", "0190F5A0B0C07000800000000000000F", "g190f5a0b0c07000800000000000000f"} {
		if _, err := block.KeyOf(id); err == nil || whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("the key of %q: %v", id, err)
		}
		if _, _, err := block.Encode([]*whisk.Activation{{ID: id}}); err == nil || whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("a block with %q: %v", id, err)
		}
	}
}

func TestSelect(t *testing.T) {
	heads, _, err := block.Encode(records())
	if err != nil {
		t.Fatal(err)
	}
	all, err := block.Heads(heads)
	if err != nil {
		t.Fatal(err)
	}
	pkg, none := "pkg", ""
	ever := block.Filter{Namespace: "guest", Since: math.MinInt64, Upto: math.MaxInt64}
	for _, test := range []struct {
		what   string
		change func(*block.Filter)
		want   []int
	}{
		{"a namespace", func(*block.Filter) {}, []int{0, 1}},
		{"another", func(f *block.Filter) { f.Namespace = "other" }, []int{3}},
		{"none that is there", func(f *block.Filter) { f.Namespace = "nobody" }, nil},
		{"a name", func(f *block.Filter) { f.Name = "hello" }, []int{0, 1}},
		{"a name and its package", func(f *block.Filter) { f.Name, f.Package = "hello", &pkg }, []int{0}},
		{"a name without a package", func(f *block.Filter) { f.Name, f.Package = "hello", &none }, []int{1}},
		{"a name of another kind", func(f *block.Filter) { f.Name = "alice" }, nil},
		{"since", func(f *block.Filter) { f.Since = all[0].Start }, []int{0}},
		{"upto", func(f *block.Filter) { f.Upto = all[0].Start - 1 }, []int{1}},
		{"an id", func(f *block.Filter) { f.Key = &all[1].Key }, []int{1}},
		{"an id elsewhere", func(f *block.Filter) { f.Key = &all[3].Key }, nil},
		{"no such id", func(f *block.Filter) { f.Key = &block.Key{1} }, nil},
	} {
		filter := ever
		test.change(&filter)
		got, err := block.Select(heads, &filter)
		if err != nil || len(got) != len(test.want) {
			t.Errorf("%s: %d records, want %v; %v", test.what, len(got), test.want, err)
			continue
		}
		for i, want := range test.want {
			if !reflect.DeepEqual(got[i].Key, all[want].Key) {
				t.Errorf("%s: got %s, want %s", test.what, got[i].Key.ID(), all[want].Key.ID())
			}
		}
	}
}

// A block that was cut or changed is an error or other records, and nothing worse.
func TestDamaged(t *testing.T) {
	heads, bodies, err := block.Encode(records())
	if err != nil {
		t.Fatal(err)
	}
	for n := range heads {
		if _, err := block.Heads(heads[:n]); err == nil || whisk.KindOf(err) != whisk.Internal {
			t.Errorf("of the first %d bytes: %v", n, err)
		}
	}
	all, err := block.Heads(heads)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all[3].Whole(bodies[:len(bodies)-1]); err == nil || whisk.KindOf(err) != whisk.Internal {
		t.Errorf("without the last byte of its body: %v", err)
	}
}

func FuzzHeads(f *testing.F) {
	for n := range 5 {
		heads, bodies, err := block.Encode(records()[:n])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(heads, bodies)
	}
	f.Fuzz(func(t *testing.T, heads, bodies []byte) {
		all, err := block.Heads(heads)
		if err != nil {
			return
		}
		var again []*whisk.Activation
		for i := range all {
			record, err := all[i].Whole(bodies)
			if err != nil {
				return
			}
			again = append(again, &record)
		}
		if _, _, err := block.Encode(again); err != nil {
			t.Error(err)
		}
	})
}

func batch(n int) (batch []*whisk.Activation) {
	for i := range n {
		r := *records()[0]
		r.ID, r.Annotations, r.Logs, r.Cause = whisk.ActivationID(fmt.Sprintf("%032x", i)), whisk.Parameters{
			{Key: "path", Value: json.RawMessage(`"guest/hello"`)},
			{Key: "waitTime", Value: json.RawMessage(fmt.Sprint(i % 7))},
			{Key: "kind", Value: json.RawMessage(`"nodejs:20"`)},
			{Key: "timeout", Value: json.RawMessage(`false`)},
			{Key: "limits", Value: json.RawMessage(`{"concurrency":1,"logs":10,"memory":256,"timeout":60000}`)},
		}, nil, ""
		batch = append(batch, &r)
	}
	return batch
}

func BenchmarkEncode(b *testing.B) {
	records := batch(30)
	b.ReportAllocs()
	for b.Loop() {
		heads, bodies, err := block.Encode(records)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(heads)+len(bodies))/30, "B/record")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(30*b.N), "ns/record")
}

func BenchmarkHeads(b *testing.B) {
	heads, bodies, err := block.Encode(batch(30))
	if err != nil {
		b.Fatal(err)
	}
	for _, whole := range []bool{false, true} {
		b.Run(fmt.Sprint("whole=", whole), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				all, err := block.Heads(heads)
				for i := range all {
					if whole && err == nil {
						_, err = all[i].Whole(bodies)
					}
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(30*b.N), "ns/record")
		})
	}
}
