// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// wskCall is what the wsk command sends for one of its subcommands, and what it
// needs of the answer.
type wskCall struct {
	command string // as a user types it
	method  string
	path    string // below /api/v1
	body    string
	status  int
	want    []string // fragments of the answer
}

// testWskReplay sends what wsk sends, byte for byte: its headers, its order of
// query parameters, and bodies that end with a newline.
func (p *platform) testWskReplay(t *testing.T) {
	const ns = "/namespaces/_"
	for _, call := range []wskCall{
		{"property get", "GET", "/namespaces", "", 200, []string{`["guest"]`}},
		{"action get (before update)", "GET", ns + "/actions/wsk?code=false", "", 404, []string{`"error"`, `"code"`}},
		{"action create", "PUT", ns + "/actions/wsk?overwrite=false",
			`{"namespace":"_","name":"wsk","exec":{"kind":"nodejs:default","code":"function main(p) { console.log(p.name); return p.name ? { hello: p.name } : { error: 'no name' } }"},"limits":{"timeout":5000,"memory":128,"logs":2}}`,
			200, []string{`"version":"0.0.1"`, `"timeout":5000`, `"memory":128`, `"logs":2`}},
		{"action create (again)", "PUT", ns + "/actions/wsk?overwrite=false",
			`{"namespace":"_","name":"wsk","exec":{"kind":"nodejs:default","code":"x"}}`, 409, []string{"resource already exists"}},
		{"action create --docker (where nothing runs images)", "PUT", ns + "/actions/box?overwrite=false",
			`{"namespace":"_","name":"box","exec":{"kind":"blackbox","image":"me/box"}}`, 400, []string{"The specified runtime 'blackbox' is not supported by this platform.", "--driver docker"}},
		{"action update (looks first)", "GET", ns + "/actions/wsk?code=false", "", 200, []string{`"annotations"`}},
		{"action update", "PUT", ns + "/actions/wsk?overwrite=true", `{"namespace":"_","name":"wsk","limits":{"timeout":1000}}`,
			200, []string{`"version":"0.0.2"`, `"timeout":1000`, `"memory":128`}},
		{"action update --del-annotation", "PUT", ns + "/actions/wsk?overwrite=true", `{"namespace":"_","name":"wsk","delAnnotations":["k"]}`, 200, []string{`"version":"0.0.3"`}},
		{"action get", "GET", ns + "/actions/wsk?code=false", "", 200, []string{`"kind":"nodejs:`}},
		{"action get --save", "GET", ns + "/actions/wsk?code=true", "", 200, []string{"console.log"}},
		{"action list", "GET", ns + "/actions?limit=30&skip=0", "", 200, []string{`"name":"wsk"`, `{"key":"exec","value":"nodejs:`}},
		{"list", "GET", ns + "/actions?limit=0&skip=0", "", 200, []string{`"name":"wsk"`}},
		{"action invoke -b", "POST", ns + "/actions/wsk?blocking=true&result=false", `{"name":"w"}`, 200, []string{`"activationId"`, `"success":true`, `"hello":"w"`}},
		{"action invoke -r", "POST", ns + "/actions/wsk?blocking=true&result=true", `{"name":"w"}`, 200, []string{`{"hello":"w"}`}},
		{"action invoke -r (fails)", "POST", ns + "/actions/wsk?blocking=true&result=true", `{}`, 502, []string{`{"error":"no name"}`}},
		{"action invoke -b (fails)", "POST", ns + "/actions/wsk?blocking=true&result=false", `{}`, 502, []string{`"status":"application error"`}},
	} {
		got := p.wsk(t, call.method, call.path, call.body)
		checkWsk(t, call, got)
	}
	p.testWskActivations(t)
	p.testWskEntities(t)
	checkWsk(t, wskCall{command: "action delete", status: 200, want: []string{`"name":"wsk"`}}, p.wsk(t, "DELETE", ns+"/actions/wsk", ""))
}

// wsk sends a request as the wsk command does.
func (p *platform) wsk(t *testing.T, method, path, body string) reply {
	t.Helper()
	header := http.Header{
		"Authorization": {basicAuth(guestKey)},
		"User-Agent":    {"OpenWhisk-CLI/1.0 (2024-09-01T00:00:00.000+0000) linux amd64"},
	}
	if body != "" {
		header.Set("Content-Type", "application/json")
		body += "\n"
	}
	return p.sendRaw(t, method, "/api/v1"+path, body, header)
}

func checkWsk(t *testing.T, call wskCall, got reply) {
	t.Helper()
	if got.status != call.status {
		t.Errorf("wsk %s: status %d: %s", call.command, got.status, got.body)
	}
	for _, want := range call.want {
		if !strings.Contains(string(got.body), want) {
			t.Errorf("wsk %s: %q is not in %s", call.command, want, got.body)
		}
	}
	// The command decides by the code whether the platform or the action speaks.
	failed := strings.HasPrefix(string(got.body), `{"error"`)
	if got.status == http.StatusBadGateway && failed && strings.Contains(string(got.body), `"code"`) {
		t.Errorf("wsk %s: an action's error carries a code: %s", call.command, got.body)
	}
}

// testWskActivations replays the activation commands about a run of its own.
func (p *platform) testWskActivations(t *testing.T) {
	const ns = "/namespaces/_"
	started := p.wsk(t, "POST", ns+"/actions/wsk?blocking=false&result=false", `{"name":"later"}`)
	id, _ := started.object(t)["activationId"].(string)
	if started.status != http.StatusAccepted {
		t.Fatalf("wsk action invoke: %d %s", started.status, started.body)
	}
	p.recordOf(t, whisk.ActivationID(id), recordTime)
	p.logsOf(t, whisk.ActivationID(id), 1)
	eventually(t, recordTime, "the record is listed", func() bool { // it can be got before
		return strings.Contains(string(p.wsk(t, "GET", ns+"/activations?limit=1", "").body), id)
	})
	since := time.Now().Add(-time.Hour).UnixMilli()
	for _, call := range []wskCall{
		{"activation get", "GET", ns + "/activations/" + id, "", 200, []string{`"activationId":"` + id + `"`, `"hello":"later"`, "stdout: later"}},
		{"activation result", "GET", ns + "/activations/" + id + "/result", "", 200, []string{`"hello":"later"`, `"success":true`}},
		{"activation logs", "GET", ns + "/activations/" + id + "/logs", "", 200, []string{`{"logs":["`, "stdout: later"}},
		{"activation list", "GET", ns + "/activations?limit=30&skip=0", "", 200, []string{id, `"statusCode":0`}},
		{"activation list wsk", "GET", ns + "/activations?limit=30&name=wsk&skip=0", "", 200, []string{id}},
		{"activation list pk/wsk", "GET", ns + "/activations?limit=30&name=pk%2Fwsk&skip=0", "", 200, []string{"[]"}},
		{"activation list --full", "GET", ns + "/activations?docs=true&limit=30&skip=0", "", 200, []string{`"hello":"later"`}},
		{"activation get --last", "GET", ns + "/activations?limit=1&skip=0", "", 200, []string{id}},
		{"activation poll (first)", "GET", ns + "/activations?docs=true&limit=1&skip=0", "", 200, []string{id}},
		{"activation poll", "GET", ns + "/activations?docs=true&limit=0&since=" + strconv.FormatInt(since, 10) + "&skip=0", "", 200, []string{id, "stdout: later"}},
	} {
		checkWsk(t, call, p.wsk(t, call.method, call.path, call.body))
	}
}
