// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"cmp"
	"container/heap"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/scheduler/policy"
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
	stats  map[string]int
	closed map[whisk.NodeID]bool // the operator's orders
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

type worldAgent struct {
	w       *world
	id      whisk.NodeID
	memory  whisk.Bytes
	session sessionID // 0 while away
	hosts   map[whisk.ContainerID]*hosted
	drained bool         // as the scheduler last said
	cursed  time.Time    // until then every creation fails by the node's fault
	route   *whisk.Error // what its health route answers
}

type hosted struct {
	whisk.HostedContainer
	making   bool
	removing bool
}

type worldController struct {
	w       *world
	id      whisk.ControllerID
	session sessionID
	dead    bool
	nextID  whisk.RequisitionID
	open    map[whisk.RequisitionID]*asked
	holds   map[whisk.ContainerID]*holding
}

type asked struct {
	whisk.Requisition
	left int // slots that have not ended
}

type holding struct {
	whisk.Container
	key   whisk.ActionKey
	busy  bool
	drain bool
}

func newWorld(t testing.TB, seed uint64, cfg Config) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 7)), now: time.Unix(1_000_000, 0),
		agents: make(map[whisk.NodeID]*worldAgent), ctls: make(map[whisk.ControllerID]*worldController),
		peers: make(map[sessionID]func(effect)), ready: make(map[string]time.Time), stats: make(map[string]int),
		closed: make(map[whisk.NodeID]bool),
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
	w.carryOut(w.s.handle(w.now, e))
}

func (w *world) carryOut(effects []effect) {
	for _, do := range slices.Clone(effects) {
		w.note("scheduler does %+v", do)
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
	}
	if trial {
		w.stats["tried"]++
	}
}

