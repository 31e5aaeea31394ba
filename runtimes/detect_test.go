// SPDX-License-Identifier: Apache-2.0

package runtimes_test

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/runtimes"
	"github.com/whirl-faas/whirl/whisk"
)

// interpreter writes a program that describes itself as an interpreter of that
// version would, and returns its directory.
func interpreter(t *testing.T, name, version string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	writeFile(t, path, fmt.Sprintf(`#!/bin/sh
cat <<'END'
{"version": %q, "executable": %q, "directories": [%q, "/usr/lib", "/no/such/thing"],
 "maps": "00-01 r-xp 0 0 1   %s\n01-02 rw-p 0 0 2\n02-03 r-xp 0 0 3   /usr/lib/libc.so\n"}
END
`, version, path, filepath.Join(dir, "lib"), filepath.Join(dir, "lib")))
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func kinds(locals []runtimes.Local) []string {
	var kinds []string
	for _, local := range locals {
		kinds = append(kinds, local.Kind)
	}
	return kinds
}

func TestDetectTakesTheFirstOnThePathThatIsNewEnough(t *testing.T) {
	old, first, second := interpreter(t, "node", "16.20.0"), interpreter(t, "node", "18.1.0"), interpreter(t, "node", "22.0.0")
	locals, manifest, missing := runtimes.Detect(t.Context(), runtimes.Options{
		Path: strings.Join([]string{"/no/such/dir", old, first, second}, ":"),
	})
	if got, want := kinds(locals), []string{"nodejs:18", "native:default"}; !slices.Equal(got, want) {
		t.Fatalf("found %v, want %v", got, want)
	}
	checkManifest(t, manifest)
	if !slices.Equal(manifest.Kinds(), []string{"native:default", "nodejs:18"}) {
		t.Errorf("the manifest has %v", manifest.Kinds())
	}
	if len(missing) != 1 || missing[0].Family != "python" || missing[0].Mend != "apt-get install python3" {
		t.Errorf("missing is %+v, want python alone", missing)
	}
	node := locals[0]
	if want := []string{filepath.Join(first, "node"), "/whirl/proxy.js"}; node.Version != "18.1.0" || !slices.Equal(node.Argv, want) {
		t.Errorf("nodejs is version %s started by %v, want %v", node.Version, node.Argv, want)
	}
	if want := []string{filepath.Join(first, "lib"), filepath.Join(first, "node")}; !slices.Equal(node.Mounts, want) {
		t.Errorf("nodejs needs %v, want %v: what exists and no sandbox shows anyway", node.Mounts, want)
	}
	if file, err := node.Files.Open("proxy.js"); err != nil {
		t.Error(err)
	} else {
		file.Close()
	}
}

func TestDetectAddsInterpretersThatAreNamed(t *testing.T) {
	path := interpreter(t, "python3", "3.9.2")
	newer, same := interpreter(t, "python3.13", "3.13.0"), interpreter(t, "python", "3.9.7")
	broken, odd := t.TempDir(), t.TempDir()
	locals, manifest, missing := runtimes.Detect(t.Context(), runtimes.Options{
		Path: path,
		Interpreters: []string{
			filepath.Join(newer, "python3.13"), filepath.Join(same, "python"), filepath.Join(broken, "python4"), filepath.Join(odd, "ruby"),
		},
	})
	if got, want := kinds(locals), []string{"python:3.13", "python:3.9", "native:default"}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	checkManifest(t, manifest)
	if runtime, _ := manifest.Resolve("python:default"); runtime.Kind != "python:3.13" || runtime.Image != "whirl/python:3.13" || len(runtime.StemCells) != 1 {
		t.Errorf("the default is %+v", runtime)
	}
	if len(locals) > 1 && locals[1].Version != "3.9.2" {
		t.Errorf("python:3.9 is version %s, want the one of the path", locals[1].Version)
	}
	var reasons []string
	for _, m := range missing {
		reasons = append(reasons, m.Family+": "+m.Reason)
	}
	all := strings.Join(reasons, "\n")
	for _, want := range []string{"ruby goes by the name of neither", "python4 does not work", "no node of version 18.0"} {
		if !strings.Contains(all, want) {
			t.Errorf("missing is\n%s\nwant %q in it", all, want)
		}
	}
}

// A python that was built for the prefix $HOME/.local, as many are, must not show
// actions all that lies there.
func TestDetectShowsNothingBesideAnInterpreter(t *testing.T) {
	prefix := t.TempDir()
	describe := `import os, sys; print(os.path.realpath(sys.executable), os.path.dirname(os.__file__), "python%d.%d" % sys.version_info[:2], sep="\n")`
	output, err := exec.Command("python3", "-c", describe).Output()
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	if err != nil || len(lines) != 3 {
		t.Fatalf("python3 describes itself as %q, %v", output, err)
	}
	executable, library, name := lines[0], lines[1], lines[2]
	binary, err := os.ReadFile(executable)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"bin", "lib", "share"} {
		if err := os.Mkdir(filepath.Join(prefix, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(prefix, "bin", "python3"), binary, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(library, filepath.Join(prefix, "lib", name)); err != nil {
		t.Fatal(err)
	}
	locals, _, missing := runtimes.Detect(t.Context(), runtimes.Options{Path: filepath.Join(prefix, "bin")})
	if len(locals) != 2 {
		t.Fatalf("found %v, missing %+v", kinds(locals), missing)
	}
	for _, need := range []string{"bin/python3", "lib"} {
		if !slices.Contains(locals[0].Mounts, filepath.Join(prefix, need)) {
			t.Errorf("sandboxes are not shown %s: %v", need, locals[0].Mounts)
		}
	}
	for _, mount := range locals[0].Mounts {
		if strings.HasPrefix(filepath.Join(prefix, "share", "secret"), mount+"/") {
			t.Errorf("sandboxes are shown %s", mount)
		}
	}
}

// wordsSink passes a logger's messages on.
type wordsSink chan string

func (w wordsSink) Write(line []byte) (int, error) {
	select {
	case w <- string(line):
	default:
	}
	return len(line), nil
}

// A machine so busy that interpreters take long to answer has them all the same. This one
// does not answer before its slowness was told.
func TestDetectWaitsForTheSlow(t *testing.T) {
	dir := interpreter(t, "node", "20.0.0")
	gate := filepath.Join(dir, "gate")
	prepend(t, filepath.Join(dir, "node"), "read -r _ <"+gate)
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	words := make(wordsSink, 16)
	opened := make(chan error, 1)
	go func() {
		said := <-words
		err := os.WriteFile(gate, []byte("go\n"), 0)
		if !strings.Contains(said, "slow to answer") {
			err = fmt.Errorf("said %q", said)
		}
		opened <- err
	}()
	locals, _, missing := runtimes.Detect(t.Context(), runtimes.Options{
		Path: dir, Patience: time.Minute, Logger: slog.New(slog.NewTextHandler(words, nil)),
	})
	if err := <-opened; err != nil {
		t.Error(err)
	}
	if got, want := kinds(locals), []string{"nodejs:20", "native:default"}; !slices.Equal(got, want) {
		t.Errorf("found %v, missing %+v", got, missing)
	}
}

func TestDetectAsksTheKilledAgain(t *testing.T) {
	dir := interpreter(t, "node", "20.0.0")
	prepend(t, filepath.Join(dir, "node"), fmt.Sprintf("mkdir %s/asked 2>/dev/null && kill -9 $$", dir))
	locals, _, missing := runtimes.Detect(t.Context(), runtimes.Options{Path: dir})
	if got, want := kinds(locals), []string{"nodejs:20", "native:default"}; !slices.Equal(got, want) {
		t.Errorf("found %v, missing %+v", got, missing)
	}
}

// One that never answers is not told to be missing or broken.
func TestDetectTellsWhoDoesNotAnswer(t *testing.T) {
	dir := interpreter(t, "node", "20.0.0")
	prepend(t, filepath.Join(dir, "node"), "exec tail -f /dev/null")
	_, _, missing := runtimes.Detect(t.Context(), runtimes.Options{Path: dir, Patience: time.Millisecond})
	if len(missing) != 2 || !strings.Contains(missing[0].Reason, "/node did not answer within 1ms") {
		t.Errorf("missing is %+v", missing)
	}
}

// prepend has a script do something first.
func prepend(t *testing.T, path, line string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, strings.Replace(string(text), "\n", "\n"+line+"\n", 1))
}

func TestDetectOnABareMachine(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "node"), "not executable")
	locals, manifest, missing := runtimes.Detect(t.Context(), runtimes.Options{Path: dir})
	if got := kinds(locals); !slices.Equal(got, []string{"native:default"}) {
		t.Errorf("found %v", got)
	}
	if !slices.Equal(locals[0].Argv, []string{"/whirl-self", "native-proxy"}) {
		t.Errorf("native is started by %v", locals[0].Argv)
	}
	if len(missing) != 2 {
		t.Errorf("missing is %+v, want nodejs and python", missing)
	}
	checkManifest(t, manifest)
}

func TestDetectKeepsOpenWhisksStemCells(t *testing.T) {
	_, manifest, _ := runtimes.Detect(t.Context(), runtimes.Options{Path: interpreter(t, "node", "20.0.0")})
	runtime, _ := manifest.Resolve("nodejs:20")
	if len(runtime.StemCells) != 1 || runtime.StemCells[0].Reactive == nil ||
		runtime.StemCells[0].Count != 2 || runtime.StemCells[0].Memory != 256*whisk.MB || runtime.StemCells[0].Reactive.Max != 4 {
		t.Errorf("nodejs has the stem cells %+v", runtime.StemCells)
	}
}
