// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/whirl-faas/whirl/bench"
)

const benchHelp = `Put load on an OpenWhisk-compatible platform and report what it did.

It deploys actions of its own, calls them over HTTP with 1, 10 and 64
connections, each waiting for its answer before it asks again, and starts cold
containers one after the other and 20 at once. It reports latency percentiles,
throughput, errors by cause and the CPU time of the processes it is told of.
Interrupted, it deletes its actions, for 20 seconds at most, and reports what it
has, and which actions may be left.

An OpenWhisk lets a namespace make 60 calls in a minute unless it is told
otherwise, and answers 429 to more: raise its limits first. A certificate that
this machine does not trust is accepted if SSL_CERT_FILE names it.

With --rate or --burst requests are due at their own times, whether earlier ones
have been answered or not, and latencies count from then. What is due when
--outstanding requests are under way is not sent, and counted. There are no
connections at once then or with --trace or --overload, unless --concurrency asks
for them, too. A flag that would do nothing beside the others is refused, such as
--workload with nothing but --trace.

--workload says what the actions do:
  noop            nothing
  echo[:SIZE]     return the payload they are sent; without SIZE 1b, 1k, 64k and 1m
  cpu[:TIME]      use so much CPU time (10ms)
  sleep[:TIME]    wait (100ms)
  actions[:N]     nothing, but there are N of them, called in turns; without N 1, 4, 10 and 100
  sequence[:N]    nothing, in a sequence of N parts (3)
Native actions have neither echo nor cpu.

With --trace the calls of a CSV file are sent when it has them, FUNCTION,TIME,
DURATION,MEMORY in each line: times in seconds or such as 20ms, memory in MB. An
action stands for each function, and sleeps for as long as the call ran.

With --vs a second endpoint is measured, too, in rounds that take turns with the
platform's. The report has ratios of throughput and percentiles and the intervals
that the true ratios are in with 95 % of confidence; that takes 6 --rounds at least.
It cannot be had together with --overload.

With --action-concurrency each action, those of a trace too, may run so many activations at
once in a container, and sandboxes of --direct are called so, too. That is for nodejs, and
the platform must allow it: whirl standalone --max-concurrency.

With --rivals several actions at once compete for the platform's containers: 4:40
are four actions at 40 connections in all. How many containers there are is the
platform's --memory, at 128 MB each. The report tells what each action got, and
how much all together in comparison with one action at 10 connections.

With --overload 3 an open loop asks for what the platform can do, and then for
three times that. The report tells how much of it was done, how soon the rest was
refused, and how soon all was well when that was over, and the memory of each
--process then, not its CPU time. It is of one endpoint: measure that of --vs by a
run of its own.

With --direct it also starts sandboxes of its own, as the platform on this
machine does, and calls their /run itself in turn with the platform: the report
then has the platform's throughput as a share of that, and what it adds to the
latency. With --hop there is a third side: a process that does nothing but pass
requests on to those sandboxes, the least that anything in the platform's place
could cost on this machine. Both are beside --concurrency, --rate and --burst, and
a sequence has neither. docs/performance.md tells how to read it.`

const benchExamples = `  whirl bench
  whirl bench --kinds native --direct --hop --process whirl
  whirl bench --kinds native --concurrency 10 --rivals 4:40,10:40 --cold 0 --cold-burst 0
  whirl bench --kinds nodejs --workload echo,cpu:5ms,actions,sequence:2 --concurrency 10
  whirl bench --kinds nodejs --rate 200,400 --burst 50 --cold 0 --cold-burst 0
  whirl bench --kinds nodejs --workload sleep:100ms --overload 3 --outstanding 8000 --cold 0 --cold-burst 0 --duration 10s --process whirl
  whirl bench --vs https://openwhisk.example.org --vs-auth UUID:KEY --rounds 10
  whirl bench --apihost https://openwhisk.example.org --auth UUID:KEY --json report.json --html report.html`

func addBenchFlags(flags *pflag.FlagSet) {
	defaults := bench.Default()
	flags.String("apihost", "http://127.0.0.1:3233", "`URL` of the platform")
	flags.String("auth", guestKey, "whose key to use, `UUID:KEY`")
	flags.String("vs", "", "`URL` of an endpoint to compare the platform with")
	flags.String("vs-auth", guestKey, "with --vs: whose key to use there, `UUID:KEY`")
	flags.StringSlice("kinds", nil, "kinds to measure, of native, nodejs and python (default: all that the platform offers)")
	flags.StringSlice("workload", []string{"noop"}, "what the actions do, each `NAME[:VALUE]` a workload of its own; see above")
	flags.IntSlice("concurrency", defaults.Concurrency, "connections at once of a closed loop, each number a load of its own")
	flags.Float64Slice("rate", nil, "requests per second of an open loop, each number a load of its own")
	flags.String("arrivals", string(defaults.Arrivals), "how the requests of --rate and --overload are spread, `poisson or constant`")
	flags.IntSlice("burst", nil, "requests at the same instant, each number a load of its own")
	flags.Duration("burst-every", defaults.BurstEvery, "with --burst: from one to the next")
	flags.Int("outstanding", defaults.Outstanding, "requests of an open loop under way, at most")
	flags.Uint64("seed", defaults.Seed, "of the arrivals of --rate and --overload: the same seed sends at the same times")
	flags.String("trace", "", "replay the calls of this CSV `FILE`: function, time, duration, memory")
	flags.Float64("trace-speed", defaults.TraceSpeed, "with --trace: replay so many times as fast; 2 takes half the time")
	flags.StringSlice("rivals", nil, "workloads of several actions at once, each `ACTIONS:CONNECTIONS` (of all together)")
	flags.Float64("overload", 0, "find what the platform can do, and ask for that and for so many `TIMES` as much, in turns; 0 does not")
	flags.Int("rounds", defaults.Rounds, "rounds of each workload; figures are their medians")
	flags.Duration("duration", defaults.Duration, "of one round")
	flags.Int("cold", defaults.ColdSequential, "cold starts one after the other, per kind")
	flags.Int("cold-burst", defaults.ColdBurst, "cold starts at once, per kind")
	flags.Int("action-concurrency", 0, "activations at once in one container of an action (default: one)")
	flags.StringSlice("process", nil, "report the CPU time of these processes, by name or number; of --overload their memory")
	flags.StringSlice("vs-process", nil, "and of these, of the endpoint of --vs")
	flags.Bool("direct", false, "compare with calling a sandbox of this machine directly, at the paces of --concurrency, --rate and --burst")
	flags.Bool("hop", false, "with --direct: compare with a bare hop to the sandboxes, too")
	flags.String("html", "", "also write the report as a page with plots to `FILE`")
	flags.String("json", "", "also write the report as JSON to `FILE`; - writes only that, to stdout")
}

