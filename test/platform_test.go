// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
)

const (
	guestKey = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"

	startTime = 30 * time.Second // until a platform answers
	stopTime  = 60 * time.Second // until a platform has drained
)

// platform is a running whirl standalone, or one process of a cluster.
type platform struct {
	*client.Client // nil where there is no API

	url    string
	data   string
	cmd    *exec.Cmd
	output *output
	ended  chan struct{} // closed when the process has ended
}

// unthrottled appends to a controller's arguments that namespaces may do as much
// as they like, as a standalone platform's guest may.
func unthrottled(args ...string) []string {
	const plenty = "1000000000"
	return append(args, "--invocations-per-minute", plenty, "--concurrent-invocations", plenty, "--fires-per-minute", plenty)
}

// start runs a platform with an empty data directory and waits until it
// answers. At the test's end it is stopped, and must leave nothing behind.
func start(t *testing.T, flags ...string) *platform {
	t.Helper()
	return startOn(t, t.TempDir(), flags...)
}

// startOn is start on a data directory that may have been used before.
func startOn(t *testing.T, data string, flags ...string) *platform {
	t.Helper()
	address := freeAddress(t)
	p := launch(t, data, append([]string{"standalone", "--listen", address, "--data", data}, flags...)...)
	p.connect(t, address)
	return p
}

// launch runs whirl with arguments. At the test's end it is stopped, and must
// leave nothing behind, also no mount below data.
func launch(t *testing.T, data string, args ...string) *platform {
	t.Helper()
	return launchBy(t, data, exec.Command(whirlBinary, args...))
}

// launchBy is launch by another command, which becomes whirl.
func launchBy(t *testing.T, data string, command *exec.Cmd) *platform {
	t.Helper()
	p := &platform{data: data, cmd: command, output: &output{}, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { defer close(p.ended); _ = p.cmd.Wait() }()
	t.Cleanup(func() { p.cleanUp(t) })
	return p
}

// connect makes a client of the API at an address and waits until that answers.
func (p *platform) connect(t *testing.T, address string) {
	t.Helper()
	p.url = "http://" + address
	var err error
	if p.Client, err = client.New(client.Config{APIHost: p.url, Auth: guestKey}); err != nil {
		t.Fatal(err)
	}
	eventually(t, startTime, "the platform answers a ping", func() bool {
		if p.hasEnded() {
			t.Fatalf("the platform ended by itself:\n%s", p.output)
		}
		return p.Ping(t.Context()) == nil
	})
}

// freeAddress finds a loopback port that nobody uses now, and that the kernel gives
// nobody who asks it for one, as half of the platform does: its range begins at 32768,
// the gate's at 20000, and the test database's at 25000.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(10000))
		if listener, err := net.Listen("tcp", address); err == nil {
			listener.Close()
			return address
		}
	}
	t.Fatal("no free ports")
	return ""
}

func (p *platform) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// stop sends SIGTERM and waits for the end, which must be an orderly one that
// leaves nothing behind.
func (p *platform) stop(t *testing.T) {
	t.Helper()
	before := p.footprint(t)
	p.signal(t, syscall.SIGTERM)
	p.waitForEnd(t, stopTime)
	if status := p.cmd.ProcessState.ExitCode(); status != 0 {
		t.Errorf("exit status %d after SIGTERM:\n%s", status, p.output)
	}
	before.checkGone(t, 5*time.Second)
}

// kill ends the platform as a crash does, and returns what it left behind.
func (p *platform) kill(t *testing.T) footprint {
	t.Helper()
	before := p.footprint(t)
	p.signal(t, syscall.SIGKILL)
	p.waitForEnd(t, 5*time.Second)
	return before
}

func (p *platform) signal(t *testing.T, signal os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Errorf("send %v: %v", signal, err)
	}
}

func (p *platform) waitForEnd(t *testing.T, within time.Duration) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(within):
		t.Fatalf("the platform has not ended within %v:\n%s", within, p.output)
	}
}

// cleanUp stops a platform that its test left running.
func (p *platform) cleanUp(t *testing.T) {
	p.Close()
	if !p.hasEnded() {
		p.stop(t)
	}
	if t.Failed() {
		t.Logf("the platform's output:\n%s", p.output)
	}
}

// Close drops the client's connections, if there is a client yet.
func (p *platform) Close() {
	if p.Client != nil {
		p.Client.Close()
	}
}

// reply is an answer of the API, as it came.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// object decodes the body, which must be a JSON object.
func (r reply) object(t testing.TB) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(r.body, &object); err != nil {
		t.Fatalf("status %d, and the body is no JSON object: %s", r.status, r.body)
	}
	return object
}

// send sends a request as the guest; path is below /api/v1. An empty body sends none.
func (p *platform) send(t testing.TB, method, path, body string) reply {
	t.Helper()
	header := http.Header{"Authorization": {basicAuth(guestKey)}}
	if body != "" {
		header.Set("Content-Type", "application/json")
	}
	return p.sendRaw(t, method, "/api/v1"+path, body, header)
}

// sendRaw sends exactly these headers to the server's root.
func (p *platform) sendRaw(t testing.TB, method, path, body string, header http.Header) reply {
	t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, p.url+path, content)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, answer}
}

func basicAuth(key string) string {
	req := http.Request{Header: http.Header{}}
	uuid, secret, _ := strings.Cut(key, ":")
	req.SetBasicAuth(uuid, secret)
	return req.Header.Get("Authorization")
}

// output collects what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// refused returns the platform's refusal, and fails the test if err is none.
func refused(t testing.TB, err error) *client.Error {
	t.Helper()
	refusal, ok := errors.AsType[*client.Error](err)
	if !ok {
		t.Fatalf("got %v, want a refusal", err)
	}
	return refusal
}
