// SPDX-License-Identifier: Apache-2.0

//go:build database

package postgres_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/store/postgres/postgrestest"
	"github.com/whirl-faas/whirl/store/storetest"
)

func BenchmarkLogs(b *testing.B) {
	url := postgrestest.Schema(b, b.TempDir())
	s := openAt(b, url)
	defer s.Close()
	must(b, s.Ping(b.Context()))
	storetest.BenchmarkLogs(b, s, serverTime(b, url))
}

// tick is the unit of /proc's times on Linux.
const tick = 10 * time.Millisecond

// serverTime returns what tells the processor time that the server's processes
// have used. Those that ended are counted in their parent.
func serverTime(b *testing.B, url string) func() time.Duration {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(postgrestest.Query(b, url, "SHOW data_directory"), "postmaster.pid"))
	if err != nil {
		b.Logf("the server's time is not to be had: %v", err)
		return nil
	}
	server := strings.Fields(string(text))[0]
	return func() (total time.Duration) {
		all, err := filepath.Glob("/proc/[0-9]*/stat")
		must(b, err)
		for _, name := range all {
			text, err := os.ReadFile(name)
			if err != nil {
				continue // it has ended
			}
			pid, _, _ := strings.Cut(string(text), " ")
			fields := strings.Fields(string(text[strings.LastIndex(string(text), ")")+1:]))
			if pid != server && fields[1] != server {
				continue
			}
			for _, field := range fields[11:15] { // own user and system time, and that of children that ended
				ticks, err := strconv.Atoi(field)
				must(b, err)
				total += time.Duration(ticks) * tick
			}
		}
		return total
	}
}
