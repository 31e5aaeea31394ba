// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

func TestTriggers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		now := time.Now().UnixMilli()
		head := fmt.Sprintf(`{"namespace":"guest","name":"t","version":"0.0.1","publish":false,"updated":%d,"annotations":[{"key":"feed","value":"/whisk.system/alarms/alarm"}]`, now)
		whole := head + `,"parameters":[{"key":"a","value":1}],"limits":{}}`
		sameJSON(t, p.must(200, "PUT", guest+"/triggers/t?overwrite=false", `{"name":"t","parameters":[{"key":"a","value":1}],
			"annotations":[{"key":"feed","value":"/whisk.system/alarms/alarm"}],"limits":{"x":1},"rules":{"forged":1}}`).body, whole)
		sameJSON(t, p.must(200, "GET", guest+"/triggers/t", "").body, whole)
		sameJSON(t, p.must(200, "GET", guest+"/triggers", "").body, "["+head+"}]")
		sameJSON(t, p.must(200, "GET", guest+"/triggers?count=true", "").body, `{"triggers":1}`)

		time.Sleep(time.Second)
		got := p.must(200, "PUT", guest+"/triggers/t?overwrite=true", `{"publish":true}`).decode(t)
		if got["version"] != "0.0.2" || got["publish"] != true || fmt.Sprint(got["parameters"]) != "[map[key:a value:1]]" || annotationOf(got, "feed") == nil || got["updated"] != float64(now+1000) {
			t.Errorf("after the first update: %v", got)
		}
		// The feed is only looked at when the trigger is made.
		got = p.must(200, "PUT", guest+"/triggers/t?overwrite=true", `{"annotations":[{"key":"feed","value":7}],"parameters":[],"version":"1"}`).decode(t)
		if got["version"] != "1.0.0" || fmt.Sprint(got["parameters"]) != "[]" || fmt.Sprint(got["annotations"]) != "[map[key:feed value:7]]" {
			t.Errorf("after the second update: %v", got)
		}
		p.must(409, "PUT", guest+"/triggers/t", "{}")
		if got := p.must(200, "DELETE", guest+"/triggers/t", "").decode(t); got["version"] != "1.0.0" {
			t.Errorf("deleted %v", got)
		}
		p.must(404, "GET", guest+"/triggers/t", "")
	})
}

func TestTriggerRefusals(t *testing.T) {
	p := newPlatform(t)
	big := strings.Repeat("a", 1<<20)
	for _, row := range []struct {
		body   string
		status int
		text   string
	}{
		{`"x"`, 400, "The request content was malformed:\nObject expected"},
		{`{"parameters":"x"}`, 400, "The request content was malformed:\n'parameters' must be an array of objects, each with a string 'key' and a 'value'"},
		{`{"version":"0"}`, 400, `The request content was malformed:` + "\n" + `bad version "0", want major.minor.patch above 0.0.0`},
		{`{"parameters":[{"key":"p","value":"` + big + `"}]}`, 413, "parameters larger than allowed: 1048579 > 1048576 bytes."},
		{`{"annotations":[{"key":"p","value":"` + big + `"}]}`, 413, "annotations larger than allowed: 1048579 > 1048576 bytes."},
		{`{"annotations":[{"key":"feed","value":"a%b"}]}`, 400, "Feed name is not valid"},
		{`{"annotations":[{"key":"feed","value":"/"}]}`, 400, "Feed name is not valid"},
		{`{"annotations":[{"key":"feed","value":{}}]}`, 400, "Feed name is not valid"},
		{`{"annotations":[{"key":"feed","value":null}]}`, 400, "Feed name is not valid"},
	} {
		got := p.do("PUT", guest+"/triggers/t", row.body)
		if text := got.decode(t)["error"]; got.status != row.status || text != row.text {
			t.Errorf("PUT %.80s = %d %q, want %d %q", row.body, got.status, text, row.status, row.text)
		}
	}
	p.must(200, "PUT", guest+"/triggers/t", `{"annotations":[{"key":"feed","value":"name"}]}`)
}

