// SPDX-License-Identifier: Apache-2.0

package apijson_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/bench/cputime"
	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

func FuzzAppendString(f *testing.F) {
	for _, seed := range []string{"", "plain", "\"\\\n\r\t\x00\x1f\x7f", "ü€𝄞", "\xff\xc3", "\u2028<&>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		quoted := apijson.AppendString([]byte("x"), s)
		if again := apijson.AppendString([]byte("x"), []byte(s)); !bytes.Equal(quoted, again) {
			t.Errorf("as bytes %q, as string %q", again, quoted)
		}
		var got, want string
		if err := json.Unmarshal(quoted[1:], &got); err != nil {
			t.Fatalf("%q: %v", quoted, err)
		}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%q became %q, want %q", s, got, want)
		}
	})
}

func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { } `, `{"a":1}`, `{"a" : [1, {"b":"}"}] , "a":null,"c\u0041\"":{"x":[]}}`, `{"":""}`, `{"a":-1.5e+10,"b":true}`,
		`[]`, `{`, `{"a":1}}`, `{"a":1} {"b":2}`, "{\"\xff\":1}", `{"k":"\\"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !apijson.IsObject(text) {
			return
		}
		want := map[string]json.RawMessage{}
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatalf("%q counts as an object, but: %v", text, err)
		}
		got := map[string]json.RawMessage{}
		rebuilt := []byte("{")
		for member := range apijson.Members(text) {
			got[string(member.Key)] = member.Value
			if len(rebuilt) > 1 {
				rebuilt = append(rebuilt, ',')
			}
			rebuilt = append(rebuilt, member.Text...)
		}
		if len(got) != len(want) {
			t.Fatalf("%q has %d members, want %d", text, len(got), len(want))
		}
		for key, value := range want {
			if !bytes.Equal(got[key], value) {
				t.Errorf("%q: member %q is %q, want %q", text, key, got[key], value)
			}
		}
		if rebuilt = append(rebuilt, '}'); !json.Valid(rebuilt) {
			t.Errorf("%q rebuilt as %q", text, rebuilt)
		}
	})
}

func record() *whisk.Activation {
	start := time.UnixMilli(1700000000000)
	return &whisk.Activation{
		ID: "0123456789abcdef0123456789abcdef", Namespace: "guest", Subject: "guest", Name: "hello", Version: whisk.FirstVersion,
		Start: start, End: start.Add(35 * time.Millisecond), Duration: 35 * time.Millisecond,
		Response: whisk.Response{Result: json.RawMessage(`{"a":1}`), Size: 7},
		Annotations: whisk.Parameters{
			{Key: "path", Value: json.RawMessage(`"guest/hello"`)}, {Key: "waitTime", Value: json.RawMessage(`20`)},
			{Key: "kind", Value: json.RawMessage(`"nodejs:20"`)}, {Key: "timeout", Value: json.RawMessage(`false`)},
			{Key: "limits", Value: apijson.AppendLimits(nil, whisk.DefaultActionLimits)}, {Key: "initTime", Value: json.RawMessage(`30`)},
		},
	}
}

func TestActivations(t *testing.T) {
	head := `{"activationId":"0123456789abcdef0123456789abcdef","namespace":"guest","name":"hello","version":"0.0.1","publish":false,` +
		`"annotations":[{"key":"path","value":"guest/hello"},{"key":"waitTime","value":20},{"key":"kind","value":"nodejs:20"},{"key":"timeout","value":false},` +
		`{"key":"limits","value":{"concurrency":1,"logs":10,"memory":256,"timeout":60000}},{"key":"initTime","value":30}],"start":1700000000000`
	r := record()
	if got, want := string(apijson.AppendActivation(nil, r)), head+`,"end":1700000000035,"duration":35,"subject":"guest","response":{"result":{"a":1},"size":7,"status":"success","success":true},"logs":[]}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := string(apijson.AppendActivationSummary(nil, r)), head+`,"end":1700000000035,"duration":35,"statusCode":0}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// A component's record, and a trigger's, which has no end.
	r.Cause, r.Logs, r.Response = "c", []string{"a \"line\"", "b"}, whisk.Response{Status: whisk.DeveloperError}
	r.End, r.Duration = time.Time{}, 0
	if got, want := string(apijson.AppendActivation(nil, r)), head+`,"cause":"c","subject":"guest","response":{"status":"action developer error","success":false},"logs":["a \"line\"","b"]}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := string(apijson.AppendActivationSummary(nil, r)), head+`,"cause":"c"}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPackagedActions(t *testing.T) {
	action := whisk.Action{
		Name: whisk.FullName{Namespace: "ns", Package: "pkg", Name: "a b"}, Version: whisk.Version{Major: 1}, Publish: true,
		Exec:       whisk.Exec{Kind: "java:8", Main: "Main", Binary: true},
		Parameters: whisk.Parameters{{Key: "k\"", Value: json.RawMessage(`[ 1.0 ]`), Init: true, Encryption: "aes-128"}},
		Limits:     whisk.DefaultActionLimits, Updated: time.UnixMilli(5),
	}
	head := `{"namespace":"ns/pkg","name":"a b","version":"1.0.0","publish":true,"updated":5,"annotations":[],"limits":{"concurrency":1,"logs":10,"memory":256,"timeout":60000},"exec":`
	if got, want := string(apijson.AppendAction(nil, action, []byte("Y29kZQ=="), whisk.FullName{})), head+`{"kind":"java:8","code":"Y29kZQ==","main":"Main","binary":true},"parameters":[{"key":"k\"","value":[ 1.0 ],"init":true,"encryption":"aes-128"}]}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := string(apijson.AppendActionSummary(nil, action)), head+`{"binary":true}}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func BenchmarkAppendActivation(b *testing.B) {
	r := record()
	buffer := make([]byte, 0, 2048)
	end := cputime.Report(b)
	for b.Loop() {
		buffer = apijson.AppendActivation(buffer[:0], r)
	}
	end()
	b.SetBytes(int64(len(buffer)))
}

func BenchmarkIsObject(b *testing.B) {
	payload := []byte(`{"name":"world","list":[1,2,3,{"deep":"value with \"quotes\""}],"n":12345.678}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		if !apijson.IsObject(payload) {
			b.Fatal("not an object")
		}
	}
}

// Depth is what is open at once: not the number of brackets, nor those in texts.
func TestDepthOfObjects(t *testing.T) {
	nest := func(n int) string { return `{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}` }
	for text, want := range map[string]bool{
		nest(apijson.MaxDepth):     true,
		nest(apijson.MaxDepth + 1): false,
		`{"a":[` + strings.Repeat(`{},[],`, apijson.MaxDepth) + `0]}`:                                     true,
		`{"a\\":"` + strings.Repeat(`[{\"`, apijson.MaxDepth) + `","b":{}}`:                               true,
		`{"":"\\",` + strings.Repeat(`"a":{`, apijson.MaxDepth) + strings.Repeat("}", apijson.MaxDepth+1): false,
	} {
		if got := apijson.IsObject([]byte(text)); got != want {
			t.Errorf("IsObject(%.40s…) = %v, want %v", text, got, want)
		}
	}
}
