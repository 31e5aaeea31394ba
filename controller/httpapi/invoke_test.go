// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

// The golden sample: a cold activation, answered as a whole record and found again with its logs.
func TestBlockingInvoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		defer runInBubble(t, p)()
		p.must(200, "PUT", guest+"/actions/hello", `{"exec":{"kind":"nodejs:20","code":"x"},"limits":{"memory":128}}`)
		p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
			time.Sleep(20 * time.Millisecond)
			start := time.Now()
			time.Sleep(35 * time.Millisecond)
			return whisk.Outcome{
				Response: whisk.Response{Result: run.Value, Size: len(run.Value)},
				Start:    start, Wait: start.Sub(inv.Received), Init: 30 * time.Millisecond, Run: 5 * time.Millisecond, Cold: true,
				AfterLogs: func(f func(whisk.LogSummary, error)) {
					time.AfterFunc(time.Second, func() {
						f(whisk.LogSummary{}, p.store.AppendLogs(context.Background(), []whisk.LogEntry{{Activation: inv.Activation, Namespace: "guest", Made: time.Now(), Lines: []string{"one", "two"}}}))
					})
				},
			}
		}
		received := time.Now()
		got := p.must(200, "POST", guest+"/actions/hello?blocking=true&result=false", `{"a":1}`+"\n")
		if since := time.Since(received); since != 55*time.Millisecond {
			t.Errorf("answered after %v, want 55ms: before the logs are there", since)
		}
		id := got.header.Get("x-openwhisk-activation-id")
		start := received.Add(20 * time.Millisecond).UnixMilli()
		record := fmt.Sprintf(`{"activationId":%q,"annotations":[{"key":"path","value":"guest/hello"},{"key":"waitTime","value":20},{"key":"kind","value":"nodejs:20"},
			{"key":"timeout","value":false},{"key":"limits","value":{"concurrency":1,"logs":10,"memory":128,"timeout":60000}},{"key":"initTime","value":30},
			{"key":"stages","value":{"accept":0,"queue":20,"init":30,"run":5}}],
			"duration":35,"end":%d,"logs":[],"name":"hello","namespace":"guest","publish":false,
			"response":{"result":{"a":1},"size":7,"status":"success","success":true},"start":%d,"subject":"guest-user","version":"0.0.1"}`, id, start+35, start)
		sameJSON(t, got.body, record)

		// At once, while the logs are still being collected: the reader waits for them.
		withLogs := strings.Replace(record, `"logs":[]`, `"logs":["one","two"]`, 1)
		sameJSON(t, p.must(200, "GET", guest+"/activations/"+id, "").body, withLogs)
		if stored := len(p.store.Records()); stored != 0 {
			t.Error("the record was stored before its logs were collected and its batch was due")
		}
		sameJSON(t, p.must(200, "GET", guest+"/activations/"+id+"/logs", "").body, `{"logs":["one","two"]}`)
		time.Sleep(time.Second)
		if stored := len(p.store.Records()); stored != 1 {
			t.Fatalf("%d records stored, want 1", stored)
		}
		after := strings.NewReplacer(`"run":5}`, `"run":5,"logs":1000,"record":20}`) // is told when it is stored
		withLogs = after.Replace(withLogs)
		sameJSON(t, p.must(200, "GET", guest+"/activations/"+id, "").body, withLogs)
		sameJSON(t, p.must(200, "GET", guest+"/activations/"+id+"/result", "").body, `{"result":{"a":1},"size":7,"status":"success","success":true}`)
		sameJSON(t, p.must(200, "GET", guest+"/activations?docs=true&limit=0&since=0", "").body, "["+withLogs+"]")
		summary := regexp.MustCompile(`"logs":\[\],|,"subject":"guest-user"|"response":\{.*\},`).ReplaceAllString(after.Replace(record), "")
		sameJSON(t, p.must(200, "GET", guest+"/activations", "").body, "["+strings.TrimSuffix(summary, "}")+`,"statusCode":0}]`)
	})
}

