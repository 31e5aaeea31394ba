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

// conduct makes conductors of those names.
func (p *platform) conduct(names ...string) {
	p.t.Helper()
	for _, name := range names {
		p.must(200, "PUT", guest+"/actions/"+name+"?overwrite=true", `{"exec":{"kind":"nodejs:20","code":"x"},"annotations":[{"key":"conductor","value":{"type":"if"}}]}`)
	}
}

const took = 42 * time.Millisecond

// play runs actions for a while. What is named step adds one to n; echo, and what
// no other line is about, answers with what it gets; the others do what OpenWhisk's
// test conductor does: they say what they are told to say, the members that are no
// orders among the parameters.
func play(p *platform) {
	p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
		start := time.Now()
		time.Sleep(took)
		response := whisk.Response{Result: run.Value}
		switch name := inv.Key.Action.Name; {
		case strings.HasPrefix(name, "c"):
			response = conducted(run.Value)
		case strings.HasPrefix(name, "step"):
			response = stepped(run.Value)
		case name == "list":
			response.Result = json.RawMessage(`[1,2]`)
		}
		response.Size = len(response.Result)
		return whisk.Outcome{Response: response, Start: start, Wait: start.Sub(inv.Received), Run: took}
	}
}

func conducted(value json.RawMessage) whisk.Response {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(value, &given); err != nil {
		return whisk.ErrorResponse(whisk.DeveloperError, err.Error())
	}
	if given["error"] != nil {
		return whisk.Response{Status: whisk.ApplicationError, Result: value}
	}
	params, says := map[string]json.RawMessage{}, map[string]any{}
	_ = json.Unmarshal(given["params"], &params)
	for key, value := range given {
		switch key {
		case "action", "state":
			says[key] = value
		case "params":
		default:
			params[key] = value
		}
	}
	says["params"] = params
	result, err := json.Marshal(says)
	if err != nil {
		return whisk.ErrorResponse(whisk.DeveloperError, err.Error())
	}
	return whisk.Response{Result: result}
}

func stepped(value json.RawMessage) whisk.Response {
	var given struct{ N *int }
	if json.Unmarshal(value, &given); given.N == nil {
		return whisk.ErrorResponse(whisk.ApplicationError, "missing parameter")
	}
	return whisk.Response{Result: json.RawMessage(fmt.Sprintf(`{"n":%d}`, *given.N+1))}
}

func TestInvokeComposition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		defer runInBubble(t, p)()
		p.must(200, "PUT", guest+"/packages/p", `{"parameters":[{"key":"pkg","value":1}]}`)
		p.must(200, "PUT", guest+"/packages/bind", `{"binding":{"namespace":"_","name":"p"}}`)
		p.must(200, "PUT", guest+"/actions/p/c", `{"exec":{"kind":"nodejs:20","code":"x"},"annotations":[{"key":"conductor","value":true}],"parameters":[{"key":"own","value":0}],"limits":{"timeout":5000,"memory":128,"logs":3}}`)
		p.must(200, "PUT", guest+"/actions/step", `{"exec":{"kind":"nodejs:20","code":"x"},"limits":{"memory":512}}`)
		play(p)
		start := time.Now().UnixMilli()
		got := p.must(200, "POST", guest+"/actions/bind/c?blocking=true", `{"action":"step","n":1,"state":{"witness":42}}`)
		id := got.header.Get("x-openwhisk-activation-id")
		result := `{"n":2,"witness":42,"own":0,"pkg":1}`
		want := fmt.Sprintf(`{"activationId":%q,"namespace":"guest","name":"c","version":"0.0.1","publish":false,"subject":"guest-user","start":%d,"end":%d,"duration":126,
			"annotations":[{"key":"topmost","value":true},{"key":"path","value":"guest/p/c"},{"key":"kind","value":"sequence"},{"key":"conductor","value":true},{"key":"waitTime","value":0},
			{"key":"binding","value":"guest/bind"},{"key":"limits","value":{"concurrency":1,"logs":3,"memory":512,"timeout":5000}}],"logs":["<any>","<any>","<any>"],
			"response":{"result":%s,"size":36,"status":"success","success":true}}`, id, start, start+126, result)
		sameJSON(t, got.body, want)
		time.Sleep(time.Second)
		sameJSON(t, p.must(200, "GET", guest+"/activations/"+id, "").body, want)

		logs := got.decode(t)["logs"].([]any)
		for i, name := range []string{"c", "step", "c"} {
			step := p.must(200, "GET", guest+"/activations/"+logs[i].(string), "").decode(t)
			if step["name"] != name || step["cause"] != id || annotationOf(step, "causedBy") != "sequence" || annotationOf(step, "kind") != "nodejs:20" ||
				annotationOf(step, "topmost") != nil || annotationOf(step, "conductor") != nil || step["duration"] != 42.0 {
				t.Errorf("step %v", step)
			}
			if binding := annotationOf(step, "binding"); name == "c" && binding != "guest/bind" || name != "c" && binding != nil {
				t.Errorf("%s has the binding %v", name, binding)
			}
		}
		sameJSON(t, p.must(200, "GET", guest+"/activations?name=bind/c&count=true", "").body, `{"activations":3}`)
		sameJSON(t, p.must(200, "POST", guest+"/actions/p/c?blocking=true&result=true", `{"n":1}`).body, `{"n":1,"own":0,"pkg":1}`)
	})
}

