// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// testNPMClient runs the tests of npm, which use the npm package openwhisk. One
// file after the other: they count what is there.
func (p *platform) testNPMClient(t *testing.T) {
	need(t, "node", "npm", "python3")
	p.nodeTest(t, installed(t, "npm"), "client.test.mjs", "options.test.mjs")
}

// TestComposer runs the tests of the npm package openwhisk-composer. What that
// makes needs the package openwhisk, which the machine's actions get to see.
func TestComposer(t *testing.T) {
	need(t, "node", "npm")
	dir := installed(t, "npm")
	t.Setenv("NODE_PATH", filepath.Join(dir, "node_modules"))
	start(t).nodeTest(t, dir, "composer.test.mjs")
}

// installed copies a folder that has a package.json, and installs what its lock
// file names.
func installed(t *testing.T, folder string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	return dir
}

// nodeTest runs files of tests by node, in a folder, against the platform.
func (p *platform) nodeTest(t *testing.T, dir string, files ...string) {
	t.Helper()
	script := exec.CommandContext(t.Context(), "node", append([]string{"--test", "--test-concurrency=1", "--test-reporter=spec"}, files...)...)
	script.Dir = dir
	script.Env = append(os.Environ(), "__OW_API_HOST="+p.url, "__OW_API_KEY="+guestKey)
	if out, err := script.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
