// SPDX-License-Identifier: Apache-2.0

//go:build database

package postgres_test

import (
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/whirl-faas/whirl/store/postgres/postgrestest"
	"github.com/whirl-faas/whirl/whisk"
)

// wantUnavailable fails the test unless err is of that kind, says what it must and
// does not say the password.
func wantUnavailable(t *testing.T, err error, says, password string) {
	t.Helper()
	if err == nil || whisk.KindOf(err) != whisk.Unavailable || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), password) {
		t.Errorf("got %v, want one of kind unavailable that says %q", err, says)
	}
}

// TestPasswords gives a wrong one, and the right one by each of the ways that
// keep it off the command line.
func TestPasswords(t *testing.T) {
	base, err := url.Parse(postgrestest.Schema(t, t.Name()))
	must(t, err)
	password, _ := base.User.Password()
	with := func(user *url.Userinfo) string {
		changed := *base
		changed.User = user
		return changed.String()
	}
	try := func(url string) error {
		s := openAt(t, url)
		defer s.Close()
		return s.Ping(t.Context())
	}
	bare := with(url.User("whirl"))
	wantUnavailable(t, try(with(url.UserPassword("whirl", "opensesame"))), "password authentication failed", "opensesame")
	wantUnavailable(t, try(bare), "password", password)
	wantUnavailable(t, try(with(url.UserPassword("nobody", password))), `user "nobody"`, password)
	elsewhere := *base
	elsewhere.Path = "/nowhere"
	wantUnavailable(t, try(elsewhere.String()), `database "nowhere" does not exist`, password)

	t.Setenv("PGPASSWORD", password)
	must(t, try(bare))
	t.Setenv("PGPASSWORD", "")
	file := filepath.Join(t.TempDir(), "pgpass")
	must(t, os.WriteFile(file, []byte("127.0.0.1:*:*:whirl:"+password+"\n"), 0o600))
	t.Setenv("PGPASSFILE", file)
	must(t, try(bare))
}

// TestLeastRights has the roles of docs/operations.md: one that owns the tables,
// and one for agents that may only add to them.
func TestLeastRights(t *testing.T) {
	server := postgrestest.Start(t)
	as := func(role string) string {
		parsed, err := url.Parse(server.URL)
		must(t, err)
		parsed.User = url.UserPassword(role, "secret")
		parsed.Path = "/platform"
		return parsed.String()
	}
	for _, statement := range []string{
		"CREATE ROLE platform LOGIN PASSWORD 'secret'",
		"CREATE ROLE platform_agent LOGIN PASSWORD 'secret'",
		"CREATE DATABASE platform OWNER platform",
	} {
		server.Query(statement)
	}
	agent := openAt(t, as("platform_agent"))
	defer agent.Close()
	batch := []whisk.LogEntry{entry(1, "x"), entry(2, "x")}
	wantUnavailable(t, agent.AppendLogs(t.Context(), batch), "a role that owns the schema makes the tables", "secret")
	owner := openAt(t, as("platform"))
	defer owner.Close()
	must(t, owner.Ping(t.Context()))
	wantUnavailable(t, agent.AppendLogs(t.Context(), batch), "permission denied for table whirl_schema", "secret")
	postgrestest.Query(t, as("platform"), "GRANT SELECT ON whirl_schema TO platform_agent; GRANT INSERT ON logs TO platform_agent")
	must(t, agent.AppendLogs(t.Context(), batch))
	must(t, agent.AppendLogs(t.Context(), batch))
	_, err := agent.Logs(t.Context(), "guest", id(1))
	wantUnavailable(t, err, "permission denied for table logs", "secret")
	if lines, err := owner.Logs(t.Context(), "guest", id(2)); err != nil || len(lines) != 2 {
		t.Errorf("what the agent added is %q, %v", lines, err)
	}
}

// TestReadOnly has a server that takes no writes, as a standby is.
func TestReadOnly(t *testing.T) {
	url := postgrestest.Schema(t, t.Name())
	s := openAt(t, url)
	must(t, s.AppendLogs(t.Context(), []whisk.LogEntry{entry(1, "x")}))
	must(t, s.Close())
	s = openAt(t, postgrestest.With(url, "default_transaction_read_only", "on"))
	defer s.Close()
	wantUnavailable(t, s.AppendLogs(t.Context(), []whisk.LogEntry{entry(2, "x")}), "read-only", "secret")
	if lines, err := s.Logs(t.Context(), "guest", id(1)); err != nil || len(lines) != 2 {
		t.Errorf("read from it: %q, %v", lines, err)
	}
}

// ownerOf returns the id of the user that servers of tests run as.
func ownerOf(t *testing.T, name string) int {
	t.Helper()
	found, err := user.Lookup(name)
	must(t, err)
	n, err := strconv.Atoi(found.Uid)
	must(t, err)
	return n
}

// TestFullDisk fills the disk that the table lies on. Reads must go on, and all be
// well with space again.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI needs it: to mount a small disk needs root")
		}
		t.Skip("to mount a small disk needs root")
	}
	dir, err := os.MkdirTemp("", "whirl-disk")
	must(t, err)
	must(t, syscall.Mount("whirl-test", dir, "tmpfs", 0, "size=8m,mode=777"))
	server := postgrestest.Start(t)
	t.Cleanup(func() {
		server.Stop()
		must(t, syscall.Unmount(dir, 0))
		must(t, os.Remove(dir))
	})
	must(t, os.Mkdir(filepath.Join(dir, "space"), 0o700))
	must(t, os.Chown(filepath.Join(dir, "space"), ownerOf(t, "postgres"), -1))
	for _, statement := range []string{"CREATE TABLESPACE small LOCATION '" + dir + "/space'", "ALTER DATABASE whirl SET default_tablespace = small"} {
		server.Query(statement)
	}
	s := openAt(t, server.URL)
	defer s.Close()
	must(t, s.AppendLogs(t.Context(), []whisk.LogEntry{entry(0, "x")}))
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 16<<20), 0o600); err == nil {
		t.Fatal("the disk took more than it holds")
	}
	full := error(nil)
	for n := 1; full == nil && n < 1000; n++ {
		full = s.AppendLogs(t.Context(), []whisk.LogEntry{entry(n, strings.Repeat("x", 1900))}) // what is short is not compressed
	}
	wantUnavailable(t, full, "No space left on device", "secret")
	if lines, err := s.Logs(t.Context(), "guest", id(0)); err != nil || len(lines) != 2 {
		t.Errorf("read from a full disk: %q, %v", lines, err)
	}
	must(t, os.Remove(ballast))
	must(t, s.AppendLogs(t.Context(), []whisk.LogEntry{entry(1000, "x")}))
}
