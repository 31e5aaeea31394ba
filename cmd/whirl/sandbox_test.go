// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// buildSandboxProgram builds whirl-sandbox, where other users may start it too, and returns
// its path. flags are more of go build's.
func buildSandboxProgram(t testing.TB, flags ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "whirl-sandbox")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "whirl-sandbox")
	args := append([]string{"build", "-o", path}, flags...)
	build := exec.Command("go", append(args, modulePath+"/cmd/whirl-sandbox")...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build whirl-sandbox: %v\n%s", err, output)
	}
	return path
}

func TestSandboxProgramIsTheOneBuiltWithThis(t *testing.T) {
	built := buildSandboxProgram(t, "-buildvcs=false") // as this test is
	other, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		put   func(path string) error
		found bool
		logs  string
	}{
		{"is there", func(path string) error { return os.Link(built, path) }, true, ""},
		{"is not", func(string) error { return nil }, false, "level=INFO msg=\"cold starts take longer"},
		{"is no program", func(path string) error { return os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755) }, false, "level=WARN"},
		{"is another program", func(path string) error { return os.Link(other, path) }, false, "not built together"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, err := os.MkdirTemp(filepath.Dir(built), "beside")
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "whirl-sandbox")
			if err := c.put(path); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			got := sandboxProgramBeside(filepath.Join(dir, "whirl"), slog.New(slog.NewTextHandler(&log, nil)))
			if c.found != (got == path) || got != "" && got != path {
				t.Errorf("found %q", got)
			}
			if c.logs == "" && log.Len() > 0 || !strings.Contains(log.String(), c.logs) {
				t.Errorf("logged %q, want %q", &log, c.logs)
			}
		})
	}
}

// TestSandboxProgramIsSmall keeps what is started for each sandbox free of what it has no
// use for.
func TestSandboxProgramIsSmall(t *testing.T) {
	output, err := exec.Command("go", "list", "-deps", modulePath+"/cmd/whirl-sandbox").Output()
	if err != nil {
		t.Fatal(err)
	}
	for needed := range strings.Lines(string(output)) {
		for _, large := range []string{"google.golang.org/", "github.com/moby/", "gvisor.dev/", "modernc.org/", "github.com/prometheus/", "regexp\n", "html/template\n"} {
			if strings.HasPrefix(needed, large) {
				t.Errorf("whirl-sandbox has %s in it", strings.TrimSpace(needed))
			}
		}
	}
}

func TestSandboxProgramSaysWhatItIs(t *testing.T) {
	output, err := exec.Command(buildSandboxProgram(t), "--help").CombinedOutput()
	if fmt.Sprint(err) != "exit status 2" || !strings.Contains(string(output), "started by whirl") {
		t.Errorf("%v: %s", err, output)
	}
}
