// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/controller/recorder"
	"github.com/whirl-faas/whirl/whisk"
)

func start(t *testing.T, store *controllertest.Store, configure func(*recorder.Config)) (r *recorder.Recorder, stop func() error) {
	config := recorder.Default()
	if configure != nil {
		configure(&config)
	}
	if err := config.Validate(); err != nil {
		t.Fatal(err)
	}
	r = recorder.New(config, store, store, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return r, func() error {
		cancel()
		return <-done
	}
}

// put brings one record all the way.
func put(t testing.TB, r *recorder.Recorder, id int, accepted bool) {
	t.Helper()
	slot, err := r.Reserve(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	slot.Announce(&whisk.Activation{ID: whisk.ActivationID(fmt.Sprint(id)), Namespace: "ns"}, accepted)
	slot.Write()
}

func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore()
		r, stop := start(t, store, func(c *recorder.Config) { c.Batch = 100 })
		synctest.Wait()
		for i := range 250 {
			put(t, r, i, false)
		}
		synctest.Wait()
		if n, batches := len(store.Records()), store.Calls("PutActivations"); n != 200 || batches != 2 {
			t.Errorf("at once %d records in %d batches, want the 2 full ones", n, batches)
		}
		time.Sleep(recorder.Default().Linger)
		synctest.Wait()
		if n, batches := len(store.Records()), store.Calls("PutActivations"); n != 250 || batches != 3 {
			t.Errorf("after lingering %d records in %d batches", n, batches)
		}
		put(t, r, 1000, false)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if n := len(store.Records()); n != 251 || r.Pending() != 0 {
			t.Errorf("%d records stored and %d pending in the end", n, r.Pending())
		}
	})
}

func TestOneBadRecordDoesNotHoldUpTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore()
		bad := &refusing{Store: store, id: "3"}
		for id := range 5 {
			if err := store.Accept(t.Context(), whisk.Accepted{Activation: whisk.ActivationID(fmt.Sprint(id))}); err != nil {
				t.Fatal(err)
			}
		}
		r := recorder.New(recorder.Default(), bad, store, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		for id := range 5 {
			put(t, r, id, true)
		}
		time.Sleep(10 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := len(store.Records()); n != 4 {
			t.Errorf("%d records, want all but the bad one", n)
		}
		if queued := store.Queued(); len(queued) != 1 || queued[0].Activation != "3" {
			t.Errorf("queue %v, want the entry without a record", queued)
		}
	})
}

// refusing stores nothing that contains one id.
type refusing struct {
	*controllertest.Store
	id whisk.ActivationID
}

func (s *refusing) PutActivations(ctx context.Context, records []whisk.Activation) error {
	for _, record := range records {
		if record.ID == s.id {
			return whisk.Errorf(whisk.Internal, "cannot be encoded")
		}
	}
	return s.Store.PutActivations(ctx, records)
}

