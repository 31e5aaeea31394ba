// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// factory is the controller's end of the Container Factory Protocol. Others
// leave notes: this action's need changed, this container's use changed, this
// one goes back. One goroutine turns the notes into messages, at the last
// moment, so that a burst of activations becomes one requisition and a slow or
// absent scheduler costs one note per action and container, not a queue of
// stale messages.
//
// While there is no session the notes wait. What the scheduler was asked in an
// earlier session it has forgotten; it is asked anew from what waits now.
type factory struct {
	b    *Balancer
	log  *slog.Logger
	wake chan struct{} // holds one token while there are notes; never closed
	owed atomic.Int64  // slots requisitioned and not served, over all actions

	mu       sync.Mutex
	needs    []*action       // each once
	edges    []*container    // each once
	releases []whisk.Release // at most one per container held
	hurry    bool            // edges must not wait for the report interval
	flushed  []chan struct{} // closed when everything noted before was sent
	epoch    uint64          // the highest seen
	lastID   whisk.RequisitionID
	askers   map[whisk.RequisitionID]*action // whose allocations may come
	spent    []whisk.RequisitionID           // with nothing left, oldest first
}

// spentKept is how many requisitions are remembered that have nothing left: a
// container may be on its way for one that was withdrawn. What comes for older
// ones is given back.
const spentKept = 4096

func newFactory(b *Balancer, log *slog.Logger) *factory {
	return &factory{
		b:      b,
		log:    log,
		wake:   make(chan struct{}, 1),
		askers: make(map[whisk.RequisitionID]*action),
	}
}

// need notes that a needs another number of slots. The caller holds a.mu.
func (f *factory) need(a *action) {
	if a.needy {
		return
	}
	a.needy = true
	f.mu.Lock()
	f.needs = append(f.needs, a)
	f.mu.Unlock()
	f.notify()
}

// edge notes that c's use changed. The caller holds its action's mutex.
func (f *factory) edge(c *container) {
	f.mu.Lock()
	if !c.edge {
		c.edge = true
		f.edges = append(f.edges, c)
	}
	// Somebody may wait for the memory of what just became idle, most of all
	// we ourselves.
	f.hurry = f.hurry || c.answer || f.owed.Load() > 0
	f.mu.Unlock()
	f.notify()
}

// release notes that a container goes back.
func (f *factory) release(r whisk.Release) {
	f.mu.Lock()
	f.releases = append(f.releases, r)
	f.mu.Unlock()
	f.notify()
}

func (f *factory) notify() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// flush waits until everything noted so far was handed to the transport.
func (f *factory) flush(ctx context.Context) {
	done := make(chan struct{})
	f.mu.Lock()
	f.flushed = append(f.flushed, done)
	f.mu.Unlock()
	f.notify()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// nextID returns the id of a new requisition of a.
func (f *factory) nextID(a *action) whisk.RequisitionID {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lastID++
	f.askers[f.lastID] = a
	return f.lastID
}

// spend notes that nothing is left of a requisition.
func (f *factory) spend(id whisk.RequisitionID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.spent) == spentKept {
		delete(f.askers, f.spent[0])
		f.spent = f.spent[1:]
	}
	f.spent = append(f.spent, id)
}

// asker returns the action that made a requisition of this session, or nil.
func (f *factory) asker(id whisk.RequisitionID) *action {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.askers[id]
}

// run keeps a session with the scheduler until ctx ends.
func (f *factory) run(ctx context.Context) {
	wait := f.b.backoff()
	for ctx.Err() == nil {
		stream, err := f.b.deps.DialScheduler(ctx)
		if err == nil {
			err = f.session(ctx, stream, wait.reset)
		}
		if ctx.Err() == nil {
			f.log.Warn("no session with the scheduler", "err", err)
		}
		wait.sleep(ctx)
	}
}

// session serves one session until it breaks. heard is called once it proved
// to work.
func (f *factory) session(ctx context.Context, stream whisk.ControllerToScheduler, heard func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := stream.Send(ctx, f.register()); err != nil {
		stream.Close()
		return err
	}
	var lastHeard atomic.Int64
	lastHeard.Store(f.b.now())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			message, err := stream.Recv(ctx)
			if err != nil {
				cancel(err)
				return
			}
			lastHeard.Store(f.b.now())
			heard()
			f.receive(message)
		}
	})
	cancel(f.sendLoop(ctx, stream, &lastHeard))
	stream.Close()
	wg.Wait()
	return context.Cause(ctx)
}

