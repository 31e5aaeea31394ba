// SPDX-License-Identifier: Apache-2.0

//go:build docker

package docker_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/driver/docker"
	"github.com/whirl-faas/whirl/runtimes/runtimetest"
	"github.com/whirl-faas/whirl/whisk"
)

// meter collects the times of repeated work; the mean that package testing
// gives says little on a busy machine.
type meter struct {
	wall []time.Duration
	cpu  []time.Duration // of everybody who works at it; see everybody
}

func (m *meter) measure(work func()) {
	cpu, start := everybody(), time.Now()
	work()
	m.wall = append(m.wall, time.Since(start))
	m.cpu = append(m.cpu, everybody()-cpu)
}

func (m *meter) report(b *testing.B, what string) {
	slices.Sort(m.wall)
	b.ReportMetric(float64(m.wall[len(m.wall)/2].Microseconds())/1000, what+"-p50-ms")
	b.ReportMetric(float64(m.wall[0].Microseconds())/1000, what+"-min-ms")
}

func (m *meter) reportCPU(b *testing.B, what string) {
	slices.Sort(m.cpu)
	b.ReportMetric(float64(m.cpu[len(m.cpu)/2].Microseconds())/1000, what+"-cpu-p50-ms")
	b.ReportMetric(float64(m.cpu[0].Microseconds())/1000, what+"-cpu-min-ms")
}

// everybody is the CPU time of all processes that there are, with that of the children that
// they waited for: where scripts/docker-engine gave the engine and us processes of our own, that
// is us, the docker command, the engine with all its helpers, and the containers. It is 0
// elsewhere. What the kernel's own threads do, such as to take networks down, is in nobody's.
func everybody() (total time.Duration) {
	if os.Getenv("WHIRL_PRIVATE_NETWORK") == "" {
		return 0
	}
	const tick = time.Second / 100 // USER_HZ, the same on all architectures that we run on
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		text, err := os.ReadFile(stat)
		if err != nil {
			continue // it has ended, and is in its parent's
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		for _, field := range fields[11:15] {
			n, _ := strconv.Atoi(field)
			total += time.Duration(n) * tick
		}
	}
	return total
}

