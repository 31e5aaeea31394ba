// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Trigger returns a trigger.
func (c *Controller) Trigger(ctx context.Context, caller *Caller, name whisk.FullName) (whisk.Trigger, error) {
	if err := caller.Owns(name); err != nil {
		return whisk.Trigger{}, err
	}
	trigger, _, err := c.fetchTrigger(ctx, name)
	return trigger, err
}

// PutTrigger creates a trigger from the JSON of a PUT, or updates it if overwrite is set.
func (c *Controller) PutTrigger(ctx context.Context, caller *Caller, name whisk.FullName, body []byte, overwrite bool) (whisk.Trigger, error) {
	if err := caller.Owns(name); err != nil {
		return whisk.Trigger{}, err
	}
	write, err := parseTriggerWrite(body)
	if err != nil {
		return whisk.Trigger{}, err
	}
	if err := checkSizes(c.LimitsOf(caller), write); err != nil {
		return whisk.Trigger{}, err
	}
	former, revision, err := c.fetchTrigger(ctx, name)
	if revision, err = replaceable(revision, err, overwrite); err != nil {
		return whisk.Trigger{}, err
	}
	trigger, err := mergeTrigger(former, name, revision, write)
	if err != nil {
		return whisk.Trigger{}, err
	}
	doc, err := encodeTrigger(trigger, revision)
	if err != nil {
		return whisk.Trigger{}, err
	}
	_, err = c.commit(ctx, whisk.Transaction{Puts: []whisk.Document{doc}})
	return trigger, err
}

// mergeTrigger lays a write over the former trigger, which is none if its revision is 0.
func mergeTrigger(former whisk.Trigger, name whisk.FullName, revision whisk.Revision, write entityWrite) (whisk.Trigger, error) {
	trigger := former
	trigger.Name = name
	if write.parameters != nil {
		trigger.Parameters = write.parameters
	}
	if write.annotations != nil {
		trigger.Annotations = write.annotations
	}
	if write.publish != nil {
		trigger.Publish = *write.publish
	}
	trigger.Updated = time.Now().Truncate(time.Millisecond)
	if feed := trigger.Annotations.Get("feed"); revision == 0 && feed != nil && !isPath(feed) {
		return whisk.Trigger{}, whisk.Errorf(whisk.Invalid, "Feed name is not valid")
	}
	var err error
	trigger.Version, err = nextVersion(former.Version, revision == 0, write.version)
	return trigger, err
}

// isPath reports whether a JSON value is a name with as many parts as it likes.
func isPath(value json.RawMessage) bool {
	text, ok := parseString(value)
	named := false
	for part := range strings.SplitSeq(text, "/") {
		if part != "" {
			named = true
			ok = ok && whisk.CheckName(part) == nil
		}
	}
	return ok && named
}

// DeleteTrigger removes a trigger. Its rules stay, and are inactive from then on.
func (c *Controller) DeleteTrigger(ctx context.Context, caller *Caller, name whisk.FullName) (whisk.Trigger, error) {
	if err := caller.Owns(name); err != nil {
		return whisk.Trigger{}, err
	}
	trigger, revision, err := c.fetchTrigger(ctx, name)
	if err != nil {
		return whisk.Trigger{}, err
	}
	_, err = c.commit(ctx, whisk.Transaction{Deletes: []whisk.Stored{{Name: name, Revision: revision}}})
	return trigger, err
}

// resolveTrigger returns the trigger of that name, from the cache if it is
// there. It is shared and never modified.
func (c *Controller) resolveTrigger(ctx context.Context, name whisk.FullName) (*whisk.Trigger, error) {
	if trigger, ok := c.triggers.get(name); ok {
		return trigger, nil
	}
	return c.triggers.load(ctx, name, name.Path(), func(ctx context.Context) (*whisk.Trigger, error) {
		trigger, _, err := c.fetchTrigger(ctx, name)
		if err != nil {
			return nil, err
		}
		return &trigger, nil
	})
}
