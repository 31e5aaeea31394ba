// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// BlobStore is what the suite of [Blobs] tests.
type BlobStore interface {
	whisk.Blobs
	io.Closer
}

// Blobs tests a [whisk.Blobs].
func Blobs[S BlobStore](t *testing.T, opener func(t *testing.T, place string) S) {
	open := Opener[S](opener)
	t.Run("round trip", func(t *testing.T) { testBlobRoundTrip(t, open.fresh(t)) })
	t.Run("names", func(t *testing.T) { testBlobNames(t, open.fresh(t)) })
	t.Run("broken content", func(t *testing.T) { testBrokenContent(t, open.fresh(t)) })
	t.Run("sweep", func(t *testing.T) { testSweep(t, open.fresh(t)) })
	t.Run("sweep and put at once", func(t *testing.T) { testSweepRace(t, open.fresh(t)) })
	t.Run("reopen", func(t *testing.T) {
		place := t.TempDir()
		s := open(t, place)
		digest := putBlob(t, s, "kept")
		must(t, s.Close())
		wantBlob(t, open.at(t, place), digest, "kept")
	})
}

func putBlob(t *testing.T, s whisk.Blobs, content string) whisk.Digest {
	t.Helper()
	digest, err := s.Put(t.Context(), strings.NewReader(content))
	must(t, err)
	return digest
}

func wantBlob(t *testing.T, s whisk.Blobs, digest whisk.Digest, want string) {
	t.Helper()
	got, err := s.Get(t.Context(), digest)
	must(t, err)
	if string(got) != want {
		t.Fatalf("%s has %d bytes that are not the %d expected", digest, len(got), len(want))
	}
}

func contentDigest(content []byte) whisk.Digest {
	sum := sha256.Sum256(content)
	return whisk.Digest("sha256-" + hex.EncodeToString(sum[:]))
}

func testBlobRoundTrip(t *testing.T, s whisk.Blobs) {
	large := make([]byte, 5<<20)
	rand.NewChaCha8([32]byte{1}).Read(large)
	for _, content := range []string{"", "x", "function main() {}", string(large)} {
		for range 2 {
			digest, err := s.Put(t.Context(), iotest.DataErrReader(strings.NewReader(content)))
			must(t, err)
			if want := contentDigest([]byte(content)); digest != want {
				t.Fatalf("digest is %s, want %s", digest, want)
			}
			wantBlob(t, s, digest, content)
		}
	}
	all(t, 16, func(i int) error {
		_, err := s.Put(t.Context(), iotest.OneByteReader(strings.NewReader("the same")))
		return err
	})
	wantBlob(t, s, contentDigest([]byte("the same")), "the same")
}

func testBlobNames(t *testing.T, s whisk.Blobs) {
	stored := string(putBlob(t, s, "x"))
	for _, digest := range []string{
		"", "sha256-", "x", stored[7:], stored[:70], stored + "0", strings.ToUpper(stored),
		"sha256-../../../../../../../../../../../../../../../../../etc/passwd00000",
		string(contentDigest([]byte("never stored"))),
	} {
		_, err := s.Get(t.Context(), whisk.Digest(digest))
		mustBe(t, err, whisk.NotFound)
	}
}

func testBrokenContent(t *testing.T, s whisk.Blobs) {
	cause := whisk.Errorf(whisk.TooLarge, "more than allowed")
	broken := func() io.Reader { return io.MultiReader(strings.NewReader("some"), iotest.ErrReader(cause)) }
	_, err := s.Put(t.Context(), broken())
	mustBe(t, err, whisk.TooLarge)
	if !errors.Is(err, cause) {
		t.Errorf("error %q does not wrap its cause", err)
	}
	_, err = s.Get(t.Context(), contentDigest([]byte("some")))
	mustBe(t, err, whisk.NotFound)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, bytes.NewReader([]byte("late"))); err == nil {
		t.Error("put with an ended context")
	}
}

func testSweep(t *testing.T, s whisk.Blobs) {
	ctx := t.Context()
	wanted, unwanted := putBlob(t, s, "wanted"), putBlob(t, s, "unwanted")
	sweep := func(olderThan time.Time, want int) {
		t.Helper()
		n, err := s.Sweep(ctx, func(d whisk.Digest) bool { return d == wanted }, olderThan)
		must(t, err)
		if n != want {
			t.Fatalf("swept %d blobs, want %d", n, want)
		}
	}
	sweep(time.Now().Add(-time.Hour), 0)
	wantBlob(t, s, unwanted, "unwanted")
	sweep(time.Now().Add(time.Hour), 1)
	wantBlob(t, s, wanted, "wanted")
	_, err := s.Get(ctx, unwanted)
	mustBe(t, err, whisk.NotFound)
	sweep(time.Now().Add(time.Hour), 0)
	putBlob(t, s, "unwanted")
	wantBlob(t, s, unwanted, "unwanted")
}

// testSweepRace puts a blob that is already there and outdated while sweeps run:
// what was put after the sweep's limit must stay.
func testSweepRace(t *testing.T, s whisk.Blobs) {
	for range 20 {
		digest := putBlob(t, s, "contended")
		limit := time.Now().Add(time.Millisecond)
		for !time.Now().After(limit) {
			// Only a put that comes after the limit is protected.
		}
		all(t, 2, func(i int) error {
			if i == 0 {
				_, err := s.Put(t.Context(), strings.NewReader("contended"))
				return err
			}
			_, err := s.Sweep(t.Context(), func(whisk.Digest) bool { return false }, limit)
			return err
		})
		wantBlob(t, s, digest, "contended")
	}
}