func (w *world) note(format string, args ...any) {
	if len(w.log) > 400 {
		w.log = slices.Clone(w.log[200:])
	}
	w.log = append(w.log, w.now.Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
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
	w.after(50*time.Millisecond, func() { w.handle(sessionEnded{session}) })
}

// Agents.

func (w *world) addAgent(id whisk.NodeID, memory whisk.Bytes) {
	a := &worldAgent{w: w, id: id, memory: memory, hosts: make(map[whisk.ContainerID]*hosted)}
	w.agents[id] = a
	a.connect()
}

func (a *worldAgent) connect() {
	a.session = a.w.dial(a.obey)
	a.w.say(a.session, agentSaid{a.session, a.report()})
}

func (a *worldAgent) report() whisk.NodeReport {
	r := whisk.NodeReport{Node: a.id, Memory: a.memory, Draining: a.drained}
	for _, id := range slices.Sorted(maps.Keys(a.hosts)) {
		h := a.hosts[id].HostedContainer
		h.Making = a.hosts[id].making
		r.Containers = append(r.Containers, h)
	}
	return r
}

func (a *worldAgent) tell(m whisk.AgentReport) {
	if a.session != 0 {
		a.w.say(a.session, agentSaid{a.session, m})
	}
}

func (a *worldAgent) disconnect(away time.Duration) {
	if a.session == 0 {
		return
	}
	a.w.hangUp(a.session)
	a.session = 0
	a.w.at(a.w.now.Add(60*time.Millisecond+a.w.delay(away)), a.connect)
}

func (a *worldAgent) obey(e effect) {
	w := a.w
	if e.check != "" {
		answer := checkedUp{e.session, a.route}
		w.after(3*time.Second, func() { w.handle(answer) })
		return
	}
	switch m := e.command.(type) {
	case whisk.DrainNode:
		a.drained = m.Drain
	case whisk.CreateContainer:
		if a.hosts[m.Container] != nil {
			w.fail("container %s made twice", m.Container)
		}
		a.hosts[m.Container] = &hosted{making: true, HostedContainer: whisk.HostedContainer{
			Container: whisk.Container{ID: m.Container, Node: a.id, Spec: m.Spec}, Lessee: m.Lessee, Used: m.Lessee != "",
		}}
		var sum whisk.Bytes
		for _, h := range a.hosts {
			sum += h.Container.Spec.Memory
		}
		if sum > a.memory {
			w.fail("node %s really hosts %s of %s", a.id, sum, a.memory)
		}
		w.after(300*time.Millisecond, func() { a.made(m.Container) })
	case whisk.GrantLease:
		h := a.hosts[m.Container]
		if h == nil {
			a.tell(whisk.LeaseRefused{Container: m.Container, Reason: "there is no such container"})
			return
		}
		if h.Lessee != m.From || h.removing {
			a.tell(whisk.LeaseRefused{Container: m.Container, Lessee: h.Lessee, Reason: "another lessee"})
			return
		}
		h.Lessee, h.Used = m.To, h.Used || m.To != ""
		a.tell(whisk.LeaseGranted{Container: m.Container, Lessee: m.To})
	case whisk.RemoveContainer:
		h := a.hosts[m.Container]
		if h != nil && h.Lessee != m.Lessee {
			a.tell(whisk.LeaseRefused{Container: m.Container, Lessee: h.Lessee, Reason: "another lessee"})
			return
		}
		if h != nil {
			h.removing = true
		}
		w.after(100*time.Millisecond, func() { a.destroy(m.Container, true) })
	}
}

func (a *worldAgent) made(id whisk.ContainerID) {
	h := a.hosts[id]
	if h == nil || !h.making {
		return
	}
	cursed := a.w.now.Before(a.cursed)
	if !a.w.calm && (cursed || a.w.rng.IntN(10) == 0) {
		delete(a.hosts, id)
		fault := whisk.NodeFault
		if !cursed && a.w.rng.IntN(4) == 0 {
			fault = whisk.UserFault
		}
		a.tell(whisk.CreationFailed{Container: id, Fault: fault, Message: "scripted"})
		return
	}
	h.making = false
	a.tell(whisk.ContainerCreated{Container: h.Container})
}

func (a *worldAgent) destroy(id whisk.ContainerID, expected bool) {
	delete(a.hosts, id)
	a.tell(whisk.ContainerGone{Container: id, Expected: expected})
}

// crash ends one container by itself.
func (a *worldAgent) crash() {
	for _, id := range slices.Sorted(maps.Keys(a.hosts)) {
		if !a.hosts[id].making && a.w.rng.IntN(3) == 0 {
			a.hosts[id].removing = true // nothing can be done with it from now on
			a.w.after(100*time.Millisecond, func() { a.destroy(id, false) })
			return
		}
	}
}

// expire ends the leases of a dead controller.
func (a *worldAgent) expire(dead whisk.ControllerID) {
	news := false
	for _, id := range slices.Sorted(maps.Keys(a.hosts)) {
		h := a.hosts[id]
		switch {
		case h.Lessee != dead || h.making:
		case a.w.rng.IntN(2) == 0:
			a.destroy(id, false)
		default:
			h.Lessee, news = "", true
		}
	}
	if news {
		a.tell(a.report())
	}
}

// Controllers.

func (w *world) addController(id whisk.ControllerID) *worldController {
	c := &worldController{w: w, id: id, open: make(map[whisk.RequisitionID]*asked), holds: make(map[whisk.ContainerID]*holding)}
	w.ctls[id] = c
	c.connect()
	return c
}

func (c *worldController) connect() {
	if c.dead {
		return
	}
	c.session = c.w.dial(c.hear)
	m := whisk.Register{Controller: c.id}
	for _, id := range slices.Sorted(maps.Keys(c.holds)) {
		h := c.holds[id]
		use := whisk.Free
		if h.busy {
			use = whisk.Busy
		}
		m.Held = append(m.Held, whisk.HeldContainer{Container: id, Node: h.Node, Key: h.key, Concurrency: 1, State: use})
	}
	c.tell(m)
	for _, id := range slices.Sorted(maps.Keys(c.open)) {
		r := c.open[id]
		delete(c.open, id)
		c.ask(r.Key, r.Spec, r.left, r.Concurrency, r.Deadline)
	}
}

func (c *worldController) tell(m whisk.FactoryRequest) {
	if c.session != 0 {
		c.w.say(c.session, controllerSaid{c.session, m})
	}
}

func (c *worldController) disconnect(away time.Duration) {
	if c.session == 0 {
		return
	}
	c.w.hangUp(c.session)
	c.session = 0
	c.w.at(c.w.now.Add(60*time.Millisecond+c.w.delay(away)), c.connect)
}

// die ends the controller for good; agents end its leases.
func (c *worldController) die() {
	c.w.hangUp(c.session)
	c.session, c.dead = 0, true
	clear(c.holds)
	clear(c.open)
	// Grants to it that were under way when it died arrive, and end, later.
	for i := range 6 {
		c.w.at(c.w.now.Add(whisk.LeaseTTL*time.Duration(i+1)), func() {
			for _, id := range slices.Sorted(maps.Keys(c.w.agents)) {
				c.w.agents[id].expire(c.id)
			}
		})
	}
}

func (c *worldController) ask(key whisk.ActionKey, spec whisk.ContainerSpec, count, concurrency int, deadline time.Time) {
	c.nextID++
	r := &asked{left: count, Requisition: whisk.Requisition{
		ID: c.nextID, Key: key, Spec: spec, Count: count, Concurrency: concurrency, Deadline: deadline, Label: "x",
	}}
	c.open[r.ID] = r
	c.tell(r.Requisition)
}

func (c *worldController) hear(e effect) {
	switch m := e.event.(type) {
	case whisk.Allocation:
		c.allocated(m)
	case whisk.Rejection:
		if c.open[m.Requisition] == nil {
			return // withdrawn meanwhile
		}
		c.w.stats["rejected "+m.Reason.String()]++
		delete(c.open, m.Requisition)
	case whisk.Redirect:
		c.ended(m.Requisition, 1)
		c.w.stats["redirected"]++
	case whisk.Reclaim:
		h := c.holds[m.Container]
		switch {
		case h == nil:
		case !h.busy:
			c.release(h, whisk.ReleaseReclaimed)
		case m.Drain:
			h.drain = true
		default:
			c.state(h)
		}
	case whisk.Lost:
		delete(c.holds, m.Container)
	}
}

func (c *worldController) allocated(m whisk.Allocation) {
	w := c.w
	if c.holds[m.Container.ID] != nil {
		w.fail("%s allocated to %s twice", m.Container.ID, c.id)
	}
	for _, other := range w.ctls {
		if other != c && other.holds[m.Container.ID] != nil {
			w.fail("%s allocated to %s while %s uses it", m.Container.ID, c.id, other.id)
		}
	}
	if h := w.agents[m.Container.Node].hosts[m.Container.ID]; h != nil && h.Lessee != c.id {
		w.fail("%s allocated to %s but leased to %q", m.Container.ID, c.id, h.Lessee)
	}
	w.stats["allocated "+m.Origin.String()]++
	h := &holding{Container: m.Container, busy: true}
	c.holds[h.ID] = h
	r := c.open[m.Requisition]
	if r == nil { // it was withdrawn meanwhile
		if m.Origin == whisk.Transferred {
			c.release(h, whisk.ReleaseReclaimed)
		} else {
			c.release(h, whisk.ReleaseUnused)
		}
		return
	}
	if r.Spec != h.Spec {
		w.fail("%s of %+v allocated for %+v", h.ID, h.Spec, r.Spec)
	}
	h.key = r.Key
	c.ended(m.Requisition, r.Concurrency)
	c.work(h)
}

func (c *worldController) ended(id whisk.RequisitionID, slots int) {
	if r := c.open[id]; r != nil {
		if r.left -= slots; r.left <= 0 {
			delete(c.open, id)
		}
	}
}

// work keeps a container busy for a while, then lets it rest, and so on.
func (c *worldController) work(h *holding) {
	h.busy = true
	c.w.after(400*time.Millisecond, func() {
		if c.holds[h.ID] != h {
			return
		}
		switch {
		case h.drain:
			c.release(h, whisk.ReleaseReclaimed)
		case !c.w.calm && c.w.rng.IntN(20) == 0:
			c.release(h, whisk.ReleaseFailed)
		default:
			h.busy = false
			c.state(h)
			c.w.after(2*time.Second, func() { c.rested(h) })
		}
	})
}

func (c *worldController) rested(h *holding) {
	if c.holds[h.ID] != h {
		return
	}
	switch c.w.rng.IntN(6) {
	case 0:
		c.release(h, whisk.ReleaseIdle)
	case 1:
		c.release(h, whisk.ReleaseLeaving)
	default:
		if !c.w.calm {
			c.state(&holding{Container: h.Container, busy: true})
			c.work(h)
		}
	}
}

func (c *worldController) state(h *holding) {
	use := whisk.Free
	if h.busy {
		use = whisk.Busy
	}
	c.tell(whisk.StateReport{States: []whisk.ContainerUse{{Container: h.ID, State: use, Since: c.w.now}}})
}

// release gives back. Without a session it stays the agent's matter: the next
// registration does not list it.
func (c *worldController) release(h *holding, reason whisk.ReleaseReason) {
	delete(c.holds, h.ID)
	c.tell(whisk.Release{Container: h.ID, Reason: reason})
}

// disturb makes one random thing happen.
func (w *world) disturb() {
	ctl := w.ctls[slices.Sorted(maps.Keys(w.ctls))[w.rng.IntN(len(w.ctls))]]
	node := w.agents[slices.Sorted(maps.Keys(w.agents))[w.rng.IntN(len(w.agents))]]
	switch dice := w.rng.IntN(100); {
	case dice < 70:
		if ctl.dead {
			return
		}
		n := w.rng.IntN(6)
		key := whisk.ActionKey{Namespace: "ns", Action: whisk.FullName{Namespace: "ns", Name: fmt.Sprint("action", n)}, Revision: 1}
		spec := whisk.ContainerSpec{Kind: []string{"nodejs:20", "python:3"}[n%2], Memory: whisk.Bytes(128<<(n%3)) * whisk.MB}
		ctl.ask(key, spec, 1+w.rng.IntN(3), 1+n/4*3, w.now.Add(w.delay(20*time.Second)))
	case dice < 80:
		for _, id := range slices.Sorted(maps.Keys(ctl.open)) {
			r := ctl.open[id]
			ctl.tell(whisk.Withdraw{ID: id, Count: 1})
			ctl.ended(r.ID, 1)
			return
		}
	case dice < 82:
		w.operate(node)
	case dice < 84:
		node.cursed = w.now.Add(w.delay(20 * time.Second))
	case dice < 86:
		node.muffle()
	case dice < 89:
		node.crash()
	case dice < 92:
		node.disconnect(5 * time.Second)
	case dice < 93:
		node.disconnect(30 * time.Second)
	case dice < 94:
		w.restart()
	case dice < 95:
		node.trouble()
	case dice < 98:
		ctl.disconnect(3 * time.Second)
	default:
		alive := 0
		for _, c := range w.ctls {
			if !c.dead {
				alive++
			}
		}
		if alive > 1 && ctl.session != 0 {
			ctl.die()
			w.addController(whisk.ControllerID(fmt.Sprint("ctl", len(w.ctls))))
		}
	}
}

// restart replaces the scheduler by one that knows nothing yet.
func (w *world) restart() {
	w.s.cfg.Epoch++
	ids, err := newIdentities(w.s.cfg.Epoch, strings.NewReader("12345"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.s = newState(w.s.cfg, ids, slog.New(slog.DiscardHandler), w.now)
	clear(w.peers)
	w.note("scheduler restarts")
	for _, id := range slices.Sorted(maps.Keys(w.agents)) {
		w.closed[id] = w.agents[id].drained // an order under way is lost
		if a := w.agents[id]; a.session != 0 {
			a.disconnect(3 * time.Second)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(w.ctls)) {
		if c := w.ctls[id]; c.session != 0 {
			c.disconnect(3 * time.Second)
		}
	}
}

// operate has an operator drain a node, or end its drain.
func (w *world) operate(node *worldAgent) {
	drain := !w.closed[node.id]
	w.note("operator: %s drain %t", node.id, drain)
	effects, err := w.s.operate(w.now, node.id, drain)
	if (err != nil) != (w.s.nodes[node.id] == nil) {
		w.fail("the order ended in %v", err)
	}
	if err != nil {
		return
	}
	w.closed[node.id] = drain
	w.stats[fmt.Sprint("drain ", drain)]++
	w.carryOut(effects)
}

// muffle has a node's health route answer ill, or not at all, for a while.
func (a *worldAgent) muffle() {
	a.route = &whisk.Error{Kind: []whisk.Kind{whisk.Internal, whisk.Timeout}[a.w.rng.IntN(2)], Text: "scripted"}
	a.w.after(30*time.Second, func() { a.route = nil })
}

// trouble has an agent report a problem, which goes away again.
func (a *worldAgent) trouble() {
	report := a.report()
	report.Problem = "scripted"
	a.tell(report)
	a.w.after(5*time.Second, func() { a.tell(a.report()) })
}

// history plays one world to its end: a time of disturbance, then calm.
func history(t testing.TB, seed uint64, disturbances int, redirects bool) map[string]int {
	cfg := Default()
	cfg.CreationsPerNode = 3
	cfg.Redirects = redirects
	cfg.KeepWarm = 20 * time.Second
	cfg.Manifest = whisk.Manifest{Families: []whisk.RuntimeFamily{{Name: "nodejs", Runtimes: []whisk.Runtime{{
		Kind: "nodejs:20", StemCells: []whisk.StemCell{{Count: 1, Memory: 128 * whisk.MB}},
	}}}}}
	w := newWorld(t, seed, cfg)
	for i := range 1 + w.rng.IntN(3) {
		w.addAgent(whisk.NodeID(fmt.Sprint("node", i)), whisk.Bytes(512+256*w.rng.IntN(4))*whisk.MB)
	}
	for i := range 1 + w.rng.IntN(3) {
		w.addController(whisk.ControllerID(fmt.Sprint("ctl", i)))
	}
	at := w.now
	for range disturbances {
		at = at.Add(w.delay(300 * time.Millisecond))
		w.at(at, w.disturb)
	}
	for !w.now.After(at) && w.step() {
	}
	w.calm = true
	// All deadlines pass, leases of the dead end, work comes to rest.
	for until := w.now.Add(3 * time.Minute); w.now.Before(until) && w.step(); {
	}
	w.atRest()
	return w.stats
}

// atRest checks what must hold when nothing is under way any more.
func (w *world) atRest() {
	if err := w.s.checkRest(); err != nil {
		w.fail("%v", err)
	}
	if w.s.requisitions > 0 {
		w.fail("%d requisitions still stand", w.s.requisitions)
	}
	for _, id := range slices.Sorted(maps.Keys(w.ctls)) {
		if len(w.ctls[id].open) > 0 {
			w.fail("%s still waits for %v", id, w.ctls[id].open)
		}
	}
	for _, c := range w.s.containers {
		h := w.agents[c.node.id].hosts[c.ID]
		if h == nil || h.Lessee != c.lessee {
			w.fail("books have %s %s leased to %q, its agent %+v", c.ID, c.condition, c.lessee, h)
		}
		if c.condition.leased() && w.ctls[c.lessee].holds[c.ID] == nil {
			w.fail("%s is %s by %s, which does not know of it", c.ID, c.condition, c.lessee)
		}
	}
	hosts := 0
	for _, a := range w.agents {
		hosts += len(a.hosts)
	}
	for _, n := range w.s.order {
		w.settled(n)
	}
	if hosts != len(w.s.containers) {
		w.fail("agents host %d containers, the books have %d", hosts, len(w.s.containers))
	}
	for _, p := range w.s.stemCells {
		room := slices.ContainsFunc(w.s.view, func(n policy.Node) bool { return n.Open && n.Free >= p.spec.Memory })
		if p.ready.count < p.wanted && room {
			w.fail("%d of %d stem cells ready while there is room", p.ready.count, p.wanted)
		}
	}
}

// settled checks that a node is in service, or emptied as ordered.
func (w *world) settled(n *node) {
	closed := w.closed[n.id]
	cramped := n.memory-n.used+n.spare < w.s.trialSpec.Memory
	switch {
	case closed != w.agents[n.id].drained:
		w.fail("%s to be emptied %t, its agent knows %t", n.id, closed, w.agents[n.id].drained)
	case closed && (n.state != whisk.NodeDrained || n.containers.count > 0):
		w.fail("%s is %s and hosts %d, but was to be emptied", n.id, n.state, n.containers.count)
	case !closed && n.state == whisk.NodeUnhealthy && n.trouble() == "" && cramped:
	case !closed && n.state != whisk.NodeUp:
		w.fail("%s is %s in the calm: %s", n.id, n.state, n.reason())
	}
	w.stats["ends "+n.state.String()]++
}

var histories = flag.Uint64("histories", 300, "how many random histories to play")

func TestHistories(t *testing.T) {
	total := make(map[string]int)
	for seed := range *histories {
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			for what, count := range history(t, seed, 100, seed%2 == 1) {
				total[what] += count
			}
		})
		if !ok {
			t.FailNow() // one history is enough to read
		}
	}
	t.Log(total)
	for _, what := range []string{"allocated created", "allocated prewarmed", "allocated transferred", "redirected", "rejected no capacity", "rejected bad image",
		"tried", "drain true", "drain false", "ends up", "ends drained"} {
		if total[what] == 0 {
			t.Errorf("no history had a requisition %s", what)
		}
	}
}
