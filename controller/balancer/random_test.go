// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/whisk"
)

// TestRandomHistories runs seeded histories of bursts, slow creations, crashes,
// reclaims, failing pauses and broken sessions, and checks what must hold in
// each: no container runs more at once than it may, none is initialised twice,
// no activation is started twice, each has exactly one outcome in time, and
// nothing is left at the end.
func TestRandomHistories(t *testing.T) {
	first := uint64(time.Now().UnixNano())
	for i := range uint64(40) {
		seed := first + i
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomHistory(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func randomHistory(t *testing.T, random *rand.Rand) {
	var mu sync.Mutex // of random and starts: the parts of the world run at once
	chance := func(percent int) bool {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(100) < percent
	}
	upTo := func(d time.Duration) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(random.Int64N(int64(d)))
	}
	number := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(n)
	}
	starts := map[string]int{}

	w := newWorld(t)
	concurrency := 1 + number(3)
	w.createDelay = 1 + upTo(2*time.Second)
	w.capacity = 3 + number(10)
	w.prepare = func(x *box) {
		if chance(30) {
			x.refusing = true
			time.AfterFunc(upTo(time.Second), func() {
				x.mu.Lock()
				defer x.mu.Unlock()
				x.refusing = x.dead
			})
		}
		if chance(10) {
			x.suspendErr = errors.New("no freezer")
		}
		if chance(10) {
			x.resumeErr = whisk.ErrStaysFrozen
		}
	}
	w.handle = func(x *box, path string, body []byte) answer {
		took := upTo(400 * time.Millisecond)
		if path == "/init" {
			if chance(5) {
				return answer{raw: status(502, `{"error":"init"}`).raw, after: took}
			}
			return answer{raw: ok(`{}`).raw, after: took}
		}
		if chance(2) {
			return status(503, "") // turned away: not a start
		}
		mu.Lock()
		starts[string(body)]++
		mu.Unlock()
		switch {
		case chance(3):
			return answer{drop: true, after: took}
		case chance(3):
			return answer{raw: status(500, `{"error":"x"}`).raw, after: took}
		case chance(5):
			return answer{raw: ok(`{"error":"x"}`).raw, after: took}
		case chance(1):
			return answer{hang: true}
		}
		return answer{raw: ok(`{}`).raw, after: took}
	}
	w.start(func(c *balancer.Config) { c.PauseGrace = 500 * time.Millisecond; c.IdleTimeout = 5 * time.Second })

	var wg sync.WaitGroup
	for burst := range 20 {
		for i := range number(15) {
			id := fmt.Sprintf("a%d-%d", burst, i)
			inv := invocation(named(id))
			inv.Limits.Timeout = 5 * time.Second
			inv.Limits.Concurrency = concurrency
			inv.Key.Revision = whisk.Revision(1 + number(2))
			inv.StartBy = time.Now().Add(20 * time.Second)
			inv.Prepare = func(context.Context) { time.Sleep(upTo(100 * time.Millisecond)) }
			invoke := []func(*whisk.Invocation) (whisk.Outcome, error){w.invokeAny, w.tryAny, w.admitAny}[number(3)]
			wg.Go(func() { checkOne(t, inv, invoke) })
		}
		wg.Go(func() { disturb(w, chance) })
		time.Sleep(upTo(1500 * time.Millisecond))
	}
	wg.Wait()
	mu.Lock()
	for id, n := range starts {
		if n > 1 {
			t.Errorf("%s was started %d times", id, n)
		}
	}
	mu.Unlock()
	for _, x := range w.all() {
		if int(x.most.Load()) > concurrency || x.inits.Load() > 1 {
			t.Errorf("%s: %d at once of %d, %d inits", x.ID, x.most.Load(), concurrency, x.inits.Load())
		}
	}
	time.Sleep(3 * time.Minute)
	if s := w.b.Snapshot(); s.Inflight+s.Waiting+s.Containers+s.Requisitions+len(s.Actions) != 0 || s.WaitingBytes != 0 {
		t.Errorf("left over: %+v", s)
	}
}

// invokeAny, tryAny and admitAny are the ways in which a controller has an activation run.
func (w *world) invokeAny(inv *whisk.Invocation) (whisk.Outcome, error) {
	return w.b.Invoke(context.Background(), inv)
}

func (w *world) tryAny(inv *whisk.Invocation) (whisk.Outcome, error) {
	outcome, rest, taken := w.b.TryInvoke(context.Background(), inv)
	switch {
	case !taken:
		return w.invokeAny(inv)
	case rest != nil:
		return rest(), nil
	}
	return outcome, nil
}

func (w *world) admitAny(inv *whisk.Invocation) (whisk.Outcome, error) {
	admission, err := w.b.Admit(inv)
	if err != nil {
		return whisk.Outcome{}, err
	}
	return admission.Invoke(context.Background()), nil
}

// checkOne runs one activation and checks its outcome by itself.
func checkOne(t *testing.T, inv *whisk.Invocation, invoke func(*whisk.Invocation) (whisk.Outcome, error)) {
	claims := 0
	inv.Claim = func(context.Context) error { claims++; return nil }
	outcome, err := invoke(inv)
	if err != nil {
		t.Errorf("not accepted: %v", err)
	}
	took := time.Since(inv.Received)
	if claims > 1 || outcome.Response.Result == nil || took > 20*time.Second+3*10*time.Second+5*time.Second {
		t.Errorf("%s: %d claims, took %v: %+v", inv.Activation, claims, took, outcome)
	}
	if outcome.Wait > 20*time.Second+20*time.Second && outcome.Run > 0 {
		t.Errorf("%s started after %v", inv.Activation, outcome.Wait)
	}
	if outcome.AfterLogs != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := outcome.AwaitLogs(ctx); whisk.KindOf(err) == whisk.Timeout {
			t.Errorf("%s: logs: %v", inv.Activation, err)
		}
	}
}

// disturb does one of the things that the rest of the platform may do.
func disturb(w *world, chance func(int) bool) {
	w.mu.Lock()
	stream := w.stream
	w.mu.Unlock()
	for _, x := range w.all() {
		if w.isReleased(x) {
			continue
		}
		switch {
		case chance(10):
			w.send(whisk.Reclaim{Container: x.ID, Drain: chance(50)})
		case chance(3):
			x.kill()
			w.mu.Lock()
			x.released = true
			w.mu.Unlock()
			w.send(whisk.Lost{Container: x.ID})
		}
	}
	switch {
	case chance(5):
		stream.Close()
	case chance(5):
		w.agent("n1").hangUp()
	case chance(5):
		w.b.Retire(key.Action, 2)
	}
}
