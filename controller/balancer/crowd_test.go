// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/whisk"
)

// machine has two processors, which those of its runs that work share; the others sleep.
type machine struct {
	work, sleep time.Duration // of one run
	lucky       int64         // each so-many-th run gets a processor at once; 0 for none
	foreign     atomic.Int64  // threads of others that work

	running atomic.Int64
	begun   atomic.Int64
	ended   atomic.Int64
}

const processors = 2

func (m *machine) runnable() float64 { return float64(m.running.Load()+m.foreign.Load()) / processors }

func (m *machine) handle(_ *box, path string, _ []byte) answer {
	if path == "/init" {
		return ok("")
	}
	if m.work > 0 {
		share := max(1, float64(m.running.Add(1)+m.foreign.Load())/processors)
		if n := m.begun.Add(1); m.lucky > 0 && n%m.lucky == 0 {
			share = 1
		}
		time.Sleep(time.Duration(float64(m.work) * share))
		m.running.Add(-1)
	}
	time.Sleep(m.sleep)
	m.ended.Add(1)
	return ok("{}")
}

// callers call the action again as soon as they are answered, until stop.
type callers struct {
	w    *world
	over atomic.Bool
	all  sync.WaitGroup
}

func (c *callers) join(n int, adjust ...func(*whisk.Invocation)) {
	for range n {
		c.all.Go(func() {
			for !c.over.Load() {
				c.w.expect(c.w.invoke(adjust...), whisk.Success, "{}")
			}
		})
	}
}

func (c *callers) stop() {
	c.over.Store(true)
	c.all.Wait()
}

func (w *world) crowded(m *machine, floor int) *callers {
	w.handle, w.runnable = m.handle, m.runnable
	w.start(func(c *balancer.Config) { c.CrowdFloor = floor })
	return &callers{w: w}
}

// standing is the action hello's line of the snapshot.
func (w *world) standing() balancer.ActionSnapshot { return w.standingOf(key) }

// standingOf returns an action's line when what goes on in this moment has come to rest.
func (w *world) standingOf(key whisk.ActionKey) balancer.ActionSnapshot {
	synctest.Wait()
	for _, a := range w.b.Snapshot().Actions {
		if a.Key == key {
			return a
		}
	}
	return balancer.ActionSnapshot{}
}

// Of 64 that call an action at once only so many run as keep the processors at work, with
// what that takes of containers, and the action does as much as before. When
// they are fewer all is as it was.
func TestCrowdIsLeftOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := &machine{work: 5 * time.Millisecond}
		c := w.crowded(m, 4)
		c.join(2)
		time.Sleep(2 * time.Second) // it learns what is usual
		c.join(62)
		time.Sleep(5 * time.Second)

		var most int64
		before := m.ended.Load()
		for range 500 {
			time.Sleep(10 * time.Millisecond)
			most = max(most, m.running.Load())
		}
		if most < 4 || most > 24 {
			t.Errorf("%d run at once", most)
		}
		if done := m.ended.Load() - before; done < 1_900 { // of 2,000 that two processors can do in 5 s
			t.Errorf("%d runs in 5 s", done)
		}
		standing := w.standing()
		if standing.Bound == 0 || standing.Slots > standing.Bound {
			t.Errorf("%+v", standing)
		}
		if standing.Requested != 0 {
			t.Errorf("%d containers are wanted that nobody would be let into", standing.Requested)
		}
		c.stop()

		again := &callers{w: w}
		again.join(2)
		time.Sleep(30 * time.Second)
		if bound := w.standing().Bound; bound != 0 {
			t.Errorf("the bound is still %d", bound)
		}
		again.stop()
	})
}

