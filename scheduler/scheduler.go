// SPDX-License-Identifier: Apache-2.0

// Package scheduler is the role that decides which container exists where and
// which controller holds it (WhiskScheduler). It never sees an activation.
//
// It owns the books: nodes and their memory, containers and their conditions,
// the requisitions that stand. They are kept in memory only and rebuilt from
// what agents and controllers report. Its invariants:
//
//   - A node's memory is never oversold. A container counts from the order to
//     make it until its agent says that it is gone.
//   - A container is allocated only after its agent granted the lease, and to
//     nobody else before the holder gave it up or the agent said otherwise.
//   - Every slot of a requisition ends in exactly one of: an allocation, a
//     redirect, a rejection, a withdrawal, or the end of its session.
//   - A requisition waits only while nothing that exists could serve it, and
//     never beyond its deadline.
//   - In the settle time after the start nothing is removed but what its holder
//     wants removed.
//   - Of an action that bounds its containers none is planned or handed out that
//     is one too many of those we know of, and none in the settle time that does
//     not hold its code already.
//   - New containers are ordered only on nodes that are up, and on an unhealthy
//     one at a time to see whether it can again.
//
// One goroutine, in [Scheduler.Run], owns all state. Sessions send it events
// and take effects from it through a bounded outbox each; nothing in the owner
// loop blocks. Messages of one session are handled in the order in which they
// came, and what is sent to one session arrives in the order in which it was
// decided; between sessions there is no order. docs/state-machines.md draws a
// container's life as seen from here.
package scheduler

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Scheduler is the role. Make it with [New], start it with [Scheduler.Run].
type Scheduler struct {
	cfg   Config
	log   *slog.Logger
	check Health // nil if no health routes are asked
	ids   identities
	inbox chan letter   // never closed: sessions come and go
	ended chan struct{} // closed when Run returns

	lastSession atomic.Uint64
	serving     sync.WaitGroup // sessions
	lock        sync.Mutex
	closing     bool // guarded by lock: no more sessions
}

// Deps are what a scheduler needs of the world.
type Deps struct {
	Logger *slog.Logger // nil discards
	Health Health       // asks the agents' health routes; nil if they are not to be asked
	Random io.Reader    // tags the ids of this start's containers; nil for crypto/rand
}

// letter is what the owner loop receives.
type letter struct {
	event event
	from  sessionID // of event; 0 for one that comes from no session
	open  *session  // a session that begins
	call  func(*ownerLoop)
}

// New makes a scheduler. It starts nothing. The error is Invalid if cfg is.
func New(cfg Config, deps Deps) (*Scheduler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Random == nil {
		deps.Random = rand.Reader
	}
	ids, err := newIdentities(cfg.Epoch, deps.Random)
	if err != nil {
		return nil, err
	}
	return &Scheduler{
		cfg:   cfg,
		log:   deps.Logger.With("component", "scheduler"),
		check: deps.Health,
		ids:   ids,
		inbox: make(chan letter, cfg.Inbox),
		ended: make(chan struct{}),
	}, nil
}

// Run decides until ctx ends, and returns when all sessions have ended too; its
// error is nil then. It ends by itself, with an Unavailable error, if a peer
// has seen a newer leader. It may be called once.
func (s *Scheduler) Run(ctx context.Context) error {
	checks, stopChecks := context.WithCancel(ctx)
	defer stopChecks()
	loop := &ownerLoop{
		log:      s.log,
		state:    newState(s.cfg, s.ids, s.log, time.Now()),
		sessions: make(map[sessionID]*session),
		check: func(from sessionID, node whisk.NodeID, at string) {
			s.serving.Go(func() { s.ask(checks, from, node, at) })
		},
	}
	loop.state.checks = s.check != nil
	err := loop.run(ctx, s.inbox)
	s.lock.Lock()
	s.closing = true
	s.lock.Unlock()
	close(s.ended)
	stopChecks()
	s.serving.Wait()
	return err
}

