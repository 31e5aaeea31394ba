// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/whirl-faas/whirl/controller/web"
	"github.com/whirl-faas/whirl/whisk"
)

// WebAction is an action that is offered to the web. It is called in the name of
// its namespace, whoever calls: the owner's are the records and the limits.
type WebAction struct {
	web.Export

	owner  *Caller
	action *resolvedAction
	limits *whisk.Limits // of the owner's namespace
}

// Payload is how long a request may be that calls the action.
func (a *WebAction) Payload() whisk.Bytes { return a.limits.Payload }

// Final returns the parameters that a call may not give. It must not be modified.
func (a *WebAction) Final() map[string]bool { return a.action.final }

// WebCall is a request to run a web action.
type WebCall struct {
	Action      *WebAction
	Caller      *Caller // nil if nobody proved to be somebody
	Payload     []byte  // a JSON object; it is not kept after the call returned
	Transaction string
	Traced      bool // as in [Call], and what follows
	Begun       time.Time
	Timed       bool
}

// WebAction returns an action that is offered to the web. Whatever else is
// there, or not, is NotFound with the same text: strangers learn nothing. What
// the owner may not use is Denied, and what he calls too often Throttled. Calls of
// builtin actions count for the caller, if it is known who that is: their owner is
// the platform, and callers must not be in each other's way. caller may be nil.
func (c *Controller) WebAction(ctx context.Context, name whisk.FullName, caller *Caller) (*WebAction, error) {
	owner, err := c.Owner(ctx, name.Namespace)
	if err != nil {
		return nil, err
	}
	action, err := c.resolve(ctx, name)
	if err != nil {
		return nil, hide(err)
	}
	export, exported := web.ExportOf(action.Annotations)
	if !exported {
		return nil, errNotFound()
	}
	payer := owner
	if action.Exec.Kind == whisk.Builtin && caller != nil {
		payer = caller
	}
	if err := c.AdmitCall(payer); err != nil {
		return nil, err
	}
	if err := c.MayInvoke(ctx, owner, name); err != nil {
		return nil, err
	}
	if err := c.mayUseAll(ctx, owner, action.Exec.Components, c.cachedPackage); err != nil {
		return nil, err
	}
	if err := mayUseKind(c.LimitsOf(owner), action.Exec.Kind); err != nil {
		return nil, err
	}
	return &WebAction{export, owner, action, c.LimitsOf(owner)}, nil
}

// hide makes a missing resource of every error that is for the user.
func hide(err error) error {
	if isForUser(err) {
		return errNotFound()
	}
	return err
}

// Owner returns the owner of a namespace, in whose name the platform acts where
// nobody calls, or another one does: NotFound if there is none, or if the subject
// is blocked. The key stands for the owner's; it is empty if the platform has no
// secret to make it by.
func (c *Controller) Owner(ctx context.Context, namespace string) (*Caller, error) {
	if owner, ok := c.owners.get(namespace); ok {
		return owner, nil
	}
	return c.owners.load(ctx, namespace, namespace, func(ctx context.Context) (*Caller, error) {
		subject, err := c.deps.Subjects.Owner(ctx, namespace)
		switch {
		case err != nil && whisk.KindOf(err) == whisk.NotFound, subject.Blocked:
			return nil, errNotFound()
		case err != nil:
			return nil, fmt.Errorf("find the owner of %s: %w", namespace, err)
		}
		i := indexOf(subject, namespace)
		if i < 0 {
			return nil, errNotFound()
		}
		limits, err := c.limitsOf(ctx, namespace)
		identity := whisk.Identity{Subject: subject.Name, Namespace: namespace, UUID: subject.Namespaces[i].UUID}
		return &Caller{Identity: identity, Key: c.delegatedKey(subject.Namespaces[i]), limits: limits}, err
	})
}

// InvokeWeb runs a web action and waits for it as [Controller.Invoke] does. That the caller
// may call it, and with these parameters, is checked before.
func (c *Controller) InvokeWeb(ctx context.Context, call WebCall, wait time.Duration) (Answer, error) {
	action := call.Action.action
	if action.unusable != nil {
		return Answer{}, action.unusable
	}
	inner := Call{Caller: call.Action.owner, Action: action.Name, Transaction: call.Transaction, Traced: call.Traced, Begun: call.Begun, Timed: call.Timed}
	if call.Caller != nil && call.Caller.Identity == inner.Caller.Identity {
		inner.Caller = call.Caller // has the key itself
	}
	act := c.newActivation(c.deps.NewID(), inner, action, call.Payload, time.Now())
	act.keeping.blocking = true
	if err := c.enter(ctx, act); err != nil {
		return Answer{}, err
	}
	return c.await(ctx, act, wait)
}
