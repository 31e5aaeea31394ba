// SPDX-License-Identifier: Apache-2.0

package schedulerload_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/bench/schedulerload"
	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/scheduler"
	"github.com/whirl-faas/whirl/whisk"
)

// play runs a scheduler in this bubble and measures it.
func play(t *testing.T, load schedulerload.Config, alter func(*scheduler.Config, *schedulerload.Target)) (schedulerload.Report, error) {
	t.Helper()
	config := scheduler.Default()
	var s *scheduler.Scheduler
	target := schedulerload.Target{Transport: "in memory", Read: func(ctx context.Context, _ bool) (schedulerload.Reading, error) {
		m, err := s.Metrics(ctx)
		reading := schedulerload.ReadProcess()
		reading.Settled, reading.Nodes = m.Settled, m.Nodes[whisk.NodeUp]
		reading.Containers = m.Pools.Busy + m.Pools.Free
		return reading, err
	}}
	if alter != nil {
		alter(&config, &target)
	}
	var err error
	s, err = scheduler.New(config, scheduler.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	exchange := inmem.NewExchange()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- s.Run(ctx) }()
	go func() { ended <- exchange.Run(ctx) }()
	defer func() {
		stop()
		if err := errors.Join(<-ended, <-ended); err != nil {
			t.Error(err)
		}
	}()
	target.Agent = func(context.Context) (whisk.AgentToScheduler, error) { return inmem.Dial(exchange, s.ServeAgent) }
	target.Controller = func(context.Context) (whisk.ControllerToScheduler, error) {
		return inmem.Dial(exchange, s.ServeController)
	}
	return schedulerload.Run(t.Context(), load, target, nil)
}

func small() schedulerload.Config {
	c := schedulerload.Default()
	c.Agents, c.Controllers, c.Containers = 5, 3, 100
	c.Rate, c.Rounds, c.Duration, c.Warmup = 200, 2, time.Second, 100*time.Millisecond
	return c
}

// TestARateIsKeptAndAllIsAnswered plays every workload where time costs nothing:
// as many requisitions are answered as were due, by what they were meant to be
// answered with, and no time is left but that of the creations.
func TestARateIsKeptAndAllIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report, err := play(t, small(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(report.Results) != 5 || report.Failures() != 0 {
			t.Fatalf("%d failures, results %+v", report.Failures(), report.Results)
		}
		for _, result := range report.Results {
			origin := "created"
			if result.Workload == schedulerload.Transfer {
				origin = "transferred"
			}
			if result.Answered.Count != 400 || result.Origins[origin] != 400 {
				t.Errorf("%s, creation %s: answered %d, origins %v; want 400 %s", result.Workload, result.Creation, result.Answered.Count, result.Origins, origin)
			}
			if created := result.Workload != schedulerload.Transfer; created != (result.Ordered.Count == 400) {
				t.Errorf("%s, creation %s: %d orders to create", result.Workload, result.Creation, result.Ordered.Count)
			}
			if result.Answered.Max > 2*time.Microsecond || result.Late.Max > 2*time.Microsecond {
				t.Errorf("%s, creation %s: up to %s, sent up to %s late, though nothing takes time", result.Workload, result.Creation, result.Answered.Max, result.Late.Max)
			}
			if result.Allocs == 0 || result.CPU < 0 {
				t.Errorf("%s, creation %s: costs %+v", result.Workload, result.Creation, result)
			}
		}
		if report.Connect.Count != 5 || report.Fill.Count != 100 {
			t.Errorf("took in %+v, %+v", report.Connect, report.Fill)
		}
		readable(t, report)
	})
}

// readable holds the two forms of a report.
func readable(t *testing.T, report schedulerload.Report) {
	t.Helper()
	var text, object bytes.Buffer
	if err := errors.Join(report.WriteText(&text), report.WriteJSON(&object)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"5 agents, 3 controllers, 100 containers", "in memory", "transfer", "0 requisitions were rejected"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}
	var back struct {
		Results []struct {
			Workload string
			Decision struct{ Count int }
		}
	}
	if err := json.Unmarshal(object.Bytes(), &back); err != nil || len(back.Results) != 5 || back.Results[0].Decision.Count != 400 {
		t.Errorf("read back %+v, %v", back, err)
	}
}

