// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseMounts(t *testing.T) {
	for _, tt := range []struct {
		name, text, unified string
		legacy              map[string]string
	}{
		{"unified", "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup", nil},
		{"hybrid", "31 23 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n" +
			"32 23 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" +
			"33 23 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
			"/sys/fs/cgroup/unified",
			map[string]string{"cpu": "/sys/fs/cgroup/cpu,cpuacct", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct", "memory": "/sys/fs/cgroup/memory"}},
		{"space and second mount", "31 23 0:27 / /a\\040b rw - cgroup2 x rw\n32 23 0:27 / /c rw - cgroup2 x rw\n", "/a b", nil},
		{"none", "1 1 8:1 / / rw - ext4 /dev/vda rw\nnonsense\n", "", nil},
	} {
		got, err := parseMounts(strings.NewReader(tt.text))
		if err != nil || got.unified != tt.unified {
			t.Errorf("%s: unified %q, %v; want %q", tt.name, got.unified, err, tt.unified)
		}
		for controller, want := range tt.legacy {
			if got.legacy[controller] != want {
				t.Errorf("%s: %s at %q, want %q", tt.name, controller, got.legacy[controller], want)
			}
		}
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add("31 23 0:27 / /a\\040b rw - cgroup2 x rw\n")
	f.Add("32 23 0:28 / /c\\9 rw - cgroup cgroup rw,cpu,cpuacct\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseMounts(strings.NewReader(text))
		if err == nil && got.unified != "" && !strings.Contains(text, "cgroup2") {
			t.Errorf("found %q in %q", got.unified, text)
		}
	})
}

// TestLimitsAreWritten stands in for kernels that have the controllers
// elsewhere than this one: the control files are ordinary ones.
func TestLimitsAreWritten(t *testing.T) {
	limits := Limits{Memory: 256 << 20, PIDs: 99, Share: 2000}
	hosts := map[string]bool{"memory": true, "pids": true, "cpu": true}
	for _, tt := range []struct {
		name  string
		group func(dir string) *Group
		want  map[string]string
	}{
		{"unified", func(dir string) *Group { return &Group{unified: dir, hosts: hosts} }, map[string]string{
			"memory.max": "268435456", "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "99", "cpu.weight": "25",
		}},
		{"legacy", func(dir string) *Group {
			return &Group{legacy: map[string]string{"memory": dir, "pids": dir, "cpu": dir}}
		}, map[string]string{
			"memory.limit_in_bytes": "268435456", "memory.memsw.limit_in_bytes": "268435456",
			"memory.kmem.tcp.limit_in_bytes": "33554432", "pids.max": "99", "cpu.shares": "256",
		}},
		{"legacy, starting elsewhere", func(dir string) *Group {
			return &Group{legacy: map[string]string{"cpu": dir}, starting: "elsewhere"}
		}, map[string]string{"cpu.shares": "2048"}},
	} {
		dir := t.TempDir()
		for name := range tt.want {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := tt.group(dir).limit(limits); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		for name, want := range tt.want {
			if got := read(dir, name); got != want {
				t.Errorf("%s: %s = %q, want %q", tt.name, name, got, want)
			}
		}
		if err := tt.group(dir).Started(3000); err != nil {
			t.Errorf("%s: Started = %v", tt.name, err)
		}
		if got := read(dir, "cpu.weight") + read(dir, "cpu.shares"); got != "300" && got != "3072" {
			t.Errorf("%s: after Started the weight is %q", tt.name, got)
		}
	}
	if err := (&Group{unified: t.TempDir()}).Started(1000); err != nil {
		t.Errorf("Started without the controller = %v", err)
	}
}

func TestReadsCounters(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"memory.current": "1000000\n", "memory.stat": "anon 5\ninactive_file 400000\n", "memory.events": "low 0\noom 3\noom_kill 1\n",
		"cpu.stat": "usage_usec 1500\nuser_usec 1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	group := &Group{unified: dir, hosts: map[string]bool{"memory": true}}
	if got, want := group.Usage(), (Usage{Memory: 600_000, CPU: 1500 * time.Microsecond}); got != want {
		t.Errorf("Usage = %+v, want %+v", got, want)
	}
	if !group.OutOfMemory() {
		t.Error("the kill for want of memory is not seen")
	}
}

// TestAGroupIsFoundAgain by a process that was told where it is, and that others
// of the tree can be swept around it.
func TestAGroupIsFoundAgain(t *testing.T) {
	for name, mounts := range hierarchies(t) {
		t.Run(name, func(t *testing.T) {
			tree, err := mounts.open(fmt.Sprintf("test_again_%s_%d", name, os.Getpid()))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"spared", "swept"} {
				if _, err := tree.Create(name, Limits{Memory: 64 << 20, PIDs: 10, Share: 1000}); err != nil {
					t.Fatal(err)
				}
			}
			want := tree.group("spared")
			text, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			found := &Group{}
			if err := json.Unmarshal(text, found); err != nil || !reflect.DeepEqual(found, want) {
				t.Errorf("found %+v, %v; want %+v", found, err, want)
			}
			if err := tree.Sweep(t.Context(), "spared"); err != nil {
				t.Errorf("Sweep = %v", err)
			}
			for _, dir := range found.dirs() {
				if !isDir(dir) || isDir(filepath.Join(filepath.Dir(dir), "swept")) {
					t.Errorf("the sweep did not spare %s, or what is beside it", dir)
				}
			}
			if err := errors.Join(found.Remove(t.Context()), tree.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

// hierarchies are the kinds of trees that this machine can give.
func hierarchies(t *testing.T) map[string]mounts {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("cgroups need root")
		}
		t.Skip("cgroups need root")
	}
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	all, err := parseMounts(file)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]mounts{}
	if all.unified != "" {
		found["unified"] = mounts{unified: all.unified}
	}
	if len(all.legacy) > 0 {
		found["legacy"] = mounts{legacy: all.legacy}
	}
	return found
}

// TestGroupLife takes real processes through a group of each hierarchy: frozen,
// thawed, killed while they are frozen, and swept after their owner's death.
func TestGroupLife(t *testing.T) {
	for name, mounts := range hierarchies(t) {
		t.Run(name, func(t *testing.T) {
			tree, err := mounts.open(fmt.Sprintf("test_%s_%d", name, os.Getpid()))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := tree.Close(); err != nil {
					t.Errorf("Close = %v", err)
				}
			})
			if !tree.Support().Freeze {
				t.Skip("there is no freezer")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			group, err := tree.Create("one", Limits{Memory: 64 << 20, PIDs: 10, Share: 1000})
			if err != nil {
				t.Fatal(err)
			}
			shell := startIn(t, group, "while :; do :; done")
			if err := group.Freeze(ctx); err != nil {
				t.Fatal(err)
			}
			before := group.Usage().CPU
			time.Sleep(50 * time.Millisecond)
			if after := group.Usage().CPU; after > before+20*time.Millisecond {
				t.Errorf("it used %s of CPU while frozen", after-before)
			}
			if err := group.Thaw(); err != nil {
				t.Fatal(err)
			}
			thawed := group.Usage().CPU
			if err := waitFor(ctx, func() bool { return group.Usage().CPU > thawed }); err != nil {
				t.Errorf("it does not run after the thaw: %v", err)
			}
			if err := group.Freeze(ctx); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- shell.Wait() }()
			if err := tree.Sweep(ctx); err != nil {
				t.Errorf("Sweep = %v", err)
			}
			if err := <-ended; err == nil {
				t.Error("the process was not killed")
			}
			if err := group.Remove(ctx); err != nil {
				t.Errorf("Remove of a removed group = %v", err)
			}
		})
	}
}

// startIn starts a shell that is moved into the group, as a sandbox's first process is, before
// it goes on to the script.
func startIn(t *testing.T, group *Group, script string) *exec.Cmd {
	t.Helper()
	shell := exec.Command("/bin/sh", "-c", "read -r _; "+script)
	input, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shell.Process.Kill() })
	if group.unified != "" {
		if err := write(group.unified, "cgroup.procs", fmt.Sprint(shell.Process.Pid)); err != nil {
			t.Fatal(err)
		}
	}
	if err := group.Admit(shell.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(input, "go\n"); err != nil {
		t.Fatal(err)
	}
	return shell
}

