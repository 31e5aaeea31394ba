// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// whirlBinary is the program under test. TestMain sets it before any test runs.
var whirlBinary string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "whirl-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// Sandboxes of another uid execute it too.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	whirlBinary = filepath.Join(dir, "whirl")
	build := exec.Command("go", "build", "-o", dir, "github.com/whirl-faas/whirl/cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as operations.md has it
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build whirl:", err)
		return 1
	}
	return m.Run()
}

// need skips the test if a program is missing, or fails it where CI=true.
func need(t testing.TB, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is not on this machine, run scripts/test", program)
			}
			t.Skipf("%s is not on this machine", program)
		}
	}
}

// eventually asks until the answer is yes, and fails the test if that takes
// longer than within.
func eventually(t testing.TB, within time.Duration, what string, yes func() bool) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !yes() {
		select {
		case <-again.C:
		case <-deadline.C:
			if !yes() {
				t.Fatalf("not within %v: %s", within, what)
			}
			return
		}
	}
}
