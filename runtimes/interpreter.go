// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// interpreter is how an interpreter describes itself.
type interpreter struct {
	release     `json:"-"`
	Version     string            `json:"version"`
	Executable  string            `json:"executable"`  // behind links and shims
	Directories []string          `json:"directories"` // of its libraries
	Environment map[string]string `json:"environment"` // in which it finds them; nil for any
	Maps        string            `json:"maps"`        // its /proc/self/maps
}

// askInterpreter runs the interpreter at path and lets it describe itself.
func askInterpreter(ctx context.Context, path string, describe []string) (interpreter, error) {
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, path, describe...)
	command.Stdout, command.Stderr = &stdout, &stderr
	command.WaitDelay = time.Second
	if err := command.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		return interpreter{}, fmt.Errorf("%w: %s", err, lines[len(lines)-1])
	}
	var found interpreter
	if err := json.Unmarshal(stdout.Bytes(), &found); err != nil {
		return interpreter{}, fmt.Errorf("it does not describe itself: %w", err)
	}
	if _, err := fmt.Sscanf(found.Version, "%d.%d", &found.major, &found.minor); err != nil {
		return interpreter{}, fmt.Errorf("it has the odd version %q", found.Version)
	}
	if !filepath.IsAbs(found.Executable) {
		return interpreter{}, fmt.Errorf("it does not know where it is")
	}
	return found, nil
}

// mounts returns the directories and files that the interpreter needs and that
// every sandbox does not show anyway, none inside another.
func (i interpreter) mounts() []string {
	needed := append([]string{i.Executable}, i.Directories...)
	for line := range strings.Lines(i.Maps) {
		// A mapped file's path is the sixth field and may hold spaces.
		if at := strings.IndexByte(line, '/'); at >= 0 {
			file := strings.TrimSuffix(strings.TrimSpace(line[at:]), " (deleted)")
			needed = append(needed, file)
		}
	}
	slices.Sort(needed)
	var mounts []string
	for _, path := range needed {
		path = filepath.Clean(path)
		if _, err := os.Stat(path); err != nil || shownAnyway(path) {
			continue
		}
		if !slices.ContainsFunc(mounts, func(mount string) bool { return path == mount || strings.HasPrefix(path, mount+"/") }) {
			mounts = append(mounts, path)
		}
	}
	return mounts
}

// shownAnyway reports whether a path is in what every sandbox shows.
func shownAnyway(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch first {
	case "usr", "bin", "sbin", "etc", "dev", "proc", "lib", "lib32", "lib64", "libx32", "libo32":
		return true
	}
	return false
}

// lookPath returns the commands of that name on the path, in its order.
func lookPath(path, command string) []string {
	var found []string
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, command)
		info, err := os.Stat(file)
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 || !filepath.IsAbs(file) || slices.Contains(found, file) {
			continue
		}
		found = append(found, file)
	}
	return found
}
