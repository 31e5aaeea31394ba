// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

// twice runs actions that answer what they were given in a list, after a while.
func twice(p *platform, took time.Duration) {
	p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
		start := time.Now()
		time.Sleep(took)
		result := json.RawMessage(fmt.Sprintf(`{"by":%q,"got":%s}`, run.ActionName, run.Value))
		return whisk.Outcome{Response: whisk.Response{Result: result, Size: len(result)}, Start: start, Wait: start.Sub(inv.Received), Run: took}
	}
}

func TestInvokeSequence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		defer runInBubble(t, p)()
		p.must(200, "PUT", guest+"/packages/p", `{"parameters":[{"key":"pkg","value":1}]}`)
		p.must(200, "PUT", guest+"/packages/bind", `{"binding":{"namespace":"_","name":"p"},"parameters":[{"key":"bind","value":2}]}`)
		p.must(200, "PUT", guest+"/actions/a", `{"exec":{"kind":"nodejs:20","code":"x"},"parameters":[{"key":"own","value":0}],"limits":{"memory":128}}`)
		p.must(200, "PUT", guest+"/actions/p/b", `{"exec":{"kind":"nodejs:20","code":"x"},"limits":{"memory":512}}`)
		p.put("s=/_/a /_/bind/b")
		p.must(200, "PUT", guest+"/actions/s?overwrite=true", `{"limits":{"timeout":5000,"memory":128,"logs":3}}`)
		twice(p, 100*time.Millisecond)
		start := time.Now().UnixMilli()
		got := p.must(200, "POST", guest+"/actions/s?blocking=true", `{"in":"x"}`)
		id := got.header.Get("x-openwhisk-activation-id")
		result := `{"by":"/guest/p/b","got":{"pkg":1,"bind":2,"by":"/guest/a","got":{"own":0,"in":"x"}}}`
		want := fmt.Sprintf(`{"activationId":%q,"namespace":"guest","name":"s","version":"0.0.2","publish":false,"subject":"guest-user","start":%d,"end":%d,"duration":200,
			"annotations":[{"key":"topmost","value":true},{"key":"path","value":"guest/s"},{"key":"kind","value":"sequence"},{"key":"waitTime","value":0},
			{"key":"limits","value":{"concurrency":1,"logs":3,"memory":512,"timeout":5000}}],"logs":["<any>","<any>"],
			"response":{"result":%s,"size":85,"status":"success","success":true}}`, id, start, start+200, result)
		sameJSON(t, got.body, want)
		time.Sleep(time.Second)
		sameJSON(t, p.must(200, "GET", guest+"/activations/"+id, "").body, want)

		logs := got.decode(t)["logs"].([]any)
		first := p.must(200, "GET", guest+"/activations/"+logs[0].(string), "").decode(t)
		second := p.must(200, "GET", guest+"/activations/"+logs[1].(string), "").decode(t)
		for _, component := range []map[string]any{first, second} {
			if component["cause"] != id || annotationOf(component, "causedBy") != "sequence" || annotationOf(component, "kind") != "nodejs:20" || annotationOf(component, "topmost") != nil {
				t.Errorf("component %v", component)
			}
		}
		if first["name"] != "a" || annotationOf(second, "path") != "guest/p/b" || annotationOf(second, "binding") != "guest/bind" || annotationOf(first, "binding") != nil {
			t.Errorf("components %v and %v", first, second)
		}
		sameJSON(t, p.must(200, "GET", guest+"/activations?name=s&count=true", "").body, `{"activations":1}`)
		sameJSON(t, p.must(200, "GET", guest+"/activations?name=bind/b&count=true", "").body, `{"activations":1}`)
		sameJSON(t, p.must(200, "POST", guest+"/actions/s?blocking=true&result=true", `{"in":"x"}`).body, result)
	})
}

