// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/driver/process"
	"github.com/whirl-faas/whirl/whisk"
)

// TestSandboxesOfAnotherConfig are not taken over where they would have what they must not.
func TestSandboxesOfAnotherConfig(t *testing.T) {
	needRoot(t)
	for name, change := range map[string]func(*process.Config){
		"network":   func(c *process.Config) { c.Network = process.Host },
		"published": func(c *process.Config) { c.Ports = &openPorts{t: t} },
		"no grace":  func(c *process.Config) { c.Grace = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			config := keptConfig(t)
			former := openDriver(t, config)
			s, err := former.Create(t.Context(), whisk.CreateSandbox{ID: "former", Spec: testSpec})
			if err != nil {
				t.Fatal(err)
			}
			reach(t, s.Address()).do("echo", values{}, nil)
			if err := former.Die(); err != nil {
				t.Fatal(err)
			}
			change(&config)
			_, boxes := recoverAll(t, config)
			if len(boxes) > 0 {
				t.Error("it was taken over")
			}
			if err := reach(t, s.Address()).try("echo", values{}, nil); err == nil {
				t.Error("it still answers")
			}
			for _, dir := range cgroupsOf(t, config.Instance) {
				if strings.HasSuffix(dir, "/former") {
					t.Errorf("the cgroup %s is left", dir)
				}
			}
		})
	}
}

// TestRuntimeFilesOfFormerAgents stay as long as a sandbox sees them, and no longer. They can be
// read whatever the umask was.
func TestRuntimeFilesOfFormerAgents(t *testing.T) {
	needRoot(t)
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	config := keptConfig(t)
	if err := os.Chmod(filepath.Dir(config.StateDir), 0o755); err != nil {
		t.Fatal(err)
	}
	config.Runtimes[0].Files = fstest.MapFS{"lib/version": {Data: []byte("one"), Mode: 0o600}, "lib/tool": {Data: []byte("x"), Mode: 0o755}}
	driver := openDriver(t, config)
	s, err := driver.Create(t.Context(), whisk.CreateSandbox{ID: "reader", Spec: testSpec})
	if err != nil {
		t.Fatal(err)
	}
	version := func(b *box) (text string) {
		t.Helper()
		b.do("read", values{"path": "/whirl/lib/version"}, &text)
		return text
	}
	if got := version(reach(t, s.Address())); got != "one" {
		t.Errorf("the sandbox reads %q", got)
	}
	if err := driver.Die(); err != nil {
		t.Fatal(err)
	}
	config.Runtimes[0].Files = fstest.MapFS{"lib/version": {Data: []byte("two")}}
	next, boxes := recoverAll(t, config)
	if got := version(boxes["reader"]); got != "one" {
		t.Errorf("the former agent's sandbox reads %q", got)
	}
	fresh := newBox(t, next, testSpec)
	if got := version(fresh); got != "two" {
		t.Errorf("a new sandbox reads %q", got)
	}
	if err := errors.Join(boxes["reader"].Destroy(t.Context()), fresh.Destroy(t.Context())); err != nil {
		t.Fatal(err)
	}
	if _, err := next.Create(t.Context(), whisk.CreateSandbox{ID: "reader2", Spec: testSpec}); err != nil {
		t.Fatal(err)
	}
	if err := next.Die(); err != nil {
		t.Fatal(err)
	}
	_, _ = recoverAll(t, config)
	kept, err := filepath.Glob(config.StateDir + "/files/*")
	if err != nil || len(kept) != 1 {
		t.Errorf("kept are the files %q, %v; want those of one runtime", kept, err)
	}
}
