// SPDX-License-Identifier: Apache-2.0

package runtimes_test

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/runtimes"
	"github.com/whirl-faas/whirl/runtimes/runtimetest"
)

// What the nodejs runtimes do beyond the contract of all.
func TestNodeJSActions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, code, main string
		status           int
		want             string // is in the answer
	}{
		{"export", `exports.main = () => ({ok: 1})`, "main", 200, `{"ok":1}`},
		{"module export", `module.exports.main = () => ({ok: 1})`, "main", 200, `{"ok":1}`},
		{"replaced exports", `module.exports = {main: () => ({ok: 1})}`, "main", 200, `{"ok":1}`},
		{"global", `function foo() { return {ok: 1} }; global.main = foo`, "main", 200, `{"ok":1}`},
		{"nested entry point", `const a = {b: {c: () => ({ok: 1})}}`, "a.b.c", 200, `{"ok":1}`},
		{"undeclared variable", `function main() { greeting = 'hello'; return {greeting} }`, "main", 200, `{"greeting":"hello"}`},
		{"strict mode", "'use strict';\nfunction main() { return {strict: this === undefined} }", "main", 200, `{"strict":true}`},
		{"no result", `function main() { return }`, "main", 200, `{}`},
		{"promise", `function main() { return new Promise((done) => setTimeout(done, 1, {ok: 1})) }`, "main", 200, `{"ok":1}`},
		{"async function", `async function main() { return {ok: 1} }`, "main", 200, `{"ok":1}`},
		{"thenable", `function main() { return {then(done) { done({ok: 1}) }} }`, "main", 200, `{"ok":1}`},
		{"async failure", `async function main() { throw new TypeError('oh no') }`, "main", 200, `"message":"oh no"`},
		{"rejection without a reason", `function main() { return Promise.reject() }`, "main", 200, `{"error":{}}`},
		{"rejection with a text", `function main() { return Promise.reject('oh no') }`, "main", 200, `{"error":"oh no"}`},
		{"rejection with data", `function main() { return Promise.reject({code: 7, f() {}}) }`, "main", 200, `{"error":{"code":7}}`},
		{"rejection with a cycle", `function main() { const e = {}; e.self = e; return Promise.reject(e) }`, "main", 200, `{"error":{"self":"[Circular]"}}`},
		{"rejection with a cause", `async function main() { throw new Error('outer', {cause: new Error('inner')}) }`, "main", 200, `"message":"inner"`},
		{"failure", `function main() { throw new Error('oh no') }`, "main", 502, `An error has occurred: Error: oh no`},
		{"missing package", `function main() { require('.nosuchpackage') }`, "main", 502, `Cannot find module`},
		{"cyclic result", `function main() { const a = {}; a.a = a; return a }`, "main", 502, `circular`},
		{"big integer", `function main() { return {n: 1n} }`, "main", 502, `BigInt`},
		{"function as a result", `function main() { return main }`, "main", 502, `did not return a dictionary`},
		{"date as a result", `function main() { return new Date() }`, "main", 502, `did not return a dictionary`},
		{"dynamic import", `async function main() { const {join} = await import('node:path'); return {path: join('a', 'b')} }`, "main", 200, `{"path":"a/b"}`},
		{"working directory", `function main() { return {same: process.cwd() === __dirname} }`, "main", 200, `{"same":true}`},
		{"replaced write", `function main() { process.stdout.write = () => { throw 1 }; return {} }`, "main", 200, `{}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			proxy := start(t, "nodejs", nil)
			proxy.MustInit(t, runtimetest.Code{Code: test.code, Main: test.main}, nil)
			reply := proxy.Run(t, map[string]any{}, nil)
			if reply.Status != test.status || !strings.Contains(string(reply.Body), test.want) {
				t.Errorf("got %d %s (%v), want %d with %s", reply.Status, reply.Body, reply.Err, test.status, test.want)
			}
			proxy.Stdout.Activations(t, 1)
			proxy.Stderr.Activations(t, 1)
		})
	}
}

// Packages that are installed for all are there for actions, in one file or many.
func TestNodeJSFindsInstalledPackages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "node_modules")
	if err := os.MkdirAll(filepath.Join(dir, "whirl-greeting"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "whirl-greeting", "index.js"), "module.exports = 'hello'")
	t.Setenv("NODE_PATH", "relative:"+dir+":/no/such/dir")
	locals, _, _ := runtimes.Detect(t.Context(), runtimes.Options{})
	local := locals[0]
	if !strings.HasPrefix(local.Kind, "nodejs:") {
		runtimetest.Need(t, "node")
	}
	if !slices.Contains(local.Mounts, dir) || !strings.HasPrefix(local.Env["NODE_PATH"]+":", dir+":") {
		t.Errorf("shown are %v, and looked at %v", local.Mounts, local.Env)
	}
	const source = "exports.main = () => ({greeting: require('whirl-greeting')})"
	for _, code := range []runtimetest.Code{{Code: source}, runtimetest.ArchiveCode(runtimetest.Entry{Name: "index.js", Content: source})} {
		proxy := runtimetest.Process(t, local.Argv, local.Files, local.Env)
		proxy.MustInit(t, code, nil)
		if reply := proxy.Run(t, map[string]any{}, nil); string(reply.Body) != `{"greeting":"hello"}` {
			t.Errorf("got %d %s (%v)", reply.Status, reply.Body, reply.Err)
		}
	}
}

// Traces must name the user's own lines.
func TestNodeJSTracesNameTheUsersLines(t *testing.T) {
	t.Parallel()
	proxy := start(t, "nodejs", nil)
	proxy.MustInit(t, runtimetest.Code{Code: "function main() {\n  throw new Error('oh no')\n}"}, nil)
	proxy.Run(t, nil, nil)
	if logged := proxy.Stderr.Activations(t, 1)[0]; !strings.Contains(logged, "index.js:2:") {
		t.Errorf("stderr has %q, want line 2 of index.js in it", logged)
	}
}

func TestNodeJSUncaughtExceptionBreaksTheConnection(t *testing.T) {
	t.Parallel()
	proxy := start(t, "nodejs", nil)
	proxy.MustInit(t, runtimetest.Code{Code: `function main() { setTimeout(() => { throw new Error('late') }); return new Promise(() => {}) }`}, nil)
	if reply := proxy.Run(t, map[string]any{}, nil); reply.Err == nil {
		t.Errorf("got %d %s, want a broken connection", reply.Status, reply.Body)
	}
	proxy.Stderr.Await(t, "Error: late")
}

func TestNodeJSArchives(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		main    string
		entries []runtimetest.Entry
		status  int
		want    string
	}{
		{"package.json", "main", []runtimetest.Entry{
			{Name: "package.json", Content: `{"main":"a/b.js"}`},
			{Name: "a/b.js", Content: `exports.main = () => ({ok: 1})`},
		}, 200, `{"ok":1}`},
		{"index.js alone", "main", []runtimetest.Entry{{Name: "index.js", Content: `exports.main = () => ({ok: 1})`}}, 200, `{"ok":1}`},
		{"file and function", "other.niam", []runtimetest.Entry{{Name: "other.js", Content: `exports.niam = () => ({ok: 1})`}}, 200, `{"ok":1}`},
		{"neither", "main", []runtimetest.Entry{{Name: "other.js", Content: ``}}, 502, "must contain either package.json or index.js"},
		{"no such export", "main", []runtimetest.Entry{{Name: "index.js", Content: `exports.niam = 1`}}, 502, "'main' is not a function"},
		{"no such file", "other.main", []runtimetest.Entry{{Name: "index.js", Content: ``}}, 502, "Cannot find module"},
		{"directories and links", "main", []runtimetest.Entry{
			{Name: "index.js", Content: `exports.main = () => ({ok: require('./bin/run')})`},
			{Name: "bin/", Mode: fs.ModeDir | 0o755},
			{Name: "bin/run.js", Content: "../lib/run.js", Mode: fs.ModeSymlink | 0o777},
			{Name: "lib/run.js", Content: `module.exports = require('fs').statSync(__filename).mode & 0o111 ? 1 : 0`, Mode: 0o755},
		}, 200, `{"ok":1}`},
		{"link that leaves", "main", []runtimetest.Entry{
			{Name: "index.js", Content: `exports.main = () => ({ok: 1})`},
			{Name: "out", Content: "../../etc", Mode: fs.ModeSymlink | 0o777},
		}, 502, "leads out of it"},
		{"link through a link", "main", []runtimetest.Entry{
			{Name: "index.js", Content: `exports.main = () => ({ok: 1})`},
			{Name: "d/e", Content: "..", Mode: fs.ModeSymlink | 0o777},
			{Name: "d/e/out", Content: "../../etc", Mode: fs.ModeSymlink | 0o777},
		}, 502, "EEXIST"},
		{"absolute name", "main", []runtimetest.Entry{{Name: "/tmp/evil", Content: "x"}}, 502, "leads out of it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			proxy := start(t, "nodejs", nil)
			code := runtimetest.ArchiveCode(test.entries...)
			code.Main = test.main
			reply := proxy.Init(t, code, nil)
			if reply.Status == http.StatusOK {
				reply = proxy.Run(t, map[string]any{}, nil)
			}
			if reply.Status != test.status || !strings.Contains(string(reply.Body), test.want) {
				t.Errorf("got %d %s (%v), want %d with %s", reply.Status, reply.Body, reply.Err, test.status, test.want)
			}
		})
	}
}

// A damaged archive must be refused, whatever is wrong with it.
func TestNodeJSRefusesDamagedArchives(t *testing.T) {
	t.Parallel()
	archive := runtimetest.Archive(
		runtimetest.Entry{Name: "index.js", Content: strings.Repeat("// text\n", 100) + "exports.main = () => ({})"},
	)
	var code strings.Builder
	code.WriteString("const { unpack } = require(process.env.ARCHIVE_READER);\n")
	code.WriteString("const fs = require('fs');\n")
	// Each prefix, and each single byte of the directory changed: unpack throws
	// an Error or writes something, and never hangs or throws what is no Error.
	code.WriteString(`function main({archive}) {
  const whole = Buffer.from(archive, 'base64');
  let refused = 0;
  const check = (bytes) => {
    try { unpack(bytes, process.cwd()) } catch (error) {
      if (!(error instanceof Error)) throw error;
      refused++;
    }
  };
  for (let n = 0; n < whole.length; n++) check(whole.subarray(0, n));
  if (refused !== whole.length) throw new Error('of ' + whole.length + ' prefixes it refused ' + refused);
  for (let i = 0; i < whole.length; i++) {
    const changed = Buffer.from(whole);
    changed[i] ^= 0xff;
    check(changed);
  }
  return {refused};
}`)
	local := localsOf(t, "nodejs")[0]
	dir := t.TempDir()
	text, err := fs.ReadFile(local.Files, "archive.js")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir+"/archive.js", string(text))
	proxy := start(t, "nodejs", map[string]string{"ARCHIVE_READER": dir + "/archive.js"})
	proxy.MustInit(t, runtimetest.Code{Code: code.String()}, nil)
	reply := proxy.Run(t, map[string]any{"archive": archive}, nil)
	var result struct{ Refused int }
	if err := json.Unmarshal(reply.Body, &result); err != nil || reply.Status != http.StatusOK || result.Refused <= len(archive) {
		t.Errorf("got %d %s", reply.Status, reply.Body)
	}
}

func BenchmarkNodeJSRun(b *testing.B) {
	runtimetest.Benchmark(b, start(b, "nodejs", nil), runtimetest.Code{Code: `function main() { return {} }`})
}
