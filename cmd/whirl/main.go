// SPDX-License-Identifier: Apache-2.0

// Command whirl is the whole platform in one binary: a subcommand for each role,
// for administration and for measuring. It reads the configuration, wires the
// packages together and runs them; everything else lives in the packages.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/whirl-faas/whirl/driver/process"
	"github.com/whirl-faas/whirl/runtimes/native"
)

func main() {
	process.InitKeeper() // does not return in a process that keeps sandboxes
	// Inside of a sandbox, where there is no whirl-native:
	if slices.Equal(os.Args[1:], []string{native.Argument}) {
		os.Exit(native.Main())
	}
	loosenTimers(os.Args)
	relaxCollector()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // from then on a second signal kills
	p := program{args: os.Args[1:], getenv: os.LookupEnv, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(p.exitStatus(p.Run(ctx)))
}

// program is one run of the command, with all that it takes from outside, so
// that tests can start it without a process.
type program struct {
	args   []string
	getenv func(string) (string, bool)
	stdout io.Writer
	stderr io.Writer
}