func TestOutcomesAndStatuses(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.must(200, "PUT", guest+"/actions/a", hello)
	object, array := json.RawMessage(`{"n":1.000000000000000000001}`), json.RawMessage(`[1,{"a":2}]`)
	tests := []struct {
		response whisk.Response
		query    string
		status   int
		body     string // "" for a record
	}{
		{whisk.Response{Result: object, Size: len(object)}, "blocking=true", 200, ""},
		{whisk.Response{Result: object, Size: len(object)}, "blocking=true&result=true", 200, string(object)},
		{whisk.Response{Result: array, Size: len(array)}, "blocking=true", 200, string(array)},
		{whisk.Response{Result: array, Size: len(array)}, "blocking=true&result=true", 200, string(array)},
		{whisk.Response{}, "blocking=true&result=true", 200, "{}"},
		{whisk.ErrorResponse(whisk.ApplicationError, "no"), "blocking=true", 502, ""},
		{whisk.ErrorResponse(whisk.ApplicationError, "no"), "blocking=true&result=true", 502, `{"error":"no"}`},
		{whisk.ErrorResponse(whisk.DeveloperError, "bad"), "blocking=true&result=true", 502, `{"error":"bad"}`},
		{whisk.ErrorResponse(whisk.WhiskError, "lost"), "blocking=true", 500, ""},
		{whisk.ErrorResponse(whisk.WhiskError, "lost"), "blocking=true&result=true", 500, `{"error":"lost"}`},
	}
	for _, test := range tests {
		p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, _ controllertest.RunBody) whisk.Outcome {
			return controllertest.Outcome(inv, test.response)
		}
		got := p.must(test.status, "POST", guest+"/actions/a?"+test.query, "{}")
		id := got.header.Get("x-openwhisk-activation-id")
		if whisk.CheckActivationID(id) != nil {
			t.Errorf("activation id %q", id)
		}
		if test.body != "" {
			if got.body != test.body {
				t.Errorf("%s after %v: %s, want %s", test.query, test.response.Status, got.body, test.body)
			}
			continue
		}
		record := got.decode(t)
		response, _ := record["response"].(map[string]any)
		if record["activationId"] != id || response["status"] != test.response.Status.String() || response["success"] != (test.status == 200) || record["code"] != nil || record["statusCode"] != nil {
			t.Errorf("record %s", got.body)
		}
	}
}

func TestNonBlockingInvoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		defer runInBubble(t, p)()
		p.must(200, "PUT", guest+"/actions/a", hello)
		p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
			if queued := p.store.Queued(); len(queued) != 1 || queued[0].ClaimedBy != "test" {
				t.Errorf("queue at the time of the run: %v", queued)
			}
			time.Sleep(time.Minute)
			return controllertest.Outcome(inv, whisk.Response{Result: run.Value})
		}
		got := p.must(202, "POST", guest+"/actions/a?result=true", `{"x":[1, 2]}`)
		id := got.header.Get("x-openwhisk-activation-id")
		sameJSON(t, got.body, `{"activationId":"`+id+`"}`)
		if queued := p.store.Queued(); len(queued) != 1 || string(queued[0].Activation) != id {
			t.Fatalf("accepted, but the queue has %v", queued)
		}
		p.must(404, "GET", guest+"/activations/"+id, "")
		time.Sleep(61 * time.Second)
		if result := p.must(200, "GET", guest+"/activations/"+id+"/result", "").body; !strings.Contains(result, `"result":{"x":[1, 2]}`) {
			t.Errorf("result %s", result)
		}
		if queued := p.store.Queued(); len(queued) != 0 {
			t.Errorf("the record is stored, but the queue has %v", queued)
		}
	})
}

func TestBlockingTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		defer runInBubble(t, p)()
		p.balancer.Cold = true
		p.must(200, "PUT", guest+"/actions/slow", hello)
		p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
			time.Sleep(2 * time.Minute)
			return controllertest.Outcome(inv, whisk.Response{Result: run.Value})
		}
		for query, wait := range map[string]time.Duration{"": time.Minute, "&timeout=1500": 1500 * time.Millisecond} {
			begin := time.Now()
			got := p.must(202, "POST", guest+"/actions/slow?blocking=true"+query, "")
			if waited := time.Since(begin); waited != wait {
				t.Errorf("answered after %v, want %v", waited, wait)
			}
			id := got.header.Get("x-openwhisk-activation-id")
			sameJSON(t, got.body, `{"activationId":"`+id+`"}`)
			time.Sleep(2 * time.Minute)
			p.must(200, "GET", guest+"/activations/"+id, "")
		}
	})
}

// turning has the first container turn a call away after a while.
type turning struct {
	*controllertest.Balancer
	after time.Duration
}

func (b turning) TryInvoke(ctx context.Context, inv *whisk.Invocation) (whisk.Outcome, func() whisk.Outcome, bool) {
	time.Sleep(b.after)
	return whisk.Outcome{}, func() whisk.Outcome {
		outcome, _ := b.Invoke(ctx, inv)
		return outcome
	}, true
}

// Who waits does not begin anew when a container turns the call away.
func TestBlockingTimeoutAfterATurnAway(t *testing.T) {
	for later, status := range map[time.Duration]int{20 * time.Second: 200, 2 * time.Minute: 202} {
		synctest.Test(t, func(t *testing.T) {
			var inner *controllertest.Balancer
			p := newPlatformWith(t, func(deps *controller.Deps) {
				inner = deps.Balancer.(*controllertest.Balancer)
				deps.Balancer = turning{inner, 30 * time.Second}
			})
			defer runInBubble(t, p)()
			p.must(200, "PUT", guest+"/actions/slow", hello)
			inner.Run = func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
				time.Sleep(later)
				return controllertest.Outcome(inv, whisk.Response{Result: run.Value})
			}
			begin := time.Now()
			got := p.must(status, "POST", guest+"/actions/slow?blocking=true", "")
			if waited, want := time.Since(begin), min(30*time.Second+later, time.Minute); waited != want {
				t.Errorf("answered after %v, want %v", waited, want)
			}
			time.Sleep(2 * time.Minute)
			p.must(200, "GET", guest+"/activations/"+got.header.Get("x-openwhisk-activation-id"), "")
		})
	}
}

// Who leaves is not waited with, unless the action runs already and is sure to end in time.
func TestClientThatGoesAwayChangesNothing(t *testing.T) {
	for name, held := range map[string]time.Duration{"cold": time.Second, "warm": 10 * time.Second} {
		t.Run(name, func(t *testing.T) { goesAway(t, name == "cold", held) })
	}
}

func goesAway(t *testing.T, cold bool, held time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		defer runInBubble(t, p)()
		p.balancer.Cold = cold
		p.must(200, "PUT", guest+"/actions/slow", hello)
		p.balancer.Run = func(ctx context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
			select {
			case <-time.After(10 * time.Second):
			case <-ctx.Done():
				return controllertest.Outcome(inv, whisk.ErrorResponse(whisk.WhiskError, "cut"))
			}
			return controllertest.Outcome(inv, whisk.Response{Result: run.Value})
		}
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		r := httptest.NewRequestWithContext(ctx, "POST", guest+"/actions/slow?blocking=true", strings.NewReader(`{"a":1}`))
		r.Header.Set("Authorization", basic(guestUUID, guestKey))
		r.Header.Set("Content-Type", "application/json")
		begin := time.Now()
		p.handler.ServeHTTP(httptest.NewRecorder(), r)
		if waited := time.Since(begin); waited != held {
			t.Errorf("the request of a client that left after a second was held for %v", waited)
		}
		time.Sleep(10 * time.Second)
		for _, record := range p.store.Records() {
			if record.Response.Status != whisk.Success {
				t.Errorf("record %v", record)
			}
		}
		if n := len(p.store.Records()); n != 1 {
			t.Errorf("%d records, want 1", n)
		}
	})
}

