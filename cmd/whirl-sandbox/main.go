// SPDX-License-Identifier: Apache-2.0

// Command whirl-sandbox is the first process of sandboxes: it builds them and becomes the
// runtime by exec. The command whirl does that as well, but is some twenty times as large, and
// much of what it costs to start a sandbox is the start of this program. It is
// installed beside whirl, which finds it there; nobody else starts it.
//
// It does its work before main: see package stage.
package main

import (
	"fmt"
	"os"

	_ "github.com/whirl-faas/whirl/driver/process/stage"
)

func main() {
	fmt.Fprintln(os.Stderr, "whirl-sandbox: this program is started by whirl, inside of sandboxes; it belongs beside it")
	os.Exit(2)
}
