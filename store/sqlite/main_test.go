// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/ncruces/go-sqlite3"
)

// childRole and childDir tell this program, when a test starts it again, what to
// do and where.
const (
	childRole = "WHIRL_SQLITE_TEST_ROLE"
	childDir  = "WHIRL_SQLITE_TEST_DIR"
)

func TestMain(m *testing.M) {
	roles := map[string]func(dir string) error{"write": writeForEver, "peer": writeAsPeer}
	role, isChild := roles[os.Getenv(childRole)]
	if !isChild {
		os.Exit(m.Run())
	}
	if err := role(os.Getenv(childDir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child is this program in another role, in a process of its own.
type child struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner // of its standard output
}

func startChild(t *testing.T, role, dir string) *child {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childRole+"="+role, childDir+"="+dir)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	return &child{cmd, bufio.NewScanner(stdout)}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mustBeSound fails the test if the file has a fault that SQLite can find.
func mustBeSound(t *testing.T, path string) {
	t.Helper()
	conn := openRaw(t, path)
	defer conn.Close()
	stmt, _, err := conn.Prepare("PRAGMA integrity_check")
	must(t, err)
	defer stmt.Close()
	for stmt.Step() {
		if text := stmt.ColumnText(0); text != "ok" {
			t.Errorf("%s: %s", path, text)
		}
	}
	must(t, stmt.Err())
}

// openRaw opens a database behind the store's back.
func openRaw(t *testing.T, path string) *sqlite3.Conn {
	t.Helper()
	conn, err := sqlite3.Open(path)
	must(t, err)
	return conn
}
