// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"cmp"
	"container/heap"
	"fmt"
	"hash"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// A world is the scheduler's state among scripted agents and controllers, in
// one goroutine and on a clock of its own. Agents delay, fail and vanish;
// controllers ask, work, release, withdraw and vanish. After each event the
// books are checked, and the world checks what only it can see: what agents
// really host and controllers really use.
type world struct {
	t      testing.TB
	rng    *rand.Rand
	now    time.Time
	s      *state
	queue  happenings
	count  uint64
	agents map[whisk.NodeID]*worldAgent
	ctls   map[whisk.ControllerID]*worldController
	last   sessionID
	peers  map[sessionID]func(effect)
	ready  map[string]time.Time // per direction of a session: order is kept
	calm   bool                 // nothing fails or asks any more
	log    []string
	trace  hash.Hash64 // of all that was logged
	stats  map[string]int
	closed map[whisk.NodeID]bool // the operator's orders

	forwarding bool // controllers are reached by each other
}

type happening struct {
	at  time.Time
	seq uint64
	do  func()
}

type happenings []happening

func (h happenings) Len() int { return len(h) }
func (h happenings) Less(i, j int) bool {
	return cmp.Or(h[i].at.Compare(h[j].at), cmp.Compare(h[i].seq, h[j].seq)) < 0
}
func (h happenings) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *happenings) Push(x any)   { *h = append(*h, x.(happening)) }
func (h *happenings) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

func newWorld(t testing.TB, seed uint64, cfg Config) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 7)), now: time.Unix(1_000_000, 0),
		agents: make(map[whisk.NodeID]*worldAgent), ctls: make(map[whisk.ControllerID]*worldController),
		peers: make(map[sessionID]func(effect)), ready: make(map[string]time.Time), stats: make(map[string]int),
		closed: make(map[whisk.NodeID]bool), trace: fnv.New64a(),
	}
	ids, err := newIdentities(cfg.Epoch, strings.NewReader("12345"))
	if err != nil {
		t.Fatal(err)
	}
	w.s = newState(cfg, ids, slog.New(slog.DiscardHandler), w.now)
	w.s.checks = seed%3 == 0
	return w
}

// after has something happen after a random delay of up to most.
func (w *world) after(most time.Duration, do func()) { w.at(w.now.Add(w.delay(most)), do) }

func (w *world) delay(most time.Duration) time.Duration {
	return time.Duration(w.rng.Int64N(int64(most))) + 1
}

func (w *world) at(at time.Time, do func()) {
	w.count++
	heap.Push(&w.queue, happening{at, w.count, do})
}

// carry delivers a message after a delay, in the order of its direction.
func (w *world) carry(direction string, do func()) {
	at := w.now.Add(w.delay(20 * time.Millisecond))
	if w.ready[direction].After(at) {
		at = w.ready[direction]
	}
	w.ready[direction] = at
	w.at(at, do)
}

// step makes the next thing happen: an event, or an alarm of the state.
func (w *world) step() bool {
	alarm, set := w.s.alarms.next()
	if len(w.queue) > 0 && (!set || !w.queue[0].at.After(alarm)) {
		next := heap.Pop(&w.queue).(happening)
		w.now = next.at
		next.do()
		return true
	}
	if !set {
		return false
	}
	if alarm.After(w.now) {
		w.now = alarm
	}
	w.handle(timePassed{})
	return true
}

// handle gives the state an event, carries its effects to the peers, and checks.
func (w *world) handle(e event) {
	w.note("scheduler gets %T %+v", e, e)
	before := w.s.surplus()
	w.carryOut(w.s.handle(w.now, e))
	if told := isReport(e); !told && w.s.surplus() > before {
		w.fail("one container more than there may be of an action: %d surplus, then %d", before, w.s.surplus())
	} else if told && w.s.surplus() > before {
		w.stats["too many found"]++
	}
}

// surplus is how many containers there are beyond what the quotas allow.
func (s *state) surplus() (n int) {
	for _, q := range s.quotas {
		if q.limit > 0 {
			n += max(0, q.count()-q.limit)
		}
	}
	return n
}

// isReport reports whether an event tells of containers that others have: also of
// too many.
func isReport(e event) bool {
	switch e := e.(type) {
	case agentSaid:
		_, is := e.report.(whisk.NodeReport)
		return is
	case controllerSaid:
		_, is := e.request.(whisk.Register)
		return is
	}
	return false
}

func (w *world) carryOut(effects []effect) {
	for _, do := range slices.Clone(effects) {
		w.note("scheduler does, for %d: %T%+v %T%+v %v", do.session, do.command, do.command, do.event, do.event, do.end)
		if do.end != nil {
			w.fail("session closed: %v", do.end)
		}
		if m, ok := do.command.(whisk.CreateContainer); ok {
			w.placed(do.session, m)
		}
		if peer := w.peers[do.session]; peer != nil {
			w.carry(fmt.Sprint("down", do.session), func() {
				if w.peers[do.session] != nil {
					peer(do)
				}
			})
		}
	}
	if err := w.s.checkBooks(); err != nil {
		w.fail("%v", err)
	}
}

// placed checks where a container was ordered: on a node that is up, or to try
// an unhealthy one.
func (w *world) placed(session sessionID, m whisk.CreateContainer) {
	n := w.s.agents[session]
	trial := w.s.containers[m.Container] != nil && w.s.containers[m.Container].trial
	switch {
	case n == nil:
		w.fail("%s ordered from nobody", m.Container)
	case w.closed[n.id]:
		w.fail("%s ordered on %s, which is to be emptied", m.Container, n.id)
	case trial && m.Lessee != "":
		w.fail("%s is for a controller, and for trying %s", m.Container, n.id)
	case !trial && n.state != whisk.NodeUp:
		w.fail("%s ordered on %s, which is %s", m.Container, n.id, n.state)
	}
	if trial {
		w.stats["tried"]++
	}
}

func (w *world) note(format string, args ...any) {
	if len(w.log) > 400 {
		w.log = slices.Clone(w.log[200:])
	}
	line := w.now.Format("15:04:05.000 ") + fmt.Sprintf(format, args...)
	w.log = append(w.log, line)
	w.trace.Write([]byte(line)) // a hash takes anything
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(w.log, "\n"))
}

func (w *world) say(session sessionID, e event) {
	w.carry(fmt.Sprint("up", session), func() {
		if w.peers[session] != nil {
			w.handle(e)
		}
	})
}

func (w *world) dial(peer func(effect)) sessionID {
	w.last++
	w.peers[w.last] = peer
	return w.last
}

func (w *world) hangUp(session sessionID) {
	delete(w.peers, session)
	w.after(50*time.Millisecond, func() { w.handle(sessionEnded{session: session}) })
}

// String is for the log: it must tell the answer, not where it lies in memory.
func (e checkedUp) String() string {
	if e.wrong == nil {
		return fmt.Sprint("session ", e.session, " well")
	}
	return fmt.Sprint("session ", e.session, " ", e.wrong.Kind)
}
