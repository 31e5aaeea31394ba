// SPDX-License-Identifier: Apache-2.0

package output_test

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/agent/output"
	"github.com/whirl-faas/whirl/whisk"
)

// store is a log store that takes its time and fails when told to.
type store struct {
	delay time.Duration
	fail  func(entries []whisk.LogEntry) error

	said strings.Builder // by the shipper to its log, in its one goroutine

	mu      sync.Mutex
	batches []int
	stored  []whisk.ActivationID
}

func (s *store) AppendLogs(_ context.Context, entries []whisk.LogEntry) error {
	<-time.After(s.delay)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(entries); err != nil {
			return err
		}
	}
	s.batches = append(s.batches, len(entries))
	for _, e := range entries {
		s.stored = append(s.stored, e.Activation)
	}
	return nil
}

func (*store) Logs(context.Context, string, whisk.ActivationID) ([]string, error) { return nil, nil }
func (*store) ExpireLogs(context.Context, time.Time, int) (int, error)            { return 0, nil }

// ship starts a shipper; end stops it and waits.
func ship(t *testing.T, s *store, change func(*output.ShipperConfig)) (shipper *output.Shipper, end func()) {
	config := output.DefaultShipper()
	if change != nil {
		change(&config)
	}
	shipper = output.NewShipper(config, s, slog.New(slog.NewTextHandler(&s.said, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { shipper.Run(ctx) })
	end = func() { cancel(); running.Wait() }
	t.Cleanup(end)
	return shipper, end
}

func entry(i int) whisk.LogEntry {
	return whisk.LogEntry{Activation: whisk.ActivationID(fmt.Sprint(i)), Lines: []string{"x"}}
}

// shipAll ships n entries at once and returns their errors.
func shipAll(ctx context.Context, shipper *output.Shipper, n int, size whisk.Bytes) []error {
	errs := make([]error, n)
	var shipping sync.WaitGroup
	for i := range n {
		shipping.Go(func() { errs[i] = shipper.Ship(ctx, entry(i), size) })
	}
	shipping.Wait()
	return errs
}

func TestShipInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{delay: 5 * time.Millisecond}
		shipper, _ := ship(t, s, func(c *output.ShipperConfig) { c.Batch = 100 })
		for i, err := range shipAll(t.Context(), shipper, 250, 10) {
			if err != nil {
				t.Errorf("entry %d: %v", i, err)
			}
		}
		if !slices.Equal(s.batches, []int{100, 100, 50}) {
			t.Errorf("batches %v", s.batches)
		}
		began := time.Now()
		if err := shipper.Ship(t.Context(), entry(1000), 1); err != nil || time.Since(began) > 10*time.Millisecond {
			t.Errorf("a lone entry took %v: %v", time.Since(began), err)
		}
	})
}

func TestShipBoundsMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{delay: time.Second}
		shipper, _ := ship(t, s, func(c *output.ShipperConfig) { c.Memory, c.BatchBytes = 100, 40 })
		began := time.Now()
		for _, err := range shipAll(t.Context(), shipper, 8, 40) {
			if err != nil {
				t.Error(err)
			}
		}
		if !slices.Equal(s.batches, []int{1, 1, 1, 1, 1, 1, 1, 1}) || time.Since(began) < 8*time.Second {
			t.Errorf("batches %v in %v", s.batches, time.Since(began))
		}
		// More than all of it still goes.
		if err := shipper.Ship(t.Context(), entry(9), 1000); err != nil {
			t.Error(err)
		}
	})
}

// outage has the store be away for a time from now on.
func (s *store) outage(kind whisk.Kind, length time.Duration) {
	back := time.Now().Add(length)
	s.fail = func([]whisk.LogEntry) error {
		if time.Now().Before(back) {
			return whisk.Errorf(kind, "out of order")
		}
		return nil
	}
}

func TestAMomentsOutageGoesUnnoticed(t *testing.T) {
	for _, kind := range []whisk.Kind{whisk.Unavailable, whisk.Timeout} {
		synctest.Test(t, func(t *testing.T) {
			s := &store{}
			s.outage(kind, 500*time.Millisecond)
			shipper, _ := ship(t, s, nil)
			for i, err := range shipAll(t.Context(), shipper, 3, 1) {
				if err != nil {
					t.Errorf("entry %d: %v", i, err)
				}
			}
			if got := shipper.Standing(); got != (output.Standing{Stored: 3}) {
				t.Errorf("it stands at %+v", got)
			}
		})
	}
}

// TestAnOutageKeepsLogs has the store away for minutes: nobody waits for it, and
// it gets all that was shipped, in order.
func TestAnOutageKeepsLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		s.outage(whisk.Unavailable, 5*time.Minute)
		shipper, _ := ship(t, s, func(c *output.ShipperConfig) { c.Batch = 10 })
		began := time.Now()
		for i := range 35 {
			err := shipper.Ship(t.Context(), entry(i), 1)
			if err == nil || whisk.KindOf(err) != whisk.Unavailable || !strings.Contains(err.Error(), "kept until its store is back: out of order") {
				t.Errorf("entry %d: %v", i, err)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("entry %d waited until %v", i, took)
			}
		}
		if got := shipper.Standing(); got.Waiting != 35 || got.Bytes < 35 || got.Dropped != 0 || got.Away != "out of order" {
			t.Errorf("it stands at %+v", got)
		}
		<-time.After(5*time.Minute + 2*time.Second)
		if got := shipper.Standing(); got != (output.Standing{Stored: 35}) {
			t.Errorf("afterwards it stands at %+v", got)
		}
		for i, id := range s.stored {
			if id != entry(i).Activation {
				t.Errorf("entry %s was stored in place %d", id, i)
			}
		}
		if err := shipper.Ship(t.Context(), entry(35), 1); err != nil {
			t.Error(err)
		}
		for _, word := range []string{"log store away", "out of order", "log store is back"} {
			if strings.Count(s.said.String(), word) != 1 {
				t.Errorf("%q is not there once in\n%s", word, &s.said)
			}
		}
	})
}

