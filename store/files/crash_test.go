// SPDX-License-Identifier: Apache-2.0

package files_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/whirl-faas/whirl/store/files"
	"github.com/whirl-faas/whirl/whisk"
)

// childDir tells this program, when a test starts it again, to put blobs there.
const childDir = "WHIRL_FILES_TEST_DIR"

func TestMain(m *testing.M) {
	dir := os.Getenv(childDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := putForEver(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// putForEver is the process that is killed. It says on standard output, in one
// write, which blob was put.
func putForEver(dir string) error {
	b, err := files.Open(dir)
	if err != nil {
		return err
	}
	var writers errgroup.Group
	for range 4 {
		writers.Go(func() error {
			for {
				content := strings.Repeat(fmt.Sprintf("%x ", rand.Uint64()), 1+rand.IntN(20_000))
				digest, err := b.Put(context.Background(), strings.NewReader(content))
				if err != nil {
					return err
				}
				fmt.Fprintf(os.Stdout, "%s\n", digest)
			}
		})
	}
	return writers.Wait()
}

// TestKill kills a process that puts blobs. What was acknowledged must be there,
// every file that has a blob's name must be whole, and a sweep cleans the rest.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acknowledged := make(map[whisk.Digest]bool)
	for _, n := range []int{1, 20, 100} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		cmd.Stderr = os.Stderr
		stdout, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(stdout)
		for range n {
			if !lines.Scan() {
				t.Fatal("the process ended by itself")
			}
			acknowledged[whisk.Digest(lines.Text())] = true
		}
		must(t, cmd.Process.Kill())
		for lines.Scan() { // what it said before it died
			acknowledged[whisk.Digest(lines.Text())] = true
		}
		_ = cmd.Wait() // it was killed
	}
	b := open(t, dir)
	defer b.Close()
	for digest := range acknowledged {
		_, err := b.Get(t.Context(), digest)
		must(t, err)
	}
	for _, name := range tree(t, dir) {
		if base := filepath.Base(name); strings.HasPrefix(base, "sha256-") {
			_, err := b.Get(t.Context(), whisk.Digest(base))
			must(t, err)
		}
	}
	keep := func(digest whisk.Digest) bool { return acknowledged[digest] }
	_, err := b.Sweep(t.Context(), keep, time.Now().Add(time.Hour))
	must(t, err)
	if left := tree(t, dir); len(left) != len(acknowledged) {
		t.Errorf("%d files are left of %d acknowledged blobs", len(left), len(acknowledged))
	}
}

// TestFullDisk puts more than the disk holds. Where the test may not mount a disk
// in memory, a limit on the size of files stands in for it.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("whirl-test", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Logf("mount: %v; limiting the size of files instead", err)
		limitFiles(t, 2<<20)
	} else {
		t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	}
	b := open(t, dir)
	defer b.Close()
	kept := put(t, b, "kept")
	_, err := b.Put(t.Context(), strings.NewReader(strings.Repeat("x", 4<<20)))
	mustBe(t, err, whisk.Unavailable)
	if names := tree(t, dir); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
	_, err = b.Get(t.Context(), kept)
	must(t, err)
	put(t, b, strings.Repeat("y", 1<<20)) // what failed takes no space
}

func limitFiles(t *testing.T, size uint64) {
	signal.Ignore(syscall.SIGXFSZ)
	var usual syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &usual))
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: usual.Max}))
	t.Cleanup(func() {
		must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &usual))
		signal.Reset(syscall.SIGXFSZ)
	})
}
