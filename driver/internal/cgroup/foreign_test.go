// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestOfTakesOnlyWhatIsMarked has the forms in which engines place containers.
func TestOfTakesOnlyWhatIsMarked(t *testing.T) {
	root := t.TempDir()
	machine := mounts{unified: filepath.Join(root, "unified"), legacy: map[string]string{
		"memory": filepath.Join(root, "memory"), "freezer": filepath.Join(root, "freezer"),
		"cpu": filepath.Join(root, "cpu,cpuacct"), "cpuacct": filepath.Join(root, "cpu,cpuacct"),
	}}
	for _, dir := range []string{
		"unified/docker/abc", "unified/system.slice/docker-abc.scope", "unified/user.slice",
		"memory/docker/abc", "freezer/docker/abc", "cpu,cpuacct/docker/abc",
	} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ name, text, unified, memory, cpu string }{
		{"systemd", "0::/system.slice/docker-abc.scope\n", "unified/system.slice/docker-abc.scope", "", ""},
		{"hybrid", "8:memory:/docker/abc\n7:cpu,cpuacct:/docker/abc\n6:freezer:/docker/abc\n0::/docker/abc\n", "unified/docker/abc", "memory/docker/abc", "cpu,cpuacct/docker/abc"},
		{"legacy", "8:memory:/docker/abc\n0::/user.slice\n", "", "memory/docker/abc", ""},
		{"another's", "8:memory:/docker/abd\n0::/user.slice\n", "", "", ""},
		{"out of sight", "0::/../docker-abc/none\n", "", "", ""},
		{"nonsense", "abc\n:::\n0::\n9:memory\n", "", "", ""},
	} {
		got := machine.of(tt.text, "abc")
		for what, pair := range map[string][2]string{
			"unified": {got.unified, tt.unified}, "memory": {got.legacy["memory"], tt.memory}, "cpuacct": {got.legacy["cpuacct"], tt.cpu},
		} {
			want := pair[1]
			if want != "" {
				want = filepath.Join(root, want)
			}
			if pair[0] != want {
				t.Errorf("%s: %s is %q, want %q", tt.name, what, pair[0], want)
			}
		}
	}
	if _, err := Of(os.Getpid(), "no-such-container"); err == nil {
		t.Error("a process of no container has a group")
	}
}

func FuzzOf(f *testing.F) {
	f.Add("0::/docker/abc\n8:memory:/docker/abc\n")
	f.Fuzz(func(t *testing.T, text string) {
		got := mounts{unified: "/nowhere", legacy: map[string]string{"memory": "/nowhere"}}.of(text, "abc")
		if got.unified != "" || len(got.legacy) > 0 {
			t.Errorf("found %+v in %q", got, text)
		}
	})
}

func TestFrost(t *testing.T) {
	machine := hierarchies(t)["legacy"]
	if machine.legacy["freezer"] == "" {
		t.Skip("there is no version 1 freezer")
	}
	name := fmt.Sprintf("test_frost_%d", os.Getpid())
	frost, err := KeepFrozen(name)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(machine.legacy["freezer"], "whirl", name)
	if got := read(filepath.Join(dir, frozenName), "freezer.state"); got != "FROZEN\n" {
		t.Errorf("the frost is %q", got)
	}
	if err := frost.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if isDir(dir) {
		t.Error("the frost is still there")
	}
}
