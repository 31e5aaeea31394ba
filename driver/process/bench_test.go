// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/driver/process"
	"github.com/whirl-faas/whirl/whisk"
	"golang.org/x/sys/unix"
)

// meter collects the wall and CPU time of repeated work; the mean that package
// testing gives says little on a busy machine.
type meter struct {
	wall []time.Duration
	cpu  time.Duration
}

// cpuTime is what this process and its ended children used.
func cpuTime() time.Duration {
	var total time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var usage unix.Rusage
		if unix.Getrusage(who, &usage) == nil {
			total += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
		}
	}
	return total
}

func (m *meter) measure(work func()) {
	cpu, start := cpuTime(), time.Now()
	work()
	m.wall = append(m.wall, time.Since(start))
	m.cpu += cpuTime() - cpu
}

func (m *meter) report(b *testing.B, what string) {
	slices.Sort(m.wall)
	b.ReportMetric(float64(m.wall[len(m.wall)/2].Microseconds())/1000, what+"-p50-ms")
	b.ReportMetric(float64(m.wall[0].Microseconds())/1000, what+"-min-ms")
}

func (m *meter) reportCPU(b *testing.B, what string) {
	b.ReportMetric(float64(m.cpu.Microseconds())/1000/float64(len(m.wall)), what+"-cpu-ms")
}

// BenchmarkCycle makes a sandbox, asks it once and destroys it.
func BenchmarkCycle(b *testing.B) {
	needRoot(b)
	for _, network := range []process.Network{process.Outbound, process.None, process.Host} {
		b.Run(string(network), func(b *testing.B) {
			config := testConfig(b)
			config.Network = network
			driver := openDriver(b, config)
			var create, answer, destroy meter
			// What a child used is known when it was reaped, so only the whole has a CPU time.
			before := cpuTime()
			i := 0
			for b.Loop() {
				i++
				var s whisk.Sandbox
				var err error
				create.measure(func() {
					s, err = driver.Create(b.Context(), whisk.CreateSandbox{ID: whisk.ContainerID(fmt.Sprint("bench_", i)), Spec: testSpec})
				})
				if err != nil {
					b.Fatal(err)
				}
				x := adopt(b, s)
				answer.measure(func() { x.do("echo", nil, nil) })
				destroy.measure(func() { err = s.Destroy(b.Context()) })
				if err != nil {
					b.Fatal(err)
				}
				x.client.CloseIdleConnections()
			}
			create.report(b, "create")
			answer.report(b, "answer")
			destroy.report(b, "destroy")
			b.ReportMetric(float64((cpuTime()-before).Microseconds())/1000/float64(i), "cycle-cpu-ms")
		})
	}
}

// BenchmarkKeeper makes sandboxes by a thread of this process and by a keeper, in turns, until
// they answer.
func BenchmarkKeeper(b *testing.B) {
	needRoot(b)
	lanes := []struct {
		name   string
		driver *process.Driver
		create meter
	}{{name: "thread"}, {name: "keeper"}}
	for i, config := range []process.Config{testConfig(b), keptConfig(b)} {
		config.Network = process.Outbound
		lanes[i].driver = openDriver(b, config)
	}
	i := 0
	for b.Loop() {
		i++
		for j := range lanes {
			lane := &lanes[(i+j)%2] // each is first as often as the other
			var s whisk.Sandbox
			var x *box
			var err error
			lane.create.measure(func() {
				s, err = lane.driver.Create(b.Context(), whisk.CreateSandbox{ID: whisk.ContainerID(fmt.Sprint("bench_", i)), Spec: testSpec})
				if err == nil {
					x = adopt(b, s)
					x.do("echo", nil, nil)
				}
			})
			if err == nil {
				err = s.Destroy(b.Context())
			}
			if err != nil {
				b.Fatal(err)
			}
			x.client.CloseIdleConnections()
		}
	}
	for i := range lanes {
		lanes[i].create.report(b, lanes[i].name)
	}
}

func BenchmarkSuspendResume(b *testing.B) {
	needRoot(b)
	s := newBox(b, openDriver(b, testConfig(b)), testSpec)
	s.do("echo", nil, nil)
	var suspend, resume meter
	for b.Loop() {
		suspend.measure(func() {
			if err := s.Suspend(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
		resume.measure(func() {
			if err := s.Resume(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
	suspend.report(b, "suspend")
	suspend.reportCPU(b, "suspend")
	resume.report(b, "resume")
	resume.reportCPU(b, "resume")
}
