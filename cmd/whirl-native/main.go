// SPDX-License-Identifier: Apache-2.0

// Command whirl-native is the action proxy of the kind native:default. The command whirl is
// one as well, but is some ten times as large, and one is started for each sandbox of that
// kind. It is installed beside whirl, which finds it there, or is all that an image for the docker driver has in it.
package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/whirl-faas/whirl/runtimes/native"
)

func main() {
	if !slices.Equal(os.Args[1:], []string{native.Argument}) {
		fmt.Fprintln(os.Stderr, "whirl-native: this program is started by whirl, inside of sandboxes; it belongs beside it")
		os.Exit(2)
	}
	os.Exit(native.Main())
}
