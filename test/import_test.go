// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

// importer runs whirl admin import.
type importer struct {
	c            *couch
	data         string
	passwordFile string
}

func (i importer) run(t *testing.T, status int, flags ...string) string {
	t.Helper()
	return i.runFrom(t, status, i.c.url, append(flags, "--couchdb-prefix", "ow_",
		"--couchdb-user", i.c.user, "--couchdb-password-file", i.passwordFile)...)
}

func (i importer) runFrom(t *testing.T, status int, source string, flags ...string) string {
	t.Helper()
	args := append([]string{"admin", "import", source, "--data", i.data}, flags...)
	command := exec.CommandContext(t.Context(), whirlBinary, args...)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	err := command.Run()
	if got := command.ProcessState.ExitCode(); got != status {
		t.Fatalf("%q exits with %d (%v), want %d:\n%s", flags, got, err, status, out.String())
	}
	return out.String()
}

// TestImport moves an OpenWhisk's users over: what they had is there, and their
// keys work.
func TestImport(t *testing.T) {
	need(t, "node", "npm")
	version, err := exec.Command("node", "-p", "parseInt(process.versions.node)").Output()
	if err != nil {
		t.Fatal(err)
	}
	node := "nodejs:" + strings.TrimSpace(string(version))
	c := startCouch(t)
	c.fill(t, node)
	i := importer{c, filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "password")}
	if err := os.WriteFile(i.passwordFile, []byte(c.password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	planned := i.run(t, 1, "--dry-run")
	wantLines(t, planned, "would create: alice/attached", "would create: alice/tools/inner", "would create: lab/limits", "failed: alice/broken: ")
	if _, err := os.Stat(i.data); err == nil {
		t.Error("a dry run made a data directory")
	}
	done := i.run(t, 1)
	wantLines(t, done, "failed: alice/broken: ")
	wantCounts(t, done, "subjects 3 0 0 0 0 0", "limits 1 0 0 0 0 0", "packages 2 0 0 0 0 0", "actions 9 0 0 0 1 0", "triggers 1 0 0 0 0 0",
		"rules 2 0 0 0 0 0", "activations 2 0 0 0 0 1")
	if strings.Contains(done, strings.SplitAfter(aliceKey, ":")[1]) || strings.Contains(done, c.password) {
		t.Errorf("it shows secrets:\n%s", done)
	}
	c.remove(t, "whisks", "alice/broken")
	again := i.run(t, 0)
	wantCounts(t, again, "subjects 0 3 0 0 0 0", "limits 0 1 0 0 0 0", "packages 0 2 0 0 0 0", "actions 0 9 0 0 0 0", "triggers 0 1 0 0 0 0",
		"rules 0 2 0 0 0 0", "activations 0 2 0 0 0 1")
	dumped := i.runFrom(t, 0, c.dump(t))
	wantCounts(t, dumped, "subjects 0 3 0 0 0 0", "limits 0 1 0 0 0 0", "packages 0 2 0 0 0 0", "actions 0 9 0 0 0 0", "triggers 0 1 0 0 0 0",
		"rules 0 2 0 0 0 0", "activations 0 2 0 0 0 1")

	p := startOn(t, i.data)
	t.Run("users", p.testImportedUsers)
	t.Run("entities", p.testImportedEntities)
	t.Run("actions run", func(t *testing.T) { p.testImportedActionsRun(t, node) })
	t.Run("trigger fires", p.testImportedTriggerFires)
	t.Run("records", p.testImportedRecords)
	if out := i.run(t, 1); !strings.Contains(out, "another platform is using the data directory") {
		t.Errorf("beside a platform: %s", out)
	}
	changed := p.sendAs(t, aliceKey, "PUT", "/namespaces/_/actions/inline?overwrite=true", `{"parameters":[]}`)
	if changed.status != http.StatusOK {
		t.Errorf("update: %d %s", changed.status, changed.body)
	}
	p.stop(t)
	wantLines(t, i.run(t, 1), "kept: alice/inline: ")
	wantCounts(t, i.run(t, 0, "--overwrite"), "actions 0 8 1 0 0 0")
}

// wantLines wants lines that begin so.
func wantLines(t *testing.T, text string, prefixes ...string) {
	t.Helper()
	for _, prefix := range prefixes {
		if !strings.Contains("\n"+text, "\n"+prefix) {
			t.Errorf("no line begins with %q:\n%s", prefix, text)
		}
	}
}

// wantCounts wants lines of the table.
func wantCounts(t *testing.T, text string, lines ...string) {
	t.Helper()
	var got []string
	for line := range strings.Lines(text) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	for _, line := range lines {
		if !slices.Contains(got, line) {
			t.Errorf("%q is not in the table:\n%s", line, text)
		}
	}
}

// sendAs is send with another key.
func (p *platform) sendAs(t *testing.T, key, method, path, body string) reply {
	t.Helper()
	header := http.Header{"Authorization": {basicAuth(key)}}
	if body != "" {
		header.Set("Content-Type", "application/json")
	}
	return p.sendRaw(t, method, "/api/v1"+path, body, header)
}

func (p *platform) testImportedUsers(t *testing.T) {
	for key, namespace := range map[string]string{guestKey: "guest", aliceKey: "alice", labKey: "lab"} {
		if got := p.sendAs(t, key, "GET", "/namespaces", ""); strings.TrimSpace(string(got.body)) != `["`+namespace+`"]` {
			t.Errorf("%s's key: %d %s", namespace, got.status, got.body)
		}
	}
	if got := p.sendAs(t, evilKey, "GET", "/namespaces", ""); got.status != http.StatusUnauthorized {
		t.Errorf("a blocked user: %d %s", got.status, got.body)
	}
	limits := p.sendAs(t, labKey, "GET", "/namespaces/_/limits", "").object(t)
	if limits["invocationsPerMinute"] != 77.0 || limits["maxActionMemory"] != 256.0 {
		t.Errorf("lab's limits: %v", limits)
	}
}

func (p *platform) testImportedEntities(t *testing.T) {
	for _, row := range []struct {
		path string
		want []string
	}{
		{"actions", []string{`"name":"attached"`, `"name":"jar"`, `"namespace":"alice/tools"`, `"updated":1700000000000`}},
		{"actions/jar", []string{`"kind":"java"`, `"binary":true`, `"main":"Main"`, `"code":"` + base64.StdEncoding.EncodeToString([]byte("PK\x03\x04\xfb\xff jar")), `"version":"0.0.5"`}},
		{"actions/sealed", []string{`"value":"AAAADA=="`, `"encryption":"aes-128"`}},
		{"actions/chain", []string{`"components":["/alice/named","/alice/attached"]`, `"key":"_actions"`}},
		{"packages/tools", []string{`"publish":true`, `"name":"inner"`, `"version":"0.0.3"`}},
		{"packages/bound", []string{`"binding":{"namespace":"alice","name":"tools"}`, `"key":"from"`, `"key":"more"`}},
		{"triggers/t", []string{`"alice/on":{"action":{"path":"alice","name":"attached"},"status":"active"}`}},
		{"rules/on", []string{`"status":"active"`}},
		{"rules/off", []string{`"status":"inactive"`, `"trigger":{"path":"alice","name":"t"}`, `"action":{"path":"alice","name":"inline"}`}},
	} {
		got := p.sendAs(t, aliceKey, "GET", "/namespaces/_/"+row.path, "")
		for _, want := range row.want {
			if got.status != http.StatusOK || !strings.Contains(string(got.body), want) {
				t.Errorf("%s: %q is not in %d %s", row.path, want, got.status, got.body)
			}
		}
	}
}

func (p *platform) testImportedActionsRun(t *testing.T, node string) {
	for name, want := range map[string]string{
		"inline":      `{"args":{"from":"action","x":1},"by":"inline"}`,
		"named":       `{"args":{"x":1},"by":"named"}`,
		"attached":    `{"args":{"x":1},"by":"attached"}`,
		"zip":         `{"args":{"x":1},"by":"zip"}`,
		"legacy":      `{"args":{"x":1},"by":"legacy"}`,
		"chain":       `{"args":{"args":{"x":1},"by":"named"},"by":"attached"}`,
		"bound/inner": `{"args":{"from":"package","more":"binding","x":1},"by":"inner"}`,
	} {
		got := p.sendAs(t, aliceKey, "POST", "/namespaces/_/actions/"+name+"?blocking=true&result=true", `{"x":1}`)
		if text, err := json.Marshal(got.object(t)); err != nil || string(text) != want {
			t.Errorf("%s: %d %s, want %s", name, got.status, got.body, want)
		}
	}
	got := p.sendAs(t, aliceKey, "POST", "/namespaces/_/actions/jar?blocking=true", `{}`)
	if got.status != http.StatusBadRequest || !strings.Contains(string(got.body), "'java' is not supported") || !strings.Contains(string(got.body), node) {
		t.Errorf("an action of a kind that is not here: %d %s", got.status, got.body)
	}
}

func (p *platform) testImportedTriggerFires(t *testing.T) {
	got := p.sendAs(t, aliceKey, "POST", "/namespaces/_/triggers/t", `{"y":2}`)
	if got.status != http.StatusAccepted {
		t.Fatalf("fire: %d %s", got.status, got.body)
	}
	var record struct{ Logs []string }
	answer := p.sendAs(t, aliceKey, "GET", "/namespaces/_/activations/"+got.object(t)["activationId"].(string), "")
	if err := json.Unmarshal(answer.body, &record); err != nil || len(record.Logs) != 2 {
		t.Fatalf("the record of the firing: %d %s", answer.status, answer.body)
	}
	var id string
	for _, line := range record.Logs {
		var tells struct{ Rule, ActivationID string }
		if err := json.Unmarshal([]byte(line), &tells); err != nil {
			t.Fatal(err)
		}
		if tells.Rule == "alice/on" {
			id = tells.ActivationID
		}
	}
	eventually(t, recordTime, "the rule's action has run", func() bool {
		answer := p.sendAs(t, aliceKey, "GET", "/namespaces/_/activations/"+id+"/result", "")
		return strings.Contains(string(answer.body), `"from":"trigger"`) && strings.Contains(string(answer.body), `"y":2`)
	})
}

func (p *platform) testImportedRecords(t *testing.T) {
	record := p.sendAs(t, aliceKey, "GET", "/namespaces/_/activations/"+oldActivation, "").object(t)
	response, _ := record["response"].(map[string]any)
	if record["duration"] != 41.0 || record["cause"] != oldFiring || record["subject"] != "alice" || response["status"] != whisk.ApplicationError.String() ||
		response["size"] != 19.0 {
		t.Errorf("got %v", record)
	}
	logs := p.sendAs(t, aliceKey, "GET", "/namespaces/_/activations/"+oldActivation+"/logs", "").object(t)
	if lines, _ := logs["logs"].([]any); len(lines) != 2 || lines[1] != "2026-01-01T00:00:00.000000001Z stderr: two" {
		t.Errorf("logs %v", logs)
	}
	listed := p.sendAs(t, aliceKey, "GET", "/namespaces/_/activations?name=tools/inner", "")
	if !strings.Contains(string(listed.body), oldActivation) || !strings.Contains(string(listed.body), `"statusCode":1`) {
		t.Errorf("list of tools/inner: %s", listed.body)
	}
	firing := p.sendAs(t, aliceKey, "GET", "/namespaces/_/activations/"+oldFiring, "").object(t)
	if _, ended := firing["end"]; ended || firing["name"] != "t" {
		t.Errorf("the trigger's record: %v", firing)
	}
}
