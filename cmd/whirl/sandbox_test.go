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

// buildSandboxPrograms builds them where other users may start them too. flags are more of go
// build's.
func buildSandboxPrograms(t testing.TB, flags ...string) sandboxPrograms {
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
	args := append([]string{"build", "-o", dir}, flags...)
	build := exec.Command("go", append(args, modulePath+"/cmd/whirl-sandbox", modulePath+"/cmd/whirl-native")...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the programs of sandboxes: %v\n%s", err, output)
	}
	return sandboxPrograms{stage: filepath.Join(dir, "whirl-sandbox"), native: filepath.Join(dir, "whirl-native")}
}

func TestSandboxProgramsAreThoseBuiltWithThis(t *testing.T) {
	built := buildSandboxPrograms(t, "-buildvcs=false") // as this test is
	if got := sandboxProgramsIn(filepath.Dir(built.stage), slog.New(slog.DiscardHandler)); got != built {
		t.Errorf("found %+v, want %+v", got, built)
	}
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
		{"is there", func(path string) error { return os.Link(built.stage, path) }, true, ""},
		{"is not", func(string) error { return nil }, false, "level=INFO msg=\"cold starts take longer"},
		{"is no program", func(path string) error { return os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755) }, false, "level=WARN"},
		{"is another program", func(path string) error { return os.Link(other, path) }, false, "not built together"},
		{"is the other of the two", func(path string) error { return os.Link(built.native, path) }, false, "not built together"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, err := os.MkdirTemp(filepath.Dir(built.stage), "beside")
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "whirl-sandbox")
			if err := c.put(path); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			got := smallProgram(dir, "whirl-sandbox", slog.New(slog.NewTextHandler(&log, nil)))
			if c.found != (got == path) || got != "" && got != path {
				t.Errorf("found %q", got)
			}
			if c.logs == "" && log.Len() > 0 || !strings.Contains(log.String(), c.logs) {
				t.Errorf("logged %q, want %q", &log, c.logs)
			}
		})
	}
}

// TestSandboxProgramsAreSmall keeps what is started for each sandbox free of what it has no
// use for.
func TestSandboxProgramsAreSmall(t *testing.T) {
	large := []string{"google.golang.org/", "github.com/moby/", "gvisor.dev/", "modernc.org/", "github.com/prometheus/", "regexp\n", "html/template\n"}
	for name, large := range map[string][]string{
		"whirl-native":  large,
		"whirl-sandbox": append(large, "github.com/valyala/", "github.com/klauspost/", "net\n", "net/", "crypto/", "compress/"),
	} {
		output, err := exec.Command("go", "list", "-deps", modulePath+"/cmd/"+name).Output()
		if err != nil {
			t.Fatal(err)
		}
		for needed := range strings.Lines(string(output)) {
			for _, large := range large {
				if strings.HasPrefix(needed, large) {
					t.Errorf("%s has %s in it", name, strings.TrimSpace(needed))
				}
			}
		}
	}
}

func TestSandboxProgramsSayWhatTheyAre(t *testing.T) {
	programs := buildSandboxPrograms(t)
	for _, path := range []string{programs.stage, programs.native} {
		output, err := exec.Command(path, "--help").CombinedOutput()
		if fmt.Sprint(err) != "exit status 2" || !strings.Contains(string(output), "started by whirl") {
			t.Errorf("%s: %v: %s", path, err, output)
		}
	}
}