// cli runs the docker command, which the driver itself has no use for.
func cli(b *testing.B, args ...string) string {
	b.Helper()
	if _, err := exec.LookPath("docker"); err != nil {
		b.Skip("there is no docker command to compare with")
	}
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		b.Fatalf("docker %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// BenchmarkCreate measures the time and the CPU time until a new container has initialised an
// action and run it, and its removal, by the driver and by the docker command with the
// same options, one after the other in each turn.
func BenchmarkCreate(b *testing.B) {
	for kind, actions := range map[string]runtimetest.Actions{
		"native:local": runtimetest.Native(), "nodejs:local": runtimetest.NodeJS(), "python:local": runtimetest.Python(),
	} {
		b.Run(kind, func(b *testing.B) {
			config := testConfig(b)
			driver := openDriver(b, config)
			var ours, ourEnd, theirs, theirEnd meter
			for i := 0; b.Loop(); i++ {
				id := fmt.Sprint("bench_", i)
				var made whisk.Sandbox
				ours.measure(func() {
					var err error
					made, err = driver.Create(b.Context(), whisk.CreateSandbox{ID: whisk.ContainerID(id), Spec: whisk.ContainerSpec{Kind: kind, Memory: 256 * whisk.MB}})
					must(b, err)
					askByHand(b, made.Address().Address, actions.Silent)
				})
				ourEnd.measure(func() { must(b, made.Destroy(b.Context())) })
				network := "whirl_" + config.Instance + "_outbound"
				theirs.measure(func() {
					cli(b, "run", "-d", "--name", id, "--network", network, "--memory", "256m", "--memory-swap", "256m", "--cap-drop", "ALL",
						"--security-opt", "no-new-privileges", "--pids-limit", "1024", "--log-driver", "local", "--label", "whirl.instance="+config.Instance, images[kind])
					address := cli(b, "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", id)
					askByHand(b, address+":8080", actions.Silent)
				})
				theirEnd.measure(func() { cli(b, "rm", "-f", id) })
			}
			ours.report(b, "create")
			ours.reportCPU(b, "create")
			ourEnd.report(b, "destroy")
			ourEnd.reportCPU(b, "destroy")
			theirs.report(b, "cli-create")
			theirs.reportCPU(b, "cli-create")
			theirEnd.report(b, "cli-destroy")
			theirEnd.reportCPU(b, "cli-destroy")
		})
	}
}

// askByHand sends /init until the runtime listens, and then /run.
func askByHand(b *testing.B, address string, code runtimetest.Code) {
	b.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for _, step := range []struct {
		path  string
		value map[string]any
	}{{"/init", map[string]any{"name": "bench", "main": "main", "code": code.Code}}, {"/run", map[string]any{}}} {
		body, err := json.Marshal(map[string]any{"value": step.value})
		must(b, err)
		for {
			answer, err := http.Post("http://"+address+step.path, "application/json", bytes.NewReader(body))
			if err == nil {
				answer.Body.Close()
				break
			}
			if time.Now().After(deadline) {
				b.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// BenchmarkSuspendResume compares the ways, and the docker command.
func BenchmarkSuspendResume(b *testing.B) {
	for _, freezer := range []docker.Freezer{docker.FreezeUnified, docker.FreezeLegacy, docker.FreezeEngine} {
		b.Run(string(freezer), func(b *testing.B) {
			config := testConfig(b)
			config.Freezer = freezer
			x := newBox(b, openDriver(b, config), whisk.CreateSandbox{Spec: nodejsSpec})
			var suspend, resume meter
			for b.Loop() {
				suspend.measure(func() { must(b, x.Suspend(b.Context())) })
				resume.measure(func() { must(b, x.Resume(b.Context())) })
			}
			suspend.report(b, "suspend")
			resume.report(b, "resume")
		})
	}
	b.Run("cli", func(b *testing.B) {
		config := testConfig(b)
		x := newBox(b, openDriver(b, config), whisk.CreateSandbox{Spec: nodejsSpec})
		name := "whirl_" + config.Instance + "_" + string(x.ID())
		var suspend, resume meter
		for b.Loop() {
			suspend.measure(func() { cli(b, "pause", name) })
			resume.measure(func() { cli(b, "unpause", name) })
		}
		suspend.report(b, "suspend")
		resume.report(b, "resume")
	})
}

// BenchmarkOutput measures from a run's answer until its last line is here, by
// the attachment that new containers have and by the journal that recovered ones
// have.
func BenchmarkOutput(b *testing.B) {
	for _, way := range []string{"attachment", "journal"} {
		b.Run(way, func(b *testing.B) {
			config := testConfig(b)
			var x *box
			if way == "attachment" {
				x = newBox(b, openDriver(b, config), whisk.CreateSandbox{Spec: nodejsSpec})
			} else {
				first := mustOpen(b, config)
				if _, err := first.Create(b.Context(), whisk.CreateSandbox{ID: "old", Spec: nodejsSpec}); err != nil {
					b.Fatal(err)
				}
				must(b, first.Die())
				left, err := openDriver(b, config).Recover(b.Context())
				if err != nil || len(left) != 1 {
					b.Fatalf("Recover = %v, %v", left, err)
				}
				x = adopt(b, left[0])
			}
			x.MustInit(b, runtimetest.NodeJS().Echo, nil)
			var lag meter
			for i := 1; b.Loop(); i++ {
				x.Run(b, map[string]any{}, nil)
				lag.measure(func() {
					x.Stdout.Activations(b, i)
					x.Stderr.Activations(b, i)
				})
			}
			lag.report(b, "lag")
		})
	}
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
