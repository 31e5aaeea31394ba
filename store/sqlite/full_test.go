// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

// smallDisk is a directory on a disk that can be full.
type smallDisk struct {
	dir    string
	fill   func()
	free   func() // undoes fill
	reason string // what the error must say
}

// newSmallDisk mounts a disk in memory. Where the test may not do that, a limit
// on the size of files stands in for it.
func newSmallDisk(t *testing.T) smallDisk {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("whirl-test", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Logf("mount: %v; limiting the size of files instead", err)
		return limitFiles(t, dir)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	return smallDisk{
		dir: dir,
		fill: func() {
			if err := os.WriteFile(ballast, make([]byte, 16<<20), 0o600); err == nil {
				t.Fatal("the disk took more than it holds")
			}
		},
		free:   func() { must(t, os.Remove(ballast)) },
		reason: "the disk that holds " + dir + " is full",
	}
}

func limitFiles(t *testing.T, dir string) smallDisk {
	signal.Ignore(syscall.SIGXFSZ)
	var usual syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &usual))
	set := func(limit uint64) {
		must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: usual.Max}))
	}
	t.Cleanup(func() { set(usual.Cur); signal.Reset(syscall.SIGXFSZ) })
	return smallDisk{dir: dir, fill: func() { set(128 << 10) }, free: func() { set(usual.Cur) }}
}

// TestFullDisk fills the disk under each store. A write must then be Unavailable
// and leave nothing, reads must go on, and all must be well with space again.
func TestFullDisk(t *testing.T) {
	text := strings.Repeat("x", 20_000)
	for _, test := range []struct {
		what string
		open func(t *testing.T, dir string) (write, check func(n int) error, close func() error)
		file string
	}{
		{"entities", fullEntities(text), "entities.db"},
		{"queue", fullQueue(text), "entities.db"},
		{"activations", fullActivations(text), "activations.db"},
		{"logs", fullLogs(text), "logs.db"},
	} {
		t.Run(test.what, func(t *testing.T) {
			disk := newSmallDisk(t)
			write, check, closeStore := test.open(t, disk.dir)
			for n := range 5 {
				must(t, write(n))
			}
			disk.fill()
			written, err := writeUntilError(write, 5)
			if err == nil || whisk.KindOf(err) != whisk.Unavailable {
				t.Fatalf("write on a full disk: %v, want one of kind unavailable", err)
			}
			if !strings.Contains(err.Error(), disk.reason) {
				t.Errorf("error %q does not say %q", err, disk.reason)
			}
			for n := range written {
				must(t, check(n))
			}
			if err := check(written); whisk.KindOf(err) != whisk.NotFound || err == nil {
				t.Errorf("the write that failed is there: %v", err)
			}
			disk.free()
			for n := written; n < written+5; n++ {
				must(t, write(n))
			}
			must(t, closeStore())
			_, check, closeStore = test.open(t, disk.dir)
			for n := range written + 5 {
				must(t, check(n))
			}
			must(t, closeStore())
			mustBeSound(t, filepath.Join(disk.dir, test.file))
		})
	}
}

// writeUntilError returns the number of the write that failed.
func writeUntilError(write func(n int) error, from int) (int, error) {
	for n := from; n < 10_000; n++ {
		if err := write(n); err != nil {
			return n, err
		}
	}
	return 0, nil
}

type fullStore = func(t *testing.T, dir string) (write, check func(n int) error, close func() error)

func fullEntities(text string) fullStore {
	return func(t *testing.T, dir string) (write, check func(n int) error, closeStore func() error) {
		s := openEntities(t, dir)
		name := func(n int) whisk.FullName { return whisk.FullName{Namespace: "guest", Name: fmt.Sprint(n)} }
		write = func(n int) error {
			body, err := json.Marshal(text)
			must(t, err)
			_, err = s.Put(t.Context(), whisk.Document{Collection: whisk.Actions, Name: name(n), Body: body})
			return err
		}
		check = func(n int) error { _, err := s.Get(t.Context(), name(n)); return err }
		return write, check, s.Close
	}
}

func fullQueue(text string) fullStore {
	return func(t *testing.T, dir string) (write, check func(n int) error, closeStore func() error) {
		s := openEntities(t, dir)
		write = func(n int) error {
			return s.Accept(t.Context(), whisk.Accepted{Activation: id(int64(n)), Body: json.RawMessage(`"` + text + `"`)})
		}
		check = func(n int) error {
			for entry, err := range s.Pending(t.Context()) {
				if err != nil || entry.Activation == id(int64(n)) {
					return err
				}
			}
			return whisk.Errorf(whisk.NotFound, "entry %d is not there", n)
		}
		return write, check, s.Close
	}
}

func fullActivations(text string) fullStore {
	return func(t *testing.T, dir string) (write, check func(n int) error, closeStore func() error) {
		s := openActivations(t, dir)
		write = func(n int) error {
			record := benchRecord(0)
			record.ID, record.Response.Result = id(int64(n)), json.RawMessage(`"`+text+`"`)
			return s.PutActivations(t.Context(), []whisk.Activation{record})
		}
		check = func(n int) error {
			_, err := s.Activation(t.Context(), benchRecord(0).Namespace, id(int64(n)))
			return err
		}
		return write, check, s.Close
	}
}

func fullLogs(text string) fullStore {
	return func(t *testing.T, dir string) (write, check func(n int) error, closeStore func() error) {
		s := openLogs(t, dir)
		write = func(n int) error {
			return s.AppendLogs(t.Context(), []whisk.LogEntry{{Activation: id(int64(n)), Namespace: "guest", Lines: []string{text}}})
		}
		check = func(n int) error {
			lines, err := s.Logs(t.Context(), "guest", id(int64(n)))
			if err == nil && len(lines) == 0 {
				return whisk.Errorf(whisk.NotFound, "log %d is not there", n)
			}
			return err
		}
		return write, check, s.Close
	}
}
