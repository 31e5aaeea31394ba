// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// PutAction creates an action from the JSON of a PUT, or updates it if overwrite
// is set, and returns it with its code, and with the parameters as they were
// given: they are encrypted on their way to the store. The checks come in OpenWhisk's order:
// what the body says, how large and within which limits, and only then whether
// the action is there.
func (c *Controller) PutAction(ctx context.Context, caller *Caller, name whisk.FullName, body []byte, overwrite bool) (whisk.Action, []byte, error) {
	if err := c.MayChange(ctx, caller, name); err != nil {
		return whisk.Action{}, nil, err
	}
	write, err := c.parseActionWrite(body, caller)
	if err != nil {
		return whisk.Action{}, nil, err
	}
	if err := c.checkActionWrite(ctx, caller, write); err != nil {
		return whisk.Action{}, nil, err
	}
	former, revision, err := c.fetchAction(ctx, name)
	if revision, err = replaceable(revision, err, overwrite); err != nil {
		return whisk.Action{}, nil, err
	}
	if err := checkInstances(c.LimitsOf(caller), write.limits); err != nil {
		return whisk.Action{}, nil, err
	}
	if revision == 0 {
		former = whisk.Action{Name: name, Limits: whisk.DefaultActionLimits}
	}
	action, code, err := c.merge(ctx, former, revision == 0, write)
	if err != nil {
		return whisk.Action{}, nil, err
	}
	kept := action
	kept.Parameters = c.deps.Keys.Lock(action.Parameters)
	doc, err := encodeAction(kept, revision)
	if err != nil {
		return whisk.Action{}, nil, err
	}
	tx := whisk.Transaction{Puts: []whisk.Document{doc}}
	if name.Package != "" {
		tx.Needs = []whisk.FullName{name.PackageName()}
	}
	_, err = c.commit(ctx, tx)
	return action, code, err
}

// checkActionWrite checks what can be said of a PUT without the action that it is about.
func (c *Controller) checkActionWrite(ctx context.Context, caller *Caller, write actionWrite) error {
	if write.exec != nil {
		if size := write.exec.size(); size > c.config.Limits.Code {
			return errTooLarge("exec", size, c.config.Limits.Code)
		}
	}
	if err := checkSizes(c.LimitsOf(caller), write.entityWrite); err != nil {
		return err
	}
	if err := checkLimits(c.LimitsOf(caller), write.limits); err != nil || write.exec == nil {
		return err
	}
	if err := mayUseKind(c.LimitsOf(caller), write.exec.kind); err != nil {
		return err
	}
	return c.mayUseAll(ctx, caller, write.exec.components, c.storedPackage)
}

// checkSizes holds the parts of a PUT against what the namespace is allowed.
func checkSizes(limits *whisk.Limits, write entityWrite) error {
	if size := write.parameters.Size(); size > limits.Parameters {
		return errTooLarge("parameters", size, limits.Parameters)
	}
	if size := write.annotations.Size(); size > limits.Parameters {
		return errTooLarge("annotations", size, limits.Parameters)
	}
	return nil
}

// checkLimits holds the limits that a PUT names against what the namespace is allowed.
func checkLimits(limits *whisk.Limits, write limitsWrite) error {
	low, high := limits.MinAction, limits.MaxAction
	for _, limit := range []struct {
		given      *int64
		what, unit string
		low, high  int64
	}{
		{write.memory, "memory size", " MB", low.Memory.Megabytes(), high.Memory.Megabytes()},
		{write.timeout, "duration", " milliseconds", low.Timeout.Milliseconds(), high.Timeout.Milliseconds()},
		{write.logs, "log size", " MB", low.Logs.Megabytes(), high.Logs.Megabytes()},
		{write.concurrency, "concurrency", "", int64(low.Concurrency), int64(high.Concurrency)},
	} {
		switch {
		case limit.given == nil:
		case *limit.given > limit.high:
			return whisk.Errorf(whisk.Invalid, "%s %d%s exceeds allowed threshold of %d%s", limit.what, *limit.given, limit.unit, limit.high, limit.unit)
		case *limit.given < limit.low:
			return whisk.Errorf(whisk.Invalid, "%s %d%s below allowed threshold of %d%s", limit.what, *limit.given, limit.unit, limit.low, limit.unit)
		}
	}
	return nil
}

