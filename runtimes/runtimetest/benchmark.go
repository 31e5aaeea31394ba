// SPDX-License-Identifier: Apache-2.0

package runtimetest

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Benchmark measures warm runs of an action over one connection, without an
// HTTP client that would cost more than some proxies. The processor time of the
// proxy and of what it waited for is the figure to trust on a busy machine.
func Benchmark(b *testing.B, proxy *Proxy, code Code) {
	proxy.MustInit(b, code, nil)
	conn, err := proxy.Client.Transport.(*http.Transport).DialContext(context.Background(), "tcp", "action:80")
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	const body = `{"value":{"name":"whirl"},"namespace":"guest","action_name":"/guest/noop","action_version":"0.0.1",` +
		`"activation_id":"0123456789abcdef0123456789abcdef","transaction_id":"0123456789abcdef","deadline":"1700000060000"}`
	var request strings.Builder
	err = newRequest(body).Write(&request)
	if err != nil {
		b.Fatal(err)
	}
	used := cpuTime(b, proxy.PID)
	for b.Loop() {
		exchange(b, conn, reader, request.String())
	}
	b.ReportMetric(float64((cpuTime(b, proxy.PID)-used).Microseconds())/float64(b.N), "proxy-cpu-µs/run")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
}

func newRequest(body string) *http.Request {
	request, err := http.NewRequest(http.MethodPost, "http://action/run", strings.NewReader(body))
	if err != nil {
		panic(err) // the URL is a constant
	}
	request.Header.Set("Content-Type", "application/json")
	return request
}

func exchange(b *testing.B, conn net.Conn, reader *bufio.Reader, request string) {
	if _, err := io.WriteString(conn, request); err != nil {
		b.Fatal(err)
	}
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusOK {
		b.Fatalf("status %d, %v", response.StatusCode, err)
	}
}

// cpuTime returns what a process and its children that ended have used.
func cpuTime(b *testing.B, pid int) time.Duration {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	var ticks int64
	for _, field := range strings.Fields(after)[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100)
}
