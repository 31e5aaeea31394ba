// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/whirl-faas/whirl/runtimes"
	"github.com/whirl-faas/whirl/whisk"
)

func TestAMissingRuntimeIsExplained(t *testing.T) {
	o := offer{
		manifest: whisk.Manifest{Families: []whisk.RuntimeFamily{{Name: "nodejs", Runtimes: []whisk.Runtime{{Kind: "nodejs:20", Default: true}}}}},
		locals:   []runtimes.Local{{Kind: "nodejs:20"}},
		missing:  []runtimes.Missing{{Family: "python", Reason: "no python was found", Mend: "apt-get install python3"}},
	}
	for kind, want := range map[string]string{
		"python:3.11": "On this machine no python was found; to have it: apt-get install python3.",
		"nodejs:18":   "This machine has nodejs:20, which nodejs:default stands for; it offers the version that is first on the platform's PATH.",
		"cobol:68":    "",
		"blackbox":    "Container images need --driver docker.",
	} {
		if got := o.hint(kind); got != want {
			t.Errorf("hint for %s: %q, want %q", kind, got, want)
		}
	}
}
