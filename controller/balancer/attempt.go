// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// job is one activation on its way through one or more containers.
type job struct {
	b        *Balancer
	inv      *whisk.Invocation
	claimed  bool
	attempts int // containers that turned it away
}

// conclusion is what an attempt means for the container.
type conclusion uint8

const (
	goesOn     conclusion = iota // the attempt has not ended yet
	unsent                       // nothing was sent there
	finished                     // it answered as it should
	crashed                      // it reached the container, and did not end well
	turnedAway                   // the container did not begin it and is of no more use
)

// attempt runs the activation in c, of which it holds a slot. again says that
// c cannot have begun it and another container may have it.
func (j *job) attempt(ctx context.Context, c *container) (_ whisk.Outcome, again bool) {
	outcome, end := j.occupy(ctx, c)
	if outcome.Container != "" { // else it was not claimed
		j.tell(ctx, outcome, end == turnedAway)
	}
	return outcome, end == turnedAway
}

// occupy has the slot of c until it returns. If something panics nobody knows what is
// on its way to the container or back: it goes, as one does that crashed.
func (j *job) occupy(ctx context.Context, c *container) (outcome whisk.Outcome, end conclusion) {
	end = crashed
	defer func() { j.leave(c, end, &outcome) }()
	if !j.claim(ctx) {
		return j.unstarted(whisk.ErrorResponse(whisk.WhiskError, textNoContainer)), unsent
	}
	outcome = whisk.Outcome{Container: c.ID, Start: time.Now()}
	outcome.Wait = outcome.Start.Sub(j.inv.Received)
	outcome.Asking, outcome.Creation = c.way.within(j.b.clock(j.inv.Received))
	result := goesOn
	if !c.coded.Load() {
		outcome.Cold = true
		result = j.initialise(ctx, c, &outcome)
	}
	if result == goesOn {
		result = j.run(ctx, c, &outcome)
	}
	return outcome, result
}

// tell notes for developers which container had the activation, and how it ended.
func (j *job) tell(ctx context.Context, outcome whisk.Outcome, again bool) {
	if !j.b.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	message, status := "activation ended", outcome.Response.Status.String()
	if again {
		message, status = "activation turned away", ""
	}
	j.b.log.Debug(message, "activation", j.inv.Activation, "container", outcome.Container, "action", j.inv.Key.Action,
		"status", status, "cold", outcome.Cold, "wait", outcome.Wait, "init", outcome.Init, "run", outcome.Run)
}

// claim reports whether the activation may be told to a container, or to another
// controller. It is asked of the owner of the activation once.
func (j *job) claim(ctx context.Context) bool {
	if !j.claimed && j.inv.Claim != nil {
		if err := j.inv.Claim(ctx); err != nil {
			j.b.log.Warn("activation not claimed", "activation", j.inv.Activation, "err", err)
			return false
		}
	}
	j.claimed = true
	return true
}

// unstarted is the outcome of an activation that never reached a container.
func (j *job) unstarted(response whisk.Response) whisk.Outcome {
	now := time.Now()
	return whisk.Outcome{Response: response, Start: now, Wait: now.Sub(j.inv.Received)}
}

// initialise sends /init until the container takes the connection or the
// action's time limit is used up.
func (j *job) initialise(ctx context.Context, c *container, outcome *whisk.Outcome) conclusion {
	limit := j.inv.Limits.Timeout
	deadline := outcome.Start.Add(limit)
	body, err := j.inv.InitBody(ctx, deadline)
	if err != nil {
		outcome.Response = j.codeMissing(err)
		return unsent
	}
	rep, err := j.reach(ctx, c, body, deadline)
	outcome.Init = time.Since(outcome.Start)
	switch {
	case err == nil && rep.status == http.StatusOK && !rep.truncated:
		c.action.codeArrived(c)
		return goesOn
	case err == nil && rep.status == http.StatusServiceUnavailable:
		return turnedAway
	case err == nil:
		outcome.Response = initResponse(rep, j.b.config.InitAnswer)
	case errors.Is(err, errLate), errors.Is(err, errRefused) && !time.Now().Before(deadline):
		outcome.TimedOut = true
		outcome.Response = whisk.ErrorResponse(whisk.DeveloperError, textInitLate(limit))
	case errors.Is(err, errRefused):
		return turnedAway // it ended, or was given back, before it listened
	default:
		outcome.Response = j.crash(ctx, c, err, textInitCrash)
	}
	return crashed
}

// codeMissing is the response if there is no body for /init.
func (j *job) codeMissing(err error) whisk.Response {
	if whisk.KindOf(err) == whisk.NotFound {
		return whisk.ErrorResponse(whisk.ApplicationError, textNoAction)
	}
	j.b.log.Warn("action's code not fetched", "activation", j.inv.Activation, "action", j.inv.Key.Action, "err", err)
	return whisk.ErrorResponse(whisk.WhiskError, textNoCode)
}

