// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/driver/fake"
)

const (
	idleConnections = 10_000
	warmActions     = 1000
)

// BenchmarkIdle tells what memory a platform takes for clients that are connected and ask
// nothing, and for actions with a warm container each. It is that of the whole process:
// with the fake sandboxes and the clients' ends, so that a controller's part is less.
func BenchmarkIdle(b *testing.B) {
	bed := newBed(b, func(back *back, front *front, _ *clock) {
		must(b, back.driver.Close())
		config := fake.Default()
		config.Quiet = true
		driver := fake.New(config)
		back.driver, front.dial = driver, driver.Dial
	})
	var files unix.Rlimit
	must(b, unix.Getrlimit(unix.RLIMIT_NOFILE, &files))
	connections := min(idleConnections, int(files.Cur)/2-500) // both ends are here
	var perAction, perConnection, all float64
	for b.Loop() {
		base := memoryInUse()
		names := bed.deploy(b, warmActions, "native:default", nativeNoop)
		for _, name := range names {
			bed.invoke(b, name)
		}
		bed.settle()
		if warm := len(bed.back.agent.Report().Containers); warm < warmActions {
			b.Fatalf("only %d containers are warm", warm)
		}
		withActions := memoryInUse()
		clients := make([]net.Conn, connections)
		for i := range clients {
			clients[i] = bed.greet(b)
		}
		bed.settle()
		all = memoryInUse()
		perAction, perConnection = (withActions-base)/warmActions, (all-withActions)/float64(connections)
		for _, client := range clients {
			client.Close()
		}
		for _, name := range names {
			_, err := bed.guest.DeleteAction(b.Context(), name)
			must(b, err)
		}
	}
	b.ReportMetric(perAction/1024, "KB/action")
	b.ReportMetric(perConnection/1024, "KB/connection")
	b.ReportMetric(all/1024/1024, "MB")
	b.ReportMetric(float64(connections), "connections")
}

// greet connects, asks once, and stays.
func (bed *coldBed) greet(b *testing.B) net.Conn {
	b.Helper()
	at, err := url.Parse(bed.front.url())
	must(b, err)
	conn, err := net.Dial("tcp", at.Host)
	must(b, err)
	fmt.Fprintf(conn, "GET /api/v1 HTTP/1.1\r\nHost: %s\r\n\r\n", at.Host)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(b, err)
	_, err = io.Copy(io.Discard, answer.Body)
	must(b, err)
	if answer.StatusCode != http.StatusOK {
		b.Fatal(answer.Status)
	}
	return conn
}

// memoryInUse is what lives on the heap and on stacks, in bytes.
func memoryInUse() float64 {
	runtime.GC()
	runtime.GC() // what pools hold goes with the second one
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc + stats.StackInuse)
}
