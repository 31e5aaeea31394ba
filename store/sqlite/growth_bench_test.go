// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/store/sqlite"
	"github.com/whirl-faas/whirl/whisk"
)

// recordOfMany is a record of one of 1,000 actions of a namespace that do nothing,
// one each millisecond.
func recordOfMany(n int64) whisk.Activation {
	record := noopRecord(n)
	record.Name = fmt.Sprint("action", n*7919%1000)
	return record
}

// storeOfMany opens a store of n records. BENCH_STORE names a directory
// where it stays for the next time, or for a server: to fill it takes a while.
func storeOfMany(b *testing.B, n int64) *sqlite.Activations {
	b.Helper()
	dir, kept := os.LookupEnv("BENCH_STORE")
	if !kept {
		dir = b.TempDir()
	}
	dir = filepath.Join(dir, strconv.FormatInt(n, 10))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	s, err := sqlite.OpenActivations(b.Context(), filepath.Join(dir, "activations.db"), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	there, err := s.CountActivations(b.Context(), whisk.ActivationQuery{Namespace: "guest"})
	if err != nil {
		b.Fatal(err)
	}
	const batch = 5000
	for i := int64(there); i < n; i += batch {
		putMany(b, s, i, min(batch, n-i))
	}
	return s
}

func putMany(b *testing.B, s *sqlite.Activations, from, n int64) {
	batch := make([]whisk.Activation, n)
	for i := range batch {
		batch[i] = recordOfMany(from + int64(i))
	}
	if err := s.PutActivations(b.Context(), batch); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkGrowth shows what becomes dearer with the records that are there.
func BenchmarkGrowth(b *testing.B) {
	for _, n := range []int64{10_000, 100_000, 1_000_000} {
		if n > 10_000 && testing.Short() {
			continue
		}
		b.Run(fmt.Sprint("records=", n), func(b *testing.B) {
			s := storeOfMany(b, n)
			half := recordOfMany(n / 2)
			for what, query := range map[string]whisk.ActivationQuery{
				"list/newest":          {Limit: 30},
				"list/upto":            {Limit: 30, Upto: half.Start},
				"list/name":            {Limit: 30, Name: half.Name, Package: new("")},
				"list/full":            {Limit: 30, Full: true},
				"list/skip=200":        {Limit: 30, Skip: 200},
				"list/noname":          {Limit: 30, Name: "nobody", Package: new("")},
				"list/noname, no pack": {Limit: 30, Name: "nobody"},
			} {
				query.Namespace = "guest"
				b.Run(what, func(b *testing.B) {
					measure(b, 1, func() {
						if _, err := s.ListActivations(b.Context(), query); err != nil {
							b.Fatal(err)
						}
					})
				})
			}
			for what, query := range map[string]whisk.ActivationQuery{"all": {}, "name": {Name: half.Name}, "since": {Since: half.Start}} {
				query.Namespace = "guest"
				b.Run("count/"+what, func(b *testing.B) {
					measure(b, 1, func() {
						if _, err := s.CountActivations(b.Context(), query); err != nil {
							b.Fatal(err)
						}
					})
				})
			}
			b.Run("get", func(b *testing.B) {
				i := int64(0)
				measure(b, 1, func() {
					i = (i + 7919) % n
					if _, err := s.Activation(b.Context(), "guest", recordOfMany(i).ID); err != nil {
						b.Fatal(err)
					}
				})
			})
			last := n
			b.Run("append/batch=30", func(b *testing.B) {
				measure(b, 30, func() {
					putMany(b, s, last, 30)
					last += 30
				})
			})
			b.Run("append beside expiry", func(b *testing.B) { last = appendBesideExpiry(b, s, last) })
		})
	}
}

// appendBesideExpiry appends batches of 30, in time with the recorder's, while
// retention removes what is old, as it does, and puts back as much as went.
func appendBesideExpiry(b *testing.B, s *sqlite.Activations, last int64) int64 {
	expired, stop := 0, make(chan struct{})
	var retention sync.WaitGroup
	retention.Go(func() {
		const atOnce = 2500
		before := recordOfMany(last).Start
		for {
			n, err := s.ExpireActivations(b.Context(), before, atOnce)
			expired += n
			if err != nil || n < atOnce {
				break
			}
			select {
			case <-time.After(20 * time.Millisecond):
				continue
			case <-stop:
			}
			break
		}
	})
	var took []time.Duration
	for b.Loop() {
		begin := time.Now()
		putMany(b, s, last, 30)
		took = append(took, time.Since(begin))
		last += 30
		time.Sleep(20 * time.Millisecond)
	}
	close(stop)
	retention.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
	b.ReportMetric(float64(expired)/b.Elapsed().Seconds(), "expired/s")
	return last
}