func readBenchConfig(cmd *cobra.Command) (bench.Config, error) {
	flags, config := cmd.Flags(), bench.Default()
	config.APIHost, _ = flags.GetString("apihost")
	config.Auth, _ = flags.GetString("auth")
	config.VersusHost, _ = flags.GetString("vs")
	config.VersusAuth, _ = flags.GetString("vs-auth")
	config.Kinds, _ = flags.GetStringSlice("kinds")
	config.Overload, _ = flags.GetFloat64("overload")
	config.Rounds, _ = flags.GetInt("rounds")
	config.Duration, _ = flags.GetDuration("duration")
	config.ColdSequential, _ = flags.GetInt("cold")
	config.ColdBurst, _ = flags.GetInt("cold-burst")
	config.ActionConcurrency, _ = flags.GetInt("action-concurrency")
	config.Processes, config.VersusProcesses = readProcesses(flags, "process"), readProcesses(flags, "vs-process")
	direct, _ := flags.GetBool("direct")
	if hop, _ := flags.GetBool("hop"); hop && !direct {
		return config, usageErrorf("--hop needs --direct: it goes to the same sandboxes")
	}
	for _, read := range []func(*pflag.FlagSet, *bench.Config) error{readWorkloads, readRivals, readPaces} {
		if err := read(flags, &config); err != nil {
			return config, err
		}
	}
	return config, checkBenchPairs(flags, config)
}

func readProcesses(flags *pflag.FlagSet, flag string) (processes []bench.Process) {
	names, _ := flags.GetStringSlice(flag)
	for _, name := range names {
		pid, _ := strconv.Atoi(name) // a name that is no number is looked for
		processes = append(processes, bench.Process{Name: name, PID: pid})
	}
	return processes
}

func readWorkloads(flags *pflag.FlagSet, config *bench.Config) error {
	workloads, _ := flags.GetStringSlice("workload")
	for _, text := range workloads {
		some, err := bench.ParseWorkload(text)
		if err != nil {
			return asUsage(err)
		}
		config.Workloads = append(config.Workloads, some...)
	}
	return nil
}

func readRivals(flags *pflag.FlagSet, config *bench.Config) error {
	rivals, _ := flags.GetStringSlice("rivals")
	for _, text := range rivals {
		actions, connections, _ := strings.Cut(text, ":")
		var r bench.Rivals
		var err, err2 error
		r.Actions, err = strconv.Atoi(actions)
		r.Connections, err2 = strconv.Atoi(connections)
		if err != nil || err2 != nil {
			return usageErrorf("--rivals %q: want ACTIONS:CONNECTIONS, such as 4:40", text)
		}
		config.Rivals = append(config.Rivals, r)
	}
	return nil
}

// readPaces reads when requests are sent. Who asks for an open loop is not meant
// to have the closed ones, unless by name.
func readPaces(flags *pflag.FlagSet, config *bench.Config) error {
	config.Concurrency, _ = flags.GetIntSlice("concurrency")
	config.Rates, _ = flags.GetFloat64Slice("rate")
	arrivals, _ := flags.GetString("arrivals")
	config.Arrivals = bench.Arrivals(arrivals)
	config.Bursts, _ = flags.GetIntSlice("burst")
	config.BurstEvery, _ = flags.GetDuration("burst-every")
	config.Outstanding, _ = flags.GetInt("outstanding")
	config.Seed, _ = flags.GetUint64("seed")
	config.TraceSpeed, _ = flags.GetFloat64("trace-speed")
	if file, _ := flags.GetString("trace"); file != "" {
		trace, err := readTrace(file)
		if err != nil {
			return err
		}
		config.Trace = &trace
	}
	if !flags.Changed("concurrency") && (config.Overload > 0 || len(config.Rates)+len(config.Bursts) > 0 || config.Trace != nil) {
		config.Concurrency = nil
	}
	return nil
}

func readTrace(file string) (bench.Trace, error) {
	in, err := os.Open(file)
	if err != nil {
		return bench.Trace{}, fmt.Errorf("read the trace: %w", err)
	}
	defer in.Close()
	trace, err := bench.ReadTrace(in)
	if err != nil {
		return bench.Trace{}, asUsage(fmt.Errorf("%s: %w", file, err))
	}
	return trace, nil
}
