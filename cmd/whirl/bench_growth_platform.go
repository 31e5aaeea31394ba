// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/whirl-faas/whirl/bench"
	"github.com/whirl-faas/whirl/whisk"
)

// grownPlatform is a child of this process: a standalone platform with data of its own.
type grownPlatform struct {
	cmd  *exec.Cmd
	dir  string
	host string
}

// grownMemory is more than any dimension's containers may use by their limits,
// which are far above what they really do.
const grownMemory = "64g"

// startGrown starts one after seed has put into its stores what is to be there.
func (p program) startGrown(ctx context.Context, seed func(context.Context, *data) error) (g *grownPlatform, err error) {
	dir, err := os.MkdirTemp("", "whirl-growth-")
	if err != nil {
		return nil, fmt.Errorf("make a data directory: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := seedData(ctx, dir, seed); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "standalone", "--data", dir, "--listen", address, "--memory", grownMemory, "--log-level", "error",
		"--invocations-per-minute", strconv.Itoa(guestRate), "--concurrent-invocations", strconv.Itoa(guestFlight))
	cmd.Stderr = p.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // nobody would stop it if we were killed
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a platform: %w", err)
	}
	g = &grownPlatform{cmd: cmd, dir: dir, host: "http://" + address}
	if err := g.wait(ctx); err != nil {
		return nil, errors.Join(err, g.stop())
	}
	return g, nil
}

func seedData(ctx context.Context, dir string, seed func(context.Context, *data) error) error {
	d, err := openDirectory(ctx, dir, nil)
	if err != nil {
		return err
	}
	return errors.Join(seed(ctx, d), d.close())
}

// freeAddress is free now, and hardly taken by anybody in the next moment.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

// wait returns when the platform answers.
func (g *grownPlatform) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.host+"/", nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			return res.Body.Close()
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for a platform: %w", err)
		}
	}
}

func (g *grownPlatform) stop() error {
	_ = g.cmd.Process.Signal(syscall.SIGTERM)
	_ = g.cmd.Wait() // nothing that was measured depends on how it ends
	return os.RemoveAll(g.dir)
}

// resident is how much of the machine's memory the platform's process has, in MB.
func (g *grownPlatform) resident() float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(line, "VmRSS:"); found {
			kilobytes, _ := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			return kilobytes / 1024
		}
	}
	return 0
}

// disk is how much the platform's data takes, in MB.
func (g *grownPlatform) disk() (megabytes float64) {
	_ = filepath.WalkDir(g.dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil {
			if info, err := entry.Info(); err == nil && !entry.IsDir() {
				megabytes += float64(info.Size()) / float64(whisk.MB)
			}
		}
		return nil // what went away meanwhile does not count
	})
	return megabytes
}

// grownLoad is load on platforms that changes with the work.
type grownLoad struct {
	seed func(ctx context.Context, d *data, work float64) error // nil: one platform is for all amounts of work
	load func(config *bench.Config, work float64)
	disk bool // tell of the disk
	adds bool // to what an activation costs without it
}

// open starts the platforms, all at once: those that nobody calls are idle.
func (p program) open(l grownLoad) func(context.Context, growthBench, growthDimension) (func(context.Context, float64) (costs, error), func() error, error) {
	return func(ctx context.Context, b growthBench, d growthDimension) (func(context.Context, float64) (costs, error), func() error, error) {
		platforms := map[float64]*grownPlatform{}
		closeAll := func() (err error) {
			for _, one := range slices.Collect(maps.Values(platforms)) {
				err = errors.Join(err, one.stop())
			}
			return err
		}
		works := d.works
		if l.seed == nil {
			works = []float64{0}
		}
		for _, work := range works {
			one, err := p.startGrown(ctx, func(ctx context.Context, d *data) error {
				if l.seed == nil {
					return nil
				}
				return l.seed(ctx, d, work)
			})
			if err != nil {
				return nil, nil, errors.Join(err, closeAll())
			}
			platforms[work] = one
		}
		return func(ctx context.Context, work float64) (costs, error) {
			platform, found := platforms[work]
			if !found {
				platform = platforms[0]
			}
			return l.measure(ctx, platform, b.duration, work)
		}, closeAll, nil
	}
}

// measure puts the load of an amount of work on a platform for one round.
func (l grownLoad) measure(ctx context.Context, platform *grownPlatform, duration time.Duration, work float64) (costs, error) {
	config := bench.Default()
	config.APIHost, config.Auth, config.Kinds = platform.host, guestKey, []string{"native"}
	config.Concurrency, config.ColdSequential, config.ColdBurst = []int{10}, 0, 0
	config.Rounds, config.Duration, config.Warmup = 1, duration, duration/4
	config.Processes = []bench.Process{{Name: "platform", PID: platform.cmd.Process.Pid}}
	l.load(&config, work)
	report, err := bench.Run(ctx, config, nil)
	if err != nil {
		return nil, err
	}
	if n := report.Failures(); n > 0 {
		return nil, whisk.Errorf(whisk.Unavailable, "%d requests failed", n)
	}
	warm := report.Warm[0]
	found := found
	if l.adds {
		found = foundTotal
	}
	all := costs{
		found("CPU of an activation", "µs", float64(warm.CPU[0].Own)/float64(time.Microsecond)),
		found("latency, p50", "ms", float64(warm.Platform.Latency.P50)/float64(time.Millisecond)),
		foundTotal("memory of the process", "MB", platform.resident()),
	}
	if l.disk {
		all = append(all, foundTotal("disk", "MB", platform.disk()))
	}
	return all, nil
}
