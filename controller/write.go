// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// ActionWrite is the body of a PUT: what it leaves out is kept, or gets its
// default when the action is new.
type ActionWrite struct {
	Exec           *ExecWrite        `json:"exec"`
	Parameters     *whisk.Parameters `json:"parameters"`
	Annotations    *whisk.Parameters `json:"annotations"`
	DelAnnotations []string          `json:"delAnnotations"`
	Limits         *LimitsWrite      `json:"limits"`
	Version        *whisk.Version    `json:"version"`
	Publish        *bool             `json:"publish"`
}

// LimitsWrite holds the limits that a PUT names, in the units of the API.
type LimitsWrite struct {
	Timeout     *int64 `json:"timeout"` // ms
	Memory      *int64 `json:"memory"`  // MB
	Logs        *int64 `json:"logs"`    // MB
	Concurrency *int64 `json:"concurrency"`
}

// ParseActionWrite reads a PUT's body. Unknown fields are ignored.
func ParseActionWrite(body []byte) (ActionWrite, error) {
	var write ActionWrite
	if err := json.Unmarshal(body, &write); err != nil {
		return ActionWrite{}, errMalformed("%w", err)
	}
	if trimmed := bytes.TrimSpace(body); len(trimmed) == 0 || trimmed[0] != '{' {
		return ActionWrite{}, errMalformed("Object expected")
	}
	for _, parameters := range []*whisk.Parameters{write.Parameters, write.Annotations} {
		if parameters != nil {
			tidyParameters(*parameters)
		}
	}
	return write, nil
}

// tidyParameters takes white space out of values and drops what only the
// server may set.
func tidyParameters(parameters whisk.Parameters) {
	for i := range parameters {
		var compact bytes.Buffer
		if json.Compact(&compact, parameters[i].Value) == nil {
			parameters[i].Value = compact.Bytes()
		}
		parameters[i].Encryption = ""
	}
}

// PutAction creates an action, or updates it if overwrite is set, and returns
// it with its code.
func (c *Controller) PutAction(ctx context.Context, caller *Caller, name whisk.FullName, write ActionWrite, overwrite bool) (whisk.Action, []byte, error) {
	if err := c.mayUse(ctx, caller, name); err != nil {
		return whisk.Action{}, nil, err
	}
	if err := c.checkSizes(write); err != nil {
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
func (c *Controller) checkSizes(write ActionWrite) error {
	if write.Exec != nil {
		if size := whisk.Bytes(len(write.Exec.text()) + len(write.Exec.Main)); size > c.config.Limits.Code {
			return errTooLarge("exec", size, c.config.Limits.Code)
		}
	}
	if write.Parameters != nil && write.Parameters.Size() > c.config.Limits.Parameters {
		return errTooLarge("parameters", write.Parameters.Size(), c.config.Limits.Parameters)
	}
	if write.Annotations != nil && write.Annotations.Size() > c.config.Limits.Parameters {
		return errTooLarge("annotations", write.Annotations.Size(), c.config.Limits.Parameters)
	}
	return nil
}

// errTooLarge is OpenWhisk's text for what exceeds a size limit.
func errTooLarge(what string, size, limit whisk.Bytes) error {
	return whisk.Errorf(whisk.TooLarge, "%s larger than allowed: %d > %d bytes.", what, int64(size), int64(limit))
}

// merge lays a write over the former action by OpenWhisk's rules: parameters
// are replaced as a whole, annotations key by key, limits field by field.
func (c *Controller) merge(ctx context.Context, former whisk.Action, created bool, write ActionWrite) (whisk.Action, []byte, error) {
	action := former
	var code []byte
	var err error
	switch {
	case write.Exec != nil:
		action.Exec, code, err = c.newExec(ctx, *write.Exec)
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
	if write.Limits != nil {
		if action.Limits, err = c.mergeLimits(former.Limits, *write.Limits); err != nil {
			return whisk.Action{}, nil, err
		}
	}
	if write.Parameters != nil {
		action.Parameters = *write.Parameters
	}
	action.Annotations = mergeAnnotations(former.Annotations, write, created, action.Exec.Kind)
	if size := action.Annotations.Size(); size > c.config.Limits.Parameters {
		return whisk.Action{}, nil, errTooLarge("annotations", size, c.config.Limits.Parameters)
	}
	if write.Publish != nil {
		action.Publish = *write.Publish
	}
	switch {
	case write.Version != nil:
		action.Version = *write.Version
	case created:
		action.Version = whisk.FirstVersion
	default:
		action.Version = former.Version.Next()
	}
	action.Updated = time.Now().Truncate(time.Millisecond)
	return action, code, nil
}

// mergeAnnotations also sets the annotations that the server makes.
func mergeAnnotations(former whisk.Parameters, write ActionWrite, created bool, kind string) whisk.Parameters {
	annotations := former.Without(write.DelAnnotations...)
	if write.Annotations != nil {
		annotations = annotations.Merge(*write.Annotations)
	}
	if created && annotations.Get("provide-api-key") == nil {
		annotations = annotations.With(whisk.Parameter{Key: "provide-api-key", Value: json.RawMessage("false")})
	}
	return slices.Clip(annotations.With(whisk.Parameter{Key: "exec", Value: json.RawMessage(`"` + kind + `"`)}))
}

// mergeLimits checks and applies the limits that a write names.
func (c *Controller) mergeLimits(limits whisk.ActionLimits, write LimitsWrite) (whisk.ActionLimits, error) {
	low, high := c.config.Limits.MinAction, c.config.Limits.MaxAction
	var errs []error
	apply := func(given *int64, what, unit string, low, high int64, set func(int64)) {
		switch {
		case given == nil:
		case *given > high:
			errs = append(errs, whisk.Errorf(whisk.Invalid, "%s %d%s exceeds allowed threshold of %d%s", what, *given, unit, high, unit))
		case *given < low:
			errs = append(errs, whisk.Errorf(whisk.Invalid, "%s %d%s below allowed threshold of %d%s", what, *given, unit, low, unit))
		default:
			set(*given)
		}
	}
	apply(write.Timeout, "duration", " milliseconds", low.Timeout.Milliseconds(), high.Timeout.Milliseconds(),
		func(n int64) { limits.Timeout = time.Duration(n) * time.Millisecond })
	apply(write.Memory, "memory size", " MB", low.Memory.Megabytes(), high.Memory.Megabytes(),
		func(n int64) { limits.Memory = whisk.Bytes(n) * whisk.MB })
	apply(write.Logs, "log size", " MB", low.Logs.Megabytes(), high.Logs.Megabytes(),
		func(n int64) { limits.Logs = whisk.Bytes(n) * whisk.MB })
	apply(write.Concurrency, "concurrency", "", int64(low.Concurrency), int64(high.Concurrency),
		func(n int64) { limits.Concurrency = int(n) })
	if len(errs) > 0 {
		return limits, errs[0]
	}
	return limits, nil
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
