// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// take draws what is due before an end.
func take(s schedule, end time.Duration) (all []time.Duration) {
	for at := range s {
		if at >= end {
			break
		}
		all = append(all, at)
	}
	return all
}

func TestSchedules(t *testing.T) {
	if got, want := take(pace{rate: 4, arrivals: Constant}.schedule(nil), time.Second), []time.Duration{0, 250 * time.Millisecond, 500 * time.Millisecond, 750 * time.Millisecond}; !slices.Equal(got, want) {
		t.Errorf("constant: got %v, want %v", got, want)
	}
	if got := take(constant(3), time.Hour); len(got) != 3*3600 {
		t.Errorf("constant: %d arrivals in an hour, want %d", len(got), 3*3600)
	}
	if got, want := take(pace{burst: 2, every: time.Second}.schedule(nil), 2*time.Second), []time.Duration{0, 0, time.Second, time.Second}; !slices.Equal(got, want) {
		t.Errorf("bursts: got %v, want %v", got, want)
	}
	draw := func(seed uint64) []time.Duration {
		return take(pace{rate: 100, arrivals: Poisson}.schedule(rand.New(rand.NewPCG(seed, 0))), 100*time.Second)
	}
	got := draw(1)
	if !slices.Equal(got, draw(1)) || slices.Equal(got, draw(2)) || !slices.IsSorted(got) {
		t.Error("poisson: arrivals do not depend on the seed alone, or are out of order")
	}
	// The number has mean and variance 10,000. The gaps' standard deviation is their mean.
	if math.Abs(float64(len(got))-10_000) > 4*100 {
		t.Errorf("poisson: %d arrivals, want about 10000", len(got))
	}
	var squares float64
	for i := 1; i < len(got); i++ {
		gap := (got[i] - got[i-1]).Seconds() - 0.01
		squares += gap * gap
	}
	if deviation := math.Sqrt(squares / float64(len(got))); math.Abs(deviation-0.01) > 0.001 {
		t.Errorf("poisson: gaps deviate by %v, want about 0.01", deviation)
	}
}

// server answers after a while, counts what it has under way, and stalls everything
// that arrives before an instant until then.
type server struct {
	takes   time.Duration
	stalls  time.Time
	verdict verdict

	mu                sync.Mutex
	now, most, served int
}

func (s *server) send(int) verdict {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	time.Sleep(max(s.takes, time.Until(s.stalls)))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
	s.served++
	return s.verdict
}

func TestOpenLoopDoesNotWaitForAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{takes: 250 * time.Millisecond}
		loop := openLoop{ctx: t.Context(), send: s.send, schedule: func() schedule { return constant(10) }, outstanding: 100, next: new(int)}
		sum := loop.round(10 * time.Second)
		if sum.good != 100 || sum.unsent != 0 || s.most != 3 {
			t.Errorf("%d answers, %d not sent, %d at once; want 100, 0 and 3", sum.good, sum.unsent, s.most)
		}
		if sum.took != 9900*time.Millisecond+s.takes {
			t.Errorf("took %v", sum.took)
		}
		if l := sum.times().latency(); l.Min.Round(time.Millisecond) != s.takes || l.Max.Round(time.Millisecond) != s.takes {
			t.Errorf("latencies %+v, want %v", l, s.takes)
		}
	})
}

// TestStallIsInTheLatencies has a server that answers nothing for a second: a
// closed loop sees one slow answer, but all callers who came then waited.
func TestStallIsInTheLatencies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{takes: time.Millisecond, stalls: time.Now().Add(time.Second)}
		loop := openLoop{ctx: t.Context(), send: s.send, schedule: func() schedule { return constant(100) }, outstanding: 1000, next: new(int)}
		open := loop.round(10 * time.Second).times().latency()
		// 100 of 1000 arrived during the stall, and waited for half of it on average.
		if near(open.P90, time.Millisecond) == near(open.P99, time.Millisecond) || !near(open.P99, 900*time.Millisecond) || !near(open.Mean, 51*time.Millisecond) {
			t.Errorf("open loop: %+v", open)
		}
		s.stalls = time.Now().Add(time.Second)
		closed := closedLoop{ctx: t.Context(), senders: []sender{s.send}, next: new(atomic.Int64)}.round(10 * time.Second).times().latency()
		if !near(closed.P999, time.Millisecond) || !near(closed.Max, time.Second) {
			t.Errorf("closed loop: %+v", closed)
		}
	})
}

// near allows for the histogram's three digits, and for an arrival more or less.
func near(got, want time.Duration) bool {
	return (got - want).Abs() <= want/50
}

func TestWhatIsNotSentIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{takes: 950 * time.Millisecond, verdict: verdict{cold: true}}
		loop := openLoop{ctx: t.Context(), send: s.send, schedule: func() schedule { return constant(10) }, outstanding: 4, next: new(int)}
		sum := loop.round(2 * time.Second)
		if sum.good+sum.unsent != 20 || sum.good != int64(s.served) || s.most != 4 || sum.cold != sum.good {
			t.Errorf("%d answers, %d not sent, %d at once", sum.good, sum.unsent, s.most)
		}
		if sum.unsent != 12 {
			t.Errorf("%d not sent, want 12: four are, each second", sum.unsent)
		}
	})
}

func TestOpenLoopEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		s := &server{takes: 100 * time.Millisecond}
		loop := openLoop{ctx: ctx, send: s.send, schedule: func() schedule { return constant(1) }, outstanding: 4, next: new(int)}
		start := time.Now()
		if sum := loop.round(time.Hour); sum.good != 3 || time.Since(start) != 2500*time.Millisecond {
			t.Errorf("%d answers in %v", sum.good, time.Since(start))
		}
	})
}

// TestTracesRunForWholeMilliseconds: actions are told no less, and their latencies are
// counted without what they were told.
func TestTracesRunForWholeMilliseconds(t *testing.T) {
	trace, err := ReadTrace(strings.NewReader("a,0.0001,1.9ms,128\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := trace.calls[0], (traced{at: 100 * time.Microsecond, ran: time.Millisecond}); got != want || string(sleepParameters(got.ran)) != `{"ms":1}` {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