// rules makes actions, a trigger and a rule for each action; those that begin
// with "off" are made inactive.
func (p *platform) rules(trigger string, actions ...string) {
	p.t.Helper()
	p.must(200, "PUT", guest+"/triggers/"+trigger, `{"parameters":[{"key":"bound","value":"t"},{"key":"over","value":"t"}]}`)
	for _, action := range actions {
		p.must(200, "PUT", guest+"/actions/"+action, hello)
		p.must(200, "PUT", guest+"/rules/rule-"+action, `{"trigger":"/_/`+trigger+`","action":"/_/`+action+`"}`)
		if strings.HasPrefix(action, "off") {
			p.must(200, "POST", guest+"/rules/rule-"+action, `{"status":"inactive"}`)
		}
	}
}

func TestFire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		defer runInBubble(t, p)()
		p.rules("t", "a", "b", "off")
		var mu sync.Mutex
		var queued int
		values := map[string]json.RawMessage{}
		p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
			if run.Transaction != "tid" || run.Namespace != "guest" {
				t.Errorf("run %+v", run)
			}
			mu.Lock()
			queued = max(queued, len(p.store.Queued()))
			values[run.ActionName] = run.Value
			mu.Unlock()
			time.Sleep(time.Second)
			return controllertest.Outcome(inv, whisk.Response{Result: run.Value})
		}
		start := time.Now().UnixMilli()
		got := p.must(202, "POST", guest+"/triggers/t", `{"over":"p","n":1.50}`, "X-Custom: yes")
		id := got.header.Get("x-openwhisk-activation-id")
		sameJSON(t, got.body, `{"activationId":"`+id+`"}`)

		// The record is there at once, while the actions run.
		record := p.must(200, "GET", guest+"/activations/"+id, "")
		var logs struct{ Logs []string }
		if err := json.Unmarshal([]byte(record.body), &logs); err != nil {
			t.Fatal(err)
		}
		var ids []string
		wants := []string{
			`{"statusCode":0,"success":true,"activationId":"<any>","rule":"guest/rule-a","action":"guest/a"}`,
			`{"statusCode":0,"success":true,"activationId":"<any>","rule":"guest/rule-b","action":"guest/b"}`,
			`{"statusCode":1,"success":false,"error":"Rule 'guest/rule-off' is inactive, action 'guest/off' was not activated.","rule":"guest/rule-off","action":"guest/off"}`,
		}
		if len(logs.Logs) != len(wants) {
			t.Fatalf("logs %q", logs.Logs)
		}
		for i, want := range wants {
			sameJSON(t, logs.Logs[i], want)
			if entry := (reply{body: logs.Logs[i]}).decode(t); entry["activationId"] != nil {
				ids = append(ids, entry["activationId"].(string))
			}
		}
		sameJSON(t, record.body, fmt.Sprintf(`{"activationId":%q,"namespace":"guest","name":"t","version":"0.0.1","publish":false,"annotations":[],"start":%d,
			"subject":"guest-user","response":{"result":{"over":"p","n":1.50},"size":21,"status":"success","success":true},"logs":["<any>","<any>","<any>"]}`, id, start))
		sameJSON(t, p.must(200, "GET", guest+"/activations/"+id+"/logs", "").body, `{"logs":["<any>","<any>","<any>"]}`)

		time.Sleep(2 * time.Second)
		synctest.Wait() // for what the runs noted
		arguments := `{"bound":"t","__ow_headers":{"host":"example.com","x-custom":"yes","x-request-id":"tid"},"over":"p","n":1.50}`
		for _, name := range []string{"/guest/a", "/guest/b"} {
			sameJSON(t, string(values[name]), arguments)
		}
		for _, id := range ids {
			action := p.must(200, "GET", guest+"/activations/"+id, "").decode(t)
			if action["cause"] != nil || annotationOf(action, "causedBy") != nil {
				t.Errorf("an action of a rule has a cause: %v", action)
			}
		}
		if queued != 3 {
			t.Errorf("%d entries were in the queue when the first action ran, want the trigger's and both actions'", queued)
		}
		if left := p.store.Queued(); len(left) != 0 || len(p.store.Records()) != 3 {
			t.Errorf("left in the queue: %v, records: %d", left, len(p.store.Records()))
		}
		sameJSON(t, p.must(200, "GET", guest+"/activations?name=t", "").body, fmt.Sprintf(`[{"activationId":%q,"namespace":"guest","name":"t","version":"0.0.1",
			"publish":false,"annotations":[],"start":%d}]`, id, start))

		// What the payload says of __ow_headers counts, and none at all is an empty object.
		p.must(202, "POST", guest+"/triggers/t", `{"__ow_headers":1}`)
		time.Sleep(2 * time.Second)
		synctest.Wait() // for what the runs noted
		sameJSON(t, string(values["/guest/a"]), `{"bound":"t","over":"t","__ow_headers":1}`)
		got = p.must(202, "POST", guest+"/triggers/t", "")
		sameJSON(t, p.must(200, "GET", guest+"/activations/"+got.header.Get("x-openwhisk-activation-id")+"/result", "").body, `{"result":{},"size":2,"status":"success","success":true}`)
	})
}

