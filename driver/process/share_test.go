// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// control is a file of the kernel's that tells what a sandbox of 128 MB has of the CPU.
type control struct {
	file            string
	starting, whole string // what is in it while the sandbox starts, and afterwards
	begin           func() // has the sandbox start again, as an agent leaves it that is killed early
}

// controlOf finds the control of a running sandbox: the members of its group
// in version 1 of cgroups, the weight of its group in version 2.
func controlOf(t *testing.T, id whisk.ContainerID) control {
	t.Helper()
	for _, pattern := range []string{"/sys/fs/cgroup/*/whirl/*/", "/sys/fs/cgroup/whirl/*/"} {
		if found, _ := filepath.Glob(pattern + string(id) + "/cpu.weight"); len(found) == 1 {
			return control{found[0], "6", "50", func() { put(t, found[0], "6") }}
		}
	}
	found, _ := filepath.Glob("/sys/fs/cgroup/*/whirl/*/" + string(id) + "/cpu.shares")
	if len(found) != 1 {
		lacking(t, "this machine has no cpu cgroups where they usually are")
	}
	if share := contentOf(found[0]); share != "512" {
		t.Errorf("the share of the sandbox is %s, want 512", share)
	}
	members := filepath.Join(filepath.Dir(found[0]), "cgroup.procs")
	others, _ := filepath.Glob("/sys/fs/cgroup/pids/whirl/*/" + string(id) + "/cgroup.procs")
	if len(others) != 1 {
		lacking(t, "this machine has no cgroups of processes where they usually are")
	}
	all := contentOf(others[0])
	tree := filepath.Base(filepath.Dir(filepath.Dir(found[0])))
	start := filepath.Join(filepath.Dir(found[0]), "../../../whirl-starting", tree, "cgroup.procs")
	return control{members, "", all, func() {
		for pid := range strings.FieldsSeq(all) {
			put(t, start, pid)
		}
	}}
}

func put(t *testing.T, file, value string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

func contentOf(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

func TestShareWhileItStarts(t *testing.T) {
	needRoot(t)
	config := keptConfig(t)
	driver := openDriver(t, config)
	id := whisk.ContainerID(filepath.Base(config.Instance))
	sandbox, err := driver.Create(t.Context(), whisk.CreateSandbox{ID: id, Spec: testSpec})
	if err != nil {
		t.Fatal(err)
	}
	cpu := controlOf(t, id)
	if now := contentOf(cpu.file); now != cpu.starting && now != cpu.whole { // on a machine that is slow to get here
		t.Errorf("%s has %q while the sandbox starts, want %q", cpu.file, now, cpu.starting)
	}
	sandbox.Settled()
	if !within(20*time.Second, func() bool { return contentOf(cpu.file) == cpu.whole }) {
		t.Errorf("%s has %q when the sandbox has started, want %q", cpu.file, contentOf(cpu.file), cpu.whole)
	}
	if err := driver.Die(); err != nil {
		t.Fatal(err)
	}
	cpu.begin()
	if now := contentOf(cpu.file); now != cpu.starting {
		t.Errorf("%s has %q when it is begun again, want %q", cpu.file, now, cpu.starting)
	}
	recoverAll(t, config)
	if now := contentOf(cpu.file); now != cpu.whole {
		t.Errorf("%s has %q when the sandbox was taken over, want %q", cpu.file, now, cpu.whole)
	}
}
