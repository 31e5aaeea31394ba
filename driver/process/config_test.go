// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/driver/process"
	"github.com/whirl-faas/whirl/whisk"
)

func TestConfigIsValidated(t *testing.T) {
	if err := process.Default().Validate(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
	for want, change := range map[string]func(*process.Config){
		"instance":        func(c *process.Config) { c.Instance = "../x" },
		"network":         func(c *process.Config) { c.Network = "bridge" },
		"program":         func(c *process.Config) { c.Program = "whirl-sandbox" },
		"program to show": func(c *process.Config) { c.Self = "whirl-native" },
		"state directory": func(c *process.Config) { c.StateDir = "relative" },
		"processes":       func(c *process.Config) { c.PIDs = 1 },
		"open files":      func(c *process.Config) { c.OpenFiles = 1 },
		"connections":     func(c *process.Config) { c.Flows = 0 },
		"first user id":   func(c *process.Config) { c.FirstUID = 3 },
		"start timeout":   func(c *process.Config) { c.StartTimeout = 0 },
		"grace":           func(c *process.Config) { c.Grace = -1 },
		"API":             func(c *process.Config) { c.API = "127.0.0.1:3233" },
		"kind of its own": func(c *process.Config) {
			c.Runtimes = []process.Runtime{{Kind: "a", Argv: []string{"/a"}}, {Kind: "a", Argv: []string{"/a"}}}
		},
		"absolute path": func(c *process.Config) { c.Runtimes = []process.Runtime{{Kind: "a", Argv: []string{"node"}}} },
		"clean absolute": func(c *process.Config) {
			c.Runtimes = []process.Runtime{{Kind: "a", Argv: []string{"/a"}, Mounts: []string{"/a/../b"}}}
		},
	} {
		config := process.Default()
		change(&config)
		if err := config.Validate(); err == nil || whisk.KindOf(err) != whisk.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate = %v, want it to name the %s", err, want)
		}
	}
}
