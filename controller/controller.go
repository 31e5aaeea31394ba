// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/whirl-faas/whirl/controller/keyring"
	"github.com/whirl-faas/whirl/controller/recorder"
	"github.com/whirl-faas/whirl/whisk"
)

// Balancer runs invocations on containers.
type Balancer interface {
	// Invoke runs an invocation and returns when its outcome is known. An error
	// (Throttled or Unavailable, with a text that says which limit was hit) means that
	// it was never accepted. When ctx ends, what waits for a container fails.
	Invoke(ctx context.Context, inv *whisk.Invocation) (whisk.Outcome, error)
	// TryInvoke is Invoke for an invocation that can have a container with its code
	// at once. Where there is none taken is false, and nothing has happened. If that
	// container turned it away, rest is not nil and must be called: it goes on as
	// Invoke does, for as long. Otherwise TryInvoke takes no longer than the action may.
	TryInvoke(ctx context.Context, inv *whisk.Invocation) (outcome whisk.Outcome, rest func() whisk.Outcome, taken bool)
	// Admit takes a place for an invocation that will be made durable before it
	// runs. It does not block; the errors are those of Invoke.
	Admit(inv *whisk.Invocation) (Admission, error)
	// Check returns the error with which Invoke would refuse an invocation of an action
	// with so much patience, if that can be told without one; it is cheap. Nil
	// promises nothing. An error stands for a call that was refused.
	Check(key whisk.ActionKey, patience time.Duration) error
	// Retire gives back the containers of an action's revisions before keep,
	// the busy ones when they are done. keep 0 says that the action is gone.
	Retire(name whisk.FullName, keep whisk.Revision)
	// Invokers returns how the cluster's nodes are as far as is known, sorted by
	// name. The result must not be modified.
	Invokers() []whisk.NodeStanding
	// Controllers returns how many controllers share what namespaces may do, this
	// one included; at least 1.
	Controllers() int
	// Drain refuses new invocations and waits for running ones. When ctx ends it
	// cuts them short. All calls of Invoke return.
	Drain(ctx context.Context) error
}

// Admission is a place in the balancer. It is used once, by either method.
type Admission interface {
	Invoke(ctx context.Context) whisk.Outcome
	Cancel() // the invocation will not run
}

// Deps are what a controller works with. What comes before Keys must be given.
type Deps struct {
	Entities    whisk.EntityStore
	Subjects    whisk.SubjectStore
	APIs        whisk.APIStore
	Blobs       whisk.Blobs
	Activations whisk.ActivationStore
	Logs        whisk.LogStore
	Queue       whisk.Queue
	Balancer    Balancer
	Manifest    whisk.Manifest
	Images      bool // actions may bring a container image of their own

	Keys *keyring.Keyring // for parameters in the store; nil for none

	// Secret makes keys for actions that run for an owner who is not there. It
	// must be the same in all controllers of a store, and stay. nil makes none.
	Secret []byte

	// Alive reports whether a controller that uses the same stores may still be at
	// work. It may go on saying so of one that is no more, for a while; the other
	// way round, what that one runs would be recorded as lost. A process that is
	// no more never comes back: its successor has another id. Alive does not
	// block, and is asked of many entries of the queue. Nil says that there is no
	// other controller.
	Alive    func(whisk.ControllerID) bool
	Builtins map[whisk.FullName]Builtin // the code of actions that are part of the platform, by the names under which they are stored
	Hint     func(kind string) string   // how to get a runtime that is missing; nil or "" if nothing is known
	NewID    func() whisk.ActivationID  // nil for UUIDs of version 7
	Logger   *slog.Logger               // nil discards
}

// Controller carries out the use cases.
type Controller struct {
	config Config
	deps   Deps

	identities *cache[string, *Caller]
	owners     *cache[string, *Caller] // by namespace, with keys that stand for theirs
	packages   *cache[whisk.FullName, *whisk.Package]
	triggers   *cache[whisk.FullName, *whisk.Trigger]
	actions    *cache[whisk.FullName, *resolvedAction] // by the name under which they are stored
	views      *cache[whisk.FullName, view]            // by the name under which they are called
	offers     *cache[string, *Offer]                  // by the uuid of the namespace
	recorder   *recorder.Recorder
	sequences  *semaphore.Weighted // places of outermost sequences
	builtins   *semaphore.Weighted // places of builtin actions
	ahead      *semaphore.Weighted // memory for code that is read ahead
	running    gate
	crew       *crew    // runs what has entered
	patience   patience // with the collection of logs
	throttles  throttles
	accepted   acceptedSet

	// activations outlive the requests that began them, so they live in a
	// context of the controller; stop ends it with a cause.
	activations context.Context
	stop        context.CancelCauseFunc
}

