// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// PutAction creates an action from the JSON of a PUT, or updates it if overwrite
// is set, and returns it with its code. The checks come in OpenWhisk's order:
// what the body says, how large and within which limits, and only then whether
// the action is there.
func (c *Controller) PutAction(ctx context.Context, caller *Caller, name whisk.FullName, body []byte, overwrite bool) (whisk.Action, []byte, error) {
	if err := c.mayUse(ctx, caller, name); err != nil {
		return whisk.Action{}, nil, err
	}
	write, err := c.parseWrite(body)
	if err != nil {
		return whisk.Action{}, nil, err
	}
	if err := c.checkSizes(write); err != nil {
		return whisk.Action{}, nil, err
	}
	if err := c.checkLimits(write.limits); err != nil {
		return whisk.Action{}, nil, err
	}
	former, revision, err := c.fetch(ctx, name)
	switch {
	case err != nil && whisk.KindOf(err) == whisk.NotFound:
		former, revision = whisk.Action{Name: name, Limits: whisk.DefaultActionLimits}, 0
	case err != nil:
		return whisk.Action{}, nil, err
	case !overwrite:
		return whisk.Action{}, nil, whisk.Errorf(whisk.Conflict, "resource already exists")
	}
	action, code, err := c.merge(ctx, former, revision == 0, write)
	if err != nil {
		return whisk.Action{}, nil, err
	}
	if err := c.store(ctx, action, revision); err != nil {
		return whisk.Action{}, nil, err
	}
	return action, code, nil
}

// checkSizes holds the parts of a PUT against the platform's limits.
func (c *Controller) checkSizes(write actionWrite) error {
	if write.exec != nil {
		if size := whisk.Bytes(len(write.exec.code) + len(write.exec.main) + len(write.exec.image())); size > c.config.Limits.Code {
			return errTooLarge("exec", size, c.config.Limits.Code)
		}
	}
	if size := write.parameters.Size(); size > c.config.Limits.Parameters {
		return errTooLarge("parameters", size, c.config.Limits.Parameters)
	}
	if size := write.annotations.Size(); size > c.config.Limits.Parameters {
		return errTooLarge("annotations", size, c.config.Limits.Parameters)
	}
	return nil
}

// errTooLarge is OpenWhisk's text for what exceeds a size limit.
func errTooLarge(what string, size, limit whisk.Bytes) error {
	return whisk.Errorf(whisk.TooLarge, "%s larger than allowed: %d > %d bytes.", what, int64(size), int64(limit))
}

// checkLimits holds the limits that a PUT names against what the platform allows.
func (c *Controller) checkLimits(write limitsWrite) error {
	low, high := c.config.Limits.MinAction, c.config.Limits.MaxAction
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

// merge lays a write over the former action by OpenWhisk's rules: parameters
// are replaced as a whole, annotations key by key, limits field by field.
func (c *Controller) merge(ctx context.Context, former whisk.Action, created bool, write actionWrite) (whisk.Action, []byte, error) {
	action := former
	var err error
	if action.Version, err = nextVersion(former.Version, created, write.version); err != nil {
		return whisk.Action{}, nil, err
	}
	action.Limits = write.limits.over(former.Limits)
	if write.parameters != nil {
		action.Parameters = write.parameters
	}
	if write.publish != nil {
		action.Publish = *write.publish
	}
	action.Updated = time.Now().Truncate(time.Millisecond)

	var code []byte
	switch {
	case write.exec != nil:
		action.Exec, code, err = c.storeExec(ctx, *write.exec)
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
	action.Annotations = mergeAnnotations(former.Annotations, write, created, action.Exec.Kind)
	// Those of several updates add up; those that the server makes are not the user's fault.
	if size := action.Annotations.Without("exec", "provide-api-key").Size(); size > c.config.Limits.Parameters {
		return whisk.Action{}, nil, errTooLarge("annotations", size, c.config.Limits.Parameters)
	}
	return action, code, nil
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

// store writes an action over revision and brings cache and containers in step.
func (c *Controller) store(ctx context.Context, action whisk.Action, revision whisk.Revision) error {
	doc, err := documentOf(action, revision)
	if err != nil {
		return err
	}
	written, err := c.deps.Entities.Put(ctx, doc)
	if err != nil && whisk.KindOf(err) == whisk.Conflict {
		return errConcurrentWrite()
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", action.Name, err)
	}
	c.actions.invalidate(action.Name, action.Name.Path())
	if revision != 0 {
		c.deps.Balancer.Retire(action.Name, written)
	}
	return nil
}
