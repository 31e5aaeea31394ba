// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/client"
	"github.com/whirl-faas/whirl/driver/process"
	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/whisk"
)

// coldRate is how many cold starts a second each side gets.
const coldRate = 20

// BenchmarkCold makes cold starts through the API of a platform in this process, and by the
// driver alone, a second of each in turns, both by the clock. What the platform adds is told for
// each activation from what the same one's creation, /init and /run took, so that the
// noise of a busy machine in those is not in it: as the one who asks sees it, and *inside*,
// from the request's arrival to the answer. The CPU time is this process's, with that
// of the one who asks, without the sandboxes'.
func BenchmarkCold(b *testing.B) {
	bed := newColdBed(b)
	watch := bed.watch(b)
	var added, inside, whole, own, direct sample
	var cpu [2]time.Duration // of the platform's rounds, of the direct ones
	for b.Loop() {
		names := bed.deploy(b, coldRate, "native:default", nativeNoop)
		used := selfCPU()
		each(names, func(i int, name string) {
			start := time.Now()
			bed.invoke(b, name)
			took := time.Since(start)
			part := bed.clock.of(name)
			whole.add(took)
			own.add(part.create + part.init + part.run)
			added.add(took - part.create - part.init - part.run)
			inside.add(watch.of(name) - part.create - part.init - part.run)
		})
		bed.settle()
		cpu[0] += selfCPU() - used
		used = selfCPU()
		boxes := make([]whisk.Sandbox, coldRate)
		each(names, func(i int, name string) {
			start := time.Now()
			boxes[i] = bed.direct(b, "native:default")
			bed.ask(b, boxes[i], nativeNoop)
			direct.add(time.Since(start))
		})
		bed.settle()
		cpu[1] += selfCPU() - used
		bed.destroy(b, boxes)
	}
	added.report(b, "added")
	inside.report(b, "inside")
	whole.report(b, "whole")
	own.report(b, "own")
	direct.report(b, "direct")
	n := float64(len(whole.all))
	b.ReportMetric(float64((cpu[0]-cpu[1]).Microseconds())/n, "added-cpu-us")
	b.ReportMetric(float64(cpu[1].Microseconds())/n, "direct-cpu-us")
}

// BenchmarkPrewarmed has new actions run in containers that were made in advance.
func BenchmarkPrewarmed(b *testing.B) {
	bed := newColdBed(b)
	kind, ok := bed.kindOf("nodejs")
	if !ok {
		b.Skip("needs node")
	}
	var added, whole sample
	var ratios []float64 // to what the container itself took
	const code = "function main() { return {} }"
	for b.Loop() {
		name := bed.deploy(b, 1, kind, code)[0]
		bed.clock.awaitSpare(2)
		time.Sleep(300 * time.Millisecond) // for the runtimes to be up and the machine at rest
		start := time.Now()
		bed.invoke(b, name)
		took := time.Since(start)
		part := bed.clock.of(name)
		if part.create > 0 {
			b.Fatal("it was not prewarmed")
		}
		whole.add(took)
		added.add(took - part.init - part.run)
		ratios = append(ratios, took.Seconds()/(part.init+part.run).Seconds())
	}
	added.report(b, "added")
	whole.report(b, "whole")
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "ratio-p50")
}

const nativeNoop = "#!/bin/sh\necho '{}'\n"

// each does something to all names, coldRate of them a second.
func each(names []string, do func(i int, name string)) {
	var all sync.WaitGroup
	defer all.Wait()
	tick := time.NewTicker(time.Second / coldRate)
	defer tick.Stop()
	for i, name := range names {
		all.Go(func() { do(i, name) })
		<-tick.C
	}
}

// selfCPU is the CPU time of this process without its children.
func selfCPU() time.Duration {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// watch is a way to the platform on which it tells how long each call took it.
type watch struct {
	http.RoundTripper
	mu    sync.Mutex
	calls map[string]time.Duration // by the action's name
}

// watch has the guest's calls watched from now on.
func (bed *coldBed) watch(b *testing.B) *watch {
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	w := &watch{RoundTripper: transport, calls: map[string]time.Duration{}}
	guest, err := client.New(client.Config{APIHost: bed.front.url(), Auth: guestKey, Transport: w})
	must(b, err)
	bed.guest.Close()
	bed.guest = guest
	b.Cleanup(transport.CloseIdleConnections)
	return w
}

// RoundTrip implements [http.RoundTripper].
func (w *watch) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Whirl-Timing", "on")
	answer, err := w.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	_, total, _ := strings.Cut(answer.Header.Get("Server-Timing"), "total;dur=")
	if took, err := time.ParseDuration(total + "ms"); err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.calls[path.Base(r.URL.Path)] = took
	}
	return answer, nil
}

func (w *watch) of(name string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[name]
}

// sample is what many measurements gave.
type sample struct {
	mu  sync.Mutex
	all []time.Duration
}

func (s *sample) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, d)
}

func (s *sample) at(quantile float64) float64 {
	return float64(s.all[int(quantile*float64(len(s.all)-1))].Microseconds()) / 1000
}

