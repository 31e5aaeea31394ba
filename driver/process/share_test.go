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

// shareFile finds the file by which the kernel shares out the CPU to a sandbox, and tells
// what is in it for a sandbox of 128 MB: while it starts, and afterwards.
func shareFile(t *testing.T, id whisk.ContainerID) (file, starting, whole string) {
	t.Helper()
	for pattern, shares := range map[string][2]string{
		"/sys/fs/cgroup/*/whirl/*/" + string(id) + "/cpu.shares": {"63", "512"},
		"/sys/fs/cgroup/*/whirl/*/" + string(id) + "/cpu.weight": {"6", "50"},
		"/sys/fs/cgroup/whirl/*/" + string(id) + "/cpu.weight":   {"6", "50"},
	} {
		if found, err := filepath.Glob(pattern); err == nil && len(found) == 1 {
			return found[0], shares[0], shares[1]
		}
	}
	lacking(t, "this machine has no cpu cgroups where they usually are")
	return "", "", ""
}

func shareIn(file string) string {
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
	file, starting, whole := shareFile(t, id)
	if share := shareIn(file); share != starting && share != whole { // on a machine that is slow to get here
		t.Errorf("the share of a new sandbox is %s, want %s", share, starting)
	}
	sandbox.Settled()
	if !within(20*time.Second, func() bool { return shareIn(file) == whole }) {
		t.Errorf("the share of a sandbox that has started is %s, want %s", shareIn(file), whole)
	}
	if err := driver.Die(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(starting), 0); err != nil { // as an agent leaves it that is killed early
		t.Fatal(err)
	}
	recoverAll(t, config)
	if share := shareIn(file); share != whole {
		t.Errorf("the share of a sandbox that was taken over is %s, want %s", share, whole)
	}
}