// What sleeps in its containers is no part of a crowd, whoever else makes one, and whether
// it was there before or not.
func TestSleepersAreNoCrowd(t *testing.T) {
	for _, row := range []struct {
		name  string
		first int64 // threads of others that work, at first
	}{
		{"before the crowd", 0},
		{"in the crowd from the beginning", 1000},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				m := &machine{sleep: 100 * time.Millisecond}
				m.foreign.Store(row.first)
				c := w.crowded(m, 4)
				c.join(64)
				time.Sleep(2 * time.Second)
				m.foreign.Store(1000)
				time.Sleep(2 * time.Second)

				before := m.ended.Load()
				time.Sleep(5 * time.Second)
				if done := m.ended.Load() - before; done < 64*49 {
					t.Errorf("%d runs in 5 s, want 3200", done)
				}
				if bound := w.standing().Bound; bound != 0 {
					t.Errorf("it is bounded to %d", bound)
				}
				c.stop()
			})
		})
	}
}

// Whatever else goes on, some of each action run; and when that ends all are let in again.
func TestCrowdFloorSome(t *testing.T) {
	const floor = 4
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := &machine{work: time.Millisecond, sleep: time.Millisecond}
		c := w.crowded(m, floor)
		c.join(12)
		time.Sleep(2 * time.Second)
		m.foreign.Store(1000)
		time.Sleep(10 * time.Second)
		if standing := w.standing(); standing.Bound != floor || standing.Slots != floor || standing.Waiting != 12-floor {
			t.Errorf("%+v", standing)
		}
		m.foreign.Store(0)
		time.Sleep(20 * time.Second)
		if standing := w.standing(); standing.Bound != 0 || standing.Slots+standing.Waiting != 12 || standing.Slots < 11 {
			t.Errorf("%+v", standing)
		}
		c.stop()
	})
}

// What may run of a crowd is shared out among namespaces, and among the actions of each:
// more of them do not make more of it.
func TestCrowdFloorIsSharedOut(t *testing.T) {
	const floor = 8
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := &machine{work: time.Millisecond, sleep: time.Millisecond}
		c := w.crowded(m, floor)
		other, third := key, key
		other.Namespace = "other"
		third.Action.Name = "third"
		for _, key := range []whisk.ActionKey{key, other, third} {
			c.join(12, func(inv *whisk.Invocation) { inv.Key = key })
		}
		time.Sleep(2 * time.Second)
		m.foreign.Store(1000)
		time.Sleep(20 * time.Second)
		for key, want := range map[whisk.ActionKey]int{key: floor / 2 / 2, other: floor / 2, third: floor / 2 / 2} {
			if standing := w.standingOf(key); standing.Bound != want || standing.Slots != want {
				t.Errorf("%+v, want %d", standing, want)
			}
		}
		c.stop()
	})
}

// In a crowd a container is made when the one before it is there, and the rest at once when
// the crowd has gone.
func TestCrowdHasContainersMadeOneByOne(t *testing.T) {
	const callers, floor = 64, 64 // nobody is kept out
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.createDelay = 100 * time.Millisecond
		m := &machine{work: time.Millisecond, lucky: 10}
		m.foreign.Store(1000)
		c := w.crowded(m, floor)
		time.Sleep(time.Second) // somebody looks
		c.join(callers)
		for range 100 {
			time.Sleep(10 * time.Millisecond)
			if requested := w.standing().Requested; requested != 1 {
				t.Fatalf("%d containers are asked for", requested)
			}
		}
		if n := w.standing().Containers; n < 9 || n > 10 {
			t.Errorf("%d containers after a second, want one for each tenth", n)
		}

		m.foreign.Store(0)
		time.Sleep(time.Second)
		if n := w.standing().Containers; n != callers {
			t.Errorf("%d containers for %d callers a second after the crowd", n, callers)
		}
		c.stop()
	})
}

// When a crowd has gone all that wait are asked for, also where nothing comes and nothing ends.
func TestCrowdThatGoesHasTheRestAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.manual = true // the scheduler has no room
		m := &machine{}
		m.foreign.Store(1000)
		w.crowded(m, 4)
		time.Sleep(time.Second)
		var waiting []<-chan whisk.Outcome
		for range 8 {
			waiting = append(waiting, w.background())
		}
		time.Sleep(time.Second)
		if requested := w.standing().Requested; requested != 1 {
			t.Errorf("%d containers are asked for in the crowd", requested)
		}
		m.foreign.Store(0)
		time.Sleep(time.Second)
		if requested := w.standing().Requested; requested != len(waiting) {
			t.Errorf("%d containers are asked for after it, and %d wait", requested, len(waiting))
		}
		w.stop()
		for _, outcome := range waiting {
			<-outcome
		}
	})
}

