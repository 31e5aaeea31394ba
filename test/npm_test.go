// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"os"
	"os/exec"
	"testing"
)

// testNPMClient runs npm/client.mjs, which uses the npm package openwhisk in
// the version that npm/package-lock.json names.
func (p *platform) testNPMClient(t *testing.T) {
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
	script := exec.CommandContext(t.Context(), "node", "--test", "--test-reporter=spec", "client.test.mjs")
	script.Dir = dir
	script.Env = append(os.Environ(), "__OW_API_HOST="+p.url, "__OW_API_KEY="+guestKey)
	if out, err := script.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
