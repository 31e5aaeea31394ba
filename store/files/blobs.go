// SPDX-License-Identifier: Apache-2.0

// Package files keeps code as files that are named by their content. [Blobs]
// implements [whisk.Blobs] in one directory:
//
//	ab/cd/sha256-abcd...   a blob, under the first digits of its digest
//	incoming/              what is being written
//
// A blob appears under its name only when all of it is on the disk, and never
// changes after that, so readers need no lock and a process that is killed at
// any instant leaves whole blobs and perhaps a file in incoming, which the next
// Sweep after a while takes away. A blob's modification time is when it was last
// put, by the clock of the process that did.
//
// All methods may be called concurrently, but only one process at a time may
// use the directory, since Put and Sweep agree with each other in memory.
//
// docs/architecture.md tells which other stores keep code.
package files

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// MaxBlob is the largest blob: more than any code that the API takes.
const MaxBlob = 64 * whisk.MB

const (
	incoming  = "incoming"
	algorithm = "sha256-"
)

// Blobs is a directory of blobs.
type Blobs struct {
	root  *os.Root
	names names
}

// Open opens the directory and makes it, private to its owner, if it is not
// there. The caller closes it.
func Open(dir string) (*Blobs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open blobs: %w", classify(err))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open blobs: %w", classify(err))
	}
	b := &Blobs{root: root}
	if err := b.makeDir(incoming); err != nil {
		return nil, errors.Join(fmt.Errorf("open blobs in %s: %w", dir, classify(err)), root.Close())
	}
	return b, nil
}

// Close releases the directory. Later calls fail.
func (b *Blobs) Close() error { return b.root.Close() }

// Put implements [whisk.Blobs]. Content above MaxBlob is TooLarge. An error of
// the content itself is returned with its kind. The same content is written
// anew, which makes a damaged blob whole again.
func (b *Blobs) Put(ctx context.Context, content io.Reader) (whisk.Digest, error) {
	temporary := path.Join(incoming, rand.Text())
	release, err := b.names.acquire(ctx, temporary) // so that Sweep lets it be
	if err != nil {
		return "", fmt.Errorf("put blob: %w", err)
	}
	defer release()
	digest, err := b.receive(ctx, temporary, content)
	if err == nil {
		err = b.publish(ctx, temporary, digest)
	}
	if err != nil {
		// What cannot be removed now, Sweep removes.
		_ = b.root.Remove(temporary)
		return "", fmt.Errorf("put blob: %w", err)
	}
	return digest, nil
}

// receive writes content to a file, durably, and returns its digest.
func (b *Blobs) receive(ctx context.Context, name string, content io.Reader) (_ whisk.Digest, err error) {
	file, err := b.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", classify(err)
	}
	defer func() { err = errors.Join(err, classify(file.Close())) }()
	sum := sha256.New()
	if err := copyContent(ctx, file, sum, content); err != nil {
		return "", err
	}
	now := time.Now()
	if err := b.root.Chtimes(name, now, now); err != nil {
		return "", classify(err)
	}
	if err := file.Sync(); err != nil {
		return "", classify(err)
	}
	return whisk.Digest(algorithm + hex.EncodeToString(sum.Sum(nil))), nil
}

// copyContent tells the reader's errors, which keep their kinds, from the disk's.
func copyContent(ctx context.Context, file io.Writer, sum hash.Hash, content io.Reader) error {
	buffer := make([]byte, 128*whisk.KB)
	for size := whisk.Bytes(0); ; {
		if ctx.Err() != nil {
			return interrupted(ctx)
		}
		n, readErr := content.Read(buffer)
		if size += whisk.Bytes(n); size > MaxBlob {
			return whisk.Errorf(whisk.TooLarge, "it has more than %s", MaxBlob)
		}
		sum.Write(buffer[:n]) // never fails
		if _, err := file.Write(buffer[:n]); err != nil {
			return classify(err)
		}
		if errors.Is(readErr, io.EOF) {
			return nil
		}
		if readErr != nil {
			return fmt.Errorf("read content: %w", readErr)
		}
	}
}