// What sleeps has its containers made at once in a crowd, too, when it is known to sleep.
func TestSleepersHaveContainersMadeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.createDelay = 100 * time.Millisecond
		m := &machine{sleep: 100 * time.Millisecond}
		m.foreign.Store(1000)
		c := w.crowded(m, 4)
		c.join(2)
		time.Sleep(2 * time.Second)
		c.join(62)
		time.Sleep(w.createDelay + 10*time.Millisecond)
		if n := w.standing().Containers; n != 64 {
			t.Errorf("%d containers, want 64", n)
		}
		c.stop()
	})
}

// told is a lookout that remembers what it was told.
type told struct {
	mu      sync.Mutex
	crowd   []string
	watched map[string]int // connections, by namespace
}

func (l *told) Watch(conn net.Conn, namespace string) net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watched[namespace]++
	return conn
}

func (l *told) Crowd(namespaces []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.crowd = namespaces
}

func (l *told) crowding() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(slices.Values(l.crowd))
}

// Who keeps the processors busy and has others wait crowds them, and nobody does
// without need.
func TestWhoCrowds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l := &told{watched: map[string]int{}}
		w.lookout = l
		m := &machine{work: 5 * time.Millisecond}
		c := w.crowded(m, 4)
		other := key
		other.Namespace = "other"
		few := &callers{w: w}
		few.join(2, func(inv *whisk.Invocation) { inv.Key = other })
		c.join(2)
		time.Sleep(2 * time.Second)
		if crowd := l.crowding(); crowd != nil {
			t.Errorf("%v crowd others where there is room", crowd)
		}

		c.join(398)
		time.Sleep(5 * time.Second)
		if crowd := l.crowding(); !slices.Equal(crowd, []string{key.Namespace}) {
			t.Errorf("%v crowd others, want %v", crowd, key.Namespace)
		}
		few.stop()
		time.Sleep(5 * time.Second)
		if crowd := l.crowding(); !slices.Equal(crowd, []string{key.Namespace}) {
			t.Errorf("%v crowd others that may come, want %v", crowd, key.Namespace)
		}
		c.stop()

		time.Sleep(time.Minute)
		if crowd := l.crowding(); crowd != nil {
			t.Errorf("%v still crowd others", crowd)
		}
		if l.watched[key.Namespace] == 0 || l.watched["other"] == 0 || len(l.watched) != 2 {
			t.Errorf("connections of %v are watched", l.watched)
		}
	})
}

// What runs for long has others wait no more than what runs for a moment.
func TestSleepersCrowdNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l := &told{watched: map[string]int{}}
		w.lookout = l
		m := &machine{sleep: 2 * time.Second}
		m.foreign.Store(1000)
		c := w.crowded(m, 4)
		c.join(64)
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			if crowd := l.crowding(); crowd != nil {
				t.Fatalf("%v crowd others", crowd)
			}
		}
		c.stop()
	})
}

// A new action, of which nobody knows what is usual, is judged by the best that it did.
func TestCrowdOfANewAction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := &machine{work: time.Millisecond, lucky: 100}
		m.foreign.Store(40)
		c := w.crowded(m, 4)
		c.join(64)
		time.Sleep(10 * time.Second)
		if running := m.running.Load(); running > 48 {
			t.Errorf("%d run at once", running)
		}
		c.stop()
	})
}

// The machine tells of those who want its processors.
func TestRunnable(t *testing.T) {
	runnable := balancer.Runnable()
	var over atomic.Bool
	var spinning sync.WaitGroup
	defer spinning.Wait()
	defer over.Store(true)
	const each = 10
	for range each * runtime.GOMAXPROCS(0) {
		spinning.Go(func() {
			for !over.Load() {
				runtime.Gosched()
			}
		})
	}
	for begun := time.Now(); runnable() < each/2; {
		if time.Since(begun) > 10*time.Second {
			t.Fatalf("%.1f are runnable for each processor, want about %d", runnable(), each)
		}
	}
}
