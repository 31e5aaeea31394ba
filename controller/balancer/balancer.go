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

// Balancer holds a controller's containers and runs activations in them. All
// methods may be called concurrently.
type Balancer struct {
	config   Config
	deps     Deps
	log      *slog.Logger
	started  time.Time // the zero of the balancer's clock
	overflow overflow
	registry registry
	peers    peers
	factory  *factory
	sweeper  *sweeper
	crowd    crowd

	roster   atomic.Pointer[whisk.Roster] // the latest that the scheduler told; nil before the first
	inflight atomic.Int64                 // activations that were admitted and did not end
	stopping atomic.Bool                  // no new ones
	stopped  atomic.Bool                  // those that wait have ended, and none may begin to
	guests   atomic.Int64                 // of inflight, those that run here for other controllers
	traffic  traffic
	quiet    chan struct{} // holds a token when inflight became 0 while stopping; never closed

	mu      sync.RWMutex
	actions map[whisk.ActionKey]*action
	named   map[whisk.FullName][]*action // the same by their names: most changes of actions are of others
	tenants map[string]*tenant           // by namespace
}

// New returns a balancer that does nothing until [Balancer.Run]. The error is
// Invalid and names what is wrong with the configuration.
func New(config Config, deps Deps) (*Balancer, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if config.Peers != "" && deps.DialPeer == nil {
		return nil, whisk.Errorf(whisk.Invalid, "balancer: others forward to %s, but there is no way to forward to others", config.Peers)
	}
	if deps.Lookout == nil {
		deps.Lookout = nobody{}
	}
	b := &Balancer{
		config:  config,
		deps:    deps,
		log:     deps.Logger.With("component", "balancer"),
		started: time.Now(),
		quiet:   make(chan struct{}, 1),
		actions: make(map[whisk.ActionKey]*action),
		named:   make(map[whisk.FullName][]*action),
		tenants: make(map[string]*tenant),
	}
	b.overflow.maxEntries, b.overflow.maxBytes = int64(config.Waiting), int64(config.WaitingBytes)
	b.registry.init(b)
	b.peers.init(b)
	b.factory = newFactory(b, b.log)
	b.sweeper = newSweeper(b)
	b.crowd.b, b.crowd.runnable = b, deps.Runnable
	return b, nil
}

// Run keeps the sessions with the scheduler and the agents, pauses idle
// containers and gives back those that stay idle, until ctx ends. Then it fails
// what still waits, cuts what still runs and returns when all its goroutines
// have ended; call [Balancer.Drain] before to end well. It may be called once
// and always returns nil.
func (b *Balancer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	b.registry.start(ctx, &wg)
	b.peers.start(ctx, &wg)
	wg.Go(func() { b.factory.run(ctx) })
	wg.Go(func() { b.sweeper.run(ctx) })
	wg.Go(func() { b.crowd.run(ctx) })
	<-ctx.Done()
	b.stopping.Store(true)
	b.abort()
	wg.Wait()
	return nil
}

// Retire says that an action was changed: containers of its revisions before
// keep are given back, the idle ones at once and the busy ones when their
// activations end. keep 0 says that it was deleted. Activations that were
// accepted for an older revision still run.
func (b *Balancer) Retire(name whisk.FullName, keep whisk.Revision) {
	for _, a := range b.actionsOf(name) {
		if keep != 0 && a.key.Revision >= keep {
			continue
		}
		a.mu.Lock()
		a.stale = true
		if a.waiting.len() == 0 {
			a.giveAllBackLocked(unwanted, whisk.ReleaseStale)
		}
		a.mu.Unlock()
	}
}

// Invokers returns how the cluster's nodes were when the scheduler last said
// so, sorted by name; nil before it did. It must not be modified.
func (b *Balancer) Invokers() []whisk.NodeStanding {
	if roster := b.roster.Load(); roster != nil {
		return roster.Nodes
	}
	return nil
}

// Controllers returns how many controllers took part when the scheduler last
// said so, this one included: 1 before it did.
func (b *Balancer) Controllers() int {
	if roster := b.roster.Load(); roster != nil {
		return max(1, roster.Controllers)
	}
	return 1
}

// now is the time on the balancer's clock: monotonic nanoseconds since New, and
// never 0, which stands for no time.
func (b *Balancer) now() int64 { return int64(time.Since(b.started)) + 1 }

// clock is what now returned, or would have, at some moment.
func (b *Balancer) clock(t time.Time) int64 { return int64(t.Sub(b.started)) + 1 }

func (b *Balancer) at(clock int64) time.Time { return b.started.Add(time.Duration(clock)) }

// lockAction returns the action that inv is of, with its mutex locked.
func (b *Balancer) lockAction(inv *whisk.Invocation) *action {
	for {
		b.mu.RLock()
		a := b.actions[inv.Key]
		b.mu.RUnlock()
		if a == nil {
			a = b.addAction(inv)
		}
		a.mu.Lock()
		if !a.gone {
			return a
		}
		a.mu.Unlock()
	}
}

func (b *Balancer) addAction(inv *whisk.Invocation) *action {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.actions[inv.Key]
	if a == nil {
		a = newAction(b, inv, b.tenantLocked(inv.Key.Namespace))
		b.actions[inv.Key] = a
		b.named[inv.Key.Action] = append(b.named[inv.Key.Action], a)
		b.sweeper.soon()
	}
	return a
}

// removeIfEmpty forgets an action that nothing is known of any more.
func (b *Balancer) removeIfEmpty(a *action) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.emptyLocked() {
		return
	}
	a.gone = true
	delete(b.actions, a.key)
	name := a.key.Action
	b.named[name] = slices.DeleteFunc(b.named[name], func(other *action) bool { return other == a })
	if len(b.named[name]) == 0 {
		delete(b.named, name)
	}
	if a.tenant.actions--; a.tenant.actions == 0 {
		delete(b.tenants, a.key.Namespace)
	}
}

// actionsOf returns what is known of an action under all its keys: most often nothing.
func (b *Balancer) actionsOf(name whisk.FullName) []*action {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.Clone(b.named[name])
}

func (b *Balancer) allActions() []*action {
	b.mu.RLock()
	defer b.mu.RUnlock()
	actions := make([]*action, 0, len(b.actions))
	for _, a := range b.actions {
		actions = append(actions, a)
	}
	return actions
}

// begin counts an activation in, unless the balancer is stopping.
func (b *Balancer) begin() error {
	b.inflight.Add(1)
	if b.stopping.Load() {
		b.end()
		return whisk.Errorf(whisk.Unavailable, "The controller is shutting down.")
	}
	return nil
}

func (b *Balancer) end() {
	if b.inflight.Add(-1) == 0 && b.stopping.Load() {
		select {
		case b.quiet <- struct{}{}:
		default:
		}
	}
}

// backoff spaces the tries to reach another role.
type backoff struct {
	least, most, next time.Duration
}

func (b *Balancer) backoff() *backoff {
	return &backoff{least: b.config.ReconnectMin, most: b.config.ReconnectMax, next: b.config.ReconnectMin}
}

// reset says that a try succeeded.
func (w *backoff) reset() { w.next = w.least }

// sleep waits for the next try, or until ctx ends.
func (w *backoff) sleep(ctx context.Context) {
	timer := time.NewTimer(w.next)
	defer timer.Stop()
	w.next = min(2*w.next, w.most)
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