// TestAnOutageKeepsNoMoreThanItMay has more shipped than there is memory for. Who
// waits for room when the outage is noticed must not go on to wait.
func TestAnOutageKeepsNoMoreThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		s.outage(whisk.Unavailable, time.Minute)
		shipper, _ := ship(t, s, func(c *output.ShipperConfig) { c.Memory = 10_000 })
		began := time.Now()
		kept, dropped := 0, 0
		for _, err := range append(shipAll(t.Context(), shipper, 8, 3000), shipAll(t.Context(), shipper, 8, 3000)...) {
			switch {
			case err != nil && strings.Contains(err.Error(), "the log is kept"):
				kept++
			case err != nil && strings.Contains(err.Error(), "the log is dropped") && whisk.KindOf(err) == whisk.Unavailable:
				dropped++
			default:
				t.Errorf("got %v", err)
			}
		}
		if took := time.Since(began); kept != 2 || dropped != 14 || took > 2*time.Second {
			t.Errorf("%d are kept and %d dropped after %v, want 2 and 14 soon", kept, dropped, took)
		}
		<-time.After(time.Minute + 2*time.Second)
		if got := shipper.Standing(); got != (output.Standing{Stored: 2, Dropped: 14}) {
			t.Errorf("it stands at %+v", got)
		}
		told := 0
		for _, n := range regexp.MustCompile(`want of room" entries=(\d+)`).FindAllStringSubmatch(s.said.String(), -1) {
			count, err := strconv.Atoi(n[1])
			if told += count; err != nil {
				t.Error(err)
			}
		}
		if told != 14 {
			t.Errorf("%d were told to be dropped in\n%s", told, &s.said)
		}
	})
}

// TestAnOutageKeepsNothingForEver has entries of different ages.
func TestAnOutageKeepsNothingForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		s.outage(whisk.Timeout, 25*time.Minute)
		shipper, _ := ship(t, s, nil)
		for i := range 25 { // the last one in the 24th minute
			if err := shipper.Ship(t.Context(), entry(i), 1); err == nil {
				t.Errorf("entry %d is stored", i)
			}
			<-time.After(time.Minute)
		}
		<-time.After(time.Minute)
		if got := shipper.Standing(); got.Waiting != 0 || got.Stored < 9 || got.Stored > 10 || got.Dropped != 25-got.Stored || len(s.stored) == 0 || s.stored[len(s.stored)-1] != "24" {
			t.Errorf("it stands at %+v, and stored %v", got, s.stored)
		}
	})
}

// TestTheEndOfAnOutagesShipper ends it while much is kept: that takes one more try.
func TestTheEndOfAnOutagesShipper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{delay: time.Second}
		s.outage(whisk.Unavailable, time.Hour)
		shipper, end := ship(t, s, func(c *output.ShipperConfig) { c.Batch = 2 })
		shipAll(t.Context(), shipper, 50, 1)
		began := time.Now()
		end()
		if took, got := time.Since(began), shipper.Standing(); took > 3*time.Second || got.Waiting != 0 || got.Dropped != 50 {
			t.Errorf("it took %v, and stands at %+v", took, got)
		}
	})
}

func TestABadEntryFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{fail: func(entries []whisk.LogEntry) error {
			if slices.ContainsFunc(entries, func(e whisk.LogEntry) bool { return e.Activation == "3" }) {
				return whisk.Errorf(whisk.Internal, "cannot store this")
			}
			return nil
		}}
		shipper, _ := ship(t, s, nil)
		for i, err := range shipAll(t.Context(), shipper, 6, 1) {
			if (err != nil) != (i == 3) {
				t.Errorf("entry %d: %v", i, err)
			}
		}
		if len(s.stored) != 5 {
			t.Errorf("stored %v", s.stored)
		}
	})
}

func TestTheEndStoresWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{delay: time.Second}
		shipper, end := ship(t, s, func(c *output.ShipperConfig) { c.Batch = 2 })
		result := make(chan []error)
		go func() { result <- shipAll(t.Context(), shipper, 9, 1) }()
		synctest.Wait()
		end()
		for i, err := range <-result {
			if err != nil {
				t.Errorf("entry %d: %v", i, err)
			}
		}
		if err := shipper.Ship(t.Context(), entry(10), 1); err == nil || !strings.Contains(err.Error(), "ended") {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestShipGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shipper, _ := ship(t, &store{delay: time.Minute}, func(c *output.ShipperConfig) { c.Memory = 2 })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for i, err := range shipAll(ctx, shipper, 4, 1) {
			if whisk.KindOf(err) != whisk.Unavailable {
				t.Errorf("entry %d: %v", i, err)
			}
		}
	})
}
