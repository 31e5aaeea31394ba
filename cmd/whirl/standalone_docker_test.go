// SPDX-License-Identifier: Apache-2.0

//go:build docker

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
	"github.com/whirl-faas/whirl/whisk"
)

const localManifest = `{"runtimes": {
  "nodejs": [{"kind": "nodejs:local", "image": {"prefix": "whirl", "name": "nodejs", "tag": "local"}, "stemCells": [{"initialCount": 1, "memory": "256 MB"}]}],
  "python": [{"kind": "python:local", "image": {"prefix": "whirl", "name": "python", "tag": "local"}}],
  "native": [{"kind": "native:local", "image": {"prefix": "whirl", "name": "native", "tag": "local"}}],
  "ghost": [{"kind": "ghost:1", "image": {"prefix": "whirl", "name": "ghost", "tag": "1"}}]
}, "blackboxes": [{"prefix": "whirl", "name": "native", "tag": "local"}]}`

// startWithDocker runs a platform on the local images.
func startWithDocker(t *testing.T, flags ...string) platform {
	t.Helper()
	manifest := filepath.Join(t.TempDir(), "runtimes.json")
	if err := os.WriteFile(manifest, []byte(localManifest), 0o600); err != nil {
		t.Fatal(err)
	}
	return startPlatform(t, t.TempDir(), append([]string{"--driver", "docker", "--runtimes", manifest, "--sandbox-network", "outbound", "--docker-pull", "never", "--memory", "2g"}, flags...)...)
}

// TestStandaloneWithDocker is the whole way: create, invoke, logs, and actions
// that call the API, which listens on the loopback device alone.
func TestStandaloneWithDocker(t *testing.T) {
	running := startWithDocker(t)
	guest := newClient(t, running.url, guestKey)
	for kind, code := range map[string]string{
		"nodejs": `function main({name}) { console.log("greeting", name); return {greeting: "Hello, " + name} }`,
		"python": "def main(args):\n    print('greeting', args['name'])\n    return {'greeting': 'Hello, ' + args['name']}\n",
		"native": "#!/bin/sh\necho greeting\necho '{\"greeting\": \"Hello, you\"}'\n",
	} {
		if _, err := guest.CreateAction(t.Context(), kind, client.ActionSpec{Exec: &client.Exec{Kind: kind + ":default", Code: code}}); err != nil {
			t.Fatal(err)
		}
		got, err := guest.Result(t.Context(), kind, map[string]string{"name": "you"}, time.Minute)
		if err != nil || !strings.Contains(string(got), "Hello, you") {
			t.Errorf("%s answered %s, %v", kind, got, err)
		}
	}
	ping := `const http = require('http');
function main() {
  return new Promise((done, failed) => http.get(process.env.__OW_API_HOST + '/ping', (response) => {
    let text = '';
    response.on('data', (chunk) => text += chunk).on('end', () => done({text}));
  }).on('error', failed));
}`
	if _, err := guest.CreateAction(t.Context(), "ping", client.ActionSpec{Exec: &client.Exec{Kind: "nodejs:default", Code: ping}}); err != nil {
		t.Fatal(err)
	}
	if got, err := guest.Result(t.Context(), "ping", nil, time.Minute); err != nil || !strings.Contains(string(got), "pong") {
		t.Errorf("an action that asks the API got %s, %v", got, err)
	}
	if _, err := guest.CreateAction(t.Context(), "ghost", client.ActionSpec{Exec: &client.Exec{Kind: "ghost:1", Code: "x"}}); err != nil {
		t.Fatal(err)
	}
	if got, err := guest.Result(t.Context(), "ghost", nil, time.Minute); err == nil || !strings.Contains(err.Error()+string(got), "whirl/ghost:1") {
		t.Errorf("an action without an image answered %s, %v, want the image's name", got, err)
	}
	if status := running.stop(); status != statusOK {
		t.Errorf("exit status %d", status)
	}
}

// TestStandaloneWithDockerRunsManyAtOnce also runs in a container that was made
// before anybody knew its action.
func TestStandaloneWithDockerRunsManyAtOnce(t *testing.T) {
	running := startWithDocker(t, "--max-concurrency", "5")
	gather(t, newClient(t, running.url, guestKey), 5)
	if status := running.stop(); status != statusOK {
		t.Errorf("exit status %d", status)
	}
}

