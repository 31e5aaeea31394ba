// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/whirl-faas/whirl/bench/schedulerload"
	"github.com/whirl-faas/whirl/rpc"
	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/scheduler"
	"github.com/whirl-faas/whirl/scheduler/policy"
)

// schedulerBench are the flags of whirl bench scheduler, checked.
type schedulerBench struct {
	load     schedulerload.Config
	place    policy.Scheme
	inMemory bool
	profile  string
	json     string
}

func (p program) benchSchedulerCommand() *cobra.Command {
	defaults := schedulerload.Default()
	cmd := &cobra.Command{
		Use:   "scheduler",
		Short: "Measure the scheduler alone, in a cluster that is played",
		Long: `Start a scheduler as a process of its own, play the agents and controllers of a
whole cluster to it over gRPC on the loopback device, and report how many
requisitions a second it serves, how long they take, and what each costs it.

No container is made: the agents say that they made one as soon as --creations
says, and the figures are without that time. A requisition's time counts from
when it was due, so a scheduler that stalls pays for all that it keeps waiting.

  create    containers of new actions, where there is room
  transfer  idle containers that another controller holds
  evict     containers of new actions where there is no room: each takes an idle
            one's place

Each agent is a connection, and needs a file descriptor on either side. With
--in-memory scheduler and cluster are this one process: without gRPC, and CPU
time and memory are those of all together. docs/performance/scheduler.md has figures.`,
		Example: `  whirl bench scheduler
  whirl bench scheduler --agents 1000 --rate 5000 --workloads create --creations 0s
  whirl bench scheduler --rate 0 --at-once 256
  whirl bench scheduler --in-memory --agents 10000 --containers 1000000`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.loadSettings(cmd); err != nil {
				return err
			}
			settings, err := readSchedulerBench(cmd)
			if err != nil {
				return err
			}
			return p.runSchedulerBench(cmd.Context(), settings)
		},
	}
	addConfigFlag(cmd)
	flags := cmd.Flags()
	flags.Int("agents", defaults.Agents, "agents, each a node")
	flags.Int("controllers", defaults.Controllers, "controllers that ask")
	flags.Int("containers", defaults.Containers, "idle containers that are there before the load begins")
	flags.StringSlice("workloads", texts(defaults.Workloads), "what to ask for")
	flags.DurationSlice("creations", defaults.Creations, "how long a creation takes; each is tried")
	flags.Float64("rate", defaults.Rate, "requisitions a second in all; 0 for as many as are answered")
	flags.Int("at-once", defaults.AtOnce, "with --rate 0: requisitions at once in all")
	flags.Int("rounds", defaults.Rounds, "rounds of each workload; rates and costs are their medians")
	flags.Duration("duration", defaults.Duration, "of one round")
	flags.Duration("warmup", defaults.Warmup, "before the rounds of a workload")
	flags.String("placement", string(policy.SchemeSharding), fmt.Sprintf("the `SCHEME` by which containers are placed, one of %v", policy.Schemes()))
	flags.Bool("in-memory", false, "one process for all, and no gRPC")
	flags.String("cpu-profile", "", "write a CPU profile of the scheduler's process under load to `FILE`")
	flags.String("json", "", "also write the report as JSON to `FILE`; - writes only that, to stdout")
	cmd.AddCommand(p.benchedSchedulerCommand())
	return cmd
}

// texts turns names of a kind into plain ones.
func texts[T ~string](names []T) []string {
	var plain []string
	for _, name := range names {
		plain = append(plain, string(name))
	}
	return plain
}

func readSchedulerBench(cmd *cobra.Command) (s schedulerBench, err error) {
	flags := cmd.Flags()
	s.load = schedulerload.Default()
	s.load.Agents, _ = flags.GetInt("agents")
	s.load.Controllers, _ = flags.GetInt("controllers")
	s.load.Containers, _ = flags.GetInt("containers")
	workloads, _ := flags.GetStringSlice("workloads")
	s.load.Workloads = nil
	for _, name := range workloads {
		s.load.Workloads = append(s.load.Workloads, schedulerload.Workload(name))
	}
	s.load.Creations, _ = flags.GetDurationSlice("creations")
	s.load.Rate, _ = flags.GetFloat64("rate")
	s.load.AtOnce, _ = flags.GetInt("at-once")
	if flags.Changed("at-once") && s.load.Rate != 0 {
		return s, usageErrorf("--at-once needs --rate 0: at a rate of %g requisitions are sent when they are due", s.load.Rate)
	}
	s.load.Rounds, _ = flags.GetInt("rounds")
	s.load.Duration, _ = flags.GetDuration("duration")
	s.load.Warmup, _ = flags.GetDuration("warmup")
	s.place = policy.Scheme(textOf(flags, "placement"))
	if s.place.Placement() == nil {
		return s, usageErrorf("--placement %q: want one of %v", string(s.place), policy.Schemes())
	}
	s.inMemory, _ = flags.GetBool("in-memory")
	s.profile, s.json = textOf(flags, "cpu-profile"), textOf(flags, "json")
	if s.inMemory && s.profile != "" {
		return s, usageErrorf("--cpu-profile is of the scheduler's process, and with --in-memory it has none of its own")
	}
	return s, asUsage(s.load.Validate())
}