// An action's code is read ahead while its container is made, if it is short, and
// kept for one try.
func TestCodeReadAhead(t *testing.T) {
	p := newPlatform(t)
	p.run()
	for _, row := range []struct {
		size  int
		reads [3]int // after Prepare, a first InitBody, and a second one
	}{
		{64 << 10, [3]int{1, 1, 2}},
		{64<<10 + 1, [3]int{0, 1, 2}},
	} {
		code := strings.Repeat("x", row.size)
		p.must(200, "PUT", guest+"/actions/long?overwrite=true", `{"exec":{"kind":"nodejs:20","code":"`+code+`"}}`)
		p.balancer.Run = func(ctx context.Context, inv *whisk.Invocation, _ controllertest.RunBody) whisk.Outcome {
			before := p.store.Calls("GetBlob")
			for try, want := range row.reads {
				var body []byte
				var err error
				if try == 0 {
					inv.Prepare(ctx)
				} else if body, err = inv.InitBody(ctx, time.Now()); err != nil || !strings.Contains(string(body), code) {
					t.Errorf("%d bytes, step %d: %v, or not its code", row.size, try, err)
				}
				if n := p.store.Calls("GetBlob") - before; n != want {
					t.Errorf("%d bytes, step %d: read %d times, want %d", row.size, try, n, want)
				}
			}
			return controllertest.Outcome(inv, whisk.Response{Result: json.RawMessage(`{}`)})
		}
		p.must(200, "POST", guest+"/actions/long?blocking=true", "")
	}
}

// Of many actions whose first containers are waited for, only so much is read ahead;
// what is not needed any more makes room.
func TestCodeReadAheadIsBounded(t *testing.T) {
	const size, room = 64 << 10, 256
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, func(config *controller.Config) { config.Records.Memory = whisk.GB })
		defer runInBubble(t, p)()
		p.must(200, "PUT", guest+"/actions/long", `{"exec":{"kind":"nodejs:20","code":"`+strings.Repeat("x", size)+`"}}`)
		p.balancer.Cold = true
		p.balancer.Run = func(ctx context.Context, inv *whisk.Invocation, _ controllertest.RunBody) whisk.Outcome {
			inv.Prepare(ctx)
			inv.Prepare(ctx)
			time.Sleep(time.Second) // and then another has a container for it
			return controllertest.Outcome(inv, whisk.Response{Result: json.RawMessage(`{}`)})
		}
		for range 2 {
			before := p.store.Calls("GetBlob")
			for range room + 10 {
				p.must(202, "POST", guest+"/actions/long", "")
			}
			synctest.Wait()
			if n := p.store.Calls("GetBlob") - before; n != room {
				t.Errorf("of %d that wait, the code of %d was read ahead, want %d", room+10, n, room)
			}
			time.Sleep(time.Minute)
		}
	})
}

