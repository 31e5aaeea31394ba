// SPDX-License-Identifier: Apache-2.0

// Package storetest holds the suites that every implementation of a store
// passes. They state what the contracts in package whisk mean, through the
// contracts alone, so that what passes may take the place of any other that does.
//
// A test of an implementation is three lines:
//
//	func TestEntities(t *testing.T) {
//		storetest.Entities(t, func(t *testing.T, place string) *sqlite.Entities { ... })
//	}
//
// The suites print the seed of what they do at random. They start no goroutines
// that outlive them.
//
// docs/architecture.md says which stores there are.
package storetest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Opener opens the store that lives at a place. A place is the path of an empty
// directory, or may be taken as a unique name. Opened again after it was closed,
// the same place holds the same data. The suite closes what it opens.
type Opener[S io.Closer] func(t *testing.T, place string) S

// fresh opens a store at a place of its own.
func (open Opener[S]) fresh(t *testing.T) S {
	t.Helper()
	return open.at(t, t.TempDir())
}

// at opens the store at a place and closes it when the test ends.
func (open Opener[S]) at(t *testing.T, place string) S {
	t.Helper()
	store := open(t, place)
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return store
}

// seeded returns a random source and logs its seed.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// atMilli is a time some milliseconds after a fixed one.
func atMilli(n int) time.Time {
	return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Millisecond)
}

// activationID is the n-th of a series of ids that sort as their numbers do.
func activationID(n int) whisk.ActivationID { return whisk.ActivationID(fmt.Sprintf("%032x", n)) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mustBe fails the test unless err has the kind.
func mustBe(t *testing.T, err error, kind whisk.Kind) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one of kind %q", kind)
	}
	if got := whisk.KindOf(err); got != kind {
		t.Fatalf("error %q has kind %q, want %q", err, got, kind)
	}
}

// race calls attempt n times at once and returns how many succeeded. The others
// must fail with Conflict.
func race(t *testing.T, n int, attempt func(i int) error) int {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = attempt(i) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		mustBe(t, err, whisk.Conflict)
	}
	return won
}

// all runs attempt n times at once and fails the test for every error.
func all(t *testing.T, n int, attempt func(i int) error) {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = attempt(i) })
	}
	wg.Wait()
	must(t, errors.Join(errs...))
}