// TestAProcessCountsOnce though each hierarchy lists it: to move one has all others wait.
func TestAProcessCountsOnce(t *testing.T) {
	memory, pids := t.TempDir(), t.TempDir()
	put := func(dir, text string) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put(memory, "9\n7\n0\n")
	put(pids, "7\n8\n9\n")
	group := &Group{legacy: map[string]string{"memory": memory, "pids": pids}}
	if got, want := group.pids(), []int{7, 8, 9}; !slices.Equal(got, want) {
		t.Errorf("its processes are %v, want %v", got, want)
	}
}

// TestStartsApart has a process, and those that it clones, start where their processor time
// is held against no group that has started.
func TestStartsApart(t *testing.T) {
	mounts, found := hierarchies(t)["legacy"]
	if !found || mounts.legacy["cpu"] == "" {
		t.Skip("no hierarchy of version 1 shares out the processors here, so nothing starts apart")
	}
	tree, err := mounts.open(fmt.Sprintf("test_starting_%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	group, err := tree.Create("one", Limits{Memory: 64 << 20, PIDs: 50, Share: 1000})
	if err != nil {
		t.Fatal(err)
	}
	other, err := tree.Create("two", Limits{Memory: 64 << 20, PIDs: 10, Share: 1000})
	if err != nil {
		t.Fatal(err)
	}
	startIn(t, group, "while :; do sleep 0.01 & done 2>/dev/null")
	stays := startIn(t, other, "while :; do sleep 60; done")
	home := group.legacy["cpu"]
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := waitFor(ctx, func() bool { return len(pidsIn(tree.starting)) > 4 }); err != nil || len(pidsIn(home)) > 0 {
		t.Errorf("before it has started %v are in its group, and %v start", pidsIn(home), pidsIn(tree.starting))
	}
	for range 2 {
		if err := group.Started(1000); err != nil {
			t.Errorf("Started = %v", err)
		}
	}
	if len(pidsIn(home)) == 0 {
		t.Error("nobody is in the group that has started")
	}
	for _, pid := range pidsIn(tree.starting) {
		if text := read(fmt.Sprintf("/proc/%d", pid), "cgroup"); strings.Contains(text, "/one") {
			t.Errorf("of the group that has started, process %d still starts", pid)
		}
	}
	if !slices.Contains(pidsIn(tree.starting), stays.Process.Pid) {
		t.Error("another group, which has not started, was moved as well")
	}
	if err := errors.Join(tree.Sweep(t.Context()), tree.Close()); err != nil {
		t.Error(err)
	}
	if isDir(tree.starting) {
		t.Errorf("%s is left", tree.starting)
	}
}
