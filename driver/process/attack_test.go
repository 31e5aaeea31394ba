// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSandboxInheritsNothing holds open what a shell may hand down to the agent,
// as `flock 9` and make do. A directory of the host would be a way out.
func TestSandboxInheritsNothing(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	leaked, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0) // not closed on exec
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(leaked) })
	var f sandboxFacts
	newBox(t, openDriver(t, testConfig(t)), testSpec).do("facts", nil, &f)
	checkFacts(t, f)
	if slices.ContainsFunc(f.Files, func(file string) bool { return strings.HasSuffix(file, filepath.Base(dir)) }) {
		t.Errorf("the sandbox holds %s open: %q", dir, f.Files)
	}
}