func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore()
		var down atomic.Bool
		down.Store(true)
		store.SetFault(func(op string, _ bool) error {
			if down.Load() {
				return whisk.Errorf(whisk.Unavailable, "disk full")
			}
			return nil
		})
		r, stop := start(t, store, nil)
		for id := range 3 {
			put(t, r, id, id == 1)
		}
		time.Sleep(time.Hour)
		if n := store.Calls("PutActivations"); n < 1000 || n > 3000 {
			t.Errorf("%d tries in an hour", n)
		}
		down.Store(false)
		time.Sleep(5 * time.Second)
		if n := len(store.Records()); n != 3 {
			t.Errorf("%d records after the outage", n)
		}
		down.Store(true)
		put(t, r, 9, false)
		begin := time.Now()
		if err := stop(); whisk.KindOf(err) != whisk.Unavailable || !strings.HasPrefix(err.Error(), "1 activation records") {
			t.Errorf("stopped in an outage: %v", err)
		}
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("gave up after %v, want the flush timeout", took)
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore()
		r, stop := start(t, store, func(c *recorder.Config) { c.Memory = 10 })
		first, err := r.Reserve(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := first.Expect(t.Context(), 6); err != nil {
			t.Fatal(err)
		}
		second, err := r.Reserve(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		patience, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := second.Expect(patience, 6); whisk.KindOf(err) != whisk.Unavailable {
			t.Errorf("6 bytes beside 6 of 10: %v", err)
		}
		var wait sync.WaitGroup
		wait.Go(func() {
			if err := second.Expect(t.Context(), 6); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		first.Announce(&whisk.Activation{ID: "1", Response: whisk.Response{Result: []byte("{}")}}, false)
		wait.Wait() // the four bytes that the first did not need are enough
		second.Release()
		first.Write()
		synctest.Wait()
		third, err := r.Reserve(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := third.Expect(t.Context(), 1000); err != nil { // more than there is counts as all there is
			t.Fatal(err)
		}
		fourth, err := r.Reserve(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if fourth.TryExpect(1) {
			t.Error("1 byte beside all there is")
		}
		third.Forgo()
		if !fourth.TryExpect(10) {
			t.Error("what was forgone is not there")
		}
		fourth.Release()
		third.Release()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore()
		r, stop := start(t, store, nil)
		var slots []*recorder.Slot
		for i, namespace := range []string{"ns", "ns", "other"} {
			slot, err := r.Reserve(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			slot.Announce(&whisk.Activation{ID: whisk.ActivationID(rune('1' + i)), Namespace: namespace}, false)
			slots = append(slots, slot)
		}
		settle := func(namespace string) time.Duration {
			begin := time.Now()
			patience, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			r.Settle(patience, namespace)
			return time.Since(begin)
		}
		if took := settle("ns"); took != time.Second {
			t.Errorf("settled after %v while records were not even written", took)
		}
		slots[0].Write()
		slots[1].Drop()
		stored := func() int {
			n, err := store.CountActivations(t.Context(), whisk.ActivationQuery{Namespace: "ns"})
			if err != nil {
				t.Error(err)
			}
			return n
		}
		if took := settle("ns"); took >= time.Second || stored() != 1 {
			t.Errorf("settled after %v with %d records", took, stored())
		}
		if took := settle("nobody"); took != 0 {
			t.Errorf("waited %v for nothing", took)
		}
		slots[2].Write()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestFind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore()
		r, stop := start(t, store, nil)
		slot, err := r.Reserve(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		slot.Announce(&whisk.Activation{ID: "1", Namespace: "ns"}, false)
		if _, found := r.Find(t.Context(), "other", "1"); found {
			t.Error("found in another namespace")
		}
		patience, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if record, found := r.Find(patience, "ns", "1"); !found || record.ID != "1" || time.Since(begin) != time.Second {
			t.Errorf("found %v after %v, want it when patience is over", found, time.Since(begin))
		}
		var wait sync.WaitGroup
		for range 3 {
			wait.Go(func() {
				if _, found := r.Find(t.Context(), "ns", "1"); !found {
					t.Error("not found")
				}
			})
		}
		synctest.Wait()
		slot.Write()
		wait.Wait()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if _, found := r.Find(t.Context(), "ns", "1"); found {
			t.Error("found here after it was stored")
		}
	})
}

func TestOneIDInTwoNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore()
		r, stop := start(t, store, nil)
		announce := func(namespace string) *recorder.Slot {
			slot, err := r.Reserve(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			slot.Announce(&whisk.Activation{ID: "1", Namespace: namespace}, false)
			return slot
		}
		announce("a").Write()
		other := announce("b")
		if record, found := r.Find(t.Context(), "a", "1"); !found || record.Namespace != "a" {
			t.Errorf("%v %+v, want the one of a", found, record)
		}
		r.Settle(t.Context(), "a")
		if r.Holds("a", "1") || !r.Holds("b", "1") || r.Pending() != 1 {
			t.Error("stored that of a: want that of b to be pending")
		}
		other.Write()
		if err := stop(); err != nil {
			t.Error(err)
		}
		for _, namespace := range []string{"a", "b"} {
			if _, err := store.Activation(context.Background(), namespace, "1"); err != nil {
				t.Errorf("that of %s: %v", namespace, err)
			}
		}
	})
}

// TestManyNamespaces has namespaces come and go with records by the dozen, which all
// must be found until they are stored.
func TestManyNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := start(t, controllertest.NewStore(), nil)
		random := rand.New(rand.NewPCG(1, 2))
		type open struct {
			slot *recorder.Slot
			id   whisk.ActivationID
			of   string
		}
		var all []open
		for i := range 3000 {
			slot, err := r.Reserve(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			one := open{slot, whisk.ActivationID(fmt.Sprint(i)), fmt.Sprint("namespace", random.IntN(1+i/10))}
			slot.Announce(&whisk.Activation{ID: one.id, Namespace: one.of}, false)
			all = append(all, one)
			if i%100 > 0 {
				continue
			}
			random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			for _, one := range all[len(all)/4:] {
				if !r.Holds(one.of, one.id) || r.Holds("nobody", one.id) {
					t.Fatalf("activation %s of %s is announced, and not where it should be", one.id, one.of)
				}
				one.slot.Write()
			}
			all = all[:len(all)/4]
			time.Sleep(time.Second)
			if n := r.Pending(); n != len(all) {
				t.Fatalf("%d records pending, want %d", n, len(all))
			}
		}
		for _, one := range all {
			one.slot.Write()
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if n := r.Pending(); n != 0 {
			t.Errorf("%d records pending in the end", n)
		}
	})
}
