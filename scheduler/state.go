// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/scheduler/policy"
	"github.com/whirl-faas/whirl/whisk"
)

// state is all that the scheduler knows, and every decision it takes. It starts
// no goroutine, blocks on nothing and reads no clock: [state.handle] takes one
// event and the time, and returns what is to be sent.
//
// Whatever a decision needs is found by an index, never by a search through all
// containers: per action, per spec, per node and its idle ones by last use, per
// controller. [state.move] is the only place that changes a container's
// condition, and so the only one that keeps the indexes.
type state struct {
	cfg       Config
	log       *slog.Logger
	now       time.Time
	settled   bool // own removals are allowed
	checks    bool // the agents' health routes are asked
	choose    policy.Placement
	trialSpec whisk.ContainerSpec // without memory if there is nothing to try

	nodes       map[whisk.NodeID]*node
	order       []*node       // by id; a node's place here is its place in view
	view        []policy.Node // what placement sees, kept up to date by [node.show]
	open        int           // nodes that placement sees open
	memory      whisk.Bytes   // of all nodes
	used        whisk.Bytes   // on all nodes
	largest     whisk.Bytes   // memory of the largest node
	agents      map[sessionID]*node
	controllers map[whisk.ControllerID]*controller
	callers     map[sessionID]*controller
	containers  map[whisk.ContainerID]*container
	claims      map[whisk.NodeID]*list[*claim] // no list is empty
	quotas      map[whisk.ActionKey]*quota     // of all actions and claims
	actions     map[work]*action
	tenants     map[string]*tenant // by namespace
	pools       map[whisk.ContainerSpec]*pool
	stemCells   []*pool // sorted by spec

	lines        map[whisk.Bytes]*line[*action] // actions that wait for room, by what they need
	sizes        []whisk.Bytes                  // of the lines that are not empty, ascending
	workers      ranking[*tenant]               // tenants by memory at work
	requisitions int                            // that stand
	turns        uint64                         // last turn given to a waiting action
	arrivals     uint64                         // last number given to a requisition
	orders       uint64                         // likewise to an order that moves a lease
	plans        int                            // that wait on any node
	impatient    line[*requisition]             // that insist, and whose turn it is not yet
	thoroughAt   time.Time                      // when all of them may be looked at again, and not only the first
	ripening     []*node                        // where the one that was looked at last may have its turn a little later
	awaited      []*node                        // kept for those that were passed; empty but while turns are taken

	// What the present event changed, for the passes at its end.
	touched []*node  // whose containers changed
	roomier bool     // there may be room where there was none
	yielded bool     // the next one that insists may have its turn
	restock bool     // stem cells may be lacking
	stale   bool     // controllers have not heard who takes part now
	noted   []*quota // whose numbers changed

	alarms      alarms
	settleAlarm alarm
	adjustAlarm alarm
	rosterAlarm alarm
	turnAlarm   alarm // the next one that insists may have its turn
	figures     figures
	ids         identities
	deposed     uint64 // the epoch of a newer leader, 0 while we know of none
	out         []effect
}

// sessionID numbers the sessions of one scheduler, from 1.
type sessionID uint64

// effect is something to be done for a session: a message to send, or its end.
type effect struct {
	session sessionID
	command whisk.AgentCommand // to an agent
	event   whisk.FactoryEvent // to a controller
	check   *node              // ask its health route
	end     error              // closes the session
}

// The events that the state handles, beside the passing of time.
type (
	event any

	agentSaid struct {
		session sessionID
		report  whisk.AgentReport
	}
	controllerSaid struct {
		session sessionID
		request whisk.FactoryRequest
	}
	checkedUp struct { // the answer to effect.check
		session sessionID
		wrong   *whisk.Error // nil if all is well
	}
	sessionEnded struct {
		session sessionID
		err     error // nil if the peer closed it
	}
	timePassed struct{}
)

func newState(cfg Config, ids identities, log *slog.Logger, now time.Time) *state {
	s := &state{
		cfg: cfg, log: log, now: now, ids: ids,
		nodes:       make(map[whisk.NodeID]*node),
		agents:      make(map[sessionID]*node),
		controllers: make(map[whisk.ControllerID]*controller),
		callers:     make(map[sessionID]*controller),
		containers:  make(map[whisk.ContainerID]*container),
		claims:      make(map[whisk.NodeID]*list[*claim]),
		quotas:      make(map[whisk.ActionKey]*quota),
		actions:     make(map[work]*action),
		tenants:     make(map[string]*tenant),
		pools:       make(map[whisk.ContainerSpec]*pool),
		lines:       make(map[whisk.Bytes]*line[*action]),
	}
	s.choose = cfg.Place.Placement()
	s.trialSpec, _ = trialSpec(cfg.Manifest)
	s.settleAlarm.ring = s.settle
	s.adjustAlarm.ring = s.adjust
	s.turnAlarm.ring = func() { s.yielded = true }
	s.rosterAlarm.ring = func() {} // [state.handle] looks after each event
	s.alarms.set(&s.settleAlarm, now.Add(cfg.Settle))
	s.alarms.set(&s.adjustAlarm, now.Add(cfg.AdjustEvery))
	s.stock(cfg.Manifest)
	return s
}

