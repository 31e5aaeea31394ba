// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// testNPMClient runs the tests of the npm package openwhisk.
func (p *platform) testNPMClient(t *testing.T) {
	p.runNPMTests(t, installNPM(t), "client.test.mjs")
}

// TestComposer runs the tests of the npm package openwhisk-composer. What that
// makes needs the package openwhisk, which the machine's actions get to see.
func TestComposer(t *testing.T) {
	dir := installNPM(t)
	t.Setenv("NODE_PATH", filepath.Join(dir, "node_modules"))
	start(t).runNPMTests(t, dir, "composer.test.mjs")
}

// installNPM returns a copy of the directory npm with the packages in it, in the
// versions that npm/package-lock.json names.
func installNPM(t *testing.T) string {
	t.Helper()
	need(t, "node", "npm")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("npm")); err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund", "--prefer-offline")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	return dir
}

func (p *platform) runNPMTests(t *testing.T, dir, script string) {
	t.Helper()
	tests := exec.CommandContext(t.Context(), "node", "--test", "--test-reporter=spec", script)
	tests.Dir = dir
	tests.Env = append(os.Environ(), "__OW_API_HOST="+p.url, "__OW_API_KEY="+guestKey)
	if out, err := tests.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