// publish gives a received file its name, durably.
func (b *Blobs) publish(ctx context.Context, temporary string, digest whisk.Digest) error {
	name := location(digest)
	release, err := b.names.acquire(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	dir := path.Dir(name)
	if err := errors.Join(b.makeDir(path.Dir(dir)), b.makeDir(dir)); err != nil {
		return classify(err)
	}
	if err := b.root.Rename(temporary, name); err != nil {
		return classify(err)
	}
	return classify(b.syncDir(dir))
}

// makeDir makes a directory durably. One that is there may have been made by a
// process that was killed before it could sync, so the parent is synced anyway.
func (b *Blobs) makeDir(name string) error {
	if err := b.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return b.syncDir(path.Dir(name))
}

func (b *Blobs) syncDir(name string) error {
	dir, err := b.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Get implements [whisk.Blobs]. A blob that is not what its digest says is
// Internal, and the error names it.
func (b *Blobs) Get(ctx context.Context, digest whisk.Digest) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("get blob: %w", interrupted(ctx))
	}
	if !wellFormed(digest) {
		return nil, whisk.Errorf(whisk.NotFound, "no blob can be named %q", string(digest))
	}
	content, err := b.root.ReadFile(location(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, whisk.Errorf(whisk.NotFound, "no blob %s", digest)
	}
	if err != nil {
		return nil, fmt.Errorf("get blob %s: %w", digest, classify(err))
	}
	sum := sha256.Sum256(content)
	if algorithm+hex.EncodeToString(sum[:]) != string(digest) {
		return nil, whisk.Errorf(whisk.Internal, "blob %s is damaged: its %d bytes have another digest", digest, len(content))
	}
	return content, nil
}

// Sweep implements [whisk.Blobs]. It also takes away what was left in incoming
// before olderThan; that does not count. Files that are no blobs stay.
func (b *Blobs) Sweep(ctx context.Context, keep func(whisk.Digest) bool, olderThan time.Time) (int, error) {
	swept := 0
	err := fs.WalkDir(b.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		digest := whisk.Digest(path.Base(name))
		switch {
		case ctx.Err() != nil:
			return interrupted(ctx)
		case errors.Is(err, fs.ErrNotExist):
			return nil // renamed since its directory was read
		case err != nil:
			return err
		case path.Dir(name) == incoming && b.names.isHeld(name):
			return nil
		case path.Dir(name) == incoming:
			_, err := b.removeOlder(name, olderThan)
			return err
		case entry.IsDir() || !wellFormed(digest) || name != location(digest) || keep(digest):
			return nil
		}
		removed, err := b.sweepOnce(ctx, name, olderThan)
		swept += removed
		return err
	})
	if err != nil {
		return swept, fmt.Errorf("sweep blobs: %w", classify(err))
	}
	return swept, nil
}

// sweepOnce removes one blob unless a Put came first.
func (b *Blobs) sweepOnce(ctx context.Context, name string, olderThan time.Time) (int, error) {
	release, err := b.names.acquire(ctx, name)
	if err != nil {
		return 0, err
	}
	defer release()
	return b.removeOlder(name, olderThan)
}

func (b *Blobs) removeOlder(name string, olderThan time.Time) (int, error) {
	info, err := b.root.Stat(name)
	if err == nil && !info.ModTime().Before(olderThan) {
		return 0, nil
	}
	if err == nil {
		err = b.root.Remove(name)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, err
	}
	return 1, nil
}

// wellFormed reports whether digest names a blob; anything else must not become
// part of a path.
func wellFormed(digest whisk.Digest) bool {
	digits, ok := strings.CutPrefix(string(digest), algorithm)
	return ok && len(digits) == 2*sha256.Size && strings.Trim(digits, "0123456789abcdef") == ""
}

// location is the path of a well-formed digest.
func location(digest whisk.Digest) string {
	digits := string(digest)[len(algorithm):]
	return path.Join(digits[:2], digits[2:4], string(digest))
}

// classify gives an error of the file system its kind; one that has a kind, and
// nil, stay what they are.
func classify(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*whisk.Error](err); ok {
		return err
	}
	for _, passing := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.EFBIG} {
		if errors.Is(err, passing) {
			return whisk.Errorf(whisk.Unavailable, "%w", err)
		}
	}
	return whisk.Errorf(whisk.Internal, "%w", err)
}

// interrupted is the error of a call whose context ended before it was done.
func interrupted(ctx context.Context) error {
	kind := whisk.Unavailable
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		kind = whisk.Timeout
	}
	return whisk.Errorf(kind, "%w", context.Cause(ctx))
}
