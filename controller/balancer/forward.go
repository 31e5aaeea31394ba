// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"bytes"
	"context"
	"sync/atomic"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// traffic counts activations that controllers run for each other; see [Snapshot].
type traffic struct{ forwarded, returned, hosted, refused atomic.Uint64 }

// errand is an activation on its way to another controller.
type errand struct {
	message  whisk.Forward
	sent     int64 // when, on the balancer's clock; guarded by peer.mu, and so is answered
	answered bool  // the other controller said something of it

	// news is what becomes of it: what the other controller says, or nil if
	// nobody will ever know. Never closed; it has room for all that is of use.
	news chan whisk.ForwardReply

	output collection // settled once at most
}

func (j *job) newErrand() *errand {
	inv := j.inv
	resultLimit := inv.ResultLimit
	if resultLimit <= 0 {
		resultLimit = whisk.DefaultLimits().Result
	}
	return &errand{
		news: make(chan whisk.ForwardReply, 2),
		message: whisk.Forward{
			Controller:  j.b.config.Controller,
			Activation:  inv.Activation,
			Key:         inv.Key,
			StartBy:     startBy(inv),
			Timeout:     inv.Limits.Timeout,
			Logs:        inv.Limits.Logs,
			ResultLimit: resultLimit,
			Sentinels:   inv.Sentinels,
			Run:         bytes.Clone(inv.RunBody(time.Now().Add(inv.Limits.Timeout))), // it outlives this call
		},
	}
}

// forward has another controller run the activation. again says that it cannot
// have begun there and may be run elsewhere.
func (j *job) forward(ctx context.Context, to *peer) (_ whisk.Outcome, again bool) {
	if !time.Now().Before(startBy(j.inv)) {
		return whisk.Outcome{}, true // the queue ends it
	}
	if !j.claim(ctx) {
		return j.unstarted(whisk.ErrorResponse(whisk.WhiskError, textNoContainer)), false
	}
	e := j.newErrand()
	if to.send(e) {
		outcome, again := j.follow(ctx, to, e)
		if !again {
			return outcome, false
		}
	}
	j.b.traffic.returned.Add(1)
	return whisk.Outcome{}, true
}

// follow waits for what becomes of an errand: until the activation was to start
// at the latest, or from when the other controller has it for as long as it may
// run. What was not sent by then, or when ctx ends, goes back to the queue, which
// ends it.
func (j *job) follow(ctx context.Context, to *peer, e *errand) (outcome whisk.Outcome, again bool) {
	limit := time.NewTimer(time.Until(e.message.StartBy))
	defer limit.Stop()
	for {
		select {
		case reply := <-e.news:
			switch m := reply.(type) {
			case whisk.ForwardTaken:
				j.b.traffic.forwarded.Add(1)
				outcome.Container, outcome.Start = m.Container, time.Now()
				limit.Reset(e.message.Timeout + j.b.config.AnswerPatience)
			case whisk.ForwardRefused:
				return j.turnedDown(outcome)
			case whisk.ForwardEnded:
				return j.ended(outcome, e, m), false
			default:
				return j.lost(outcome), false
			}
		case <-limit.C:
			if to.withdraw(e) {
				return whisk.Outcome{}, true
			}
			return j.lost(outcome), false
		case <-ctx.Done():
			if to.withdraw(e) {
				return whisk.Outcome{}, true
			}
			ctx = context.WithoutCancel(ctx) // it runs, and ends as if in a container of ours
		}
	}
}

// turnedDown is for an activation that the other controller did not begin. It is
// tried again unless it is too late for that: then it ends as one that waited
// for so long, but did have a container.
func (j *job) turnedDown(outcome whisk.Outcome) (_ whisk.Outcome, again bool) {
	limit := startBy(j.inv)
	if outcome.Container == "" || time.Now().Before(limit) {
		return whisk.Outcome{}, true
	}
	late := j.unstarted(whisk.ErrorResponse(whisk.WhiskError, textNotStarted(limit.Sub(j.inv.Received))))
	late.Container = outcome.Container
	return late, false
}

// ended completes an outcome by what the other controller says of it. Its clock
// is not ours: a start that cannot be is not believed.
func (j *job) ended(outcome whisk.Outcome, e *errand, m whisk.ForwardEnded) whisk.Outcome {
	now := time.Now()
	if !m.Start.Before(j.inv.Received) && !m.Start.After(now) {
		outcome.Start = m.Start
	} else if outcome.Start.IsZero() {
		outcome.Start = now
	}
	outcome.Wait = outcome.Start.Sub(j.inv.Received)
	outcome.Response, outcome.Run, outcome.TimedOut = m.Response, m.Run, m.TimedOut
	if m.Logs {
		outcome.AfterLogs = e.output.tell
	}
	return outcome
}

// lost is the outcome of an activation that another controller has, or may have,
// and of which nothing more will be heard. It is not tried again: it may have run.
func (j *job) lost(outcome whisk.Outcome) whisk.Outcome {
	j.b.log.Warn("forwarded activation lost", "activation", j.inv.Activation, "container", outcome.Container)
	text := textForwardLost
	if j.b.stopped.Load() {
		text = textShuttingDown
	}
	response := whisk.ErrorResponse(whisk.WhiskError, text)
	if outcome.Container == "" {
		return j.unstarted(response)
	}
	outcome.Response = response
	outcome.Wait, outcome.Run = outcome.Start.Sub(j.inv.Received), time.Since(outcome.Start)
	return outcome
}

// tell passes on what became of the errand. What nobody waits for any more is
// dropped.
func (e *errand) tell(reply whisk.ForwardReply) {
	select {
	case e.news <- reply:
	default:
	}
}
