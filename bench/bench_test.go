// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/bench"
	"github.com/whirl-faas/whirl/whisk"
)

func TestRunMeasuresBothSides(t *testing.T) {
	p, config := startPlatform(t, nil)
	boxes := &sandbox{}
	config.Direct, config.Sandboxes = boxes.start(t), 2
	var progress bytes.Buffer
	report, err := bench.Run(t.Context(), config, &progress)
	if err != nil {
		t.Fatal(err)
	}
	if n := p.leftovers(); n != 0 {
		t.Errorf("%d actions are left", n)
	}
	if len(p.auth) != 1 || !p.auth["uuid:secret"] {
		t.Errorf("keys seen: %v", p.auth)
	}
	if len(boxes.started) != 2 || boxes.started[0] != "nodejs:20" || boxes.stopped != 2 {
		t.Errorf("sandboxes: started %v, stopped %d", boxes.started, boxes.stopped)
	}
	if report.Failures() != 0 || report.Build != "today 7" {
		t.Errorf("%d failures, build %q", report.Failures(), report.Build)
	}
	checkCold(t, report.Cold)
	checkWarm(t, p, report)
	// Two cold batches, and three rounds of two sides at two concurrencies.
	if steps := strings.Count(progress.String(), "[14/14]"); steps == 0 {
		t.Errorf("progress did not come to its end:\n%s", &progress)
	}
	if strings.ContainsAny(progress.String(), "\r\x1b") {
		t.Error("progress that is not on a terminal has control characters")
	}
}

