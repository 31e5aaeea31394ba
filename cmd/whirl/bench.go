// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/spf13/cobra"

	"github.com/whirl-faas/whirl/bench"
	"github.com/whirl-faas/whirl/driver/process"
	"github.com/whirl-faas/whirl/runtimes"
	"github.com/whirl-faas/whirl/whisk"
)

func (p program) benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "bench",
		Short:   "Measure a platform from outside",
		Long:    benchHelp,
		Example: benchExamples,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.loadSettings(cmd); err != nil {
				return err
			}
			return p.runBench(cmd)
		},
	}
	addConfigFlag(cmd)
	addBenchFlags(cmd.Flags())
	cmd.AddCommand(p.benchSchedulerCommand(), p.benchHopCommand(), p.benchGrowthCommand())
	return cmd
}

func (p program) runBench(cmd *cobra.Command) error {
	config, err := readBenchConfig(cmd)
	if err != nil {
		return err
	}
	if direct, _ := cmd.Flags().GetBool("direct"); direct {
		maker, err := newSandboxMaker(cmd.Context())
		if err != nil {
			return err
		}
		defer maker.close()
		config.Direct = maker.start
		if hop, _ := cmd.Flags().GetBool("hop"); hop {
			config.Hop = p.startHop
		}
	}
	if err := config.Validate(); err != nil {
		return asUsage(err)
	}
	report, err := bench.Run(cmd.Context(), config, p.stderr)
	if report.Empty() {
		return err
	}
	// What was measured before something went wrong, or somebody had enough, took its time.
	file, _ := cmd.Flags().GetString("json")
	page, _ := cmd.Flags().GetString("html")
	return errors.Join(err, writeFile(page, report.WriteHTML), p.writeReport(report, file))
}

func (p program) writeReport(report bench.Report, file string) error {
	if file == "-" {
		return report.WriteJSON(p.stdout)
	}
	if err := report.WriteText(p.stdout); err != nil || file == "" {
		return err
	}
	return writeFile(file, report.WriteJSON)
}

// writeFile writes a report to a file; to none if it has no name.
func writeFile(name string, write func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	out, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return errors.Join(write(out), out.Close())
}

// sandboxMaker starts sandboxes outside the platform, as the platform does.
type sandboxMaker struct {
	driver *process.Driver
	mu     sync.Mutex
	made   int
}

func newSandboxMaker(ctx context.Context) (*sandboxMaker, error) {
	locals, _, _ := runtimes.Detect(ctx, runtimes.Options{})
	config := process.Default()
	config.Instance = fmt.Sprintf("bench-%d", os.Getpid())
	config.Runtimes = recipes(locals)
	findSandboxPrograms(slog.New(slog.DiscardHandler)).use(&config)
	driver, err := process.Open(config)
	if err != nil {
		return nil, fmt.Errorf("make sandboxes to compare with: %w", err)
	}
	return &sandboxMaker{driver: driver}, nil
}

func (m *sandboxMaker) close() { m.driver.Close() }

// start makes an empty sandbox of a kind that runs so many activations at once;
// stop destroys it.
func (m *sandboxMaker) start(ctx context.Context, kind string, concurrency int) (whisk.Address, func(), error) {
	m.mu.Lock()
	m.made++
	id := whisk.ContainerID(fmt.Sprintf("bench_%d_%d", os.Getpid(), m.made))
	m.mu.Unlock()
	_, manifest, _ := runtimes.Detect(ctx, runtimes.Options{})
	runtime, known := manifest.Resolve(kind)
	if !known {
		return whisk.Address{}, nil, whisk.Errorf(whisk.NotFound, "this machine has no runtime for kind %q", kind)
	}
	sandbox, err := m.driver.Create(ctx, whisk.CreateSandbox{
		ID:   id,
		Spec: whisk.ContainerSpec{Kind: runtime.Kind, Memory: bench.Default().Memory},
		Env:  (&backSettings{concurrency: concurrency}).environment(),
	})
	if err != nil {
		return whisk.Address{}, nil, err
	}
	var reading sync.WaitGroup
	stdout, stderr := sandbox.Output()
	for _, output := range []io.ReadCloser{stdout, stderr} {
		reading.Go(func() {
			defer output.Close()
			_, _ = io.Copy(io.Discard, output) // it ends with the sandbox
		})
	}
	return sandbox.Address(), func() {
		_ = sandbox.Destroy(context.WithoutCancel(ctx)) // without a deadline it does not give up
		reading.Wait()
	}, nil
}

// recipes turns the machine's runtimes into what the process driver takes.
func recipes(locals []runtimes.Local) []process.Runtime {
	var list []process.Runtime
	for _, local := range locals {
		list = append(list, process.Runtime{Kind: local.Kind, Argv: local.Argv, Files: local.Files, Mounts: local.Mounts, Env: local.Env})
	}
	return list
}