// handle takes one event and returns what is to be sent because of it, in
// order. The result is valid until the next call.
func (s *state) handle(now time.Time, e event) []effect {
	s.begin(now)
	switch e := e.(type) {
	case agentSaid:
		s.agentSaid(e.session, e.report)
	case controllerSaid:
		s.controllerSaid(e.session, e.request)
	case sessionEnded:
		s.sessionEnded(e)
	case checkedUp:
		s.checked(e)
	case timePassed:
	}
	return s.finish()
}

// begin and finish enclose everything that changes the state.
func (s *state) begin(now time.Time) {
	s.now = now
	s.out = s.out[:0]
}

func (s *state) finish() []effect {
	for a := s.alarms.due(s.now); a != nil; a = s.alarms.due(s.now) {
		a.ring()
	}
	s.carryOn()
	if s.yielded {
		s.takeTurns()
		s.carryOn()
	}
	s.spread()
	return s.out
}

// carryOn does what the present event made possible: plans first, then waiting
// requisitions, then stem cells. Each may give the others more to do; it ends
// because each round gives memory away or takes a plan back for a reason that
// does not come again within one event.
func (s *state) carryOn() {
	for len(s.touched) > 0 || s.roomier || len(s.noted) > 0 {
		for len(s.touched) > 0 {
			n := s.touched[len(s.touched)-1]
			s.touched = s.touched[:len(s.touched)-1]
			n.touched = false
			if n.state != whisk.NodeUp {
				s.evacuate(n)
				s.judge(n)
			}
			s.pump(n)
		}
		s.keepQuotas()
		s.allot()
	}
	s.refill()
	for len(s.touched) > 0 { // by new stem cells, for which no plan waits
		s.touched[len(s.touched)-1].touched = false
		s.touched = s.touched[:len(s.touched)-1]
	}
	s.roomier = false
}

// touch notes that a node's containers changed, and so what it has room for.
func (s *state) touch(n *node) {
	s.roomier = true
	if !n.touched {
		n.touched = true
		s.touched = append(s.touched, n)
	}
}

// settle ends the time in which we only listen: agents and controllers that
// were there before us have reported by now.
func (s *state) settle() {
	s.settled = true
	s.roomier = true
	s.stale = true // all controllers there are have registered by now
	for _, n := range s.order {
		n.show(s)
		s.touch(n)
		for c := range n.containers.all() {
			if c.condition == stray && n.session != 0 {
				s.remove(c)
			}
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(s.quotas), compareKeys) {
		s.review(s.quotas[key])
	}
	s.rejectMisfits()
}

func (s *state) sessionEnded(e sessionEnded) {
	if n := s.agents[e.session]; n != nil {
		s.agentSilent(n, e.err)
	}
	if ctl := s.callers[e.session]; ctl != nil {
		s.controllerSilent(ctl, e.err)
	}
}

// command sends to an agent. A silent one gets nothing: what it missed is made
// good when it registers again.
func (s *state) command(n *node, m whisk.AgentCommand) {
	if n.session != 0 {
		s.out = append(s.out, effect{session: n.session, command: m})
	}
}

// tell sends to a controller, if it has a session.
func (s *state) tell(ctl *controller, m whisk.FactoryEvent) {
	if ctl != nil && ctl.session != 0 {
		s.out = append(s.out, effect{session: ctl.session, event: m})
	}
}

// hangUp ends a session for its peer's fault.
func (s *state) hangUp(id sessionID, err error) {
	s.out = append(s.out, effect{session: id, end: err})
}

// lead notes the epoch that a peer has seen, and reports whether we lead still.
func (s *state) lead(epoch uint64) bool {
	if epoch > s.cfg.Epoch {
		s.deposed = max(s.deposed, epoch)
	}
	return s.deposed == 0
}

// lineFor returns the waiting line of a size, made if need be.
func (s *state) lineFor(memory whisk.Bytes) *line[*action] {
	l := s.lines[memory]
	if l == nil {
		l = &line[*action]{memory: memory}
		s.lines[memory] = l
		at, _ := slices.BinarySearch(s.sizes, memory)
		s.sizes = slices.Insert(s.sizes, at, memory)
	}
	return l
}

// dropLine forgets a line that became empty.
func (s *state) dropLine(l *line[*action]) {
	if l.count > 0 {
		return
	}
	delete(s.lines, l.memory)
	if at, found := slices.BinarySearch(s.sizes, l.memory); found {
		s.sizes = slices.Delete(s.sizes, at, at+1)
	}
}