// checkInstances holds an action's containers against what its namespace may have
// under way: more of them would never be used. It is looked at after whether the
// action is there.
func checkInstances(limits *whisk.Limits, write limitsWrite) error {
	if write.instances == nil || *write.instances <= int64(limits.ConcurrentActions) {
		return nil
	}
	return whisk.Errorf(whisk.Invalid, "Max action instance concurrency must not exceed your namespace concurrency of %d.", limits.ConcurrentActions)
}

// merge lays a write over the former action by OpenWhisk's rules: parameters
// are replaced as a whole, annotations key by key, limits field by field.
func (c *Controller) merge(ctx context.Context, former whisk.Action, created bool, write actionWrite) (whisk.Action, []byte, error) {
	action := former
	var err error
	if action.Version, err = nextVersion(former.Version, created, write.version); err != nil {
		return whisk.Action{}, nil, err
	}
	action.Limits = write.limits.over(former.Limits)
	if write.publish != nil {
		action.Publish = *write.publish
	}
	action.Updated = time.Now().Truncate(time.Millisecond)

	var code []byte
	switch {
	case write.exec != nil:
		action.Exec, code, err = c.storeExec(ctx, former.Name, *write.exec)
	case created:
		err = whisk.Errorf(whisk.Invalid, "exec undefined")
	default:
		if _, err = c.runtimeOf(former); err == nil {
			code, err = c.code(ctx, former)
		}
	}
	if err != nil {
		return whisk.Action{}, nil, err
	}
	action.Parameters = mergeParameters(former, write)
	action.Annotations = mergeAnnotations(former.Annotations, write, created, action.Exec.Kind)
	// Those of several updates add up; those that the server makes are not the user's fault.
	if size := action.Annotations.Without("exec", "provide-api-key").Size(); size > c.config.Limits.Parameters {
		return whisk.Action{}, nil, errTooLarge("annotations", size, c.config.Limits.Parameters)
	}
	return action, code, nil
}

// mergeParameters returns the parameters that result from a write. Those of a
// sequence are its components, and nobody else's.
func mergeParameters(former whisk.Action, write actionWrite) whisk.Parameters {
	wasSequence := former.Exec.Kind == whisk.Sequence
	switch {
	case write.exec != nil && write.exec.kind == whisk.Sequence:
		return whisk.Parameters{{Key: "_actions", Value: apijson.AppendNames(nil, write.exec.components)}}
	case write.exec == nil && wasSequence:
		return former.Parameters
	case write.parameters != nil:
		return write.parameters
	case wasSequence:
		return nil
	}
	return former.Parameters
}

// nextVersion is the version of what a write makes of the former one. The last
// patch number has no next: whoever chose it has to choose again.
func nextVersion(former whisk.Version, created bool, given *whisk.Version) (whisk.Version, error) {
	switch {
	case given != nil:
		return *given, nil
	case created:
		return whisk.FirstVersion, nil
	}
	next := former.Next()
	if _, err := whisk.ParseVersion(next.String()); err != nil {
		return whisk.Version{}, whisk.Errorf(whisk.Invalid, "the version %s cannot be raised, the update must give a version", former)
	}
	return next, nil
}

// mergeAnnotations also sets the annotations that the server makes.
func mergeAnnotations(former whisk.Parameters, write actionWrite, created bool, kind string) whisk.Parameters {
	annotations := former.Without(write.delAnnotations...).Merge(write.annotations)
	if created && annotations.Get("provide-api-key") == nil {
		annotations = annotations.With(whisk.Parameter{Key: "provide-api-key", Value: json.RawMessage("false")})
	}
	return slices.Clip(annotations.With(whisk.Parameter{Key: "exec", Value: json.RawMessage(`"` + kind + `"`)}))
}