// What OpenWhisk's own tests of conductors ask and answer.
func TestCompositions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		defer runInBubble(t, p)()
		p.conduct("c", "echo")
		p.put("step", "list", "seq=/_/step /_/step", "long=/_/step /_/c /_/step")
		p.must(200, "PUT", root+"/namespaces/other/actions/step", hello, asOther())
		p.must(200, "PUT", root+"/namespaces/other/packages/pub", `{"publish":true}`, asOther())
		p.must(200, "PUT", root+"/namespaces/other/actions/pub/step", hello, asOther())
		p.must(200, "PUT", root+"/namespaces/other/packages/priv", `{}`, asOther())
		play(p)
		for _, test := range []struct {
			action, payload string
			status          int
			result          string
			steps           int
			runs            int // of containers
		}{
			{"echo", `{"payload":"x"}`, 200, `{"payload":"x"}`, 1, 1},
			{"echo", `{"params":{"payload":"x"}}`, 200, `{"payload":"x"}`, 1, 1},
			{"echo", `{"payload":1,"action":"invalid#Action"}`, 200, `{"error":"Failed to parse action name from json value \"invalid#Action\" during composition."}`, 2, 2},
			{"c", `{"error":"x"}`, 502, `{"error":"x"}`, 1, 1},
			{"c", `{"action":"invalid#Action"}`, 502, `{"error":"Failed to parse action name from json value \"invalid#Action\" during composition."}`, 2, 2},
			{"c", `{"action":"gone"}`, 502, `{"error":"Failed to resolve action with name 'guest/gone' during composition."}`, 2, 2},
			{"c", `{"action":"gone","state":{"kept":1}}`, 502, `{"error":"Failed to resolve action with name 'guest/gone' during composition.","kept":1}`, 2, 2},
			{"c", `{"action":"/other/step"}`, 502, `{"error":"Failed entitlement check for action with name 'other/step' during composition."}`, 2, 2},
			{"c", `{"action":"/other/priv/step"}`, 502, `{"error":"Failed entitlement check for action with name 'other/priv/step' during composition."}`, 2, 2},
			{"c", `{"action":"nothing/step"}`, 502, `{"error":"Failed entitlement check for action with name 'guest/nothing/step' during composition."}`, 2, 2},
			{"c", `{"action":"/other/pub/step","n":1}`, 200, `{"n":2}`, 3, 3},
			{"c", `{"action":"/other/pub/gone"}`, 502, `{"error":"Failed to resolve action with name 'other/pub/gone' during composition."}`, 2, 2},
			{"c", `{"action":"step","params":{"n":1}}`, 200, `{"n":2}`, 3, 3},
			{"c", `{"action":"step"}`, 502, `{"error":"missing parameter"}`, 3, 3},
			{"c", `{"action":"step","state":{"witness":42},"n":1}`, 200, `{"n":2,"witness":42}`, 3, 3},
			{"c", `{"action":"step","state":{"action":"step"},"n":1}`, 200, `{"n":3}`, 5, 5},
			{"c", `{"action":"list","state":{"s":1}}`, 200, `{"value":[1,2],"s":1}`, 3, 3},
			{"c", `{"action":"c","params":{"action":"step"},"n":1}`, 200, `{"n":2}`, 3, 5},
			{"c", `{"action":"c","state":{"action":"step"},"params":{"action":"step"},"n":1}`, 200, `{"n":3}`, 5, 7},
			{"c", `{"action":"c","state":{"action":"step"},"params":{"action":"c","state":{"action":"step"},"params":{"action":"step"}},"n":1}`, 200, `{"n":4}`, 5, 11},
			{"c", `{"action":"/_/seq","n":1}`, 200, `{"n":3}`, 3, 4},
			{"long", `{"n":1}`, 200, `{"n":3}`, 3, 3},
		} {
			got := p.must(test.status, "POST", guest+"/actions/"+test.action+"?blocking=true", test.payload).decode(t)
			response := got["response"].(map[string]any)
			result, err := json.Marshal(response["result"])
			if err != nil {
				t.Fatal(err)
			}
			t.Log(test.payload)
			sameJSON(t, string(result), test.result)
			if steps, runs := len(got["logs"].([]any)), int(got["duration"].(float64))/42; steps != test.steps || runs != test.runs {
				t.Errorf("%d steps and %d runs, want %d and %d", steps, runs, test.steps, test.runs)
			}
		}
	})
}