func (s *sample) report(b *testing.B, what string) {
	slices.Sort(s.all)
	b.ReportMetric(s.at(0.5), what+"-p50-ms")
	b.ReportMetric(s.at(0.99), what+"-p99-ms")
}

// coldBed is a platform in this process, and a driver beside it.
type coldBed struct {
	*standalone
	clock  *clock
	guest  *client.Client
	driver whisk.Driver // of the direct side
	made   int
}

func newColdBed(b *testing.B) *coldBed {
	return newBed(b, func(back *back, front *front, clock *clock) {
		back.driver = timed{back.driver, clock}
		front.dial = clock.dial
	})
}

// newBed has change say what makes containers and how they are reached.
func newBed(b *testing.B, change func(*back, *front, *clock)) *coldBed {
	if unix.Geteuid() != 0 {
		b.Skip("needs root")
	}
	ctx, logger := b.Context(), slog.New(slog.DiscardHandler)
	p := program{getenv: func(string) (string, bool) { return "", false }, stdout: io.Discard, stderr: io.Discard}
	command := p.standaloneCommand()
	err := command.ParseFlags([]string{"--listen", "127.0.0.1:0", "--data", b.TempDir(), "--memory", "400g",
		"--invocations-per-minute", "100000", "--concurrent-invocations", "1000"})
	must(b, err)
	settings, err := readStandaloneSettings(command)
	must(b, err)
	settings.back.programs = buildSandboxPrograms(b)
	front, err := openFront(ctx, settings.front, "", logger)
	must(b, err)
	back, err := openBack(ctx, settings.back, instanceOf("standalone", settings.front.data), front.url(), logger)
	must(b, err)
	bed := &coldBed{clock: &clock{parts: map[string]*part{}, byAddress: map[whisk.Address]*part{}, changed: make(chan struct{})}}
	change(back, front, bed.clock)
	front.offer, front.peers = back.offer, plainPeers(logger)
	bed.standalone = &standalone{front: front, back: back, exchange: inmem.NewExchange()}
	must(b, bed.assemble())
	parts := newLifecycle(logger)
	bed.start(ctx, parts)
	bed.guest, err = client.New(client.Config{APIHost: front.url(), Auth: guestKey})
	must(b, err)
	config := process.Default()
	config.Instance = "coldbench"
	config.Runtimes = recipes(back.offer.locals)
	config.API = front.url()
	settings.back.programs.use(&config)
	bed.driver, err = process.Open(config)
	must(b, err)
	b.Cleanup(func() {
		bed.guest.Close()
		if err := bed.driver.Close(); err != nil {
			b.Error(err)
		}
		parts.stop()
		front.close()
	})
	return bed
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (bed *coldBed) kindOf(family string) (string, bool) {
	runtime, known := bed.back.offer.manifest.Resolve(family + ":default")
	return runtime.Kind, known
}

// deploy makes actions that nobody has called yet.
func (bed *coldBed) deploy(b *testing.B, n int, kind, code string) (names []string) {
	for range n {
		bed.made++
		name := fmt.Sprintf("cold%d", bed.made)
		_, err := bed.guest.CreateAction(b.Context(), name, client.ActionSpec{Exec: &client.Exec{Kind: kind, Code: code}})
		must(b, err)
		names = append(names, name)
	}
	return names
}

func (bed *coldBed) invoke(b *testing.B, name string) {
	record, err := bed.guest.Invoke(b.Context(), name, nil, 0)
	if err != nil || !record.Response.Success {
		b.Errorf("%s: %+v, %v", name, record.Response, err)
	}
}

// settle lets what goes on after the last answer come to its end.
func (bed *coldBed) settle() { time.Sleep(150 * time.Millisecond) }

func (bed *coldBed) direct(b *testing.B, kind string) whisk.Sandbox {
	bed.clock.mu.Lock()
	bed.made++
	id := whisk.ContainerID(fmt.Sprintf("direct_%d", bed.made))
	bed.clock.mu.Unlock()
	box, err := bed.driver.Create(b.Context(), whisk.CreateSandbox{ID: id, Spec: whisk.ContainerSpec{Kind: kind, Memory: 256 * whisk.MB}})
	if err != nil {
		b.Error(err)
	}
	return box
}

// ask initialises a sandbox and runs what is in it.
func (bed *coldBed) ask(b *testing.B, box whisk.Sandbox, code string) {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialContainer(ctx, box.Address())
	}}
	defer transport.CloseIdleConnections()
	caller := http.Client{Transport: transport}
	for _, step := range []struct {
		path  string
		value map[string]any
	}{{"/init", map[string]any{"name": "a", "main": "main", "code": code}}, {"/run", map[string]any{}}} {
		body, _ := json.Marshal(map[string]any{"value": step.value})
		answer, err := caller.Post("http://action"+step.path, "application/json", bytes.NewReader(body))
		if err != nil {
			b.Error(err)
			return
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			b.Errorf("%s: %s", step.path, answer.Status)
		}
	}
}

func (bed *coldBed) destroy(b *testing.B, boxes []whisk.Sandbox) {
	for _, box := range boxes {
		if err := box.Destroy(b.Context()); err != nil {
			b.Error(err)
		}
		stdout, stderr := box.Output()
		stdout.Close()
		stderr.Close()
	}
}
