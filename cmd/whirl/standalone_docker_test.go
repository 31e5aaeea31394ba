// SPDX-License-Identifier: Apache-2.0

//go:build docker

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
)

const localManifest = `{"runtimes": {
  "nodejs": [{"kind": "nodejs:local", "image": {"prefix": "whirl", "name": "nodejs", "tag": "local"}, "stemCells": [{"initialCount": 1, "memory": "256 MB"}]}],
  "python": [{"kind": "python:local", "image": {"prefix": "whirl", "name": "python", "tag": "local"}}],
  "native": [{"kind": "native:local", "image": {"prefix": "whirl", "name": "native", "tag": "local"}}],
  "ghost": [{"kind": "ghost:1", "image": {"prefix": "whirl", "name": "ghost", "tag": "1"}}]
}}`

// TestStandaloneWithDocker is the whole way: create, invoke, logs, and actions
// that call the API, which listens on the loopback device alone.
func TestStandaloneWithDocker(t *testing.T) {
	manifest := filepath.Join(t.TempDir(), "runtimes.json")
	if err := os.WriteFile(manifest, []byte(localManifest), 0o600); err != nil {
		t.Fatal(err)
	}
	running := startPlatform(t, t.TempDir(), "--driver", "docker", "--runtimes", manifest, "--sandbox-network", "outbound", "--docker-pull", "never", "--memory", "2g")
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