// register begins a session: earlier requisitions are void, what is held is
// told, and every need is looked at again.
func (f *factory) register() whisk.Register {
	f.mu.Lock()
	message := whisk.Register{Controller: f.b.config.Controller, Epoch: f.epoch, Peers: f.b.config.Peers}
	clear(f.askers)
	f.spent, f.needs, f.edges = nil, nil, nil
	f.mu.Unlock()
	for _, a := range f.b.allActions() {
		a.mu.Lock()
		a.voidLocked()
		a.needy = false
		for _, c := range a.containers {
			held := c.heldLocked()
			c.reported, c.edge = held.State, false
			message.Held = append(message.Held, held)
		}
		a.needLocked()
		a.mu.Unlock()
	}
	return message
}

// sendLoop sends what is noted, reports on time and signs of life.
func (f *factory) sendLoop(ctx context.Context, stream whisk.ControllerToScheduler, lastHeard *atomic.Int64) error {
	alive := time.NewTicker(f.b.config.KeepAlive)
	defer alive.Stop()
	report := time.NewTimer(f.b.config.ReportInterval)
	report.Stop()
	defer report.Stop()
	f.notify()
	var next time.Time // that report is set to; zero for never
	for {
		due := false
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.wake:
		case <-report.C:
			due, next = true, time.Time{}
		case <-alive.C:
			if silent := time.Duration(f.b.now() - lastHeard.Load()); silent > f.b.config.Silence {
				return whisk.Errorf(whisk.Unavailable, "the scheduler was silent for %v", silent)
			}
			if err := stream.Send(ctx, whisk.KeepAlive{Epoch: f.knownEpoch()}); err != nil {
				return err
			}
		}
		waiting, err := f.sendNotes(ctx, stream, due)
		if err != nil {
			return err
		}
		if at := time.Now().Add(f.rest()); waiting && (next.IsZero() || at.Before(next)) {
			report.Reset(time.Until(at))
			next = at
		}
	}
}

// rest is how long a container has to be idle before the scheduler hears of it.
// Between two activations of a busy caller lie milliseconds: to take the
// container away for another action then, and to make the first one a new one,
// costs more than it brings.
func (f *factory) rest() time.Duration {
	if f.owed.Load() > 0 {
		return f.b.config.IdleGrace
	}
	return f.b.config.ReportInterval
}

func (f *factory) knownEpoch() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.epoch
}

// sendNotes sends what is noted. Reports go if they are due or in a hurry;
// it says whether some wait.
func (f *factory) sendNotes(ctx context.Context, stream whisk.ControllerToScheduler, due bool) (reportsWait bool, err error) {
	f.mu.Lock()
	needs, releases, flushed := f.needs, f.releases, f.flushed
	f.needs, f.releases, f.flushed = nil, nil, nil
	var edges []*container
	if due || f.hurry {
		edges = f.edges
		f.edges = nil
	}
	f.hurry = false
	f.mu.Unlock()

	defer func() {
		if err != nil {
			f.putBack(releases, flushed)
		}
	}()
	for ; len(releases) > 0; releases = releases[1:] {
		if err := stream.Send(ctx, releases[0]); err != nil {
			return false, err
		}
	}
	states, young := f.states(edges)
	if len(states) > 0 {
		if err := stream.Send(ctx, whisk.StateReport{States: states}); err != nil {
			return false, err // the next session's Register tells them
		}
	}
	now := f.b.now()
	for _, a := range needs {
		a.mu.Lock()
		a.needy = false
		messages := a.settleLocked(now)
		a.mu.Unlock()
		for _, m := range messages {
			if err := stream.Send(ctx, m); err != nil {
				return false, err // the next session asks anew
			}
		}
	}
	for _, done := range flushed {
		close(done)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.edges = append(f.edges, young...)
	return len(f.edges) > 0, nil
}

// putBack keeps for the next session what this one did not send; its Register
// settles everything else. Whether the scheduler got the releases that were sent
// just before it learns from there, too: it does not find them held.
func (f *factory) putBack(releases []whisk.Release, flushed []chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.releases = slices.Concat(releases, f.releases)
	f.flushed = slices.Concat(flushed, f.flushed)
}

// states is the lines of a report. A container that was busy when the scheduler
// asked for it is answered for with a line that says so, also if it is idle by
// now: the scheduler waits for an answer, and asks again. Those that have not
// been idle for long enough wait for the next report.
func (f *factory) states(edges []*container) (lines []whisk.ContainerUse, young []*container) {
	now, rest := f.b.now(), int64(f.rest())
	for _, c := range edges {
		c.action.mu.Lock()
		c.edge = false
		use := c.useLocked()
		line := func(use whisk.UseState) {
			c.reported = use
			lines = append(lines, whisk.ContainerUse{Container: c.ID, State: use, Since: f.b.at(c.since)})
		}
		if c.answer && c.state != released {
			c.answer = false
			line(whisk.Busy)
		}
		switch {
		case c.state == released, use == c.reported:
		case use == whisk.Free && now-c.since < rest:
			c.edge = true
			young = append(young, c)
		default:
			line(use)
		}
		c.action.mu.Unlock()
	}
	return lines, young
}