// reach sends /init, and again while the container does not listen yet.
func (j *job) reach(ctx context.Context, c *container, body []byte, deadline time.Time) (reply, error) {
	for {
		rep, err := c.wire.post(ctx, "/init", body, deadline, j.b.config.InitAnswer)
		if !errors.Is(err, errRefused) || c.wire.isShut() || time.Until(deadline) <= 0 {
			return rep, err
		}
		timer := time.NewTimer(min(j.b.config.InitRetry, time.Until(deadline)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return rep, err
		}
	}
}

// run sends /run.
func (j *job) run(ctx context.Context, c *container, outcome *whisk.Outcome) conclusion {
	limit := j.inv.Limits.Timeout
	begin := outcome.Start
	if outcome.Cold {
		begin = time.Now()
	}
	deadline := begin.Add(limit)
	maxResult := j.inv.ResultLimit
	if maxResult <= 0 {
		maxResult = whisk.DefaultLimits().Result
	}
	rep, err := c.wire.post(ctx, "/run", j.inv.RunBody(deadline), deadline, maxResult)
	outcome.Run = time.Since(begin)
	switch {
	case err == nil && rep.status == http.StatusServiceUnavailable:
		return turnedAway
	case err == nil:
		outcome.Response = runResponse(rep, maxResult)
		if outcome.Response.Status >= whisk.DeveloperError {
			return crashed
		}
		return finished
	case c.frozen.Load(), errors.Is(err, errRefused) && !outcome.Cold:
		return turnedAway
	case errors.Is(err, errLate):
		outcome.TimedOut = true
		outcome.Response = whisk.ErrorResponse(whisk.DeveloperError, textRunLate(limit))
	default:
		outcome.Response = j.crash(ctx, c, err, textRunCrash)
	}
	return crashed
}

// crash is the response for a connection that broke. The action is to blame only if
// the container's agent knows that nobody else ended it. That we are told of a
// container's end, and cut its connections, may be faster than to find them broken.
func (j *job) crash(ctx context.Context, c *container, cause error, text string) whisk.Response {
	switch {
	case j.b.stopped.Load():
		return whisk.ErrorResponse(whisk.WhiskError, textShuttingDown)
	case errors.Is(cause, errCut) && !c.agent.leased(j.b.now()): // nothing would be answered
		return whisk.ErrorResponse(whisk.WhiskError, textContainerLost)
	}
	inspection := &call{container: c, op: whisk.Inspect, done: make(chan struct{})}
	c.agent.ask(inspection)
	timer := time.NewTimer(j.b.config.ExitPatience)
	defer timer.Stop()
	select {
	case <-inspection.done:
		exit := inspection.reply.Exit
		switch {
		case inspection.err != nil, exit == nil && errors.Is(cause, errCut):
			return whisk.ErrorResponse(whisk.WhiskError, textContainerLost)
		case exit != nil && exit.OutOfMemory:
			text = textMemory
		}
		return whisk.ErrorResponse(whisk.DeveloperError, text)
	case <-timer.C:
	case <-ctx.Done():
	}
	return whisk.ErrorResponse(whisk.WhiskError, textContainerLost)
}

// codeArrived opens the container's other slots.
func (a *action) codeArrived(c *container) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c.coded.Store(true)
	a.colds++
	c.applyLocked(initialised)
	a.pumpLocked(a.b.now())
}

// leave ends an attempt: the request for the run's output is on its way before
// the slot is another's. It completes the outcome, which is nil if nothing began.
func (j *job) leave(c *container, end conclusion, outcome *whisk.Outcome) {
	var collection *call
	a := c.action
	a.mu.Lock()
	defer a.mu.Unlock()
	switch end {
	case unsent:
		c.applyLocked(untouched)
		if c.state == draining && !c.coded.Load() && c.reason != whisk.ReleaseFailed {
			c.reason = whisk.ReleaseUnused // whatever it is given back for, the next must not take it for warm
		}
	case finished:
		collection = j.collectLocked(c, false)
	case crashed:
		collection = j.collectLocked(c, true)
		c.giveBackLocked(spoiled, whisk.ReleaseFailed)
	case turnedAway:
		c.giveBackLocked(spoiled, whisk.ReleaseFailed)
	}
	now := j.b.now()
	if outcome != nil {
		outcome.Resume = min(outcome.Run, c.frozenLocked(j.b.clock(outcome.Start), now))
	}
	if end == finished && !outcome.Cold {
		a.pressure.ran(outcome.Run - outcome.Resume)
		j.b.crowd.watchLocked(a)
	}
	if collection != nil {
		outcome.AfterLogs = collection.output.tell
	}
	a.leaveLocked(c, now)
}

// mutedRuns is how often an agent is told that nobody wants the output of a
// container: it may be another agent meanwhile, that has not heard it.
const mutedRuns = 256

// collectLocked asks for the output of the run that just ended. Runs count as
// they end, which is the order of their sentinels. It returns nil where there is
// nothing to ask: all runs of a container are the same action's, and its output is
// discarded until somebody wants some.
func (j *job) collectLocked(c *container, failed bool) *call {
	c.runs++
	if j.inv.Limits.Logs == 0 && !failed && c.runs%mutedRuns != 1 {
		return nil
	}
	collection := &call{
		container: c,
		op:        whisk.CollectLogs,
		logs: whisk.LogRequest{
			Activation: j.inv.Activation,
			Namespace:  j.inv.Key.Namespace,
			Run:        c.runs,
			Limit:      j.inv.Limits.Logs,
			Sentinels:  j.inv.Sentinels,
			Failed:     failed,
		},
	}
	if !c.agent.askIfRoom(collection) {
		collection.output.settle(whisk.LogSummary{}, whisk.Errorf(whisk.Unavailable, "too many requests wait for agent %s", c.agent.node))
		return collection
	}
	c.logs++
	return collection
}
