// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/scheduler/httpapi"
	"github.com/whirl-faas/whirl/whisk"
)

const testSecret = "0123456789abcdef"

// startScheduler runs the command for the time of the test, and returns its
// address for operators.
func startScheduler(t *testing.T) string {
	t.Helper()
	out, in := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	p := program{
		args:   strings.Fields("scheduler --plain-loopback --listen 127.0.0.1:0 --http 127.0.0.1:0 --http-secret " + testSecret),
		getenv: func(string) (string, bool) { return "", false }, stdout: in, stderr: io.Discard,
	}
	ended := make(chan error, 1)
	go func() {
		err := p.Run(ctx)
		_ = in.CloseWithError(io.EOF)
		ended <- err
	}()
	var text strings.Builder
	address := regexp.MustCompile(`operators +(\S+)\n`)
	for part := make([]byte, 1024); !address.MatchString(text.String()); {
		n, err := out.Read(part)
		text.Write(part[:n])
		if err != nil {
			t.Fatalf("the scheduler said %q, and ended: %v", &text, <-ended)
		}
	}
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the scheduler ended with %v", err)
		}
	})
	return address.FindStringSubmatch(text.String())[1]
}

func TestAdminOfACluster(t *testing.T) {
	address := startScheduler(t)
	for _, row := range []struct {
		args           string
		status         int
		stdout, stderr string
	}{
		{"status", statusOK, "no agent has a session with it", ""},
		{"status --json", statusOK, "\n  \"nodes\": [],\n", ""},
		{"status --secret aaaaaaaaaaaaaaaa", statusFailed, "", "answers 401"},
		{"agent drain n1", statusFailed, "", `answers 404: no node "n1" is known`},
		{"agent undrain ../../status", statusFailed, "", "answers 404"},
	} {
		args := append([]string{"admin"}, strings.Fields(row.args)...)
		status, stdout, stderr := run(t, map[string]string{"WHIRL_SECRET": testSecret, "WHIRL_SCHEDULER_HTTP": address}, args...)
		if status != row.status || !strings.Contains(stdout, row.stdout) || !strings.Contains(stderr, row.stderr) || row.stdout == "" && stdout != "" {
			t.Errorf("%s: exit status %d, stdout %q, stderr %q", row.args, status, stdout, stderr)
		}
	}
}

// TestAdminMeetsStrangers has other things than a scheduler at the address.
func TestAdminMeetsStrangers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	serve := func(status int, body string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://"+nobody+"/")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}))
		t.Cleanup(server.Close)
		return server.Listener.Addr().String()
	}
	for address, want := range map[string]string{
		nobody:                               "no scheduler answers at " + nobody,
		serve(200, "<html>"):                 "read the scheduler's status",
		serve(404, "not here\x1b[2J"):        "answers 404: not here [2J",
		serve(302, ""):                       "answers 302",
		serve(500, strings.Repeat("x", 9e5)): "answers 500: xxx",
	} {
		status, stdout, stderr := run(t, nil, "admin", "status", "--secret", testSecret, "--scheduler-http", address)
		if status != statusFailed || stdout != "" || !strings.Contains(stderr, want) || len(stderr) > 500 {
			t.Errorf("exit status %d, stdout %q, stderr %.500q; want %q", status, stdout, stderr, want)
		}
	}
}

func TestPrintStatus(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	status := httpapi.Status{
		At: at, Epoch: 9, Settled: true,
		Nodes: []httpapi.Node{
			{Node: "n1", State: "up", Since: at.Add(-time.Hour), Memory: int64(whisk.GB), Used: int64(256 * whisk.MB), Pools: httpapi.Pools{Busy: 1}},
			{Node: "n2", State: "unhealthy", Since: at, Problem: "no\nengine\x1b[2J"},
		},
		Controllers: []httpapi.Controller{{Controller: "ctl/1", Connected: true, Containers: 1}},
		Prewarmed:   []httpapi.Prewarmed{{Kind: "nodejs:20", Memory: int64(256 * whisk.MB), Wanted: 2, Ready: 1, Coming: 1}},
		Actions:     []httpapi.Action{{Namespace: "guest", Action: "guest/hello", Revision: 2, Kind: "nodejs:20", Memory: int64(256 * whisk.MB), Busy: 1, Limit: 2, Waiting: 1}},
		Waiting:     []httpapi.Waiting{{Controller: "ctl/1", Namespace: "guest", Action: "guest/hello", Slots: 3, UnderWay: 1, Since: at.Add(-time.Second), Deadline: at.Add(time.Minute)}},
		Omitted:     httpapi.Omitted{Actions: 5},
	}
	var out strings.Builder
	if err := printStatus(&out, status); err != nil {
		t.Fatal(err)
	}
	want := `scheduler of epoch 9, settled

NODE  STATE      FOR     MEMORY  USED    PROMISED  BUSY  FREE  KEPT  PREWARMED  CREATING  GRANTING  REMOVING  PROBLEM
n1    up         1h0m0s  1 GB    256 MB  0 B       1     0     0     0          0         0         0
n2    unhealthy  0s      0 B     0 B     0 B       0     0     0     0          0         0         0         no engine [2J

CONTROLLER  CONNECTED  CONTAINERS  CLAIMED  REQUISITIONS
ctl/1       yes        1           0        0

PREWARMED  MEMORY  WANTED  READY  COMING  IMAGE
nodejs:20  256 MB  2       1      1

ACTION       REVISION  NAMESPACE  KIND       MEMORY  BUSY  FREE  KEPT  COMING  LIMIT  WAITING
guest/hello  2         guest      nodejs:20  256 MB  1     0     0     0       2      1
and 5 more

WAITING      NAMESPACE  CONTROLLER  SLOTS  COMING  FOR  DEADLINE
guest/hello  guest      ctl/1       3      1       1s   in 1m0s
`
	got := regexp.MustCompile(` +\n`).ReplaceAllString(out.String(), "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, text := range []string{"null", `{"nodes":[{}]}`} { // of a scheduler that says less
		var less httpapi.Status
		if err := json.Unmarshal([]byte(text), &less); err != nil {
			t.Fatal(err)
		}
		if err := printStatus(io.Discard, less); err != nil {
			t.Error(err)
		}
	}
}
