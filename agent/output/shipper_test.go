// SPDX-License-Identifier: Apache-2.0

package output_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
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
	shipper = output.NewShipper(config, s, slog.New(slog.DiscardHandler))
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

func TestShipAgainWhileTheStoreIsUnavailable(t *testing.T) {
	for down, ok := range map[time.Duration]bool{5 * time.Second: true, time.Minute: false} {
		synctest.Test(t, func(t *testing.T) {
			up := time.Now().Add(down)
			s := &store{fail: func([]whisk.LogEntry) error {
				if time.Now().Before(up) {
					return whisk.Errorf(whisk.Unavailable, "locked")
				}
				return nil
			}}
			shipper, _ := ship(t, s, nil)
			began := time.Now()
			err := shipper.Ship(t.Context(), entry(1), 1)
			if took := time.Since(began); (err == nil) != ok || took > 11*time.Second || took < 5*time.Second {
				t.Errorf("down for %v: %v after %v", down, err, took)
			}
			if !ok && whisk.KindOf(err) != whisk.Unavailable {
				t.Errorf("kind %v", whisk.KindOf(err))
			}
		})
	}
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
