// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/store/sqlite"
	"github.com/whirl-faas/whirl/whisk"
)

// cpu returns the processor time that this process has used. Unlike wall time it
// tells the same on a busy machine.
func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// measure runs the benchmark's loop and reports allocations, and rate and CPU per unit of work.
func measure(b *testing.B, perLoop int, loop func()) {
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		loop()
	}
	units := float64(b.N * perLoop)
	b.ReportMetric(float64(cpu(b)-before)/units/1000, "cpu-µs/unit")
	b.ReportMetric(units/b.Elapsed().Seconds(), "units/s")
}

func id(n int64) whisk.ActivationID { return whisk.ActivationID(fmt.Sprintf("%032x", n)) }

func benchDocument(n int64) whisk.Document {
	return whisk.Document{
		Collection: whisk.Actions,
		Name:       whisk.FullName{Namespace: fmt.Sprint("ns", n%50), Name: fmt.Sprint("action", n)},
		Updated:    time.UnixMilli(n),
		Summary:    json.RawMessage(`{"summary":"` + strings.Repeat("x", 200) + `"}`),
		Body:       json.RawMessage(`{"body":"` + strings.Repeat("x", 800) + `"}`),
	}
}

// recordID is a UUID of version 7 that was made at that time; n tells it from others.
func recordID(milli, n int64) whisk.ActivationID {
	return whisk.ActivationID(fmt.Sprintf("%012x7%03x8%015x", milli, n&0xfff, uint64(n)*0x9e3779b97f4a7c15>>4))
}

// benchRecord is about 1.3 KB, over 50 namespaces and 20 actions, as in docs/dependencies.md.
func benchRecord(n int64) whisk.Activation {
	return whisk.Activation{
		ID: recordID(1_700_000_000_000+n, n), Namespace: fmt.Sprint("namespace", n*31%50), Subject: "some-subject", Name: fmt.Sprint("action", n/50%20),
		Version: whisk.FirstVersion, Start: time.UnixMilli(1_700_000_000_000 + n), End: time.UnixMilli(1_700_000_000_009 + n), Duration: 9 * time.Millisecond,
		Response: whisk.Response{Result: json.RawMessage(`{"result":"` + strings.Repeat("x", 700) + `"}`), Size: 715},
		Annotations: whisk.Parameters{
			{Key: "path", Value: json.RawMessage(`"namespace/action"`)},
			{Key: "kind", Value: json.RawMessage(`"nodejs:20"`)},
			{Key: "timeout", Value: json.RawMessage(`false`)},
			{Key: "limits", Value: json.RawMessage(`{"concurrency":1,"logs":10,"memory":256,"timeout":60000}`)},
			{Key: "waitTime", Value: json.RawMessage(`3`)},
		},
	}
}

