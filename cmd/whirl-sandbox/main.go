// SPDX-License-Identifier: Apache-2.0

// Command whirl-sandbox is what runs inside of sandboxes: their first process, which builds
// them, and the action proxy of the kind native:default. The command whirl does both as well,
// but is some ten times as large, and most of what it costs to start a sandbox is the start
// of this program. It is installed beside whirl, which finds it there; nobody else starts it.
//
// The first process does its work before main: see package stage.
package main

import (
	"fmt"
	"os"
	"slices"

	_ "github.com/whirl-faas/whirl/driver/process/stage"
	"github.com/whirl-faas/whirl/runtimes/native"
)

func main() {
	if !slices.Equal(os.Args[1:], []string{native.Argument}) {
		fmt.Fprintln(os.Stderr, "whirl-sandbox: this program is started by whirl, inside of sandboxes; it belongs beside it")
		os.Exit(2)
	}
	os.Exit(native.Main())
}
