// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestAStageDoesNotWaitForTheProgram has this binary be a stage that nobody gives a plan,
// and looks what was initialised before it: nothing of what it does not need.
func TestAStageDoesNotWaitForTheProgram(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	stage := &exec.Cmd{Path: exe, Args: []string{"whirl-sandbox-stage"}, Env: []string{"GODEBUG=inittrace=1"}}
	trace, err := stage.CombinedOutput()
	if stage.ProcessState == nil || stage.ProcessState.ExitCode() != 2 {
		t.Fatalf("without a plan the stage ended with %v: %s", err, trace)
	}
	if !strings.Contains(string(trace), "\ninit golang.org/x/sys/unix ") {
		t.Errorf("what the stage needs is not in the trace: %s", trace)
	}
	for line := range strings.Lines(string(trace)) {
		for _, late := range []string{"net", "path/filepath", "regexp", "testing", "github.com/whirl-faas/"} {
			if strings.HasPrefix(line, "init "+late+" ") || strings.HasSuffix(late, "/") && strings.HasPrefix(line, "init "+late) {
				t.Errorf("the stage waited for: %s", line)
			}
		}
	}
}
