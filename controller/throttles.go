// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"

	"github.com/whirl-faas/whirl/controller/throttle"
	"github.com/whirl-faas/whirl/whisk"
)

// What a namespace may begin. As in OpenWhisk, calls of actions and fires of
// triggers are counted per minute before anything else is asked, so that a call
// of nothing counts, too. What runs at once is counted from the acceptance of an
// activation to its end: who has the answer has the place, too, though the logs may
// not be stored yet. What a sequence or a composition runs is part of it; an action
// that a rule runs counts like a call. Several controllers share alike.

// throttles count for all namespaces, by their names.
type throttles struct {
	calls  *throttle.Rate
	fires  *throttle.Rate
	flight *throttle.Flight
}

func newThrottles() throttles {
	return throttles{throttle.NewRate(), throttle.NewRate(), throttle.NewFlight()}
}

// AdmitCall counts a call of an action of the caller's, and returns Throttled if
// it is one too many. It comes before all other checks.
func (c *Controller) AdmitCall(caller *Caller) error {
	limits := c.LimitsOf(caller)
	if err := c.throttles.calls.Take(caller.Namespace, c.share(limits.InvocationsPerMinute)); err != nil {
		return err
	}
	return c.throttles.flight.Check(caller.Namespace, c.share(limits.ConcurrentActions))
}

// AdmitFire is AdmitCall for fires of triggers.
func (c *Controller) AdmitFire(caller *Caller) error {
	return c.throttles.fires.Take(caller.Namespace, c.share(c.LimitsOf(caller).FiresPerMinute))
}

// share is what this controller may let in of what all may.
func (c *Controller) share(allowed int) int {
	return throttle.Share(allowed, c.deps.Balancer.Controllers())
}

// takeOff counts an activation that enters. One that was accepted by a former
// process is not refused.
func (c *Controller) takeOff(act *activation) error {
	if act.accepted {
		c.throttles.flight.Join(act.namespace)
	} else if err := c.throttles.flight.Enter(act.namespace, c.share(act.limits.ConcurrentActions)); err != nil {
		return err
	}
	act.flies = true
	return nil
}

// land counts the end of what took off, unless that was done. A step has not taken
// off by itself.
func (c *Controller) land(act *activation) {
	if act.flies {
		act.flies = false
		c.throttles.flight.Leave(act.namespace)
	}
}

// LimitsOf returns what a caller's namespace is allowed. It must not be modified.
func (c *Controller) LimitsOf(caller *Caller) *whisk.Limits {
	if caller.limits == nil {
		return &c.config.Limits
	}
	return caller.limits
}

// limitsOf reads what a namespace is allowed.
func (c *Controller) limitsOf(ctx context.Context, namespace string) (*whisk.Limits, error) {
	own, err := c.deps.Subjects.NamespaceLimits(ctx, namespace)
	if err != nil {
		return nil, fmt.Errorf("find what %s is allowed: %w", namespace, err)
	}
	return new(c.config.Limits.For(c.config.Namespaces[namespace]).For(own)), nil
}

// mayUseKind checks that a namespace's actions may be of that kind.
func mayUseKind(limits *whisk.Limits, kind string) error {
	if limits.Allows(kind) || kind == whisk.Sequence || kind == whisk.Builtin {
		return nil
	}
	return whisk.Errorf(whisk.Denied, "The supplied authentication is not authorized to access actions of kind '%s'.", kind)
}