// TestStandaloneWithDockerRunsUsersImages creates actions as wsk does with
// --docker and with --native.
func TestStandaloneWithDockerRunsUsersImages(t *testing.T) {
	running := startWithDocker(t)
	guest := newClient(t, running.url, guestKey)
	create := func(name string, exec client.Exec) {
		t.Helper()
		exec.Kind = "blackbox"
		made, err := guest.CreateAction(t.Context(), name, client.ActionSpec{Exec: &exec})
		if err != nil || made.Exec.Image != exec.Image {
			t.Fatalf("create %s = %+v, %v", name, made.Exec, err)
		}
	}
	create("plain", client.Exec{Image: "whirl/blackbox:local"})
	create("coded", client.Exec{Image: "whirl/blackbox:local", Code: "UEsDBA==", Main: "go"})
	create("native", client.Exec{Image: "whirl/native:local", Code: "#!/bin/sh\necho greeting\necho '{\"greeting\": \"Hello, you\"}'\n"})
	create("missing", client.Exec{Image: "whirl/missing"})

	type echo struct {
		Init struct {
			Name, Main string
			Code       *string
			Binary     bool
			Env        map[string]string
		}
		Args map[string]string
	}
	for name, want := range map[string]struct {
		main, code string
		binary     bool
	}{"plain": {"main", "", false}, "coded": {"go", "UEsDBA==", true}} {
		got, err := guest.Result(t.Context(), name, map[string]string{"a": "b"}, time.Minute)
		var said echo
		if err == nil {
			err = json.Unmarshal(got, &said)
		}
		init := said.Init
		if err != nil || said.Args["a"] != "b" || init.Name != name || init.Main != want.main || init.Binary != want.binary || init.Env["__OW_ACTION_NAME"] != "/guest/"+name {
			t.Errorf("%s answered %s, %v", name, got, err)
		}
		if (init.Code == nil) != (want.code == "") || init.Code != nil && *init.Code != want.code {
			t.Errorf("%s was initialised with code %v, want %q", name, init.Code, want.code)
		}
	}
	// Again, in the warm container, where the image writes no sentinels.
	wantLogs(t, guest, "plain", 3, "stdout: running", "stderr: nothing wrong")
	wantLogs(t, guest, "native", 1, "stdout: greeting")

	record, err := guest.Invoke(t.Context(), "missing", nil, time.Minute)
	text := "Failed to pull container image 'whirl/missing'."
	if err != nil || record.Response.Status != "action developer error" || !strings.Contains(string(record.Response.Result), text) {
		t.Errorf("an image that is not there: %+v, %v, want %q", record.Response, err, text)
	}
	if status := running.stop(); status != statusOK {
		t.Errorf("exit status %d", status)
	}
}

// wantLogs runs an action once more and looks for lines in its logs, in any order. Where no
// sentinels tell the end, output that a busy engine brings too late is missing: then more tries are allowed.
func wantLogs(t *testing.T, guest *client.Client, action string, tries int, lines ...string) {
	t.Helper()
	var logs, missing []string
	for range tries {
		logs = logsOfOneMore(t, guest, action)
		missing = slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
			return slices.ContainsFunc(logs, func(log string) bool { return strings.Contains(log, line) })
		})
		if len(missing) == 0 {
			break
		}
	}
	if len(missing) > 0 {
		t.Errorf("%s: %q are not in the logs %q", action, missing, logs)
	}
	if extra := slices.ContainsFunc(logs, func(log string) bool { return strings.Contains(log, whisk.LogSentinel) }); extra {
		t.Errorf("%s: a sentinel is in the logs %q", action, logs)
	}
}

func logsOfOneMore(t *testing.T, guest *client.Client, action string) []string {
	t.Helper()
	record, err := guest.Invoke(t.Context(), action, nil, time.Minute)
	if err != nil || record.Response.Status != "success" {
		t.Fatalf("%s: %+v, %v", action, record.Response, err)
	}
	logs, err := guest.ActivationLogs(t.Context(), record.ID)
	if err != nil {
		t.Fatal(err)
	}
	return logs
}
