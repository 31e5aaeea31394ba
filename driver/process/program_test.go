// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/driver/process"
	"github.com/whirl-faas/whirl/whisk"
)

// testReplaced makes a sandbox for each line that it reads, and tells its address.
func testReplaced(args []string) {
	var config process.Config
	if err := json.Unmarshal([]byte(args[0]), &config); err != nil {
		panic(err)
	}
	driver, err := process.Open(config)
	if err != nil {
		panic(err)
	}
	var made []whisk.Sandbox
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		sandbox, err := driver.Create(context.Background(), whisk.CreateSandbox{ID: whisk.ContainerID(lines.Text()), Spec: testSpec})
		if err != nil {
			fmt.Println("error:", err)
			continue
		}
		made = append(made, sandbox)
		fmt.Println(sandbox.Address().Address)
	}
	for _, sandbox := range made {
		err = errors.Join(err, sandbox.Destroy(context.Background()))
	}
	if err := errors.Join(err, driver.Close()); err != nil {
		fmt.Println("error:", err)
	}
}

func TestAProgramThatMakesNoSandboxes(t *testing.T) {
	for program, want := range map[string]string{
		"/nosuch/whirl-sandbox": "program /nosuch/whirl-sandbox, which sandboxes are to begin as: no such file",
		"/etc/passwd":           "program /etc/passwd, which sandboxes are to begin as: permission denied",
		"/bin/true":             "sandboxes that begin as /bin/true: ", // it may have ended before it is in its cgroup
	} {
		config := testConfig(t)
		config.Program = program
		driver, err := process.Open(config)
		if err == nil {
			driver.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", program, err)
		}
	}
}

// TestSandboxesAreShownAProgram has the runtime be another program than the one that sandboxes begin as.
func TestSandboxesAreShownAProgram(t *testing.T) {
	binary, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	config := testConfig(t)
	config.Self = filepath.Join(filepath.Dir(config.StateDir), "shown")
	if err := errors.Join(os.Chmod(filepath.Dir(config.Self), 0o755), os.WriteFile(config.Self, binary, 0o755)); err != nil {
		t.Fatal(err)
	}
	var mounts string
	newBox(t, openDriver(t, config), testSpec).do("read", values{"path": "/proc/self/mountinfo"}, &mounts)
	if !strings.Contains(mounts, "/shown /whirl-self ") {
		t.Errorf("the sandbox has %s", mounts)
	}

	config = testConfig(t)
	config.Self = "/nosuch/whirl-native"
	driver, err := process.Open(config)
	if err == nil {
		driver.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "program /nosuch/whirl-native, which sandboxes are to be shown: no such file") {
		t.Errorf("without such a program: %v", err)
	}
}

// TestSandboxesAfterAnUpgradeOnDisk puts another program in the place of the one that
// runs, as installing a new version does, and takes its file away, as a rebuild may. The state
// directory is where nothing can be executed, as /run is on Debian.
func TestSandboxesAfterAnUpgradeOnDisk(t *testing.T) {
	needRoot(t)
	program := filepath.Join(t.TempDir(), "whirl")
	binary, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(program, binary, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	config := testConfig(t)
	volatile := filepath.Dir(config.StateDir)
	if err := unix.Mount("tmpfs", volatile, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(volatile, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	agent := exec.Command(program, "whirl-test-replaced", string(text))
	agent.Stderr = os.Stderr
	stdin, err := agent.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	create := func(id string) {
		t.Helper()
		fmt.Fprintln(stdin, id)
		if !lines.Scan() || !filepath.IsAbs(lines.Text()) {
			t.Errorf("%s: %s", id, lines.Text())
			return
		}
		reach(t, whisk.Address{Network: "unix", Address: lines.Text()}).do("echo", values{}, nil)
	}
	create("before")
	other := program + ".new"
	if err := os.WriteFile(other, []byte("#!/bin/false\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, program); err != nil {
		t.Fatal(err)
	}
	create("replaced")
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	create("removed")
	stdin.Close()
	for lines.Scan() {
		t.Error(lines.Text())
	}
	if err := agent.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(config.StateDir); err == nil {
		t.Error("the state directory is left")
	}
}