// TestTheBareHopTakesTurns has three sides: it, the platform and the sandboxes.
func TestTheBareHopTakesTurns(t *testing.T) {
	p, config := startPlatform(t, nil)
	boxes := &sandbox{}
	config.ColdSequential, config.ColdBurst = 0, 0
	config.Concurrency, config.Rates, config.Arrivals = []int{4}, []float64{100}, bench.Constant
	config.Direct, config.Sandboxes = boxes.start(t), 2
	config.Processes = []bench.Process{{Name: "platform", PID: os.Getpid()}}
	hops := 0
	config.Hop = func(_ context.Context, sandboxes []whisk.Address, concurrency int) (whisk.Address, int, func(), error) {
		if len(sandboxes) != 2 || concurrency != 1 {
			t.Errorf("a hop to %v, %d at once", sandboxes, concurrency)
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return whisk.Address{}, 0, nil, err
		}
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		done := make(chan error, 1)
		go func() { done <- bench.ServeHop(ctx, listener, sandboxes, concurrency) }()
		hops++
		return whisk.Address{Network: "tcp", Address: listener.Addr().String()}, os.Getpid(), func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			hops--
		}, nil
	}
	report, err := bench.Run(t.Context(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.leftovers() != 0 || hops != 0 || boxes.stopped != 2 || report.Failures() != 0 {
		t.Errorf("%d actions and %d hops are left, %d sandboxes stopped, %d failures", p.leftovers(), hops, boxes.stopped, report.Failures())
	}
	if len(report.Warm) != 2 || len(report.Added) != 1 || report.Added[0].Pace != "100/s constant" {
		t.Fatalf("got %+v", report)
	}
	for _, w := range report.Warm {
		if w.Hop == nil || w.Hop.Latency.Count == 0 || len(w.HopCPU) != 1 || w.HopCPU[0].Processes != 1 || len(w.OfHop) != 5 || w.OfHop[4].Of != "CPU" {
			t.Errorf("%s: got %+v", w.Pace, w)
		}
		if w.Direct == nil || w.Direct.Latency.Count == 0 {
			t.Errorf("%s: direct %+v", w.Pace, w.Direct)
		}
	}
	// In the open loop all are asked equally often.
	if open := report.Warm[1]; open.Platform.Latency.Count != open.Direct.Latency.Count || open.Hop.Latency.Count != open.Direct.Latency.Count {
		t.Errorf("got %d, %d and %d answers", open.Platform.Latency.Count, open.Direct.Latency.Count, open.Hop.Latency.Count)
	}
}

// TestActionsMayRunSeveralAtOnce looks at what is asked for, of the platform and
// of the sandboxes.
func TestActionsMayRunSeveralAtOnce(t *testing.T) {
	p, config := startPlatform(t, nil)
	config.ColdSequential, config.ColdBurst = 0, 0
	config.Kinds, p.native = nil, true
	config.ActionConcurrency, config.Sandboxes, config.Concurrency = 3, 2, []int{2, 4, 64}
	var atOnce []int
	boxes := &sandbox{atOnce: 3}
	start := boxes.start(t)
	config.Direct = func(ctx context.Context, kind string, concurrency int) (whisk.Address, func(), error) {
		atOnce = append(atOnce, concurrency)
		return start(ctx, kind, concurrency)
	}
	report, err := bench.Run(t.Context(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	if report.Failures() != 0 || len(report.Warm) != 3 {
		t.Fatalf("got %+v", report)
	}
	if !slices.Equal(atOnce, []int{3, 3}) {
		t.Errorf("sandboxes for %v activations at once", atOnce)
	}
	for i, want := range []int{2, 4, 6} {
		if w := report.Warm[i]; w.Kind != "nodejs" || w.Direct.Connections != want {
			t.Errorf("%s, %s: %d connections to sandboxes, want %d", w.Kind, w.Pace, w.Direct.Connections, want)
		}
	}
	for name, concurrency := range p.concurrency {
		if concurrency != 3 {
			t.Errorf("%s may run %d at once", name, concurrency)
		}
	}
}

func checkCold(t *testing.T, cold []bench.Cold) {
	t.Helper()
	if len(cold) != 2 {
		t.Fatalf("%d batches of cold starts", len(cold))
	}
	for i, want := range []struct {
		mode string
		n    int64
	}{{"one by one", 3}, {"at once", 5}} {
		got := cold[i]
		if got.Kind != "nodejs" || got.Mode != want.mode || got.Whole.Count != want.n || got.Invoke.Count != want.n || got.Warm != 0 {
			t.Errorf("got %+v, want %d %s", got, want.n, want.mode)
		}
		if got.Whole.Min < got.Invoke.Min || got.Wait.P50.Round(time.Millisecond) != 3*time.Millisecond || got.Init.P50.Round(time.Millisecond) != 7*time.Millisecond {
			t.Errorf("%s: create %v, invoke %v, wait %v, init %v", want.mode, got.Whole.Min, got.Invoke.Min, got.Wait.P50, got.Init.P50)
		}
	}
}

func checkWarm(t *testing.T, p *platform, report bench.Report) {
	t.Helper()
	if len(report.Warm) != 2 || len(report.Added) != 1 || len(report.Records) != 1 {
		t.Fatalf("%d workloads, %d added, %d records", len(report.Warm), len(report.Added), len(report.Records))
	}
	for i, concurrency := range []int{1, 4} {
		w := report.Warm[i]
		if direct := min(concurrency, 2); w.Platform.Connections != concurrency || w.Direct.Connections != direct {
			t.Errorf("%d and %d connections, want %d and %d", w.Platform.Connections, w.Direct.Connections, concurrency, direct)
		}
		if w.Concurrency != concurrency || w.Direct == nil || w.Share <= 0 || w.Generator <= 0 {
			t.Errorf("got %+v", w)
			continue
		}
		for name, side := range map[string]bench.Side{"platform": w.Platform, "direct": *w.Direct} {
			l := side.Latency
			if len(side.Rates) != 3 || side.Rate <= 0 || side.Cold != 0 || l.Count == 0 {
				t.Errorf("%s: %+v", name, side)
			}
			if l.Min > l.P50 || l.P50 > l.P90 || l.P90 > l.P99 || l.P99 > l.P999 || l.P999 > l.Max {
				t.Errorf("%s: latencies are out of order: %+v", name, l)
			}
		}
	}
	// Every answer that the server gave to the warm action is accounted for.
	var served int64
	for name, n := range p.records {
		if !strings.Contains(name, "cold") {
			served += int64(n)
		}
	}
	if got := report.Records[0]; got.Kind != "nodejs" || got.Answered != served || got.Stored != served {
		t.Errorf("got %+v, the server gave %d answers", got, served)
	}
}

func TestRivalsAreComparedWithOneActionAlone(t *testing.T) {
	p, config := startPlatform(t, nil)
	config.ColdSequential, config.ColdBurst = 0, 0
	config.Concurrency = []int{10}
	config.Rivals = []bench.Rivals{{Actions: 4, Connections: 9}}
	var progress bytes.Buffer
	report, err := bench.Run(t.Context(), config, &progress)
	if err != nil {
		t.Fatal(err)
	}
	if n := p.leftovers(); n != 0 {
		t.Errorf("%d actions are left", n)
	}
	if len(report.Contests) != 1 || len(report.Records) != 2 || report.Failures() != 0 {
		t.Fatalf("got %+v", report)
	}
	c := report.Contests[0]
	if c.Kind != "nodejs" || c.Actions != 4 || c.Platform.Connections != 9 || len(c.Platform.Rates) != 1 || c.Platform.Latency.Count == 0 {
		t.Errorf("got %+v", c)
	}
	if want := c.Platform.Rate / report.Warm[0].Platform.Rate; c.Share != want {
		t.Errorf("the share of one action alone is %v, want %v", c.Share, want)
	}
	if c.Least <= 0 || c.Least > 1 || c.Most < 1 {
		t.Errorf("an action got %v to %v of an even share", c.Least, c.Most)
	}
	var served int64
	for name, n := range p.records {
		if strings.Contains(name, "-rival-0-") {
			served += int64(n)
		}
	}
	if got := report.Records[1]; got.Kind != "4 actions of nodejs, 9 at once" || got.Answered != served || got.Stored != served {
		t.Errorf("got %+v, the server gave %d answers", got, served)
	}
	if !strings.Contains(progress.String(), "[4/4]") {
		t.Errorf("progress did not come to its end:\n%s", &progress)
	}
}

// TestAnActionThatGetsNothingIsTold has one of two rivals answered late.
func TestAnActionThatGetsNothingIsTold(t *testing.T) {
	p, config := startPlatform(t, nil)
	config.ColdSequential, config.ColdBurst, config.Warmup = 0, 0, 0
	config.Concurrency = nil
	config.Rivals = []bench.Rivals{{Actions: 2, Connections: 2}}
	config.Rounds = 1
	p.late = func(name string) bool { return strings.HasSuffix(name, "-1") }
	config.Timeout = 3 * time.Second
	report, err := bench.Run(t.Context(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := report.Contests[0]
	if c.Least != 0 || c.Most != 2 || c.Share != 0 || c.Platform.Errors["timeout"] == 0 {
		t.Errorf("got %+v", c)
	}
}

func TestErrorsAreCountedByCause(t *testing.T) {
	sent := map[string]int64{}
	var mu sync.Mutex
	_, config := startPlatform(t, func(n int, w http.ResponseWriter) bool {
		note := func(cause string) bool {
			mu.Lock()
			defer mu.Unlock()
			sent[cause]++
			return true
		}
		switch n % 6 {
		case 1:
			w.WriteHeader(http.StatusTooManyRequests)
			return note("status 429")
		case 2:
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, `{"activationId":"x"}`)
			return note("not finished in time (202)")
		case 3:
			_, _ = io.WriteString(w, `{"activationId":"x","response":{"success":false}}`)
			return note("answer is no record of a success")
		case 4:
			panic(http.ErrAbortHandler) // breaks the connection
		}
		return false
	})
	config.ColdSequential, config.ColdBurst, config.Warmup = 0, 0, 0
	config.Concurrency = []int{2}
	config.Rounds, config.Duration = 6, time.Millisecond // however slow the machine is, each connection sends once in a round
	report, err := bench.Run(t.Context(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := report.Warm[0].Platform.Errors
	for cause, n := range sent {
		if got[cause] != n {
			t.Errorf("%s: counted %d, sent %d", cause, got[cause], n)
		}
	}
	if got["connection broken"] == 0 || len(got) != 4 {
		t.Errorf("got %v", got)
	}
	if report.Failures() == 0 {
		t.Error("no failures in all")
	}
}

func TestSlowAnswersAreTimeouts(t *testing.T) {
	release := make(chan struct{})
	_, config := startPlatform(t, func(int, http.ResponseWriter) bool { <-release; return false })
	defer close(release)
	config.ColdSequential, config.ColdBurst, config.Warmup = 1, 0, 0
	config.Concurrency = []int{1}
	config.Rounds, config.Duration, config.Timeout = 1, 10*time.Millisecond, 50*time.Millisecond
	report, err := bench.Run(t.Context(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := report.Warm[0].Platform.Errors; got["timeout"] != 1 {
		t.Errorf("warm: got %v", got)
	}
	if got := report.Cold[0].Errors; got["timeout"] != 1 {
		t.Errorf("cold: got %v", got)
	}
}

func TestAnswersWithoutInitTimeAreNoColdStarts(t *testing.T) {
	_, config := startPlatform(t, func(_ int, w http.ResponseWriter) bool {
		_, _ = io.WriteString(w, `{"activationId":"x","response":{"success":true},"annotations":[]}`)
		return true
	})
	config.Concurrency = nil
	report, err := bench.Run(t.Context(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := report.Cold[0]; got.Warm != 3 || got.Whole.Count != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestCancellationLeavesNothingBehind(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	reason := errors.New("enough")
	release := make(chan struct{})
	p, config := startPlatform(t, func(n int, _ http.ResponseWriter) bool {
		if n == 20 {
			cancel(reason)
		}
		if n >= 20 {
			<-release
		}
		return false
	})
	defer close(release)
	boxes := &sandbox{}
	config.Direct = boxes.start(t)
	config.Concurrency, config.Duration = []int{1, 4}, time.Hour
	start := time.Now()
	report, err := bench.Run(ctx, config, nil)
	if !errors.Is(err, reason) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v to stop", took)
	}
	if len(report.Cold) != 2 || len(report.Warm) != 0 {
		t.Errorf("%d batches of cold starts, %d workloads", len(report.Cold), len(report.Warm))
	}
	if n := p.leftovers(); n != 0 {
		t.Errorf("%d actions are left", n)
	}
	if boxes.stopped != len(boxes.started) {
		t.Errorf("%d sandboxes of %d were stopped", boxes.stopped, len(boxes.started))
	}
}

// TestWhatCannotBeDeletedIsTold has a server that keeps some of the actions.
func TestWhatCannotBeDeletedIsTold(t *testing.T) {
	p, config := startPlatform(t, nil)
	p.keeps = func(name string) bool { return strings.HasSuffix(name, "-1") }
	config.ColdSequential, config.ColdBurst, config.Concurrency = 3, 0, []int{1}
	config.Workloads = workloads(t, "actions:3")
	var progress strings.Builder
	report, err := bench.Run(t.Context(), config, &progress)
	if err != nil {
		t.Fatal(err)
	}
	if p.leftovers() != 2 || len(report.Left) != 2 {
		t.Fatalf("%d actions are left, told of %v", p.leftovers(), report.Left)
	}
	var text strings.Builder
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, left := range report.Left {
		if _, there := p.actions[left.Action]; !there || left.Endpoint != config.APIHost {
			t.Errorf("told of %v, there are %v", left, p.actions)
		}
		for _, told := range []string{text.String(), progress.String()} {
			if !strings.Contains(told, "not known to be deleted at "+config.APIHost+": ") || !strings.Contains(told, left.Action) {
				t.Errorf("no %s in:\n%s", left.Action, told)
			}
		}
	}
}

// TestRecordsOfARunThatEndsAreNotMissing has somebody lose patience with the last step.
func TestRecordsOfARunThatEndsAreNotMissing(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	reason := errors.New("enough")
	p, config := startPlatform(t, nil)
	p.count = func(stored int) int {
		cancel(reason)
		return stored - 1
	}
	config.ColdSequential, config.ColdBurst, config.Concurrency = 0, 0, []int{1}
	report, err := bench.Run(ctx, config, nil)
	if !errors.Is(err, reason) || len(report.Warm) != 1 || len(report.Records) != 0 || report.Failures() != 0 {
		t.Errorf("%v, got %+v", err, report)
	}
}

func TestWithoutKindsItMeasuresWhatTheServerOffers(t *testing.T) {
	_, config := startPlatform(t, nil)
	config.Kinds, config.Concurrency, config.ColdBurst, config.ColdSequential = nil, nil, 0, 1
	report, err := bench.Run(t.Context(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Cold) != 1 || report.Cold[0].Kind != "nodejs" {
		t.Errorf("got %+v", report.Cold)
	}
}

func TestDirectThatFailsEndsTheRun(t *testing.T) {
	p, config := startPlatform(t, nil)
	broken := errors.New("no sandbox today")
	config.Direct = func(context.Context, string, int) (whisk.Address, func(), error) { return whisk.Address{}, nil, broken }
	if _, err := bench.Run(t.Context(), config, nil); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if n := p.leftovers(); n != 0 {
		t.Errorf("%d actions are left", n)
	}
}

func noSandbox(context.Context, string, int) (whisk.Address, func(), error) {
	return whisk.Address{}, nil, nil
}

func TestConfigs(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*bench.Config)
		want   string // in the error; "" if it is good
	}{
		"default":     {func(*bench.Config) {}, ""},
		"whole kind":  {func(c *bench.Config) { c.Kinds = []string{"nodejs:20"} }, ""},
		"only cold":   {func(c *bench.Config) { c.Concurrency, c.Rounds = nil, 0 }, ""},
		"host":        {func(c *bench.Config) { c.APIHost = "ftp://x" }, "API host"},
		"no key":      {func(c *bench.Config) { c.Auth = "" }, "key"},
		"kind":        {func(c *bench.Config) { c.Kinds = []string{"cobol"} }, "native, nodejs, python"},
		"concurrency": {func(c *bench.Config) { c.Concurrency = []int{1, 0} }, "1 to 10000"},
		"rounds":      {func(c *bench.Config) { c.Rounds = 0 }, "rounds 0"},
		"duration":    {func(c *bench.Config) { c.Duration = 0 }, "duration"},
		"warm-up":     {func(c *bench.Config) { c.Warmup = -1 }, "warm-up"},
		"cold":        {func(c *bench.Config) { c.ColdBurst = -1 }, "cold"},
		"timeout":     {func(c *bench.Config) { c.Timeout = 0 }, "timeout"},
		"rivals":      {func(c *bench.Config) { c.Rivals = []bench.Rivals{{4, 40}, {10, 10}} }, ""},
		"one rival":   {func(c *bench.Config) { c.Rivals = []bench.Rivals{{1, 10}} }, "at least 2 actions"},
		"idle rival":  {func(c *bench.Config) { c.Rivals = []bench.Rivals{{4, 3}} }, "a connection for each"},
		"memory":      {func(c *bench.Config) { c.Memory = 0 }, "memory"},
		"workloads":   {func(c *bench.Config) { c.Workloads = workloads(t, "echo:1k", "cpu", "actions:4") }, ""},
		"native cpu": {func(c *bench.Config) {
			c.Kinds, c.Workloads = []string{"native"}, workloads(t, "cpu")
		}, "only in nodejs and python"},
		"rates and bursts":  {func(c *bench.Config) { c.Rates, c.Bursts, c.Arrivals = []float64{0.5}, []int{1000}, bench.Constant }, ""},
		"rate":              {func(c *bench.Config) { c.Rates = []float64{1, 0} }, "rate 0"},
		"arrivals":          {func(c *bench.Config) { c.Arrivals = "sudden" }, "poisson or constant"},
		"burst":             {func(c *bench.Config) { c.Bursts = []int{1001} }, "1 to 1000"},
		"outstanding":       {func(c *bench.Config) { c.Outstanding = 0 }, "1 to 10000"},
		"burst time":        {func(c *bench.Config) { c.BurstEvery = 0 }, "bursts"},
		"rounds of rates":   {func(c *bench.Config) { c.Concurrency, c.Rates, c.Rounds = nil, []float64{1}, 0 }, "rounds 0"},
		"overload's load":   {func(c *bench.Config) { c.Concurrency, c.Overload, c.Outstanding = nil, 3, 31 }, "outstanding 31"},
		"overload's rounds": {func(c *bench.Config) { c.Concurrency, c.Overload, c.Rounds = nil, 3, 0 }, "rounds 0"},
		"overload's time":   {func(c *bench.Config) { c.Concurrency, c.Overload, c.Duration = nil, 3, 0 }, "duration"},
		"versus":            {func(c *bench.Config) { c.VersusHost, c.VersusAuth = "other.example.org", "uuid:key" }, ""},
		"versus host":       {func(c *bench.Config) { c.VersusHost, c.VersusAuth = "ftp://x", "uuid:key" }, "the endpoint to compare with"},
		"versus key":        {func(c *bench.Config) { c.VersusHost = "other.example.org" }, "key of the endpoint to compare with"},
		"speed":             {func(c *bench.Config) { c.Trace, c.TraceSpeed = trace(t, "a,0,0,128"), 0 }, "0.001 to 1000"},
		"at once":           {func(c *bench.Config) { c.Kinds, c.ActionConcurrency = []string{"nodejs:20"}, 64 }, ""},
		"native at once":    {func(c *bench.Config) { c.Kinds, c.ActionConcurrency = []string{"native"}, 2 }, "one activation at a time"},
		"too many at once":  {func(c *bench.Config) { c.ActionConcurrency = 1001 }, "1 to 1000"},
		"namespaces":        {func(c *bench.Config) { c.MoreAuths = []string{"a:b", "c:d"} }, ""},
		"bad namespace":     {func(c *bench.Config) { c.MoreAuths = []string{""} }, "key of another namespace"},
		"two of both": {func(c *bench.Config) {
			c.MoreAuths, c.VersusHost, c.VersusAuth = []string{"a:b"}, "other.example.org", "uuid:key"
		}, "several namespaces"},
		"overload of two": {func(c *bench.Config) {
			c.Overload, c.VersusHost, c.VersusAuth = 3, "other.example.org", "uuid:key"
		}, "an overload is of one endpoint"},
		"sandboxes without load": {func(c *bench.Config) { c.Direct, c.Concurrency = noSandbox, nil }, "a rate or bursts"},
		"sandboxes of sequences": {func(c *bench.Config) { c.Direct, c.Workloads = noSandbox, workloads(t, "sequence") }, "no sequence"},
		"sandboxes of some":      {func(c *bench.Config) { c.Direct, c.Workloads = noSandbox, workloads(t, "sequence", "echo") }, ""},
		"processes of nobody":    {func(c *bench.Config) { c.VersusProcesses = []bench.Process{{Name: "x"}} }, "there is none"},
		"hop to nothing": {func(c *bench.Config) {
			c.Hop = func(context.Context, []whisk.Address, int) (whisk.Address, int, func(), error) {
				return whisk.Address{}, 0, nil, nil
			}
		}, "needs the sandboxes"},
		"sandboxes": {func(c *bench.Config) {
			c.Sandboxes = 0
			c.Direct = noSandbox
		}, "sandbox"},
	} {
		t.Run(name, func(t *testing.T) {
			config := bench.Default()
			config.APIHost, config.Auth = "http://127.0.0.1:3233", "uuid:key"
			row.change(&config)
			err := config.Validate()
			if row.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), row.want) || whisk.KindOf(err) != whisk.Invalid {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}
