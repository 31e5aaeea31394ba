// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// waitDefault is how long an activation waits that says no StartBy: OpenWhisk's
// queue retention.
const waitDefault = time.Minute

// Invoke runs an activation and blocks until its outcome is known. The error is
// Throttled, Unavailable or nil; it means that the activation was never accepted,
// with a text that says which limit was hit. Whatever happens once it was
// accepted is an outcome.
//
// ctx is for shutdown: it ends a wait in the overflow and is passed to Claim
// and InitBody. A request that is on its way to a container is not cut by it
// but by [Balancer.Drain] or the end of Run.
func (b *Balancer) Invoke(ctx context.Context, inv *whisk.Invocation) (whisk.Outcome, error) {
	if err := b.begin(); err != nil {
		return whisk.Outcome{}, err
	}
	defer b.end()
	a := b.lockAction(inv)
	c, w, err := a.enterLocked(inv, false)
	a.mu.Unlock()
	if err != nil {
		return whisk.Outcome{}, err
	}
	return b.see(ctx, a, inv, c, w), nil
}

// TryInvoke is Invoke for an activation that can have a container with its code at
// once. Where there is none taken is false, and nothing has happened. If that
// container turned the activation away, rest is not nil and must be called: it goes
// on as Invoke does, for as long. Otherwise TryInvoke takes no longer than the action may.
func (b *Balancer) TryInvoke(ctx context.Context, inv *whisk.Invocation) (outcome whisk.Outcome, rest func() whisk.Outcome, taken bool) {
	if b.begin() != nil {
		return whisk.Outcome{}, nil, false
	}
	defer func() { // also if something panics: who called may live on
		if rest == nil {
			b.end()
		}
	}()
	c := b.takeWarm(inv)
	if c == nil {
		return whisk.Outcome{}, nil, false
	}
	j := job{b: b, inv: inv}
	outcome, again := j.attempt(ctx, c)
	if again {
		left := j // of which rest is made, so that most activations need no memory for it
		left.attempts++
		return whisk.Outcome{}, func() whisk.Outcome {
			defer b.end()
			return left.elsewhere(ctx, verdict{container: c})
		}, true
	}
	return outcome, nil, true
}

// takeWarm takes a slot of a container with the action's code, if nobody waits for
// one. It returns nil if there is none.
func (b *Balancer) takeWarm(inv *whisk.Invocation) *container {
	a := b.lockAction(inv)
	defer a.mu.Unlock()
	if b.stopped.Load() {
		return nil
	}
	c := a.lendLocked(b.now())
	if c != nil {
		a.invocations++
	}
	return c
}

// Admission is the right to run one activation later: a place in the overflow
// is kept for it, whatever else comes meanwhile. Exactly one of its methods must
// be called, once.
type Admission struct {
	b   *Balancer
	a   *action
	inv *whisk.Invocation
}

// Admit accepts an activation that is to be made durable before it runs: after
// Admit it cannot be turned away any more. Errors are those of Invoke.
func (b *Balancer) Admit(inv *whisk.Invocation) (*Admission, error) {
	if err := b.begin(); err != nil {
		return nil, err
	}
	a := b.lockAction(inv)
	defer a.mu.Unlock()
	err := a.hastyLocked(inv.Patience)
	if err == nil {
		err = a.room.reserve(&b.config, inv.Size)
	}
	if err != nil {
		b.end()
		return nil, err
	}
	return &Admission{b, a, inv}, nil
}

// Invoke runs the activation; see [Balancer.Invoke].
func (m *Admission) Invoke(ctx context.Context) whisk.Outcome {
	defer m.b.end()
	m.a.mu.Lock()
	c, w, _ := m.a.enterLocked(m.inv, true)
	m.a.mu.Unlock()
	return m.b.see(ctx, m.a, m.inv, c, w)
}

// Cancel gives the place up: the activation will not run.
func (m *Admission) Cancel() {
	m.a.mu.Lock()
	m.a.room.release(m.inv.Size)
	m.a.mu.Unlock()
	m.b.end()
}

// enterLocked takes a slot, or enters the queue where there is none or others
// wait already. reserved says that its room in the overflow is reserved.
func (a *action) enterLocked(inv *whisk.Invocation, reserved bool) (*container, *waiter, error) {
	now := a.b.now()
	a.invocations++
	if a.waiting.len() == 0 && !a.b.stopped.Load() {
		if c := a.takeLocked(now); c != nil {
			if reserved {
				a.room.release(inv.Size)
			}
			return c, nil, nil
		}
	}
	if !reserved {
		if err := a.hastyLocked(inv.Patience); err != nil {
			return nil, nil, err
		}
		if err := a.room.reserve(&a.b.config, inv.Size); err != nil {
			return nil, nil, err
		}
	}
	return nil, a.waitLocked(inv, false, now), nil
}

