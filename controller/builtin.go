// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
	"unicode/utf8"

	"github.com/whirl-faas/whirl/whisk"
)

// Builtin is the code of an action that is part of the platform. It runs in the
// controller, in place of a container; in every other way its action is as any
// other. It must return soon after ctx has ended, which it does at the action's
// time limit. Calls overlap. Like all code, it runs at most once for an activation.
//
// The status and the result of the response are the builtin's to choose; an error of the
// user's is an ApplicationError. The size of the response is set for it.
type Builtin func(ctx context.Context, call BuiltinCall) whisk.Response

// BuiltinCall is what a builtin action is called with.
type BuiltinCall struct {
	On          *Controller // that runs it
	Activation  whisk.ActivationID
	Caller      *Caller         // in whose name it runs: of a web action, the owner of the action. Without a key where the action is not given it.
	Arguments   json.RawMessage // bound parameters under those of the call: an object or, in sequences, an array
	Transaction string
}

// Itself returns the caller in whose name the platform writes what it brings
// along into one of its namespaces. It alone may make actions of the kind
// [whisk.Builtin].
func Itself(namespace string) *Caller {
	return &Caller{Identity: whisk.Identity{Subject: namespace, Namespace: namespace}, platform: true}
}

// builtinPlace is the place of one activation among the builtin ones that run at once.
type builtinPlace struct {
	c   *Controller
	act *activation
}

// admitBuiltin takes a place for an activation of a builtin action.
func (c *Controller) admitBuiltin(act *activation) (Admission, error) {
	if !c.builtins.TryAcquire(1) {
		return nil, whisk.Errorf(whisk.Throttled, "Too many builtin actions run at once (limit: %d).", c.config.Builtins)
	}
	return builtinPlace{c, act}, nil
}

// Cancel implements [Admission].
func (p builtinPlace) Cancel() { p.c.builtins.Release(1) }

// Invoke implements [Admission]. As for a container, the activation is claimed before
// anything happens.
func (p builtinPlace) Invoke(ctx context.Context) whisk.Outcome {
	defer p.Cancel()
	act := p.act
	start := time.Now()
	outcome := whisk.Outcome{Start: start, Wait: start.Sub(act.received)}
	if err := p.c.claim(ctx, act); err != nil {
		p.c.deps.Logger.Warn("activation not claimed", "activation", act.id, "err", err)
		outcome.Response = whisk.ErrorResponse(whisk.WhiskError, failedText)
		return outcome
	}
	limit := act.action.Limits.Timeout
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	outcome.Response = p.c.runBuiltin(bounded, act)
	outcome.Run = time.Since(start)
	switch {
	case outcome.Response.Status == whisk.Success || bounded.Err() == nil:
	case ctx.Err() != nil:
		outcome.Response = whisk.ErrorResponse(whisk.WhiskError, "The platform is shutting down and ended the activation.")
	default:
		outcome.TimedOut = true
		text := fmt.Sprintf("The action exceeded its time limits of %d milliseconds.", limit.Milliseconds())
		outcome.Response = whisk.ErrorResponse(whisk.DeveloperError, text)
	}
	outcome.Response = sized(outcome.Response, act.limits.Result)
	return outcome
}

// runBuiltin runs the code. One that panics is to its caller what an action that
// crashes is, and does not take the controller along.
func (c *Controller) runBuiltin(ctx context.Context, act *activation) (response whisk.Response) {
	defer func() {
		if cause := recover(); cause != nil {
			c.deps.Logger.Log(ctx, slog.LevelError, "builtin action panicked", "activation", act.id, "action", act.action.Name.Path(), "err", cause, "stack", string(debug.Stack()))
			response = whisk.ErrorResponse(whisk.WhiskError, "The action failed inside the platform.")
		}
	}()
	return act.builtin(ctx)
}

// sized returns a response with its size, or what stands for one that is too long.
func sized(response whisk.Response, limit whisk.Bytes) whisk.Response {
	if length := whisk.Bytes(len(response.Result)); length > limit {
		text := fmt.Sprintf("The action produced a response that exceeded the allowed length: %d > %d bytes.", int64(length), int64(limit))
		response = whisk.ErrorResponse(whisk.ApplicationError, text)
	}
	response.Size = utf8.RuneCount(response.Result)
	return response
}

// builtinOf returns the code of a stored action of the kind [whisk.Builtin].
func (c *Controller) builtinOf(name whisk.FullName) (Builtin, error) {
	code := c.deps.Builtins[name]
	if code == nil {
		return nil, whisk.Errorf(whisk.Invalid, "The action '%s' is built into the platform, but not into this controller.", name.Path())
	}
	return code, nil
}

// bindBuiltin returns what an activation of a builtin action does, nil for others.
func (c *Controller) bindBuiltin(id whisk.ActivationID, call Call, action *resolvedAction, payload []byte) func(context.Context) whisk.Response {
	if action.Exec.Kind != whisk.Builtin {
		return nil
	}
	caller := *call.Caller
	if !action.apiKey {
		caller.Key = whisk.AuthKey{}
	}
	inner := BuiltinCall{
		On: c, Activation: id, Caller: &caller, Transaction: call.Transaction,
		Arguments: action.appendArguments(nil, payload),
	}
	return func(ctx context.Context) whisk.Response {
		code, err := c.builtinOf(action.Name)
		if err != nil { // it was resolved, so it is there
			return whisk.ErrorResponse(whisk.WhiskError, err.Error())
		}
		return code(ctx, inner)
	}
}
