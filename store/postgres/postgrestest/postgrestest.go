// SPDX-License-Identifier: Apache-2.0

// Package postgrestest gives tests a PostgreSQL server by scripts/database: the
// one that this test run shares, or one of its own that a test may stop and kill.
package postgrestest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// variable has the URL of the server that scripts/database runs for us.
const variable = "WHIRL_TEST_POSTGRES"

// URL returns the URL of the shared server. Without one the test is skipped, and
// fails where CI=true.
func URL(t testing.TB) string {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		require(t, "there is no "+variable+": run this by scripts/database run")
	}
	return text
}

// Schema returns the URL of a schema of the shared server. The same name yields the
// same one.
func Schema(t testing.TB, name string) string {
	t.Helper()
	base := URL(t)
	schema := fmt.Sprintf("test_%x", sha256.Sum256([]byte(name)))[:40]
	Query(t, base, "CREATE SCHEMA IF NOT EXISTS "+schema)
	return With(base, "search_path", schema)
}

// With returns the URL with a setting of the session.
func With(base, setting, value string) string {
	separator := "?"
	if strings.Contains(base, "?") {
		separator = "&"
	}
	return base + separator + setting + "=" + value
}

// Server is a server of a test's own. Its methods are for the test's goroutine.
type Server struct {
	URL string // the same in all its lives

	t       testing.TB
	dir     string
	running bool
}

// Start starts a server. It is stopped and removed at the test's end.
func Start(t testing.TB) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "whirl-database") // a short path: there are sockets in it
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, dir: dir}
	t.Cleanup(func() {
		if s.running {
			s.Stop()
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	s.Restart()
	return s
}

// Restart starts the server again.
func (s *Server) Restart() {
	s.t.Helper()
	s.URL = strings.TrimSpace(s.script("start"))
	s.running = true
}

// Stop ends the server in good order; connections are broken.
func (s *Server) Stop() {
	s.t.Helper()
	s.running = false
	s.script("stop")
}

// Crash kills all of the server's processes.
func (s *Server) Crash() {
	s.t.Helper()
	s.running = false
	s.script("crash")
}

// Query runs SQL as the superuser and returns what it says.
func (s *Server) Query(sql string) string {
	s.t.Helper()
	return Query(s.t, s.URL, sql)
}

// Query runs SQL at a URL and returns what it says, as psql's unaligned form has it.
func Query(t testing.TB, base, sql string) string {
	t.Helper()
	conn, err := pgconn.Connect(context.Background(), base)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	results, err := conn.Exec(context.Background(), sql).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var rows []string
	for _, result := range results {
		for _, row := range result.Rows {
			rows = append(rows, string(bytes.Join(row, []byte("|"))))
		}
	}
	return strings.Join(rows, "\n")
}

func (s *Server) script(command string) string {
	s.t.Helper()
	var said strings.Builder
	script := exec.Command(filepath.Join(root(s.t), "scripts", "database"), command, s.dir)
	script.Stderr = &said
	out, err := script.Output()
	if err != nil {
		s.t.Fatalf("scripts/database %s: %v\n%s", command, err, &said)
	}
	return string(out)
}

// root is the module's.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	t.Fatalf("no module holds this test: %v", err)
	return ""
}

func require(t testing.TB, missing string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
}