func BenchmarkPut(b *testing.B) {
	s := openEntitiesB(b)
	var n int64
	measure(b, 1, func() {
		n++
		if _, err := s.Put(b.Context(), benchDocument(n)); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkGet(b *testing.B) {
	s := openEntitiesB(b)
	doc := benchDocument(1)
	if _, err := s.Put(b.Context(), doc); err != nil {
		b.Fatal(err)
	}
	measure(b, 1, func() {
		if _, err := s.Get(b.Context(), doc.Name); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkAccept puts entries into the queue, and claims and completes them
// where it says so, from one or many callers at once.
func BenchmarkAccept(b *testing.B) {
	for _, callers := range []int{1, 10, 64} {
		for _, whole := range []bool{false, true} {
			stages := "accept"
			if whole {
				stages = "accept-claim-complete"
			}
			b.Run(fmt.Sprintf("%s/callers=%d", stages, callers), func(b *testing.B) {
				s := openEntitiesB(b)
				var last atomic.Int64
				measure(b, 64, func() {
					var wg sync.WaitGroup
					for range callers {
						wg.Go(func() {
							for range 64 / callers {
								throughQueue(b, s, id(last.Add(1)), whole)
							}
						})
					}
					wg.Wait()
				})
			})
		}
	}
}

func throughQueue(b *testing.B, s *sqlite.Entities, id whisk.ActivationID, whole bool) {
	body := json.RawMessage(`{"body":"` + strings.Repeat("x", 500) + `"}`)
	err := s.Accept(b.Context(), whisk.Accepted{Activation: id, Namespace: "guest", At: time.Now(), Body: body})
	if err == nil && whole {
		err = s.Claim(b.Context(), id, "controller")
	}
	if err == nil && whole {
		err = s.Complete(b.Context(), []whisk.ActivationID{id})
	}
	if err != nil {
		b.Error(err)
	}
}

// noopRecord is a record of one action that does nothing.
func noopRecord(n int64) whisk.Activation {
	record := benchRecord(n)
	record.Namespace, record.Name, record.Response = "guest", "noop", whisk.Response{Result: json.RawMessage(`{"ok":true}`), Size: 11}
	return record
}

// hundredRecord is a record of one of 100 actions in turns that do nothing.
func hundredRecord(n int64) whisk.Activation {
	record := noopRecord(n)
	record.Name = fmt.Sprint("noop", n%100)
	return record
}

// BenchmarkPutActivations has records of 1,000 actions in 50 namespaces, which is
// the worst for blocks, of 100 in one, and of one. What makes the records is measured apart.
func BenchmarkPutActivations(b *testing.B) {
	for what, record := range map[string]func(int64) whisk.Activation{"many": benchRecord, "hundred": hundredRecord, "one": noopRecord} {
		for _, size := range []int{1, 30, 100, 1000} {
			b.Run(fmt.Sprintf("actions=%s/batch=%d", what, size), func(b *testing.B) {
				s := openActivationsB(b)
				var n int64
				batch := make([]whisk.Activation, size)
				var made time.Duration
				measure(b, size, func() {
					before := cpu(b)
					for i := range batch {
						n++
						batch[i] = record(n)
					}
					made += cpu(b) - before
					if err := s.PutActivations(b.Context(), batch); err != nil {
						b.Fatal(err)
					}
				})
				b.ReportMetric(float64(made)/float64(b.N*size)/1000, "of-it-the-test's")
			})
		}
	}
}

func BenchmarkGetActivation(b *testing.B) {
	s := openActivationsB(b)
	fillActivations(b, s, 20_000)
	var n int64
	measure(b, 1, func() {
		n = (n + 7919) % 20_000
		record := benchRecord(n)
		if _, err := s.Activation(b.Context(), record.Namespace, record.ID); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkListActivations(b *testing.B) {
	s := openActivationsB(b)
	fillActivations(b, s, 20_000)
	for _, test := range []struct {
		what  string
		query whisk.ActivationQuery
	}{
		{"namespace", whisk.ActivationQuery{Namespace: "namespace7", Limit: 30}},
		{"name", whisk.ActivationQuery{Namespace: "namespace7", Name: "action7", Limit: 30}},
		{"full", whisk.ActivationQuery{Namespace: "namespace7", Limit: 30, Full: true}},
	} {
		b.Run(test.what, func(b *testing.B) {
			measure(b, 1, func() {
				if _, err := s.ListActivations(b.Context(), test.query); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
	b.Run("count", func(b *testing.B) {
		measure(b, 1, func() {
			if _, err := s.CountActivations(b.Context(), whisk.ActivationQuery{Namespace: "namespace7"}); err != nil {
				b.Fatal(err)
			}
		})
	})
}

func BenchmarkExpireActivations(b *testing.B) {
	for what, record := range map[string]func(int64) whisk.Activation{"many": benchRecord, "hundred": hundredRecord, "one": noopRecord} {
		b.Run("actions="+what, func(b *testing.B) {
			s := openActivationsB(b)
			const batch = 1000
			var used time.Duration
			for b.Loop() {
				b.StopTimer()
				fillWith(b, s, batch, record)
				b.StartTimer()
				before := cpu(b)
				n, err := s.ExpireActivations(b.Context(), time.Now().Add(time.Hour), batch)
				if err != nil || n != batch {
					b.Fatal(n, err)
				}
				used += cpu(b) - before
			}
			b.ReportMetric(float64(used)/float64(b.N*batch)/1000, "cpu-µs/unit")
		})
	}
}

func fillActivations(b *testing.B, s *sqlite.Activations, n int64) { fillWith(b, s, n, benchRecord) }

func fillWith(b *testing.B, s *sqlite.Activations, n int64, record func(int64) whisk.Activation) {
	var batch []whisk.Activation
	for i := range n {
		batch = append(batch, record(i))
		if len(batch) == 1000 {
			if err := s.PutActivations(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
}

func openEntitiesB(b *testing.B) *sqlite.Entities {
	s, err := sqlite.OpenEntities(b.Context(), b.TempDir()+"/entities.db")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

func openActivationsB(b *testing.B) *sqlite.Activations {
	s, err := sqlite.OpenActivations(b.Context(), b.TempDir()+"/activations.db", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}