func TestNonBlockingSequence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		defer runInBubble(t, p)()
		p.put("a", "s=/_/a /_/a")
		twice(p, time.Minute)
		var queue []string // who claimed what, as the containers find it
		run := p.balancer.Run
		p.balancer.Run = func(ctx context.Context, inv *whisk.Invocation, body controllertest.RunBody) whisk.Outcome {
			for _, entry := range p.store.Queued() {
				queue = append(queue, string(entry.ClaimedBy))
			}
			return run(ctx, inv, body)
		}
		got := p.must(202, "POST", guest+"/actions/s", `{"in":"x"}`)
		id := got.header.Get("x-openwhisk-activation-id")
		sameJSON(t, got.body, `{"activationId":"`+id+`"}`)
		p.must(404, "GET", guest+"/activations/"+id, "")
		time.Sleep(3 * time.Minute)
		record := p.must(200, "GET", guest+"/activations/"+id, "").decode(t)
		if record["duration"] != 120_000.0 || len(record["logs"].([]any)) != 2 {
			t.Errorf("record %v", record)
		}
		if fmt.Sprint(queue) != "[test test]" || len(p.store.Queued()) != 0 {
			t.Errorf("in the queue while the components ran: %v, and now %v", queue, p.store.Queued())
		}
		// A blocking call that is too short gets the id, too.
		p.must(202, "POST", guest+"/actions/s?blocking=true&timeout=1000", "")
		time.Sleep(3 * time.Minute)
	})
}

func TestNestedSequences(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.put("a", "inner=/_/a /_/a", "outer=/_/a /_/inner /_/a")
	twice(p, 0)
	got := p.must(200, "POST", guest+"/actions/outer?blocking=true", `{}`)
	record := got.decode(t)
	logs := record["logs"].([]any)
	if len(logs) != 3 || strings.Count(got.body, "/guest/a") != 4 {
		t.Fatalf("record %s", got.body)
	}
	inner := p.recordOf(t, logs[1].(string))
	if inner["name"] != "inner" || inner["cause"] != record["activationId"] || annotationOf(inner, "topmost") != false || annotationOf(inner, "causedBy") != "sequence" || annotationOf(inner, "kind") != "sequence" || len(inner["logs"].([]any)) != 2 {
		t.Errorf("the inner sequence's record %v", inner)
	}
	component := p.recordOf(t, inner["logs"].([]any)[0].(string))
	if component["cause"] != inner["activationId"] {
		t.Errorf("a component of the inner sequence %v", component)
	}
	eventually(t, func() bool { return len(p.store.Records()) == 6 })
}

