// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/whirl-faas/whirl/bench/growth"
)

// growthBench are the flags of whirl bench growth, checked.
type growthBench struct {
	dimensions []growthDimension
	passes     int
	duration   time.Duration // of one measurement
	out        string
}

// growthDimension is a kind of work, and how to measure what it costs.
type growthDimension struct {
	name, work, setup string
	works             []float64
	// open gets ready to measure, which may be done again and again in any order.
	// It is given what it measures for.
	open func(ctx context.Context, b growthBench, d growthDimension) (measure func(ctx context.Context, work float64) (costs, error), closeAll func() error, err error)
}

// costs are what one measurement found.
type costs []cost

type cost struct {
	growth.Cost
	value float64
}

// found is a cost of each unit of work; foundTotal of all there is.
func found(name, unit string, value float64) cost {
	return cost{growth.Cost{Name: name, Unit: unit}, value}
}

func foundTotal(name, unit string, value float64) cost {
	return cost{growth.Cost{Name: name, Unit: unit, Total: true}, value}
}

func (p program) benchGrowthCommand() *cobra.Command {
	all := p.growthDimensions()
	var names []string
	for _, d := range all {
		names = append(names, d.name)
	}
	cmd := &cobra.Command{
		Use:   "growth",
		Short: "Measure how costs grow with work",
		Long: `Measure how costs grow with work, along one dimension after the other:

` + describeDimensions(all) + `
Platforms are children of this process, with data of their own in a temporary
directory; what is stored in them was put there before they start. The control
plane is that of whirl bench scheduler. Each amount of work is measured once in
each pass, and every other pass goes backwards, so that what else the machine
does meets all amounts alike. To each cost cost = factor * work^exponent is fitted.

A page with a table and a plot of each dimension is written to the directory of
--out as README.md, and the figures as growth.json. All takes ten to fifteen minutes.`,
		Example: `  whirl bench growth --out docs/growth
  whirl bench growth --dimensions rate,payload --passes 5`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.loadSettings(cmd); err != nil {
				return err
			}
			settings, err := readGrowthBench(cmd, all)
			if err != nil {
				return err
			}
			return p.runGrowth(cmd.Context(), settings)
		},
	}
	addConfigFlag(cmd)
	flags := cmd.Flags()
	flags.StringSlice("dimensions", names, "what to let grow")
	flags.Int("passes", 3, "over each dimension")
	flags.Duration("duration", 2*time.Second, "of one measurement")
	flags.String("out", "growth", "`DIRECTORY` for the page, its plots and the figures")
	return cmd
}

func describeDimensions(all []growthDimension) string {
	var s strings.Builder
	for _, d := range all {
		fmt.Fprintf(&s, "  %-13s%s, %g to %g\n", d.name, d.work, d.works[0], d.works[len(d.works)-1])
	}
	return s.String()
}

func readGrowthBench(cmd *cobra.Command, all []growthDimension) (b growthBench, err error) {
	flags := cmd.Flags()
	names, _ := flags.GetStringSlice("dimensions")
	for _, name := range names {
		i := slices.IndexFunc(all, func(d growthDimension) bool { return d.name == name })
		if i < 0 {
			return b, usageErrorf("--dimensions: there is no dimension %q", name)
		}
		b.dimensions = append(b.dimensions, all[i])
	}
	b.passes, _ = flags.GetInt("passes")
	b.duration, _ = flags.GetDuration("duration")
	b.out = textOf(flags, "out")
	switch {
	case b.passes < 1 || b.passes > 100:
		return b, usageErrorf("--passes %d: want 1 to 100", b.passes)
	case b.duration < 10*time.Millisecond || b.duration > time.Hour:
		return b, usageErrorf("--duration %s: want 10ms to 1h", b.duration)
	}
	return b, nil
}

func (p program) runGrowth(ctx context.Context, b growthBench) error {
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return fmt.Errorf("make the directory of the report: %w", err)
	}
	report := growth.Report{
		Started: time.Now(), Passes: b.passes,
		Machine: fmt.Sprintf("%d CPUs, %s", runtime.NumCPU(), runtime.Version()),
	}
	for _, d := range b.dimensions {
		measured, err := p.growAlong(ctx, b, d)
		if err != nil {
			return fmt.Errorf("dimension %s: %w", d.name, err)
		}
		report.Dimensions = append(report.Dimensions, measured)
		report.Took, report.Load = time.Since(report.Started), max(report.Load, loadOfMachine())
		// What is measured already is kept if something goes wrong later.
		if err := writeGrowth(b.out, report, measured); err != nil {
			return err
		}
	}
	fmt.Fprintf(p.stdout, "%s has the tables, plots and figures\n", b.out)
	return nil
}

// loadOfMachine is how many processes ran or wanted to in the last five minutes, in
// the mean: this one's, and those that have nothing to do with it.
func loadOfMachine() (load float64) {
	text, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		_, err = fmt.Sscan(string(text), new(float64), &load)
	}
	if err != nil {
		return 0 // not known
	}
	return load
}

// growAlong measures one dimension.
func (p program) growAlong(ctx context.Context, b growthBench, d growthDimension) (measured growth.Dimension, err error) {
	measured = growth.Dimension{Name: d.name, Work: d.work, Setup: d.setup}
	fmt.Fprintf(p.stderr, "%s: getting ready\n", d.name)
	measure, closeAll, err := d.open(ctx, b, d)
	if err != nil {
		return measured, err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	works := slices.Clone(d.works)
	for pass := range b.passes {
		for _, work := range works {
			fmt.Fprintf(p.stderr, "%s: pass %d of %d, %g %s\n", d.name, pass+1, b.passes, work, d.work)
			all, err := measure(ctx, work)
			if err != nil {
				return measured, fmt.Errorf("%g %s: %w", work, d.work, err)
			}
			for _, c := range all {
				measured.Add(c.Cost, growth.Point{Work: work, Cost: c.value})
			}
		}
		slices.Reverse(works)
	}
	return measured, nil
}

// writeGrowth writes the figures so far, and the plot of the dimension that is new.
func writeGrowth(dir string, report growth.Report, d growth.Dimension) error {
	err := errors.Join(
		writeFile(filepath.Join(dir, "growth.json"), report.WriteJSON),
		writeFile(filepath.Join(dir, "README.md"), report.WriteMarkdown),
	)
	for _, plot := range d.Plot() {
		err = errors.Join(err, writeFile(filepath.Join(dir, d.Name+".svg"), plot.WriteSVG))
	}
	return err
}
