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
	need(t, "python3")
	p.runNPMTests(t, installNPM(t, "npm"), "client.test.mjs", "options.test.mjs", "routes.test.mjs")
}

// TestComposer runs the tests of the npm package openwhisk-composer. What that
// makes needs the package openwhisk, which the machine's actions get to see.
func TestComposer(t *testing.T) {
	dir := installNPM(t, "npm")
	t.Setenv("NODE_PATH", filepath.Join(dir, "node_modules"))
	start(t).runNPMTests(t, dir, "composer.test.mjs")
}

// TestServerless deploys services with the Serverless Framework and its plugin
// serverless-openwhisk.
func TestServerless(t *testing.T) {
	need(t, "python3")
	dir := installNPM(t, "serverless")
	start(t).runNPMTests(t, dir, "service.test.mjs", "web.test.mjs")
}

// installNPM returns a copy of a directory with the packages in it, in the
// versions that its package-lock.json names.
func installNPM(t *testing.T, directory string) string {
	t.Helper()
	need(t, "node", "npm")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(directory)); err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	return dir
}

// runNPMTests runs files of tests one after the other: they count what is there.
func (p *platform) runNPMTests(t *testing.T, dir string, files ...string) {
	t.Helper()
	tests := exec.CommandContext(t.Context(), "node", append([]string{"--test", "--test-concurrency=1", "--test-reporter=spec"}, files...)...)
	tests.Dir = dir
	tests.Env = append(os.Environ(), "__OW_API_HOST="+p.url, "__OW_API_KEY="+guestKey)
	if out, err := tests.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