func TestWhatTheActionGets(t *testing.T) {
	p := newPlatform(t)
	p.run()
	var run controllertest.RunBody
	var init []byte
	p.balancer.Run = func(ctx context.Context, inv *whisk.Invocation, body controllertest.RunBody) whisk.Outcome {
		run = body
		var err error
		if init, err = inv.InitBody(ctx, time.UnixMilli(1700000060000)); err != nil {
			t.Error(err)
		}
		return controllertest.Outcome(inv, whisk.Response{Result: body.Value})
	}
	key := guestUUID + ":" + guestKey

	p.must(200, "PUT", guest+"/actions/plain", `{"exec":{"kind":"nodejs:20","code":"co\"de"}}`)
	id := p.must(200, "POST", guest+"/actions/plain?blocking=true", ` {"n": 12345678901234567890.10 , "s":"\u0041"} `).header.Get("x-openwhisk-activation-id")
	if string(run.Value) != `{"n": 12345678901234567890.10 , "s":"\u0041"}` {
		t.Errorf("payload %s, want it as it was sent", run.Value)
	}
	if run.Namespace != "guest" || run.ActionName != "/guest/plain" || run.Version != "0.0.1" || run.Activation != id || run.Transaction != "tid" || run.APIKey != nil || len(run.Deadline) != 13 {
		t.Errorf("run body %+v", run)
	}
	sameJSON(t, string(init), `{"value":{"name":"plain","binary":false,"main":"main","code":"co\"de","env":{"__OW_NAMESPACE":"guest","__OW_ACTION_NAME":"/guest/plain",
		"__OW_ACTION_VERSION":"0.0.1","__OW_ACTIVATION_ID":"`+id+`","__OW_TRANSACTION_ID":"tid","__OW_DEADLINE":"1700000060000"}}}`)

	p.must(200, "PUT", guest+"/actions/bound", `{"exec":{"kind":"nodejs:20","code":"eA==","main":"go"},
		"parameters":[{"key":"a","value":{"deep":[1.50]}},{"key":"b","value":"bound"},{"key":"E","value":"env","init":true},{"key":"N","value":null,"init":true},{"key":"O","value":{"x": 1},"init":true}],
		"annotations":[{"key":"provide-api-key","value":true}]}`)
	id = p.must(200, "POST", guest+"/actions/bound?blocking=true", `{"b":"given","c":1e2,"E":"mine"}`).header.Get("x-openwhisk-activation-id")
	if string(run.Value) != `{"a":{"deep":[1.50]},"b":"given","c":1e2}` {
		t.Errorf("arguments %s", run.Value)
	}
	if run.APIKey == nil || *run.APIKey != key {
		t.Errorf("api key %v", run.APIKey)
	}
	sameJSON(t, string(init), `{"value":{"name":"bound","binary":true,"main":"go","code":"eA==","env":{"E":"mine","N":"","O":"{\"x\":1}",
		"__OW_NAMESPACE":"guest","__OW_ACTION_NAME":"/guest/bound","__OW_ACTION_VERSION":"0.0.1","__OW_ACTIVATION_ID":"`+id+`","__OW_TRANSACTION_ID":"tid",
		"__OW_API_KEY":"`+key+`","__OW_DEADLINE":"1700000060000"}}}`)
	p.must(200, "POST", guest+"/actions/bound?blocking=true", "")
	if string(run.Value) != `{"a":{"deep":[1.50]},"b":"bound"}` {
		t.Errorf("arguments of an empty body %s", run.Value)
	}

	p.must(200, "PUT", guest+"/actions/final", `{"exec":{"kind":"nodejs:20","code":"x"},"parameters":[{"key":"fixed","value":1},{"key":"open","value":null}],"annotations":[{"key":"final","value":true}]}`)
	p.must(200, "POST", guest+"/actions/final?blocking=true", `{"open":2,"more":3}`)
	if string(run.Value) != `{"fixed":1,"open":2,"more":3}` {
		t.Errorf("arguments of a final action %s", run.Value)
	}
	if got := p.must(400, "POST", guest+"/actions/final", `{"\u0066ixed":2}`).decode(t)["error"]; got != "Request defines parameters that are not allowed (e.g., reserved properties)." {
		t.Error(got)
	}
}

// Actions from before there was the annotation get the key: it is withheld
// only where the annotation says so.
func TestKeyForActionsWithoutTheAnnotation(t *testing.T) {
	p := newPlatform(t)
	p.run()
	var key *string
	p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
		key = run.APIKey
		return controllertest.Outcome(inv, whisk.Response{Result: run.Value})
	}
	p.must(200, "PUT", guest+"/actions/a", hello)
	p.must(200, "POST", guest+"/actions/a?blocking=true", "")
	if key != nil {
		t.Errorf("a new action got the key %s", *key)
	}
	p.must(200, "PUT", guest+"/actions/a?overwrite=true", `{"delAnnotations":["provide-api-key"]}`)
	p.must(200, "POST", guest+"/actions/a?blocking=true", "")
	if key == nil || *key != guestUUID+":"+guestKey {
		t.Errorf("without the annotation the key is %v", key)
	}
}

