// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

// Whatever a client sends either is refused as its own fault, or reaches the
// action merged with what is bound, as decoding and merging maps would have it.
func FuzzMergeParameters(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"a":2}`, ` {"b" : [1.0, {"a":"}"}] , "c\u0041":null}`, `{"env":"x","a":{}}`, `{"\u0061":1,"a":2}`, `[1]`, `{`, `{"a":1} `, "{\"\xff\":0}", `{"":0}`,
	} {
		f.Add([]byte(seed))
	}
	store := controllertest.NewStore()
	c := newController(f, "us", store, &controllertest.Balancer{}, func(c *controller.Config) {
		c.Records.Records, c.RoomWait = 1<<20, time.Millisecond
	})
	body := `{"exec":{"kind":"nodejs:20","code":"x"},"parameters":[{"key":"a","value":1},{"key":"z","value":[2.50]},{"key":"env","value":"e","init":true}]}`
	if _, _, err := c.PutAction(f.Context(), guest, hello, []byte(body), true); err != nil {
		f.Fatal(err)
	}
	// It does not run: nothing in the background disturbs the fuzzer's measure of coverage.
	f.Fuzz(func(t *testing.T, payload []byte) {
		answer, err := c.Invoke(t.Context(), controller.Call{Caller: guest, Action: hello, Payload: payload}, time.Minute)
		if whisk.KindOf(err) == whisk.Unavailable {
			t.Skip("no more places for records")
		}
		if err != nil {
			if kind := whisk.KindOf(err); kind != whisk.Invalid && kind != whisk.TooLarge {
				t.Fatalf("%q: %v", payload, err)
			}
			return
		}
		want := map[string]any{"a": 1.0, "z": []any{2.5}}
		if len(payload) > 0 {
			if err := json.Unmarshal(payload, &want); err != nil {
				t.Fatalf("%q was taken, but: %v", payload, err)
			}
		}
		delete(want, "env")
		var got map[string]any
		if err := json.Unmarshal(answer.Record.Response.Result, &got); err != nil {
			t.Fatalf("%q became %q: %v", payload, answer.Record.Response.Result, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q became %v, want %v", payload, got, want)
		}
	})
}
