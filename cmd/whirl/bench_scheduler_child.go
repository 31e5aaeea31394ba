// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/whirl-faas/whirl/bench/schedulerload"
	"github.com/whirl-faas/whirl/rpc"
	"github.com/whirl-faas/whirl/scheduler"
	"github.com/whirl-faas/whirl/scheduler/policy"
	"github.com/whirl-faas/whirl/whisk"
)

// The scheduler that whirl bench scheduler measures is this program once more.
// It listens on a port of the loopback device and says which on its standard
// output; then it answers each question of its standard input, in JSON, and
// ends with that.

// benchedCommand is the name of the hidden command.
const benchedCommand = "measured"

// quiet is above every level: what the measured scheduler has to say of each
// session is of no interest.
const quiet = slog.LevelError + 1

const nodeUp = whisk.NodeUp

type (
	agentEnd      = whisk.AgentToScheduler
	controllerEnd = whisk.ControllerToScheduler
)

// benchedHello is what the measured process says first.
type benchedHello struct {
	Address string // host:port for agents and controllers
}

// benchedQuestion is what it is asked, each answered by a [benchedAnswer].
type benchedQuestion struct {
	Collect bool // the garbage first
}

type benchedAnswer struct {
	Reading schedulerload.Reading
	Err     string // "" if all is well
}

func (p program) benchedSchedulerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:    benchedCommand,
		Short:  "The scheduler that whirl bench scheduler measures",
		Hidden: true,
		Args:   noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags := cmd.Flags()
			settings := schedulerBench{place: policy.Scheme(textOf(flags, "placement")), profile: textOf(flags, "cpu-profile")}
			connections, _ := flags.GetInt("connections")
			return p.serveBenched(cmd.Context(), settings, connections, os.Stdin)
		},
	}
	flags := cmd.Flags()
	flags.String("placement", string(policy.SchemeSharding), "`SCHEME`")
	flags.String("cpu-profile", "", "`FILE`")
	flags.Int("connections", rpc.DefaultLimits().Connections, "at once")
	return cmd
}

// serveBenched is the measured process: a scheduler that ends with its standard input.
func (p program) serveBenched(ctx context.Context, settings schedulerBench, connections int, questions io.Reader) (err error) {
	logger := p.logger(quiet)
	s, err := scheduler.New(settings.config(), scheduler.Deps{Logger: logger})
	if err != nil {
		return err
	}
	server, err := rpc.NewServer(rpc.ServerConfig{
		Security: rpc.PlainLoopback(), Logger: logger,
		Handlers: rpc.Handlers{Controller: s.ServeController, Agent: s.ServeAgent},
		// The whole cluster comes at once, to a machine that plays it besides.
		Limits: rpc.Limits{Connections: connections, Handshake: time.Minute},
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the cluster: %w", err)
	}
	parts := newLifecycle(logger)
	defer func() { err = errors.Join(err, parts.stop()) }()
	parts.start(ctx, "scheduler", s.Run)
	parts.start(ctx, "sessions", func(ctx context.Context) error { return server.Run(ctx, listener) })
	if settings.profile != "" {
		stop, err := profileCPU(settings.profile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	answers := json.NewEncoder(p.stdout)
	if err := answers.Encode(benchedHello{listener.Addr().String()}); err != nil {
		return fmt.Errorf("say where the scheduler is: %w", err)
	}
	return answerQuestions(ctx, s, json.NewDecoder(questions), answers)
}

// answerQuestions does that until there are no more.
func answerQuestions(ctx context.Context, s *scheduler.Scheduler, questions *json.Decoder, answers *json.Encoder) error {
	for {
		var asked benchedQuestion
		if err := questions.Decode(&asked); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read a question: %w", err)
		}
		var answer benchedAnswer
		var err error
		if answer.Reading, err = readScheduler(ctx, s, asked.Collect); err != nil {
			answer.Err = err.Error()
		}
		if err := answers.Encode(answer); err != nil {
			return fmt.Errorf("answer a question: %w", err)
		}
	}
}

// profileCPU begins a profile; stop ends it.
func profileCPU(file string) (stop func() error, err error) {
	out, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("write the CPU profile: %w", err)
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return nil, errors.Join(fmt.Errorf("begin the CPU profile: %w", err), out.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return out.Close()
	}, nil
}

// benched is the measured process as who measures it sees it.
type benched struct {
	cmd     *exec.Cmd
	address string
	stdin   io.WriteCloser

	mu        sync.Mutex // one question at a time
	questions *json.Encoder
	answers   *json.Decoder
}

// startBenched starts the measured process. It ends with ctx, or when we end.
func (p program) startBenched(ctx context.Context, settings schedulerBench) (*benched, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start the scheduler: %w", err)
	}
	connections := settings.load.Agents + settings.load.Controllers + 16
	if err := checkDescriptors(connections); err != nil {
		return nil, err
	}
	b := &benched{cmd: exec.CommandContext(ctx, self, "bench", "scheduler", benchedCommand,
		"--placement", string(settings.place), "--cpu-profile", settings.profile, "--connections", fmt.Sprint(connections))}
	b.cmd.Stderr = p.stderr
	if b.stdin, err = b.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start the scheduler: %w", err)
	}
	stdout, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the scheduler: %w", err)
	}
	b.questions, b.answers = json.NewEncoder(b.stdin), json.NewDecoder(stdout)
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the scheduler: %w", err)
	}
	var hello benchedHello
	if err := b.answers.Decode(&hello); err != nil {
		return nil, errors.Join(fmt.Errorf("start the scheduler: %w", err), b.stop())
	}
	b.address = hello.Address
	return b, nil
}

// checkDescriptors refuses more connections than this process, or one like it,
// may have.
func checkDescriptors(connections int) error {
	const others = 32
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if uint64(connections)+others > limit.Cur {
		return usageErrorf("--agents: %d connections need as many open files, and this process may have %d: raise that (ulimit -n), or use --in-memory", connections, limit.Cur)
	}
	return nil
}

// read asks the process how it is.
func (b *benched) read(_ context.Context, collect bool) (schedulerload.Reading, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var answer benchedAnswer
	if err := b.questions.Encode(benchedQuestion{collect}); err != nil {
		return answer.Reading, fmt.Errorf("ask the scheduler's process: %w", err)
	}
	if err := b.answers.Decode(&answer); err != nil {
		return answer.Reading, fmt.Errorf("hear the scheduler's process: %w", err)
	}
	if answer.Err != "" {
		return answer.Reading, whisk.Errorf(whisk.Unavailable, "%s", answer.Err)
	}
	return answer.Reading, nil
}

// stop ends the process and waits for it.
func (b *benched) stop() error {
	_ = b.stdin.Close() // that is how it learns
	if err := b.cmd.Wait(); err != nil {
		return fmt.Errorf("the scheduler's process: %w", err)
	}
	return nil
}
