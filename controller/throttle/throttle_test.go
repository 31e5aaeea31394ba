// SPDX-License-Identifier: Apache-2.0

package throttle_test

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller/throttle"
	"github.com/whirl-faas/whirl/whisk"
)

func TestRateIsOfCalendarMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it begins at midnight
		rate := throttle.NewRate()
		take := func(namespace, want string) {
			t.Helper()
			got := ""
			if err := rate.Take(namespace, 2); err != nil {
				if got = err.Error(); whisk.KindOf(err) != whisk.Throttled {
					t.Errorf("%v is no throttle", err)
				}
			}
			if got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		time.Sleep(59 * time.Second)
		take("a", "")
		take("a", "")
		take("a", "Too many requests in the last minute (count: 3, allowed: 2).")
		take("a", "Too many requests in the last minute (count: 4, allowed: 2).")
		take("b", "")
		time.Sleep(time.Second)
		take("a", "")
		take("a", "")
		time.Sleep(59 * time.Second)
		take("a", "Too many requests in the last minute (count: 3, allowed: 2).")
	})
}

// TestManyCallsAroundTheMinute holds that each minute lets in what is allowed, with
// calls at work when it ends.
func TestManyCallsAroundTheMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rate := throttle.NewRate()
		time.Sleep(time.Minute - time.Millisecond)
		var mu sync.Mutex
		passed := map[int64]int{}
		var calls sync.WaitGroup
		for i := range 400 {
			calls.Go(func() {
				time.Sleep(time.Duration(i%20) * 100 * time.Microsecond)
				before := time.Now().Unix() / 60
				if rate.Take("a", 50) == nil {
					mu.Lock()
					defer mu.Unlock()
					passed[before]++
				}
			})
		}
		calls.Wait()
		if len(passed) != 2 {
			t.Fatalf("calls passed in %d minutes", len(passed))
		}
		for minute, n := range passed {
			if n != 50 {
				t.Errorf("%d calls passed in minute %d", n, minute)
			}
		}
	})
}

func TestNothingIsAllowed(t *testing.T) {
	if err := throttle.NewRate().Take("a", 0); err == nil {
		t.Error("a rate of 0 lets something pass")
	}
	if err := throttle.NewFlight().Enter("a", 0); err == nil {
		t.Error("a flight of 0 lets something pass")
	}
}

func TestFlight(t *testing.T) {
	flight := throttle.NewFlight()
	for range 3 {
		if err := flight.Enter("a", 3); err != nil {
			t.Fatal(err)
		}
	}
	const full = "Too many concurrent requests in flight (count: 3, allowed: 3)."
	if err := flight.Enter("a", 3); err == nil || err.Error() != full || whisk.KindOf(err) != whisk.Throttled {
		t.Errorf("%v, want %s", err, full)
	}
	if err := flight.Enter("b", 1); err != nil {
		t.Error(err)
	}
	flight.Join("a")
	flight.Leave("a")
	if err := flight.Enter("a", 3); err == nil {
		t.Error("what joined does not count")
	}
	flight.Leave("a")
	if err := flight.Enter("a", 3); err != nil {
		t.Errorf("a place that was left is not free: %v", err)
	}
}

func TestMoreLeaveThanEntered(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it went unnoticed")
		}
	}()
	throttle.NewFlight().Leave("a")
}

// TestConcurrentCalls holds that of many at once exactly as many as allowed pass.
func TestConcurrentCalls(t *testing.T) {
	rate, flight := throttle.NewRate(), throttle.NewFlight()
	var mu sync.Mutex
	passed, entered := 0, 0
	synctest.Test(t, func(t *testing.T) { // no minute ends
		var calls sync.WaitGroup
		for range 100 {
			calls.Go(func() {
				took, in := rate.Take("a", 30) == nil, flight.Enter("a", 40) == nil
				mu.Lock()
				defer mu.Unlock()
				if took {
					passed++
				}
				if in {
					entered++
				}
			})
		}
		calls.Wait()
	})
	if passed != 30 || entered != 40 {
		t.Errorf("%d took and %d entered, want 30 and 40", passed, entered)
	}
}

func TestShare(t *testing.T) {
	for _, test := range []struct{ allowed, controllers, want int }{
		{60, 0, 60}, {60, 1, 60}, {60, 2, 36}, {60, 3, 24}, {30, 2, 18}, {1, 5, 1}, {0, 3, 0}, {2, 2, 2},
		{math.MaxInt, 1, math.MaxInt},
	} {
		if got := throttle.Share(test.allowed, test.controllers); got != test.want {
			t.Errorf("Share(%d, %d) = %d, want %d", test.allowed, test.controllers, got, test.want)
		}
	}
}

// FuzzShare holds that controllers together let in what is allowed, and about a fifth more.
func FuzzShare(f *testing.F) {
	f.Add(60, 3)
	f.Add(math.MaxInt, 1000)
	f.Fuzz(func(t *testing.T, allowed, controllers int) {
		if allowed < 1 || controllers < 1 || controllers > 1000 {
			return
		}
		share := throttle.Share(allowed, controllers)
		if share < 1 || share > allowed {
			t.Fatalf("Share(%d, %d) = %d", allowed, controllers, share)
		}
		if allowed > math.MaxInt/2/controllers {
			return
		}
		if all := share * controllers; all < allowed || all > allowed+allowed/5+2*controllers {
			t.Errorf("%d controllers let in %d of %d", controllers, all, allowed)
		}
	})
}

func BenchmarkThrottles(b *testing.B) {
	rate, flight := throttle.NewRate(), throttle.NewFlight()
	namespaces := make([]string, 1000)
	for i := range namespaces {
		namespaces[i] = fmt.Sprintf("23bc46b1-71f6-4ed5-8c54-816aa4f8c%03d", i)
	}
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			namespace := namespaces[i%len(namespaces)]
			if rate.Take(namespace, math.MaxInt) != nil || flight.Enter(namespace, math.MaxInt) != nil {
				b.Error("refused")
			}
			flight.Leave(namespace)
		}
	})
}