func TestBalancerRefuses(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.must(200, "PUT", guest+"/actions/a", hello)
	p.balancer.Refuse = func(*whisk.Invocation) error {
		return whisk.Errorf(whisk.Throttled, "Too many activations wait for this action (limit: 7).")
	}
	for _, query := range []string{"", "?blocking=true"} {
		got := p.must(429, "POST", guest+"/actions/a"+query, "")
		if got.decode(t)["error"] != "Too many activations wait for this action (limit: 7)." || got.header.Get("x-openwhisk-activation-id") != "" {
			t.Errorf("%s %v", got.body, got.header)
		}
	}
	if queued := p.store.Queued(); len(queued) != 0 {
		t.Errorf("refused, but queued: %v", queued)
	}
}

// A blocking call that there is no time for is refused before anything is done for
// it: its parameters are not even looked at. What has rights to be asked for, or does
// not wait, is not touched by that.
func TestCrowdedRefuses(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.must(200, "PUT", guest+"/actions/a", hello)
	var asked []whisk.ActionKey
	p.balancer.Crowded = func(key whisk.ActionKey, patience time.Duration) error {
		if patience != controller.Default().Patience {
			t.Errorf("asked for a patience of %v", patience)
		}
		asked = append(asked, key)
		return whisk.Later(whisk.Unavailable, 1500*time.Millisecond, "Too many wait.")
	}
	for _, body := range []string{"", `{"a":1}`, "[]", "nonsense"} {
		got := p.must(503, "POST", guest+"/actions/a?blocking=true", body)
		if got.decode(t)["error"] != "Too many wait." || got.header.Get("Retry-After") != "2" || got.header.Get("x-openwhisk-activation-id") != "" {
			t.Errorf("%s %v", got.body, got.header)
		}
	}
	if len(asked) != 4 || asked[0].Action.Name != "a" || asked[0].Namespace != asked[0].Action.Namespace {
		t.Errorf("asked for %v", asked)
	}
	p.must(202, "POST", guest+"/actions/a", "")
	p.must(200, "POST", guest+"/actions/a?blocking=true", `{"a":"`+strings.Repeat("x", 100<<10)+`"}`) // is read in any case
	p.must(404, "POST", guest+"/actions/gone?blocking=true", "")
	if len(asked) != 4 {
		t.Errorf("asked for %v", asked)
	}
	p.balancer.Crowded = func(whisk.ActionKey, time.Duration) error { return nil }
	p.must(200, "POST", guest+"/actions/a?blocking=true", `{"a":1}`)
}

func TestQueueOutageRefusesAccepts(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.must(200, "PUT", guest+"/actions/a", hello)
	p.store.SetFault(func(op string, _ bool) error {
		if op == "Accept" {
			return whisk.Errorf(whisk.Unavailable, "disk full")
		}
		return nil
	})
	p.must(503, "POST", guest+"/actions/a", "")
	if places := p.balancer.Places(); places != 0 {
		t.Errorf("%d places are still taken", places)
	}
	p.must(200, "POST", guest+"/actions/a?blocking=true", "")
}

// TestLogsOfAStoreThatIsAway must not be said to be none, and the rest of a record
// is to be had.
func TestLogsOfAStoreThatIsAway(t *testing.T) {
	for _, kind := range []whisk.Kind{whisk.Unavailable, whisk.Timeout} {
		p := newPlatform(t)
		record := whisk.Activation{ID: whisk.ActivationID(strings.Repeat("1", 32)), Namespace: "guest", Name: "a", Version: whisk.FirstVersion}
		if err := p.store.PutActivations(t.Context(), []whisk.Activation{record}); err != nil {
			t.Fatal(err)
		}
		at := guest + "/activations/" + string(record.ID)
		p.store.SetFault(func(op string, _ bool) error {
			if op == "Logs" {
				return whisk.Errorf(kind, "host db1 does not answer")
			}
			return nil
		})
		for _, path := range []string{at + "/logs", at, guest + "/activations?docs=true"} {
			if got := p.must(503, "GET", path, ""); !strings.Contains(got.body, "The logs cannot be read now") || strings.Contains(got.body, "db1") {
				t.Errorf("%s: %s", path, got.body)
			}
		}
		p.must(200, "GET", at+"/result", "")
		p.must(200, "GET", guest+"/activations", "")
		p.store.SetFault(nil)
		p.must(200, "GET", at+"/logs", "")
	}
}

