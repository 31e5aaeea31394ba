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
	"github.com/whirl-faas/whirl/whisk"
)

var systemTwice = whisk.FullName{Namespace: "whisk.system", Package: "kit", Name: "twice"}

// withBuiltin is a platform with a public package of whisk.system, in which there
// is one builtin action with a bound parameter.
func withBuiltin(t testing.TB, code controller.Builtin, annotations string, configure ...func(*controller.Config)) *platform {
	t.Helper()
	p := newPlatformWith(t, func(deps *controller.Deps) {
		deps.Builtins = map[whisk.FullName]controller.Builtin{systemTwice: code}
	}, configure...)
	err := p.store.PutSubject(t.Context(), whisk.Subject{Name: "whisk.system", Namespaces: []whisk.SubjectNamespace{
		{Name: "whisk.system", UUID: "system-uuid", Key: whisk.HashKey(guestKey)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	itself := controller.Itself("whisk.system")
	if _, err := p.control.PutPackage(t.Context(), itself, systemTwice.PackageName(), []byte(`{"publish":true}`), false); err != nil {
		t.Fatal(err)
	}
	body := `{"exec":{"kind":"builtin"},"parameters":[{"key":"bound","value":1}],"annotations":[` + annotations + `]}`
	if _, _, err := p.control.PutAction(t.Context(), itself, systemTwice, []byte(body), false); err != nil {
		t.Fatal(err)
	}
	return p
}

// tell answers with what it was called with.
func tell(_ context.Context, call controller.BuiltinCall) whisk.Response {
	result, err := json.Marshal(map[string]any{"got": call.Arguments, "by": call.Caller.Namespace, "key": call.Caller.Key.Key != ""})
	if err != nil {
		return whisk.ErrorResponse(whisk.WhiskError, err.Error())
	}
	return whisk.Response{Result: result}
}

const twicePath = root + "/namespaces/whisk.system/actions/kit/twice"

func TestABuiltinActionIsAnAction(t *testing.T) {
	p := withBuiltin(t, tell, `{"key":"description","value":"says it"}`)
	p.run()

	got := p.must(200, "GET", twicePath, "").decode(t)
	if fmt.Sprint(got["exec"]) != "map[binary:false kind:builtin]" || annotationOf(got, "exec") != "builtin" {
		t.Errorf("GET shows %v", got)
	}
	sameJSON(t, p.must(200, "POST", twicePath+"?blocking=true&result=true", `{"n":1.50}`).body, `{"got":{"bound":1,"n":1.50},"by":"guest","key":false}`)

	// The record has all that others' have, but initTime.
	answer := p.must(200, "POST", twicePath+"?blocking=true", `{"bound":2}`).decode(t)
	record := p.recordOf(t, answer["activationId"].(string))
	for key, want := range map[string]any{"path": "whisk.system/kit/twice", "kind": "builtin", "timeout": false, "initTime": nil} {
		if annotationOf(record, key) != want {
			t.Errorf("annotation %s = %v, want %v", key, annotationOf(record, key), want)
		}
	}
	for _, key := range []string{"waitTime", "limits"} {
		if annotationOf(record, key) == nil {
			t.Errorf("the record has no annotation %s", key)
		}
	}
	if size := record["response"].(map[string]any)["size"]; size != float64(len(`{"by":"guest","got":{"bound":2},"key":false}`)) {
		t.Errorf("size %v", size)
	}

	// In bindings, sequences and rules it is as any other.
	p.must(200, "PUT", guest+"/packages/mine", `{"binding":{"namespace":"whisk.system","name":"kit"},"parameters":[{"key":"mine","value":3}]}`)
	record = p.must(200, "POST", guest+"/actions/mine/twice?blocking=true", `{}`).decode(t)
	if annotationOf(record, "binding") != "guest/mine" {
		t.Errorf("through a binding: %v", record)
	}
	p.must(200, "PUT", guest+"/actions/row", `{"exec":{"kind":"sequence","components":["/whisk.system/kit/twice","/_/mine/twice"]}}`)
	sameJSON(t, p.must(200, "POST", guest+"/actions/row?blocking=true&result=true", `{}`).body,
		`{"got":{"bound":1,"mine":3,"got":{"bound":1},"by":"guest","key":false},"by":"guest","key":false}`)
	id := p.must(202, "POST", twicePath, `{"later":true}`).decode(t)["activationId"].(string)
	if result := p.recordOf(t, id)["response"].(map[string]any)["result"]; fmt.Sprint(result) != "map[by:guest got:map[bound:1 later:true] key:false]" {
		t.Errorf("of a call that nobody waited for: %v", result)
	}
	p.must(200, "PUT", guest+"/triggers/t", `{}`)
	p.must(200, "PUT", guest+"/rules/r", `{"trigger":"/_/t","action":"/whisk.system/kit/twice"}`)
	fired := p.must(202, "POST", guest+"/triggers/t", `{}`).decode(t)["activationId"].(string)
	logs, _ := p.recordOf(t, fired)["logs"].([]any)
	var line struct{ ActivationID string }
	if len(logs) != 1 || json.Unmarshal([]byte(logs[0].(string)), &line) != nil || p.recordOf(t, line.ActivationID)["name"] != "twice" {
		t.Errorf("a rule's: %v", logs)
	}
}

func TestABuiltinWebActionRunsForItsOwner(t *testing.T) {
	p := withBuiltin(t, func(ctx context.Context, call controller.BuiltinCall) whisk.Response {
		var given struct {
			User string `json:"__ow_user"`
		}
		if err := json.Unmarshal(call.Arguments, &given); err != nil {
			return whisk.ErrorResponse(whisk.ApplicationError, err.Error())
		}
		return whisk.Response{Result: fmt.Appendf(nil, `{"statusCode":201,"body":"%s by %s, key %v"}`, given.User, call.Caller.Namespace, call.Caller.Key.Key != "")}
	}, `{"key":"web-export","value":true},{"key":"final","value":true}`)
	got := p.must(201, "POST", root+"/web/whisk.system/kit/twice.http", `{"a":1}`)
	if got.body != "guest by whisk.system, key false" {
		t.Errorf("answer %q", got.body)
	}
	p.must(400, "POST", root+"/web/whisk.system/kit/twice.http", `{"bound":1}`)
}

func TestNobodyMakesABuiltinAction(t *testing.T) {
	p := withBuiltin(t, tell, "")
	asSystem := "Authorization: " + basic("system-uuid", guestKey)
	unknown := "The specified runtime 'builtin' is not supported by this platform. Valid values are: 'java:8', 'nodejs:18', 'nodejs:20', 'sequence'."
	p.walk(t, []step{
		{"a user", "PUT", guest + "/actions/a", `{"exec":{"kind":"builtin"}}`, nil, 400, "The request content was malformed:\n" + unknown},
		{"the owner of the package", "PUT", twicePath + "?overwrite=true", `{"exec":{"kind":"builtin"}}`, []string{asSystem}, 400, "The request content was malformed:\n" + unknown},
		{"an update of the rest", "PUT", twicePath + "?overwrite=true", `{"publish":true}`, []string{asSystem}, 200, ""},
		{"which still runs", "POST", twicePath + "?blocking=true", `{}`, nil, 200, ""},
	})
	other := systemTwice
	other.Name = "thrice"
	_, _, err := p.control.PutAction(t.Context(), controller.Itself("whisk.system"), other, []byte(`{"exec":{"kind":"builtin"}}`), false)
	if err == nil || err.Error() != "The action 'whisk.system/kit/thrice' is built into the platform, but not into this controller." {
		t.Errorf("an action without code: %v", err)
	}
}

func TestBuiltinActionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		p := withBuiltin(t, func(ctx context.Context, call controller.BuiltinCall) whisk.Response {
			if calls.Add(1) == 3 {
				panic("a mistake")
			}
			if strings.Contains(string(call.Arguments), "long") {
				return whisk.Response{Result: fmt.Appendf(nil, `{"a":"%s"}`, strings.Repeat("a", 1<<20))}
			}
			<-ctx.Done()
			return whisk.ErrorResponse(whisk.ApplicationError, ctx.Err().Error())
		}, "", func(config *controller.Config) { config.Builtins = 1 })
		defer runInBubble(t, p)()

		id := p.must(202, "POST", twicePath, `{}`).decode(t)["activationId"].(string)
		synctest.Wait()
		const full = "Too many builtin actions run at once (limit: 1)."
		p.walk(t, []step{
			{"waiting for it", "POST", twicePath + "?blocking=true", `{}`, nil, 429, full},
			{"not waiting", "POST", twicePath, `{}`, nil, 429, full},
		})
		time.Sleep(time.Minute + time.Second)
		record := p.recordOf(t, id)
		if annotationOf(record, "timeout") != true || record["duration"] != float64(60_000) {
			t.Errorf("beyond its time: %v", record)
		}
		sameJSON(t, p.must(502, "POST", twicePath+"?blocking=true&result=true", `{"long":1}`).body,
			`{"error":"The action produced a response that exceeded the allowed length: 1048584 > 1048576 bytes."}`)
		sameJSON(t, p.must(500, "POST", twicePath+"?blocking=true&result=true", `{}`).body, `{"error":"The action failed inside the platform."}`)
	})
}
