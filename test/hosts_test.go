// SPDX-License-Identifier: Apache-2.0

//go:build e2e && docker

package test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var soak = flag.Duration("soak", 0, "when each fault was played, go on for this `time` with two at once, chosen by chance")

// TestFaultsAmongHosts plays everything that may go wrong between hosts under the traffic of users.
// Whatever goes wrong, each accepted activation has one record and none runs twice; what spares
// calls fails none; and afterwards all is as before.
//
// Who ran is told by the actions themselves, past the platform: see [fleet.proveRuns].
func TestFaultsAmongHosts(t *testing.T) {
	f := startFleet(t)
	var b board
	for _, fault := range faults() {
		t.Run(fault.name, func(t *testing.T) { b.play(t, f, fault) })
	}
	t.Run("latency without a scheduler", func(t *testing.T) { b.compare(t, f) })
	b.goOn(t, f)
	t.Run("stop", func(*testing.T) { f.stop() })
	b.show(t)
}

// goOn plays two faults at a time that are not about the same role.
func (b *board) goOn(t *testing.T, f *fleet) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	all := faults()
	const most = 10_000 // where -run lets none pass
	for begun, n := time.Now(), 0; n < most && time.Since(begun) < *soak && !t.Failed(); n++ {
		one, other := all[random.IntN(len(all))], all[random.IntN(len(all))]
		if slices.ContainsFunc(one.about, func(role int) bool { return slices.Contains(other.about, role) }) {
			continue
		}
		fault := one.and(other, random.IntN(2) == 0)
		t.Run(fault.name, func(t *testing.T) { b.play(t, f, fault) })
	}
}

// board has the figures of all faults played.
type board struct{ rows, waits []string }

// play has a fault happen under traffic.
func (b *board) play(t *testing.T, f *fleet, fault fault) {
	name := fmt.Sprintf("f%d", len(b.rows))
	tr := startTraffic(t, f, name, habits...)
	tr.more(t, 100, "while all is well")
	f.awaitContainers(fault, "busy")
	struck := time.Now()
	scout := startScout(t, f, "cold-"+name)
	fault.strike(f)
	noticed := time.Now()
	tr.more(t, fault.calls, "during the fault")
	mended := time.Now()
	fault.mend(f)
	f.awaitAllUp()
	tr.more(t, 100, "after the fault")
	again := scout.awaitAfter(t, mended)
	f.awaitContainers(fault, "busy", "free", "kept")
	over := time.Now()
	scout.end()
	tr.end()
	ended := time.Now()
	sum := tr.settle(t)
	sum.judge(t, fault)
	since := func(at time.Time) float64 { return at.Sub(struck).Seconds() }
	b.rows = append(b.rows, fmt.Sprintf("| %s | %.1f | %d | %d | %d | %d | %s | %.1f | %.1f |", fault.name, since(mended),
		sum.calls, sum.accepted, sum.unrecorded, sum.runTwice, count(sum.failed), scout.awaitAfter(t, struck).Seconds(), again.Seconds()))
	t.Logf("before %.1f s; noticed %.1f, mended %.1f, over %.1f, calls ended %.1f, records complete %.1f s after the beginning", struck.Sub(tr.begun).Seconds(),
		since(noticed), since(mended), since(over), since(ended), time.Since(struck).Seconds())
	t.Logf("%+v", sum)
	t.Logf("%s", scout)
}

// awaitContainers waits until the nodes that a fault is about have containers in any of the pools.
func (f *fleet) awaitContainers(fault fault, pools ...string) {
	f.t.Helper()
	for _, i := range fault.about {
		if i < 0 {
			continue
		}
		eventually(f.t, recovery, fmt.Sprintf("%s has containers that are %s", f.nodes[i].name, strings.Join(pools, " or ")), func() bool {
			there := f.pools(i)
			return slices.ContainsFunc(pools, func(pool string) bool { return there[pool] > 0 })
		})
	}
}

// judge holds what must be after any fault.
func (sum tally) judge(t *testing.T, fault fault) {
	if slices.Contains(fault.about, serving) {
		sum.unwritten = 0 // what was answered in its last moment need not be on disk
	}
	for what, n := range map[string]int{
		"accepted activations have no record": sum.unrecorded, "answered activations have no record": sum.unwritten,
		"activations are recorded twice": sum.recordedTwice, "records are of nobody's activation": max(0, sum.strangers-sum.untold),
		"activations ran twice": sum.runTwice, "activations succeeded without having run": sum.unproven,
	} {
		if n > 0 {
			t.Errorf("%d %s", n, what)
		}
	}
	for _, causes := range []map[string]int{sum.failed, sum.refused, sum.lost} {
		if fault.spares && len(causes) > 0 {
			t.Errorf("calls failed: %s", count(causes))
		}
		for cause := range causes {
			if strings.HasPrefix(cause, "action developer error") || strings.HasPrefix(cause, "application error") {
				t.Errorf("the action is blamed: %s", cause)
			}
		}
	}
}

// count lists causes with their numbers.
func count(causes map[string]int) string {
	if len(causes) == 0 {
		return "0"
	}
	var list []string
	for _, cause := range slices.Sorted(maps.Keys(causes)) {
		list = append(list, fmt.Sprintf("%d: %s", causes[cause], cause))
	}
	return strings.Join(list, "; ")
}

// compare measures warm calls with a scheduler and without, by turns.
func (b *board) compare(t *testing.T, f *fleet) {
	const rounds, calls = 3, 600
	tr := startTraffic(t, f, "latency", habit{"warm", "nodejs", 2, always, 0, 0, 0})
	tr.more(t, calls, "at first")
	var with, without []time.Duration
	for range rounds {
		from := time.Now()
		tr.more(t, calls, "with a scheduler")
		to := time.Now()
		f.leader.kill(t)
		with = append(with, tr.latencies(from, to)...)
		from = time.Now()
		tr.more(t, calls, "without a scheduler")
		without = append(without, tr.latencies(from, time.Now())...)
		f.startScheduler()
		f.awaitAllUp()
	}
	tr.end()
	sum := tr.settle(t)
	sum.judge(t, fault{spares: true})
	for name, all := range map[string][]time.Duration{"with a scheduler": with, "without": without} {
		slices.Sort(all)
		b.waits = append(b.waits, fmt.Sprintf("| %s | %d | %.2f | %.2f |", name, len(all), milliseconds(all, 50), milliseconds(all, 99)))
	}
	slices.Sort(b.waits)
}

func milliseconds(sorted []time.Duration, percentile int) float64 {
	return float64(sorted[(len(sorted)-1)*percentile/100]) / float64(time.Millisecond)
}

// show logs the figures and writes them to a file of the test's artifacts.
func (b *board) show(t *testing.T) {
	lines := []string{
		"| fault | lasted s | calls | accepted | without a record | run twice | blocking calls failed | cold start after the beginning, s | after the end, s |",
		"|---|---|---|---|---|---|---|---|---|",
	}
	lines = append(lines, b.rows...)
	if b.waits != nil {
		lines = append(lines, "", "| warm calls | number | p50 ms | p99 ms |", "|---|---|---|---|")
		lines = append(lines, b.waits...)
	}
	text := strings.Join(lines, "\n") + "\n"
	t.Log("\n" + text)
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), "faults.md"), []byte(text), 0o644); err != nil {
		t.Error(err)
	}
}