// Without an active rule there is nothing: no body, no id, no record.
func TestFireWithoutAnActiveRule(t *testing.T) {
	p := newPlatform(t)
	p.must(200, "PUT", guest+"/triggers/bare", "{}")
	p.rules("t", "off1", "off2")
	for _, name := range []string{"bare", "t"} {
		got := p.must(204, "POST", guest+"/triggers/"+name, `{"a":1}`)
		if got.body != "" || got.header.Get("x-openwhisk-activation-id") != "" || got.header.Get("Content-Type") != "" || got.header.Get("X-Request-ID") != "tid" {
			t.Errorf("%s: %q %v", name, got.body, got.header)
		}
	}
	if n := len(p.store.Queued()); n != 0 {
		t.Errorf("%d entries in the queue", n)
	}
}

// A rule whose action cannot be begun is told of in the record, and the others
// go on.
func TestFireOfRulesThatFail(t *testing.T) { synctest.Test(t, testFireOfRulesThatFail) }

func testFireOfRulesThatFail(t *testing.T) {
	// The change feed tells of own writes again, and what it tells of is read anew.
	p := newPlatform(t, func(c *controller.Config) { c.FeedInterval = time.Hour })
	defer runInBubble(t, p)()
	p.rules("t", "broken", "busy", "fine", "fixed", "gone")
	p.must(200, "PUT", guest+"/actions/fixed?overwrite=true", `{"parameters":[{"key":"over","value":1}],"annotations":[{"key":"final","value":true}]}`)
	p.must(200, "DELETE", guest+"/actions/gone", "")
	p.must(200, "PUT", guest+"/actions/sequence", `{"exec":{"kind":"sequence","components":["/_/fine","/_/fine"]}}`)
	p.must(200, "PUT", guest+"/rules/rule-sequence", `{"trigger":"/_/t","action":"/_/sequence"}`)
	p.must(200, "PUT", root+"/namespaces/other/packages/pub", `{"publish":true}`, asOther())
	p.must(200, "PUT", root+"/namespaces/other/actions/pub/a", hello, asOther())
	p.must(200, "PUT", guest+"/rules/rule-public", `{"trigger":"/_/t","action":"/other/pub/a"}`)
	p.must(200, "PUT", guest+"/rules/rule-withdrawn", `{"trigger":"/_/t","action":"/other/pub/a"}`)
	p.balancer.Refuse = func(inv *whisk.Invocation) error {
		if inv.Key.Action.Name == "busy" {
			return whisk.Errorf(whisk.Throttled, "Too many activations wait for this action (limit: 7).")
		}
		return nil
	}
	name := whisk.FullName{Namespace: "guest", Name: "broken"}
	doc, err := p.store.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	doc.Body = []byte("garbage")
	if _, err := p.store.Put(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	fired := func() []string {
		id := p.must(202, "POST", guest+"/triggers/t", `{"over":2}`).header.Get("x-openwhisk-activation-id")
		var logs []string
		for _, line := range p.recordOf(t, id)["logs"].([]any) {
			logs = append(logs, line.(string))
		}
		return logs
	}
	const began = `{"statusCode":0,"success":true,"activationId":"<any>"`
	for i, want := range []string{
		`{"statusCode":3,"success":false,"error":"Resource is corrupted and cannot be read.","rule":"guest/rule-broken","action":"guest/broken"}`,
		`{"statusCode":1,"success":false,"error":"Too many activations wait for this action (limit: 7).","rule":"guest/rule-busy","action":"guest/busy"}`,
		began + `,"rule":"guest/rule-fine","action":"guest/fine"}`,
		`{"statusCode":1,"success":false,"error":"Request defines parameters that are not allowed (e.g., reserved properties).","rule":"guest/rule-fixed","action":"guest/fixed"}`,
		`{"statusCode":1,"success":false,"error":"The requested resource does not exist.","rule":"guest/rule-gone","action":"guest/gone"}`,
		began + `,"rule":"guest/rule-public","action":"other/pub/a"}`,
		began + `,"rule":"guest/rule-sequence","action":"guest/sequence"}`,
		began + `,"rule":"guest/rule-withdrawn","action":"other/pub/a"}`,
	} {
		sameJSON(t, fired()[i], want)
	}
	p.must(200, "PUT", root+"/namespaces/other/packages/pub?overwrite=true", `{"publish":false}`, asOther())
	sameJSON(t, fired()[7], `{"statusCode":1,"success":false,"error":"The supplied authentication is not authorized to access 'other/pub'.","rule":"guest/rule-withdrawn","action":"other/pub/a"}`)
	p.store.SetFault(func(op string, _ bool) error {
		if op == "Get" {
			return whisk.Errorf(whisk.Unavailable, "disk secret is full")
		}
		return nil
	})
	logs := fired() // of what is not in the caches
	sameJSON(t, logs[4], `{"statusCode":3,"success":false,"error":"There was an internal server error.","rule":"guest/rule-gone","action":"guest/gone"}`)
	sameJSON(t, logs[2], began+`,"rule":"guest/rule-fine","action":"guest/fine"}`)
	p.store.SetFault(nil)
	eventually(t, func() bool { return p.balancer.Places() == 0 && len(p.store.Queued()) == 0 })
}

// Nothing of a firing stays when it cannot be made durable.
func TestFireDuringAnOutageOfTheQueue(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.rules("t", "a", "b")
	p.store.SetFault(func(op string, _ bool) error {
		if op == "Accept" {
			return whisk.Errorf(whisk.Unavailable, "disk full")
		}
		return nil
	})
	p.must(503, "POST", guest+"/triggers/t", "")
	if places, records := p.balancer.Places(), len(p.store.Records()); places != 0 || records != 0 {
		t.Errorf("%d places are taken and %d records stored", places, records)
	}
	p.store.SetFault(nil)
	p.must(202, "POST", guest+"/triggers/t", "")
}

// A fan-out that is too long for one step of the queue goes in several.
func TestFireOfManyLargeActivations(t *testing.T) {
	p := newPlatform(t)
	p.run()
	var actions []string
	for i := range 20 {
		actions = append(actions, fmt.Sprintf("a%02d", i))
	}
	p.rules("t", actions...)
	payload := `{"x":"` + strings.Repeat("x", 900_000) + `"}`
	id := p.must(202, "POST", guest+"/triggers/t", payload).header.Get("x-openwhisk-activation-id")
	if accepts := p.store.Calls("Accept"); accepts < 2 || accepts > 5 {
		t.Errorf("%d steps for 20 entries of 900 kB", accepts)
	}
	if lines := p.recordOf(t, id)["logs"].([]any); len(lines) != 20 {
		t.Errorf("%d lines", len(lines))
	}
	eventually(t, func() bool { return len(p.store.Records()) == 21 && len(p.store.Queued()) == 0 })
	// When a later step fails, nothing of the earlier ones is left.
	accepts := 0
	p.store.SetFault(func(op string, done bool) error {
		if op == "Accept" && !done {
			if accepts++; accepts == 2 {
				return whisk.Errorf(whisk.Unavailable, "disk full")
			}
		}
		return nil
	})
	p.must(503, "POST", guest+"/triggers/t", payload)
	if queued := p.store.Queued(); len(queued) != 0 || p.balancer.Places() != 0 {
		t.Errorf("%d entries are left, and %d places", len(queued), p.balancer.Places())
	}
}

// The caller's secret is no header for the code of others.
func TestFireWithholdsTheKey(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.rules("t", "a")
	seen := make(chan string, 1)
	p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
		seen <- string(run.Value)
		return controllertest.Outcome(inv, whisk.Response{Result: run.Value})
	}
	p.must(202, "POST", guest+"/triggers/t", `{}`, "X-OW-EXTRA-LOGGING: on")
	value := strings.ToLower(<-seen)
	for _, withheld := range []string{"authorization", "content-type", "content-length", "extra-logging", strings.ToLower(guestKey)} {
		if strings.Contains(value, withheld) {
			t.Errorf("%q is in %s", withheld, value)
		}
	}
	if !strings.Contains(value, `"host":"example.com"`) {
		t.Errorf("no host in %s", value)
	}
}