// TestACreationIsNotTheSchedulersTime has creations take so long that only so
// many fit beside each other; what waits for its turn is counted, the rest not.
func TestACreationIsNotTheSchedulersTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		load := small()
		load.Agents, load.Containers = 1, 0
		load.Workloads, load.Creations = []schedulerload.Workload{schedulerload.Create}, []time.Duration{100 * time.Millisecond}
		load.Rate, load.AtOnce, load.Warmup = 0, 4, 0
		report, err := play(t, load, func(c *scheduler.Config, _ *schedulerload.Target) { c.CreationsPerNode = 2 })
		if err != nil {
			t.Fatal(err)
		}
		result := report.Results[0]
		if result.Rate < 19 || result.Rate > 21 {
			t.Errorf("%v a second where 2 at once take 100 ms", result.Rates)
		}
		if result.Answered.P90 < 99*time.Millisecond || result.Answered.Max > 101*time.Millisecond {
			t.Errorf("waited %+v, want the time that another's creation takes", result.Answered)
		}
	})
}

// TestRejectionsAreCounted has more wait than the scheduler takes.
func TestRejectionsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		load := small()
		load.Agents, load.Workloads, load.Creations = 1, []schedulerload.Workload{schedulerload.Create}, []time.Duration{time.Second}
		report, err := play(t, load, func(c *scheduler.Config, _ *schedulerload.Target) { c.MaxWaiting = 10 })
		if err != nil {
			t.Fatal(err)
		}
		if got := report.Results[0].Rejections["overloaded"]; got == 0 || got != report.Failures() || got+report.Results[0].Answered.Count != 400 {
			t.Errorf("%d failures, %+v", report.Failures(), report.Results[0])
		}
	})
}

func TestWhatBreaksEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("nobody answers")
		_, err := play(t, small(), func(_ *scheduler.Config, target *schedulerload.Target) {
			target.Read = func(context.Context, bool) (schedulerload.Reading, error) { return schedulerload.Reading{}, broken }
		})
		if !errors.Is(err, broken) {
			t.Errorf("ended with %v", err)
		}
	})
}

// TestWhatWasMeasuredIsReported has nobody answer when the second result begins.
func TestWhatWasMeasuredIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("nobody answers")
		load := small()
		left := 3 + load.Rounds // readings without garbage: as the cluster is built, and as each round begins
		report, err := play(t, load, func(_ *scheduler.Config, target *schedulerload.Target) {
			read := target.Read
			target.Read = func(ctx context.Context, collect bool) (schedulerload.Reading, error) {
				if collect {
					left--
				}
				if left < 0 {
					return schedulerload.Reading{}, broken
				}
				return read(ctx, collect)
			}
		})
		if !errors.Is(err, broken) || len(report.Results) != 1 || report.Incomplete != err.Error() {
			t.Fatalf("%v, got %+v", err, report)
		}
		var text bytes.Buffer
		if err := report.WriteText(&text); err != nil || !strings.Contains(text.String(), "\nCut off   look at the scheduler: nobody answers\n") {
			t.Errorf("%v\n%s", err, text.String())
		}
	})
}

func TestImpossibleLoadsAreRefused(t *testing.T) {
	for name, alter := range map[string]func(*schedulerload.Config){
		"agents":       func(c *schedulerload.Config) { c.Agents = 0 },
		"controllers":  func(c *schedulerload.Config) { c.Controllers = -1 },
		"containers":   func(c *schedulerload.Config) { c.Containers = c.Agents - 1 },
		"sleep":        func(c *schedulerload.Config) { c.Workloads = []schedulerload.Workload{"sleep"} },
		"transfer":     func(c *schedulerload.Config) { c.Controllers = 1 },
		"rate":         func(c *schedulerload.Config) { c.Rate = -1 },
		"rounds":       func(c *schedulerload.Config) { c.Rounds = 0 },
		"at once":      func(c *schedulerload.Config) { c.AtOnce = 0 },
		"a creation":   func(c *schedulerload.Config) { c.Creations = []time.Duration{-1} },
		"duration":     func(c *schedulerload.Config) { c.Duration = 0 },
		"warm-up":      func(c *schedulerload.Config) { c.Warmup = -1 },
		"workloads":    func(c *schedulerload.Config) { c.Workloads = nil },
		"there are to": func(c *schedulerload.Config) { c.Containers = 0 },
	} {
		c := schedulerload.Default()
		alter(&c)
		if err := c.Validate(); whisk.KindOf(err) != whisk.Invalid || !strings.Contains(err.Error(), strings.TrimPrefix(name, "containers")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := schedulerload.Default().Validate(); err != nil {
		t.Error(err)
	}
}