func TestSequenceResults(t *testing.T) {
	const missing = `{"error":"Sequence component does not exist."}`
	answer := func(status whisk.Status, result string) whisk.Response {
		return whisk.Response{Status: status, Result: json.RawMessage(result), Size: len(result)}
	}
	for _, test := range []struct {
		what    string
		answers map[string]whisk.Response // of actions; others answer with what they get
		payload string
		status  int
		result  string
		ran     int
	}{
		{"an error stops", map[string]whisk.Response{"a": whisk.ErrorResponse(whisk.ApplicationError, "no")}, "{}", 502, `{"error":"no"}`, 1},
		{"a crash stops", map[string]whisk.Response{"a": whisk.ErrorResponse(whisk.DeveloperError, "crash")}, "{}", 502, `{"error":"crash"}`, 1},
		{"our fault stops", map[string]whisk.Response{"b": whisk.ErrorResponse(whisk.WhiskError, "lost")}, "{}", 500, `{"error":"lost"}`, 2},
		{"an error in the input does not stop the first", nil, `{"error":"in"}`, 200, `{"bound":1,"error":"in"}`, 1},
		{"an array is passed on", map[string]whisk.Response{"a": answer(whisk.Success, `[1,{"error":2}]`)}, "{}", 200, `[1,{"error":2}]`, 3},
		{"no result is nothing", map[string]whisk.Response{"a": {}, "b": answer(whisk.Success, `{"x":1}`)}, "{}", 200, `{"x":1}`, 3},
	} {
		t.Run(test.what, func(t *testing.T) {
			p := newPlatform(t)
			p.run()
			p.must(200, "PUT", guest+"/actions/a", `{"exec":{"kind":"nodejs:20","code":"x"},"parameters":[{"key":"bound","value":1}]}`)
			p.put("b", "c", "s=/_/a /_/b /_/c")
			ran := 0
			p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
				ran++
				if response, scripted := test.answers[inv.Key.Action.Name]; scripted {
					return controllertest.Outcome(inv, response)
				}
				return controllertest.Outcome(inv, answer(whisk.Success, string(run.Value)))
			}
			got := p.do("POST", guest+"/actions/s?blocking=true&result=true", test.payload)
			if got.status != test.status || ran != test.ran {
				t.Errorf("%d %s after %d runs, want %d after %d", got.status, got.body, ran, test.status, test.ran)
			}
			sameJSON(t, got.body, test.result)
		})
	}
	t.Run("a component is gone", func(t *testing.T) {
		p := newPlatform(t)
		p.run()
		p.put("a", "b", "c", "s=/_/a /_/b /_/c")
		p.must(200, "DELETE", guest+"/actions/b", "")
		got := p.must(502, "POST", guest+"/actions/s?blocking=true", "{}").decode(t)
		response, _ := got["response"].(map[string]any)
		if response["status"] != "application error" || fmt.Sprint(response["result"]) != "map[error:Sequence component does not exist.]" || len(got["logs"].([]any)) != 1 {
			t.Errorf("record %v", got)
		}
		p.must(200, "DELETE", guest+"/actions/a", "")
		got = p.must(502, "POST", guest+"/actions/s?blocking=true", "{}").decode(t)
		if len(got["logs"].([]any)) != 0 || annotationOf(got, "limits") != nil || got["duration"] != 0.0 {
			t.Errorf("record of a sequence that ran nothing: %v", got)
		}
		sameJSON(t, p.must(502, "POST", guest+"/actions/s?blocking=true&result=true", "{}").body, missing)
	})
}

// A component's changes are seen by the next run; sequences may become too long
// or lead back to themselves by changes of others at the same time.
func TestSequencesThatGrowLater(t *testing.T) {
	p := newPlatform(t, func(c *controller.Config) { c.Limits.SequenceLength = 4 })
	p.run()
	p.put("a", "inner=/_/a", "s=/_/inner /_/inner")
	p.put("inner=/_/a /_/a /_/a")
	const tooLong = `{"error":"Too many actions in the sequence."}`
	got := p.must(502, "POST", guest+"/actions/s?blocking=true", "{}").decode(t)
	response, _ := got["response"].(map[string]any)
	if fmt.Sprint(response["result"]) != "map[error:Too many actions in the sequence.]" || response["status"] != "application error" || len(got["logs"].([]any)) != 2 {
		t.Errorf("record %v", got)
	}
	name := whisk.FullName{Namespace: "guest", Name: "inner"}
	doc, err := p.store.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	doc.Body = []byte(strings.ReplaceAll(string(doc.Body), "guest/a", "guest/s"))
	if _, err := p.store.Put(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { // the cache follows
		return strings.Contains(p.do("POST", guest+"/actions/inner?blocking=true", "").body, `"logs":["`)
	})
	sameJSON(t, p.must(502, "POST", guest+"/actions/s?blocking=true&result=true", "{}").body, tooLong)
}

