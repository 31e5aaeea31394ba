// SPDX-License-Identifier: Apache-2.0

package files_test

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/whirl-faas/whirl/store/files"
	"github.com/whirl-faas/whirl/store/storetest"
	"github.com/whirl-faas/whirl/whisk"
)

var _ whisk.Blobs = (*files.Blobs)(nil)

func TestBlobs(t *testing.T) { storetest.Blobs(t, open) }

func open(t *testing.T, dir string) *files.Blobs {
	t.Helper()
	b, err := files.Open(dir)
	must(t, err)
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustBe(t *testing.T, err error, kind whisk.Kind) {
	t.Helper()
	if err == nil || whisk.KindOf(err) != kind {
		t.Fatalf("got %v, want an error of kind %q", err, kind)
	}
}

func put(t *testing.T, b *files.Blobs, content string) whisk.Digest {
	t.Helper()
	digest, err := b.Put(t.Context(), strings.NewReader(content))
	must(t, err)
	return digest
}

// location is where the package says that a blob lies.
func location(dir string, digest whisk.Digest) string {
	return filepath.Join(dir, string(digest[7:9]), string(digest[9:11]), string(digest))
}

// tree lists the regular files below dir.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	must(t, filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, name)
		}
		return err
	}))
	return names
}

// TestDamage changes a blob on the disk. That must show, and a Put must mend it.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	defer b.Close()
	digest := put(t, b, "function main() {}")
	for _, damage := range []string{"function main() {!", "", "function main() {}\n"} {
		must(t, os.WriteFile(location(dir, digest), []byte(damage), 0o600))
		_, err := b.Get(t.Context(), digest)
		mustBe(t, err, whisk.Internal)
		if !strings.Contains(err.Error(), string(digest)) {
			t.Errorf("error %q does not name the blob", err)
		}
		put(t, b, "function main() {}")
		_, err = b.Get(t.Context(), digest)
		must(t, err)
	}
}

// TestPutRefreshes puts a blob again that was put long ago.
func TestPutRefreshes(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	defer b.Close()
	old, again := put(t, b, "old"), put(t, b, "again")
	longAgo := time.Now().Add(-time.Hour)
	for _, digest := range []whisk.Digest{old, again} {
		must(t, os.Chtimes(location(dir, digest), longAgo, longAgo))
	}
	put(t, b, "again")
	n, err := b.Sweep(t.Context(), func(whisk.Digest) bool { return false }, time.Now().Add(-time.Minute))
	if err != nil || n != 1 {
		t.Fatalf("swept %d blobs, want 1; %v", n, err)
	}
	_, err = b.Get(t.Context(), again)
	must(t, err)
	_, err = b.Get(t.Context(), old)
	mustBe(t, err, whisk.NotFound)
}

// TestLeftovers has a process die while it receives: what it left is swept once
// it is old, and nothing else is.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	defer b.Close()
	digest := put(t, b, "x")
	leftover, foreign := filepath.Join(dir, "incoming", "HALF"), filepath.Join(dir, "README")
	for _, name := range []string{leftover, foreign} {
		must(t, os.WriteFile(name, []byte("half"), 0o600))
	}
	keep := func(d whisk.Digest) bool { return d == digest }
	for _, step := range []struct {
		olderThan time.Time
		left      []string
	}{
		{time.Now().Add(-time.Hour), []string{foreign, location(dir, digest), leftover}},
		{time.Now().Add(time.Hour), []string{foreign, location(dir, digest)}},
	} {
		n, err := b.Sweep(t.Context(), keep, step.olderThan)
		if err != nil || n != 0 {
			t.Fatalf("swept %d blobs, want none; %v", n, err)
		}
		left := make(map[string]bool)
		for _, name := range tree(t, dir) {
			left[name] = true
		}
		if len(left) != len(step.left) {
			t.Errorf("left are %v, want %v", left, step.left)
		}
		for _, name := range step.left {
			if !left[name] {
				t.Errorf("%s is gone", name)
			}
		}
	}
}

// TestRefusedContent must leave no file behind.
func TestRefusedContent(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	defer b.Close()
	_, err := b.Put(t.Context(), io.LimitReader(zeros{}, int64(files.MaxBlob)+1))
	mustBe(t, err, whisk.TooLarge)
	_, err = b.Put(t.Context(), iotest.TimeoutReader(bytes.NewReader(make([]byte, 1<<20))))
	mustBe(t, err, whisk.Internal)
	if names := tree(t, dir); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}

// TestLargest takes a blob of the largest size.
func TestLargest(t *testing.T) {
	b := open(t, t.TempDir())
	defer b.Close()
	digest, err := b.Put(t.Context(), io.LimitReader(zeros{}, int64(files.MaxBlob)))
	must(t, err)
	content, err := b.Get(t.Context(), digest)
	must(t, err)
	if len(content) != int(files.MaxBlob) {
		t.Errorf("got %d bytes", len(content))
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestOpenRefusesAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, nil, 0o600))
	if _, err := files.Open(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want an error that names the path", err)
	}
}

func BenchmarkPut(b *testing.B) {
	blobs, err := files.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer blobs.Close()
	content := make([]byte, 10_000)
	for n := 0; b.Loop(); n++ {
		content[0], content[1], content[2] = byte(n), byte(n>>8), byte(n>>16)
		if _, err := blobs.Put(b.Context(), bytes.NewReader(content)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	blobs, err := files.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer blobs.Close()
	digest, err := blobs.Put(b.Context(), bytes.NewReader(make([]byte, 1<<20)))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(1 << 20)
	for b.Loop() {
		if _, err := blobs.Get(b.Context(), digest); err != nil {
			b.Fatal(err)
		}
	}
}
