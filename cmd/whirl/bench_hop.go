// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/whirl-faas/whirl/bench"
	"github.com/whirl-faas/whirl/whisk"
)

// The bare hop of whirl bench is this program once more, so that its CPU time is
// its own. It listens on a port of the loopback device, says which on its
// standard output, and ends with its standard input.

func (p program) benchHopCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:    "hop NETWORK:ADDRESS...",
		Short:  "The bare hop that whirl bench --hop measures",
		Hidden: true,
		Args:   cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			concurrency, _ := cmd.Flags().GetInt("concurrency")
			return p.serveHop(cmd.Context(), args, concurrency, os.Stdin)
		},
	}
	cmd.Flags().Int("concurrency", 1, "requests at once to one sandbox")
	return cmd
}

func (p program) serveHop(ctx context.Context, sandboxes []string, concurrency int, stdin io.Reader) error {
	var addresses []whisk.Address
	for _, text := range sandboxes {
		network, address, _ := strings.Cut(text, ":")
		addresses = append(addresses, whisk.Address{Network: network, Address: address})
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the load: %w", err)
	}
	parts := newLifecycle(p.logger(quiet))
	parts.start(ctx, "hop", func(ctx context.Context) error {
		return bench.ServeHop(ctx, listener, addresses, concurrency)
	})
	fmt.Fprintln(p.stdout, listener.Addr())
	_, _ = io.Copy(io.Discard, stdin) // until whoever measures has what he wants, or is no more
	return parts.stop()
}

// startHop starts the bare hop; stop ends it.
func (p program) startHop(ctx context.Context, sandboxes []whisk.Address, concurrency int) (address whisk.Address, pid int, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return address, 0, nil, err
	}
	args := []string{"bench", "hop", "--concurrency", strconv.Itoa(concurrency)}
	for _, sandbox := range sandboxes {
		args = append(args, sandbox.Network+":"+sandbox.Address)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stderr = p.stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return address, 0, nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return address, 0, nil, err
	}
	if err := cmd.Start(); err != nil {
		return address, 0, nil, err
	}
	stop = func() {
		_ = stdin.Close() // that is how it learns
		_ = cmd.Wait()    // nothing that was measured depends on how it ends
	}
	if _, err := fmt.Fscanln(stdout, &address.Address); err != nil {
		stop()
		return address, 0, nil, errors.Join(errors.New("it does not say where it listens"), err)
	}
	address.Network = "tcp"
	return address, cmd.Process.Pid, stop, nil
}
