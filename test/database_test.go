// SPDX-License-Identifier: Apache-2.0

//go:build e2e && database

package test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
	"github.com/whirl-faas/whirl/store/postgres/postgrestest"
	"github.com/whirl-faas/whirl/whisk"
)

// sharing is a cluster whose hosts share nothing but a database of logs.
type sharing struct {
	*cluster
	database *postgrestest.Server
	password string
	disks    string // a directory of directories, one for each host
}

func startSharing(t *testing.T, agents int) *sharing {
	t.Helper()
	s := &sharing{database: postgrestest.Start(t), disks: t.TempDir()}
	place, err := url.Parse(s.database.URL)
	if err != nil {
		t.Fatal(err)
	}
	s.password, _ = place.User.Password()
	place.User = url.User(place.User.Username())
	t.Setenv("PGPASSWORD", s.password)
	s.cluster = startClusterWith(t, agents, func(host string) []string {
		return []string{"--data", filepath.Join(s.disks, host), "--logs", place.String()}
	})
	native().deploy(t, s.controller, "there", "echo", client.LimitsSpec{Memory: 128})
	return s
}

// invoke runs the action and returns the activation's id.
func (s *sharing) invoke() whisk.ActivationID {
	s.t.Helper()
	activation, err := s.controller.Invoke(s.t.Context(), "there", nil, time.Minute)
	if err != nil || !activation.Response.Success {
		s.t.Fatalf("got %+v, %v", activation, err)
	}
	return activation.ID
}

func (s *sharing) wantLogs(id whisk.ActivationID) {
	s.t.Helper()
	if lines := s.controller.logsOf(s.t, id, 2); !strings.Contains(strings.Join(lines, "\n"), "stdout: to stdout") {
		s.t.Errorf("the logs of %s are %q", id, lines)
	}
}

// wantNoLogs holds that the API tells of the database that is away, and not that
// there are no logs or no activation.
func (s *sharing) wantNoLogs(id whisk.ActivationID) {
	s.t.Helper()
	at := "/namespaces/_/activations/" + string(id)
	if answer := s.controller.send(s.t, "GET", at+"/logs", ""); answer.status != http.StatusServiceUnavailable || !strings.Contains(string(answer.body), "The logs cannot be read now") {
		s.t.Errorf("logs without a database: %d %s", answer.status, answer.body)
	}
	eventually(s.t, recordTime, "there is a record", func() bool {
		return s.controller.send(s.t, "GET", at+"/result", "").status == http.StatusOK
	})
}

// wantReady waits until controller and agents are ready, and say this about logs.
func (s *sharing) wantReady(says string) {
	s.t.Helper()
	for _, address := range append([]string{s.front}, s.http...) {
		eventually(s.t, startTime, fmt.Sprintf("%s is ready and says %q", address, says), func() bool {
			status, body := s.get("", address, "/readyz")
			return status == http.StatusOK && strings.HasPrefix(string(body), says)
		})
	}
}

// wantSecrecy holds that the password is neither said, nor in a command line, nor
// in an action's environment.
func (s *sharing) wantSecrecy() {
	s.t.Helper()
	s.controller.create(s.t, "nosy", client.ActionSpec{Exec: &client.Exec{Kind: "native:default", Code: "#!/bin/sh\nenv\nprintf '{}\\n'\n"}, Limits: &client.LimitsSpec{Memory: 128}})
	activation, err := s.controller.Invoke(s.t.Context(), "nosy", nil, time.Minute)
	if err != nil {
		s.t.Fatal(err)
	}
	if seen := strings.Join(s.controller.logsOf(s.t, activation.ID, 2), "\n"); !strings.Contains(seen, "__OW_") || strings.Contains(seen, s.password) {
		s.t.Errorf("an action's environment is\n%s", seen)
	}
	for _, process := range append(s.agents, s.controller) {
		command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", process.cmd.Process.Pid))
		if err != nil {
			s.t.Error(err)
		}
		if said := process.output.String(); strings.Contains(said, s.password) || strings.Contains(string(command), s.password) {
			s.t.Errorf("the password is in %q or in what it said:\n%s", command, said)
		}
	}
}

// TestLogsInADatabase takes the database away in good order, and by a crash.
// Activations go on, and the logs of those that ran meanwhile arrive when it is back.
func TestLogsInADatabase(t *testing.T) {
	s := startSharing(t, 2)
	s.wantLogs(s.invoke())
	s.wantReady("ok\n")
	if found, err := filepath.Glob(filepath.Join(s.disks, "*", "logs.db*")); err != nil || len(found) > 0 {
		t.Errorf("there are log files: %v, %v", found, err)
	}
	for _, away := range []func(){s.database.Stop, s.database.Crash} {
		away()
		var waiting []whisk.ActivationID
		for range 5 {
			waiting = append(waiting, s.invoke())
		}
		for _, id := range waiting {
			s.wantNoLogs(id)
		}
		load := s.call("there", 2)
		load.more(t, 200, "without a database of logs")
		load.end()
		s.database.Restart()
		for _, id := range waiting {
			s.wantLogs(id)
		}
		s.wantReady("ok\n")
	}
	if doubles := s.database.Query("SELECT count(*) - count(DISTINCT activation) FROM logs"); doubles != "0" {
		t.Errorf("%s logs are there twice", doubles)
	}
	s.wantSecrecy()
}

// TestStartWithoutADatabase restarts the roles while the database of logs is away.
func TestStartWithoutADatabase(t *testing.T) {
	s := startSharing(t, 1)
	old := s.invoke()
	s.wantLogs(old)
	s.database.Stop()
	s.controller.stop(t)
	s.agents[0].stop(t)
	s.startAgent(0)
	s.startController()
	s.awaitWord(s.controller, "log store not reached, going on without it until it is")
	eventually(t, startTime, "the node is up", func() bool { return len(s.up()) == 1 })
	fresh := s.invoke()
	s.wantNoLogs(fresh)
	s.wantReady("ok, but the log store is away")
	s.database.Restart()
	s.wantLogs(fresh)
	s.wantLogs(old)
	s.wantReady("ok\n")
	s.wantSecrecy()
}