func TestAccessToComponents(t *testing.T) {
	p := newPlatform(t)
	p.run()
	other := root + "/namespaces/other"
	p.must(200, "PUT", other+"/packages/pub", `{"publish":true}`, asOther())
	p.must(200, "PUT", other+"/actions/pub/a", `{"exec":{"kind":"nodejs:20","code":"x"},"annotations":[{"key":"provide-api-key","value":true}]}`, asOther())
	p.must(200, "PUT", other+"/actions/alone", hello, asOther())
	p.must(200, "PUT", other+"/actions/pub/s", sequence("/_/alone", "/_/pub/a"), asOther())
	p.put("s=/other/pub/a")
	var run controllertest.RunBody
	p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, body controllertest.RunBody) whisk.Outcome {
		run = body
		return controllertest.Outcome(inv, whisk.Response{Result: body.Value})
	}
	p.must(200, "POST", guest+"/actions/s?blocking=true", "")
	if run.Namespace != "guest" || run.ActionName != "/other/pub/a" || run.APIKey == nil || *run.APIKey != guestUUID+":"+guestKey {
		t.Errorf("the component of another's package ran as %+v", run)
	}
	const denied = "The supplied authentication is not authorized to access 'other/alone'."
	p.walk(t, []step{
		{what: "another's sequence of what is not public", method: "POST", path: other + "/actions/pub/s", status: 403, text: denied},
		{what: "its owner", method: "POST", path: other + "/actions/pub/s?blocking=true", headers: []string{asOther()}, status: 200},
		{what: "a sequence of it", method: "PUT", path: guest + "/actions/t", body: sequence("/other/pub/s"), status: 200},
		{what: "withdrawn", method: "PUT", path: other + "/packages/pub?overwrite=true", body: `{"publish":false}`, headers: []string{asOther()}, status: 200},
		{what: "a sequence of what was withdrawn", method: "POST", path: guest + "/actions/s", status: 403, text: "The supplied authentication is not authorized to access 'other/pub'."},
		{what: "its update", method: "PUT", path: guest + "/actions/s?overwrite=true", body: "{}", status: 200},
	})
}

// However many sequences wait, what they wait for is bounded.
func TestSequencesAtOnceAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, func(c *controller.Config) { c.Sequences = 2 })
		defer runInBubble(t, p)()
		p.put("a", "s=/_/a", "t=/_/s /_/s")
		twice(p, time.Minute)
		p.must(202, "POST", guest+"/actions/s", "")
		p.must(202, "POST", guest+"/actions/t", "") // what is nested does not count
		for _, query := range []string{"", "?blocking=true"} {
			if got := p.must(429, "POST", guest+"/actions/s"+query, "").decode(t); got["error"] != "Too many sequences run at once (limit: 2)." {
				t.Errorf("got %v", got)
			}
		}
		p.must(202, "POST", guest+"/actions/a", "")
		time.Sleep(61 * time.Second)
		p.must(202, "POST", guest+"/actions/s", "")
		time.Sleep(5 * time.Minute)
		if n := len(p.store.Records()); n != 2+5+2+1 {
			t.Errorf("%d records, want those of three sequences, two nested ones, four components and an action", n)
		}
	})
}

// A component that the balancer has no room for waits; the sequence was accepted.
func TestComponentsWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		defer runInBubble(t, p)()
		p.put("a", "b", "s=/_/a /_/b")
		var full atomic.Bool
		full.Store(true)
		p.balancer.Refuse = func(inv *whisk.Invocation) error {
			if full.Load() && inv.Key.Action.Name == "b" {
				return whisk.Errorf(whisk.Throttled, "Too many activations wait for this action (limit: 7).")
			}
			return nil
		}
		time.AfterFunc(10*time.Second, func() { full.Store(false) })
		begin := time.Now()
		p.must(200, "POST", guest+"/actions/s?blocking=true", "")
		if waited := time.Since(begin); waited < 10*time.Second || waited > 11*time.Second {
			t.Errorf("answered after %v", waited)
		}
		full.Store(true)
		id := p.must(202, "POST", guest+"/actions/s", "").header.Get("x-openwhisk-activation-id")
		time.Sleep(10 * time.Minute)
		if got := p.must(200, "GET", guest+"/activations/"+id+"/result", "").body; !strings.Contains(got, `"error":"Sequence failed."`) || !strings.Contains(got, "whisk internal error") {
			t.Errorf("result %s", got)
		}
	})
}