func TestNestedCompositions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		defer runInBubble(t, p)()
		p.conduct("c")
		p.put("step", "seq=/_/c")
		play(p)
		outer := p.must(200, "POST", guest+"/actions/c?blocking=true", `{"action":"seq","params":{"n":1,"action":"step"}}`).decode(t)
		time.Sleep(time.Second)
		inside := func(record map[string]any, i, of int) map[string]any {
			t.Helper()
			logs := record["logs"].([]any)
			if len(logs) != of {
				t.Fatalf("record %v", record)
			}
			inner := p.must(200, "GET", guest+"/activations/"+logs[i].(string), "").decode(t)
			if inner["cause"] != record["activationId"] || annotationOf(inner, "causedBy") != "sequence" {
				t.Errorf("record %v", inner)
			}
			return inner
		}
		sequence := inside(outer, 1, 3)
		inner := inside(sequence, 0, 1)
		step := inside(inner, 1, 3)
		if annotationOf(sequence, "topmost") != false || annotationOf(sequence, "conductor") != nil || annotationOf(sequence, "kind") != "sequence" || sequence["name"] != "seq" || sequence["duration"] != 126.0 {
			t.Errorf("the sequence's record %v", sequence)
		}
		if annotationOf(inner, "topmost") != false || annotationOf(inner, "conductor") != true || annotationOf(inner, "kind") != "sequence" || inner["name"] != "c" || inner["duration"] != 126.0 {
			t.Errorf("the inner composition's record %v", inner)
		}
		if step["name"] != "step" || fmt.Sprint(step["response"].(map[string]any)["result"]) != "map[n:2]" || outer["duration"] != 210.0 {
			t.Errorf("the step's record %v in %v", step, outer)
		}
		if n := len(p.store.Records()); n != 8 {
			t.Errorf("%d records, want those of five runs and of three that are composed", n)
		}
	})
}

func TestNonBlockingComposition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		defer runInBubble(t, p)()
		p.conduct("c")
		p.put("step")
		play(p)
		var queue []string // who claimed what, as the containers find it
		run := p.balancer.Run
		p.balancer.Run = func(ctx context.Context, inv *whisk.Invocation, body controllertest.RunBody) whisk.Outcome {
			for _, entry := range p.store.Queued() {
				queue = append(queue, string(entry.ClaimedBy))
			}
			time.Sleep(time.Minute)
			return run(ctx, inv, body)
		}
		id := p.must(202, "POST", guest+"/actions/c", `{"action":"step","n":1}`).header.Get("x-openwhisk-activation-id")
		p.must(404, "GET", guest+"/activations/"+id, "")
		time.Sleep(4 * time.Minute)
		record := p.must(200, "GET", guest+"/activations/"+id, "").decode(t)
		if len(record["logs"].([]any)) != 3 || annotationOf(record, "topmost") != true || fmt.Sprint(record["response"].(map[string]any)["result"]) != "map[n:2]" {
			t.Errorf("record %v", record)
		}
		if fmt.Sprint(queue) != "[test test test]" || len(p.store.Queued()) != 0 {
			t.Errorf("in the queue while the steps ran: %v, and now %v", queue, p.store.Queued())
		}
		// A blocking call that is too short gets the id, too.
		p.must(202, "POST", guest+"/actions/c?blocking=true&timeout=1000", "")
		time.Sleep(4 * time.Minute)
	})
}