// waitLocked puts inv into the queue; room for it is reserved.
func (a *action) waitLocked(inv *whisk.Invocation, again bool, now int64) *waiter {
	if a.waiting.len() == 0 {
		a.handed.begin(now)
	}
	w := a.waiting.add(inv, again)
	w.first = a.waiting.len() == 1 && len(a.containers) == 0
	if startBy := startBy(inv); startBy.After(a.startBy) {
		a.startBy = startBy
	}
	if a.b.stopped.Load() {
		a.waiting.next(verdict{response: whisk.ErrorResponse(whisk.WhiskError, textShuttingDown)})
		return w
	}
	if forbidden(inv) {
		a.waiting.next(verdict{response: whisk.ErrorResponse(whisk.WhiskError, textNoInstances)})
		return w
	}
	a.pumpLocked(now)
	return w
}

func startBy(inv *whisk.Invocation) time.Time {
	if inv.StartBy.IsZero() {
		return inv.Received.Add(waitDefault)
	}
	return inv.StartBy
}

// see brings an activation to its end: in c, or where w leads.
func (b *Balancer) see(ctx context.Context, a *action, inv *whisk.Invocation, c *container, w *waiter) whisk.Outcome {
	j := job{b: b, inv: inv}
	outcome, v, again := j.once(ctx, a, c, w)
	if again {
		return j.elsewhere(ctx, v)
	}
	return outcome
}

// elsewhere brings an activation to its end that was turned away by the container or
// the controller of the verdict.
func (j *job) elsewhere(ctx context.Context, former verdict) whisk.Outcome {
	for j.attempts < j.b.config.Attempts {
		a, c, w := j.b.reenter(j.inv, former)
		outcome, v, again := j.once(ctx, a, c, w)
		if !again {
			return outcome
		}
		former = v
	}
	return j.unstarted(whisk.ErrorResponse(whisk.WhiskError, textNoContainer))
}

// once has the activation run in c, or where w leads. again says that it was turned
// away there.
func (j *job) once(ctx context.Context, a *action, c *container, w *waiter) (outcome whisk.Outcome, v verdict, again bool) {
	v = verdict{container: c}
	if c == nil {
		j.prepare(ctx, w)
		v = a.await(ctx, w)
	}
	switch {
	case v.container != nil:
		outcome, again = j.attempt(ctx, v.container)
		j.attempts++
	case v.peer != nil:
		outcome, again = j.forward(ctx, v.peer)
	default:
		outcome = j.unstarted(v.response)
	}
	if !again {
		a.settle(v)
	}
	return outcome, v, again
}

// prepare does what can be done for the first container of an action while that is
// made: it would take as long when the container is there.
func (j *job) prepare(ctx context.Context, w *waiter) {
	if w.first && j.inv.Prepare != nil {
		j.inv.Prepare(ctx)
	}
}

// settle notes that the activation that got the verdict has ended.
func (a *action) settle(v verdict) {
	if v.peer == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.away--
}

// reenter finds the next container for an activation that one turned away, or
// another controller. It is the oldest, and was accepted long ago: it waits at
// the head of the queue and beyond the limits, by at most as many as run. The
// action is looked up: if that container was the last, it may have been forgotten.
func (b *Balancer) reenter(inv *whisk.Invocation, former verdict) (*action, *container, *waiter) {
	a := b.lockAction(inv)
	defer a.mu.Unlock()
	now := b.now()
	if former.peer != nil {
		a.away--
		a.insistLocked(now)
	}
	if !b.stopped.Load() {
		if c := a.takeLocked(now); c != nil {
			return a, c, nil
		}
	}
	a.room.force(inv.Size)
	return a, nil, a.waitLocked(inv, true, now)
}

// await waits for w's verdict, no longer than StartBy or ctx allow.
func (a *action) await(ctx context.Context, w *waiter) verdict {
	limit := startBy(w.inv)
	timer := time.NewTimer(time.Until(limit))
	defer timer.Stop()
	var v verdict
	select {
	case v = <-w.verdict:
	case <-timer.C:
		v = a.leaveQueue(w, whisk.ErrorResponse(whisk.WhiskError, textNotStarted(limit.Sub(w.inv.Received))))
	case <-ctx.Done():
		v = a.leaveQueue(w, whisk.ErrorResponse(whisk.WhiskError, textShuttingDown))
	}
	a.mu.Lock()
	a.room.release(w.inv.Size)
	a.mu.Unlock()
	return v
}

// leaveQueue ends the wait of w with response, unless another verdict came first.
func (a *action) leaveQueue(w *waiter, response whisk.Response) verdict {
	a.mu.Lock()
	left := a.waiting.remove(w)
	if left {
		a.pumpLocked(a.b.now())
	}
	a.mu.Unlock()
	if left {
		return verdict{response: response}
	}
	return <-w.verdict
}