// ask asks a health route and has the owner loop hear the answer. There is one
// such question at a time for each agent's session.
func (s *Scheduler) ask(ctx context.Context, from sessionID, node whisk.NodeID, at string) {
	asking, cancel := context.WithTimeout(ctx, s.cfg.HealthTimeout)
	defer cancel()
	answer := checkedUp{session: from}
	err := s.check(asking, node, at)
	switch {
	case err == nil:
	case asking.Err() != nil:
		answer.wrong = &whisk.Error{Kind: whisk.Timeout, Text: "the health route does not answer"}
	default:
		answer.wrong = &whisk.Error{Kind: whisk.KindOf(err), Text: err.Error()}
	}
	// If the scheduler has ended nobody wants to know.
	_ = s.post(ctx, letter{event: answer})
}

// Snapshot tells how things stand. It waits for the owner loop, and fails if
// ctx ends first or, with Unavailable, if the scheduler has ended.
func (s *Scheduler) Snapshot(ctx context.Context) (Snapshot, error) {
	shot, err := look(ctx, s, (*state).snapshot)
	shot.sort()
	return shot, err
}

// Metrics tells the scheduler's figures. It costs the owner loop less than a
// snapshot does, and fails as that does.
func (s *Scheduler) Metrics(ctx context.Context) (Metrics, error) {
	return look(ctx, s, (*state).metrics)
}

// look has the owner loop read the state.
func look[T any](ctx context.Context, s *Scheduler, read func(*state) T) (result T, err error) {
	var seen T
	err = s.call(ctx, func(loop *ownerLoop) { seen = read(loop.state) })
	if err == nil {
		result = seen
	}
	return result, err
}

// call has the owner loop do something, in a moment, and waits for it.
func (s *Scheduler) call(ctx context.Context, do func(*ownerLoop)) error {
	done := make(chan struct{})
	err := s.post(ctx, letter{call: func(loop *ownerLoop) {
		do(loop)
		close(done)
	}})
	if err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ended:
		return errEnded
	}
}

var errEnded = whisk.Errorf(whisk.Unavailable, "the scheduler has ended")

// post hands a letter to the owner loop. It blocks while the inbox is full.
func (s *Scheduler) post(ctx context.Context, l letter) error {
	select {
	case s.inbox <- l:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ended:
		return errEnded
	}
}

// ownerLoop is the goroutine that owns the state.
type ownerLoop struct {
	log      *slog.Logger
	state    *state
	sessions map[sessionID]*session
	check    func(from sessionID, node whisk.NodeID, at string) // begins to ask a health route
}

// run handles one letter after the other, and alarms between them.
func (l *ownerLoop) run(ctx context.Context, inbox <-chan letter) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for l.state.deposed == 0 {
		if at, ok := l.state.alarms.next(); ok {
			timer.Reset(time.Until(at))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			l.handle(timePassed{})
		case in := <-inbox:
			l.take(in)
		}
	}
	return whisk.Errorf(whisk.Unavailable, "a scheduler of epoch %d leads, this is epoch %d", l.state.deposed, l.state.cfg.Epoch)
}

// take handles one letter. What a session that we closed said before it
// noticed is of no interest any more.
func (l *ownerLoop) take(in letter) {
	switch {
	case in.call != nil:
		in.call(l)
		return
	case in.open != nil:
		l.sessions[in.open.id] = in.open
		return
	case in.from != 0 && l.sessions[in.from] == nil:
		return
	}
	if _, ended := in.event.(sessionEnded); ended {
		delete(l.sessions, in.from)
	}
	l.handle(in.event)
}

// handle has the state decide, and its effects carried out.
func (l *ownerLoop) handle(e event) { l.carryOut(l.state.handle(time.Now(), e)) }

// carryOut hands effects to those who carry them out. A session that lags too
// far behind is closed; its peer comes back with a full report.
func (l *ownerLoop) carryOut(effects []effect) {
	var closed []sessionID
	for _, do := range effects {
		if do.check != nil {
			l.check(do.session, do.check.id, do.check.probes)
			continue
		}
		to := l.sessions[do.session]
		if to == nil {
			continue
		}
		err := do.end
		if err == nil && !to.outbox.put(do) {
			err = errLag
		}
		if err != nil {
			l.log.Warn("session closed", "peer", to.peer, "err", err)
			to.stop(err)
			delete(l.sessions, do.session)
			closed = append(closed, do.session)
		}
	}
	for _, id := range closed {
		l.handle(sessionEnded{session: id})
	}
}
