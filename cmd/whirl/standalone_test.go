// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
)

// platform is a standalone platform that runs inside this test.
type platform struct {
	url  string
	stop func() int // drains it and returns its exit status
}

var readyLine = regexp.MustCompile(`is ready on (http://\S+)`)

// startPlatform runs `whirl standalone` on a data directory and returns when it is ready.
func startPlatform(t *testing.T, data string, flags ...string) platform {
	t.Helper()
	requireSandboxes(t)
	reader, writer := io.Pipe()
	stderr := &strings.Builder{}
	p := program{
		args:   []string{"standalone", "--listen", "127.0.0.1:0", "--data", data, "--memory", "1g", "--sandbox-network", "none"},
		getenv: func(string) (string, bool) { return "", false },
		stdout: writer,
		stderr: stderr,
	}
	p.args = append(p.args, flags...)
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- p.Run(ctx)
		writer.Close()
	}()
	urls := make(chan string, 1)
	go func() {
		defer close(urls)
		for lines := bufio.NewScanner(reader); lines.Scan(); {
			if match := readyLine.FindStringSubmatch(lines.Text()); match != nil {
				urls <- match[1]
			}
		}
	}()
	url, ready := <-urls
	stop := func() int { interrupt(); return p.exitStatus(<-ended) }
	if !ready {
		t.Fatalf("the platform ended with status %d: %s", stop(), stderr)
	}
	return platform{url, stop}
}

// requireSandboxes skips where a test cannot make sandboxes: the full ones need
// root, and this suite does not test the mode for ordinary users.
func requireSandboxes(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 && os.Getenv("CI") != "true" {
		t.Skip("needs root")
	}
}

func newClient(t *testing.T, url, key string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{APIHost: url, Auth: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestStandaloneRunsAnActionAndKeepsIt(t *testing.T) {
	data := t.TempDir()
	first := startPlatform(t, data)
	guest := newClient(t, first.url, guestKey)
	script := "#!/bin/sh\necho working\necho \"{\\\"got\\\": $1}\"\n"
	if _, err := guest.CreateAction(t.Context(), "echo", client.ActionSpec{Exec: &client.Exec{Kind: "native:default", Code: script}}); err != nil {
		t.Fatal(err)
	}
	invokeEcho(t, guest)

	if status, _, stderr := run(t, nil, "standalone", "--listen", "127.0.0.1:0", "--data", data); status != statusFailed || !strings.Contains(stderr, data) {
		t.Errorf("a second platform on the directory: status %d, %s", status, stderr)
	}
	if status := first.stop(); status != statusOK {
		t.Fatalf("exit status %d", status)
	}

	second := startPlatform(t, data)
	invokeEcho(t, newClient(t, second.url, guestKey))
	if status := second.stop(); status != statusOK {
		t.Errorf("exit status %d", status)
	}
}

// gathering answers when as many of its activations as its parameter says are in
// one container at once.
const gathering = `const waiting = [];
function main({together}) {
  return new Promise((done) => {
    waiting.push(done);
    if (waiting.length === together) for (const each of waiting.splice(0)) each({allowed: process.env.__OW_ALLOW_CONCURRENT});
  });
}`

func TestStandaloneRunsManyAtOnce(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil && os.Getenv("CI") != "true" {
		t.Skip("needs node")
	}
	running := startPlatform(t, t.TempDir(), "--max-concurrency", "5")
	gather(t, newClient(t, running.url, guestKey), 5)
	if status := running.stop(); status != statusOK {
		t.Errorf("exit status %d", status)
	}
}

// gather has n activations of a nodejs action wait for each other in a container.
func gather(t *testing.T, guest *client.Client, n int) {
	t.Helper()
	spec := client.ActionSpec{
		Exec:   &client.Exec{Kind: "nodejs:default", Code: gathering},
		Limits: &client.LimitsSpec{Concurrency: n, Memory: 256},
	}
	if _, err := guest.CreateAction(t.Context(), "gathering", spec); err != nil {
		t.Fatal(err)
	}
	// The container has the code first; more than one would never gather them.
	if _, err := guest.Result(t.Context(), "gathering", map[string]int{"together": 1}, time.Minute); err != nil {
		t.Fatal(err)
	}
	var calls sync.WaitGroup
	for range n {
		calls.Go(func() {
			got, err := guest.Result(t.Context(), "gathering", map[string]int{"together": n}, time.Minute)
			if err != nil || string(got) != `{"allowed":"true"}` {
				t.Errorf("an activation answered %s, %v", got, err)
			}
		})
	}
	calls.Wait()
}

func invokeEcho(t *testing.T, c *client.Client) {
	t.Helper()
	got, err := c.Result(t.Context(), "echo", map[string]int{"a": 1}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != `{"got": {"a":1}}` {
		t.Errorf("the action answered %s", got)
	}
}

func TestAdminMakesUsersBesideTheRunningPlatform(t *testing.T) {
	data := t.TempDir()
	running := startPlatform(t, data)
	defer running.stop()

	status, key, stderr := run(t, nil, "admin", "user", "create", "alice", "--namespace", "alice-project", "--data", data)
	if status != statusOK {
		t.Fatalf("create: status %d, %s", status, stderr)
	}
	alice := newClient(t, running.url, strings.TrimSpace(key))
	if got, err := alice.Namespaces(t.Context()); err != nil || len(got) != 1 || got[0] != "alice-project" {
		t.Errorf("alice's key opens %v, %v", got, err)
	}

	if status, out, _ := run(t, nil, "admin", "user", "block", "alice", "--data", data); status != statusOK || out != "\"alice\" blocked successfully\n" {
		t.Errorf("block: status %d, %q", status, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		if _, err := alice.Namespaces(ctx); err != nil {
			break // refused, or the deadline of ctx
		}
	}
	if ctx.Err() != nil {
		t.Error("the key of a blocked user still works")
	}
}