// config returns how the measured scheduler decides: as any, but for what was asked for.
func (s schedulerBench) config() scheduler.Config {
	config := scheduler.Default()
	config.Epoch = epochOf(time.Now())
	config.Place = s.place
	config.Settle = 0 // there is no former leader whose containers would be missed
	return config
}

// runSchedulerBench measures a scheduler that lives as long as that takes.
func (p program) runSchedulerBench(ctx context.Context, settings schedulerBench) (err error) {
	open := p.openApart
	if settings.inMemory {
		open = p.openInMemory
	}
	target, closeTarget, err := open(ctx, settings)
	if err != nil {
		return err
	}
	report, err := schedulerload.Run(ctx, settings.load, target, p.stderr)
	err = errors.Join(err, closeTarget())
	if len(report.Results) == 0 {
		return err
	}
	// What was measured before something went wrong, or somebody had enough, took its time.
	return errors.Join(err, p.writeSchedulerReport(report, settings.json))
}

func (p program) writeSchedulerReport(report schedulerload.Report, file string) error {
	if file == "-" {
		return report.WriteJSON(p.stdout)
	}
	if err := report.WriteText(p.stdout); err != nil || file == "" {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return errors.Join(report.WriteJSON(out), out.Close())
}

// openInMemory starts a scheduler in this process.
func (p program) openInMemory(ctx context.Context, settings schedulerBench) (target schedulerload.Target, stop func() error, err error) {
	s, err := scheduler.New(settings.config(), scheduler.Deps{})
	if err != nil {
		return target, nil, err
	}
	exchange := inmem.NewExchange()
	parts := newLifecycle(p.logger(quiet))
	parts.start(ctx, "scheduler", s.Run)
	parts.start(ctx, "sessions", exchange.Run)
	return schedulerload.Target{
		Agent:      func(context.Context) (agentEnd, error) { return inmem.Dial(exchange, s.ServeAgent) },
		Controller: func(context.Context) (controllerEnd, error) { return inmem.Dial(exchange, s.ServeController) },
		Read: func(ctx context.Context, collect bool) (schedulerload.Reading, error) {
			return readScheduler(ctx, s, collect)
		},
		Transport: "in memory, one process",
	}, parts.stop, nil
}

// openApart starts a scheduler as a process of its own.
func (p program) openApart(ctx context.Context, settings schedulerBench) (target schedulerload.Target, stop func() error, err error) {
	child, err := p.startBenched(ctx, settings)
	if err != nil {
		return target, nil, err
	}
	dialer, err := rpc.NewDialer(rpc.PlainLoopback(), nil)
	if err != nil {
		return target, nil, errors.Join(err, child.stop())
	}
	return schedulerload.Target{
		Agent: func(ctx context.Context) (agentEnd, error) { return dialer.AgentToScheduler(ctx, child.address) },
		Controller: func(ctx context.Context) (controllerEnd, error) {
			return dialer.ControllerToScheduler(ctx, child.address)
		},
		Read:      child.read,
		Apart:     true,
		Transport: "gRPC over TCP on the loopback device, plain text",
	}, child.stop, nil
}

// readScheduler reads what this process has used, and how its scheduler's books stand.
func readScheduler(ctx context.Context, s *scheduler.Scheduler, collect bool) (schedulerload.Reading, error) {
	if collect {
		runtime.GC()
	}
	metrics, err := s.Metrics(ctx)
	if err != nil {
		return schedulerload.Reading{}, err
	}
	pools := metrics.Pools
	reading := schedulerload.ReadProcess()
	reading.Settled = metrics.Settled
	reading.Nodes = metrics.Nodes[nodeUp]
	reading.Containers = pools.Busy + pools.Free + pools.Kept + pools.Prewarmed + pools.Creating + pools.Granting + pools.Removing
	return reading, nil
}