func TestActivationFilters(t *testing.T) {
	p := newPlatform(t)
	for i, name := range []string{"a", "b", "a", "p/a"} {
		record := whisk.Activation{
			ID: whisk.ActivationID(fmt.Sprintf("%032d", i)), Namespace: "guest", Name: name, Version: whisk.FirstVersion,
			Start: time.UnixMilli(int64(1000 * (i + 1))), End: time.UnixMilli(int64(1000*(i+1)) + 5), Duration: 5 * time.Millisecond,
		}
		if pkg, simple, packaged := strings.Cut(name, "/"); packaged {
			record.Package, record.Name = pkg, simple
		}
		if err := p.store.PutActivations(t.Context(), []whisk.Activation{record}); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]string{
		"":                             "3 2 1 0",
		"?name=a":                      "2 0",
		"?name=p/a":                    "3",
		"?name=p%2Fa&limit=30&skip=0":  "3",
		"?since=2000&upto=3000":        "2 1",
		"?limit=1&skip=1":              "2",
		"?name=a&since=1001&docs=true": "2",
		"?since=-5&upto=9223372036854775807&docs=": "3 2 1 0",
		"?since=9223372036854775807":               "",
		"?upto=-62135596800000":                    "", // Go's zero time
		"?upto=-9223372036854775808":               "",
	} {
		var got []string
		for _, record := range p.must(200, "GET", guest+"/activations"+query, "").list(t) {
			got = append(got, strings.TrimLeft(record["activationId"].(string)[:31], "0")+record["activationId"].(string)[31:])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", query, got, want)
		}
	}
	for query, want := range map[string]string{"&name=a&skip=1": `{"activations":1}`, "&skip=1000": `{"activations":0}`} {
		if got := p.must(200, "GET", guest+"/activations?count=true"+query, "").body; got != want {
			t.Errorf("count of %s: %s, want %s", query, got, want)
		}
	}
}

func TestDrainRefusesAndFinishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		stop := runInBubble(t, p)
		p.must(200, "PUT", guest+"/actions/slow", hello)
		p.balancer.Run = func(ctx context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
			select {
			case <-time.After(time.Duration(len(run.Value)) * time.Second):
				return controllertest.Outcome(inv, whisk.Response{Result: run.Value})
			case <-ctx.Done():
				return controllertest.Outcome(inv, whisk.ErrorResponse(whisk.WhiskError, "cut"))
			}
		}
		replies := make(chan reply, 2)
		for _, payload := range []string{`{"short":1}`, `{"long":"` + strings.Repeat("x", 50) + `"}`} {
			go func() { replies <- p.do("POST", guest+"/actions/slow?blocking=true", payload) }()
		}
		synctest.Wait()
		begin := time.Now()
		stopped := make(chan struct{})
		go func() { defer close(stopped); stop() }()
		synctest.Wait()
		if got := p.must(503, "POST", guest+"/actions/slow", "").decode(t)["error"]; got != "The server is shutting down and takes no new activations." {
			t.Error(got)
		}
		p.must(200, "GET", guest+"/actions/slow", "")
		if got := <-replies; got.status != 200 {
			t.Errorf("the short one ended with %d %s", got.status, got.body)
		}
		if got := <-replies; got.status != 500 {
			t.Errorf("the long one ended with %d %s", got.status, got.body)
		}
		<-stopped
		if took := time.Since(begin); took != 30*time.Second {
			t.Errorf("drained in %v, want the drain timeout", took)
		}
		if n := len(p.store.Records()); n != 2 {
			t.Errorf("%d records stored, want both", n)
		}
	})
}
