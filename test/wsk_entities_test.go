// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

// testWskEntities replays wsk's commands for packages, triggers, rules and sequences.
func (p *platform) testWskEntities(t *testing.T) {
	const ns = "/namespaces/_"
	const code = `"exec":{"kind":"nodejs:default","code":"function main(p) { return { got: p.name } }"}`
	for _, call := range []wskCall{
		{"package create", "PUT", ns + "/packages/wskp?overwrite=false", `{"namespace":"_","name":"wskp","publish":true,"parameters":[{"key":"name","value":"bound"}]}`, 200, []string{`"publish":true`, `"binding":{}`}},
		{"action create wskp/a", "PUT", ns + "/actions/wskp/a?overwrite=false", `{"namespace":"_","name":"wskp/a",` + code + `}`, 200, []string{`"namespace":"guest/wskp"`, `"name":"a"`}},
		{"action list wskp", "GET", ns + "/actions/wskp/?limit=30&skip=0", "", 200, []string{`"name":"a"`}},
		{"package bind", "PUT", ns + "/packages/wskb?overwrite=false", `{"binding":{"namespace":"_","name":"wskp"},"parameters":[{"key":"name","value":"over"}],"annotations":[]}`, 200, []string{`"binding":{"namespace":"guest","name":"wskp"}`}},
		{"action invoke -r wskp/a", "POST", ns + "/actions/wskp/a?blocking=true&result=true", `{}`, 200, []string{`{"got":"bound"}`}},
		{"action invoke -r wskb/a", "POST", ns + "/actions/wskb/a?blocking=true&result=true", `{}`, 200, []string{`{"got":"over"}`}},
		{"action get wskb/a", "GET", ns + "/actions/wskb/a?code=false", "", 200, []string{`"namespace":"guest/wskp"`, `"binding":"guest/wskb"`}},
		{"package get", "GET", ns + "/packages/wskp", "", 200, []string{`"actions":[{"name":"a"`, `"feeds":[]`}},
		{"package list", "GET", ns + "/packages?limit=30&skip=0", "", 200, []string{`"binding":false`, `"binding":{"namespace":"guest","name":"wskp"}`}},
		{"package refresh", "POST", ns + "/packages/refresh", "", 405, []string{"HTTP method not allowed, supported methods: PUT, GET, DELETE"}},

		{"action create --sequence", "PUT", ns + "/actions/wsks?overwrite=false", `{"namespace":"_","name":"wsks","exec":{"kind":"sequence","components":["/_/wskp/a","/guest/wskb/a"]}}`, 200, []string{`["/guest/wskp/a","/guest/wskb/a"]`}},
		{"action create --sequence (empty)", "PUT", ns + "/actions/wsknone?overwrite=false", `{"namespace":"_","name":"wsknone","exec":{"kind":"sequence","components":["/_/"]}}`, 400, []string{"must contain at least the namespace and the name"}},
		{"action invoke -b wsks", "POST", ns + "/actions/wsks?blocking=true&result=false", `{}`, 200, []string{`"kind","value":"sequence"`, `"result":{"got":"over"}`}},

		{"trigger create", "PUT", ns + "/triggers/wskt?overwrite=false", `{"name":"wskt","parameters":[{"key":"name","value":"trigger"}],"annotations":[{"key":"note","value":true}]}`, 200, []string{`"name":"wskt"`, `"limits":{}`}},
		{"trigger fire (without a rule)", "POST", ns + "/triggers/wskt", `{}`, 204, nil},
		{"trigger update (looks first)", "GET", ns + "/triggers/wskt", "", 200, []string{`"annotations"`}},
		{"trigger update", "PUT", ns + "/triggers/wskt?overwrite=true", `{"name":"wskt","parameters":[{"key":"name","value":"trigger2"}]}`, 200, []string{`"version":"0.0.2"`, `"trigger2"`}},
		{"rule create", "PUT", ns + "/rules/wskr?overwrite=false", `{"name":"wskr","status":"","trigger":"/_/wskt","action":"/_/wskb/a"}`, 200, []string{`"status":"active"`, `{"path":"guest","name":"wskt"}`, `{"path":"guest/wskb","name":"a"}`}},
		{"rule disable", "POST", ns + "/rules/wskr", `{"status":"inactive","trigger":null,"action":null}`, 200, nil},
		{"rule status", "GET", ns + "/rules/wskr", "", 200, []string{`"status":"inactive"`}},
		{"rule enable", "POST", ns + "/rules/wskr", `{"status":"active","trigger":null,"action":null}`, 200, nil},
		{"rule list", "GET", ns + "/rules?limit=30&skip=0", "", 200, []string{`"name":"wskr"`}},
		{"trigger list", "GET", ns + "/triggers?limit=30&skip=0", "", 200, []string{`"name":"wskt"`}},
	} {
		checkWsk(t, call, p.wsk(t, call.method, call.path, call.body))
	}
	p.testWskFire(t)
	for _, call := range []wskCall{
		{"rule delete --disable (first)", "POST", ns + "/rules/wskr", `{"status":"inactive","trigger":null,"action":null}`, 200, nil},
		{"rule delete", "DELETE", ns + "/rules/wskr", "", 200, []string{`"status":"inactive"`}},
		{"trigger delete", "DELETE", ns + "/triggers/wskt", "", 200, []string{`"name":"wskt"`}},
		{"action delete wsks", "DELETE", ns + "/actions/wsks", "", 200, nil},
		{"action delete wskb/a", "DELETE", ns + "/actions/wskb/a", "", 400, []string{"Operation not permitted on package binding."}},
		{"package delete (not empty)", "DELETE", ns + "/packages/wskp", "", 409, []string{"Package not empty (contains 1 entity)."}},
		{"package delete wskb", "DELETE", ns + "/packages/wskb", "", 200, nil},
		{"action delete wskp/a", "DELETE", ns + "/actions/wskp/a", "", 200, nil},
		{"package delete", "DELETE", ns + "/packages/wskp", "", 200, nil},
	} {
		checkWsk(t, call, p.wsk(t, call.method, call.path, call.body))
	}
}

// testWskFire fires a trigger and follows its record to that of its action.
func (p *platform) testWskFire(t *testing.T) {
	fired := p.wsk(t, "POST", "/namespaces/_/triggers/wskt", `{"name":"given"}`)
	id, _ := fired.object(t)["activationId"].(string)
	if fired.status != http.StatusAccepted {
		t.Fatalf("wsk trigger fire: %d %s", fired.status, fired.body)
	}
	p.recordOf(t, whisk.ActivationID(id), recordTime)
	var record struct{ Logs []string }
	if err := json.Unmarshal(p.wsk(t, "GET", "/namespaces/_/activations/"+id, "").body, &record); err != nil || len(record.Logs) != 1 {
		t.Fatalf("the trigger's record has the logs %q, %v", record.Logs, err)
	}
	var entry struct {
		ActivationID whisk.ActivationID
		Success      bool
	}
	if err := json.Unmarshal([]byte(record.Logs[0]), &entry); err != nil || !entry.Success {
		t.Fatalf("the rule's line %s: %v", record.Logs[0], err)
	}
	p.recordOf(t, entry.ActivationID, recordTime)
	checkWsk(t, wskCall{command: "activation result", status: 200, want: []string{`"got":"given"`}},
		p.wsk(t, "GET", "/namespaces/_/activations/"+string(entry.ActivationID)+"/result", ""))
}