// errStopping is why activations end early when the process does.
var errStopping = errors.New("the controller is stopping")

// New returns a controller. It may be called upon at once; records are stored,
// caches kept fresh and accepted activations recovered while Run runs.
func New(config Config, deps Deps) (*Controller, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Hint == nil {
		deps.Hint = func(string) string { return "" }
	}
	if deps.NewID == nil {
		deps.NewID = newActivationID
	}
	deps.Logger = deps.Logger.With("component", "controller")
	c := &Controller{
		config:    config,
		throttles: newThrottles(),
		deps:      deps,
		recorder:  recorder.New(config.Records, deps.Activations, deps.Queue, deps.Logger),

		sequences: semaphore.NewWeighted(int64(config.Sequences)),
		builtins:  semaphore.NewWeighted(int64(config.Builtins)),
		ahead:     semaphore.NewWeighted(int64(roomReadAhead)),
	}
	c.crew = newCrew(c.work)
	c.identities = newCache[string, *Caller](config.CachedIdentities, config.IdentityTTL)
	c.owners = newCache[string, *Caller](config.CachedIdentities, config.IdentityTTL)
	c.packages = newCache[whisk.FullName, *whisk.Package](config.CachedActions, 0)
	c.triggers = newCache[whisk.FullName, *whisk.Trigger](config.CachedActions, 0)
	c.actions = newCache[whisk.FullName, *resolvedAction](config.CachedActions, 0)
	c.views = newCache[whisk.FullName, view](config.CachedActions, 0)
	c.offers = newCache[string, *Offer](config.CachedOffers, 0)
	c.activations, c.stop = context.WithCancelCause(context.Background())
	return c, nil
}

// Limits returns what the platform allows.
func (c *Controller) Limits() whisk.Limits { return c.config.Limits }

// Runtimes returns the manifest of the kinds that may be used.
func (c *Controller) Runtimes() whisk.Manifest { return c.deps.Manifest }

// Invokers returns how the cluster's nodes are as far as is known, sorted by
// name. The result must not be modified.
func (c *Controller) Invokers() []whisk.NodeStanding { return c.deps.Balancer.Invokers() }

// Run keeps the controller going until ctx ends, and then drains it: new
// activations are refused, running ones may finish within DrainTimeout, and
// their records are stored. The balancer must run until Run has returned.
func (c *Controller) Run(ctx context.Context) error {
	c.crew.gather()
	var background sync.WaitGroup
	background.Go(func() { c.feedLoop(ctx) })
	background.Go(func() { c.retentionLoop(ctx) })
	background.Go(func() { c.recover(ctx) })

	recording, flush := context.WithCancel(context.WithoutCancel(ctx))
	defer flush()
	recorded := make(chan error, 1)
	go func() { recorded <- c.recorder.Run(recording) }()

	<-ctx.Done()
	background.Wait()
	c.drain()
	flush()
	if err := <-recorded; err != nil {
		return fmt.Errorf("drain the controller: %w", err)
	}
	return nil
}

// drain waits for running activations, and cuts short what outlasts DrainTimeout.
func (c *Controller) drain() {
	idle := c.running.close(errDraining())
	deadline, cancel := context.WithTimeout(context.Background(), c.config.DrainTimeout)
	defer cancel()
	select {
	case <-idle:
	case <-deadline.Done():
		c.deps.Logger.Warn("activations outlast the drain timeout and are cut short", "after", c.config.DrainTimeout)
	}
	// What waits for a container ends with the context, what is in one is cut by
	// the balancer. Both end in records.
	c.stop(errStopping)
	if err := c.deps.Balancer.Drain(deadline); err != nil && deadline.Err() == nil {
		c.deps.Logger.Warn("balancer not drained", "err", err)
	}
	<-idle
	c.crew.dismiss()
}

func errDraining() error {
	return whisk.Errorf(whisk.Unavailable, "The server is shutting down and takes no new activations.")
}