// What is true of an action that is called is true of a composition: it may be
// offered to the web, run by a rule, and is counted once.
func TestWaysToCompositions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, allowed(4, 1, 10), func(c *controller.Config) { c.Sequences = 1 })
		defer runInBubble(t, p)()
		p.export("c", "conductor:1")
		p.conduct("d")
		p.put("step", "seq=/_/step")
		p.must(200, "PUT", guest+"/triggers/t", "{}")
		p.must(200, "PUT", guest+"/rules/r", `{"trigger":"/_/t","action":"/_/c"}`)
		play(p)
		sameJSON(t, p.must(200, "POST", webRoot+"/c.json", `{"action":"step","n":1}`, noAuth).body, `{"n":2}`)
		fired := p.must(202, "POST", guest+"/triggers/t", `{"action":"step","n":1}`).decode(t)
		time.Sleep(time.Second)
		var line struct{ ActivationID string }
		logs := p.must(200, "GET", guest+"/activations/"+fired["activationId"].(string)+"/logs", "").decode(t)["logs"].([]any)
		if err := json.Unmarshal([]byte(logs[0].(string)), &line); err != nil {
			t.Fatal(err)
		}
		if record := p.must(200, "GET", guest+"/activations/"+line.ActivationID, "").decode(t); fmt.Sprint(record["response"].(map[string]any)["result"].(map[string]any)["n"]) != "2" || record["cause"] != nil {
			t.Errorf("the rule's record %v", record)
		}
		p.must(202, "POST", guest+"/actions/d", `{"action":"step","n":1}`)
		p.refused(429, tooManyAtOnce(1, 1), "POST", guest+"/actions/d", "")
		time.Sleep(time.Second)
		if n := len(p.store.Records()); n != 4+1+4+4 {
			t.Errorf("%d records, want those of a trigger and three compositions", n)
		}
	})
}

func TestCompositionsAtOnceAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, func(c *controller.Config) { c.Sequences = 2 })
		defer runInBubble(t, p)()
		p.conduct("c")
		p.put("step", "seq=/_/step")
		play(p)
		p.must(202, "POST", guest+"/actions/c", `{"action":"c","params":{"action":"seq"},"n":1}`) // what is nested does not count
		p.must(202, "POST", guest+"/actions/seq", "")
		p.refused(429, "Too many compositions run at once (limit: 2).", "POST", guest+"/actions/c", "")
		p.refused(429, "Too many sequences run at once (limit: 2).", "POST", guest+"/actions/seq", "")
		time.Sleep(time.Second)
		p.must(202, "POST", guest+"/actions/c", "")
		time.Sleep(time.Second)
	})
}

// What only says no does not make a conductor, nor does what is said of a sequence.
func TestNoConductors(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.put("step")
	for _, value := range []string{"false", "0", `""`, "null"} {
		p.must(200, "PUT", guest+"/actions/plain?overwrite=true", `{"exec":{"kind":"nodejs:20","code":"x"},"annotations":[{"key":"conductor","value":`+value+`}]}`)
		got := p.must(200, "POST", guest+"/actions/plain?blocking=true", `{"action":"gone"}`).decode(t)
		if annotationOf(got, "kind") != "nodejs:20" || annotationOf(got, "conductor") != nil || annotationOf(got, "topmost") != nil {
			t.Errorf("with %s: %v", value, got)
		}
	}
	p.must(200, "PUT", guest+"/actions/seq", `{"exec":{"kind":"sequence","components":["/_/step"]},"annotations":[{"key":"conductor","value":true}]}`)
	got := p.must(200, "POST", guest+"/actions/seq?blocking=true", `{"action":"gone"}`).decode(t)
	if annotationOf(got, "kind") != "sequence" || annotationOf(got, "conductor") != nil || len(got["logs"].([]any)) != 1 {
		t.Errorf("the sequence: %v", got)
	}
}

// A step that the balancer has no room for waits; the composition was accepted.
// What the platform cannot run is no matter for the conductor.
func TestStepsThatAreNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		defer runInBubble(t, p)()
		p.conduct("c")
		p.put("step")
		play(p)
		var full atomic.Bool
		full.Store(true)
		p.balancer.Refuse = func(inv *whisk.Invocation) error {
			if full.Load() && inv.Key.Action.Name == "step" {
				return whisk.Errorf(whisk.Throttled, "Too many activations wait for this action (limit: 7).")
			}
			return nil
		}
		time.AfterFunc(10*time.Second, func() { full.Store(false) })
		p.must(200, "POST", guest+"/actions/c?blocking=true", `{"action":"step","n":1}`)
		full.Store(true)
		id := p.must(202, "POST", guest+"/actions/c", `{"action":"step","n":1}`).header.Get("x-openwhisk-activation-id")
		time.Sleep(10 * time.Minute)
		record := p.must(200, "GET", guest+"/activations/"+id, "").decode(t)
		if response := record["response"].(map[string]any); fmt.Sprint(response["result"]) != "map[error:Activation failure during composition.]" || response["status"] != "whisk internal error" || len(record["logs"].([]any)) != 1 {
			t.Errorf("record %v", record)
		}
	})
}
