// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// resolvedAction is an action with all that a call needs of it, worked out
// once. It is shared by calls and never modified.
type resolvedAction struct {
	whisk.Action
	revision whisk.Revision
	runtime  whisk.Runtime
	unusable error // why it cannot be run, nil if it can; for the user

	label    string // names its containers
	bound    bool   // parameters must be laid under the payload, or taken out of it
	apiKey   bool   // the caller's key goes to the action
	final    map[string]bool
	initOnly map[string]bool // parameters that go to /init and not to /run

	identity []byte // `"namespace":…,"action_name":…,"action_version":…` of /run
	path     json.RawMessage
	kind     json.RawMessage
	limits   json.RawMessage
}

// resolve returns the action of that name, from the cache if it is there.
func (c *Controller) resolve(ctx context.Context, name whisk.FullName) (*resolvedAction, error) {
	if action, ok := c.actions.get(name); ok {
		return action, nil
	}
	return c.actions.load(ctx, name, name.Path(), func(ctx context.Context) (*resolvedAction, error) {
		action, revision, err := c.fetch(ctx, name)
		if err != nil {
			return nil, err
		}
		runtime, unusable := c.runtimeOf(action)
		return newResolved(action, revision, runtime, unusable), nil
	})
}

func newResolved(action whisk.Action, revision whisk.Revision, runtime whisk.Runtime, unusable error) *resolvedAction {
	r := &resolvedAction{
		Action: action, revision: revision, runtime: runtime, unusable: unusable,
		label:  label(action.Name),
		bound:  len(action.Parameters) > 0,
		apiKey: action.Annotations.Get("provide-api-key") == nil || action.Annotations.Truthy("provide-api-key"),
		path:   apijson.AppendString(nil, action.Name.Path()),
		kind:   apijson.AppendString(nil, action.Exec.Kind),
		limits: apijson.AppendLimits(nil, action.Limits),
	}
	isFinal := action.Annotations.Truthy("final")
	for _, parameter := range action.Parameters {
		if isFinal && string(parameter.Value) != "null" {
			r.final = with(r.final, parameter.Key)
		}
		if parameter.Init {
			r.initOnly = with(r.initOnly, parameter.Key)
		}
	}
	r.identity = apijson.AppendString([]byte(`"namespace":`), action.Name.Namespace)
	r.identity = apijson.AppendString(append(r.identity, `,"action_name":`...), action.Name.String())
	r.identity = apijson.AppendString(append(r.identity, `,"action_version":`...), action.Version.String())
	return r
}

func with(set map[string]bool, key string) map[string]bool {
	if set == nil {
		set = map[string]bool{}
	}
	set[key] = true
	return set
}

// label makes a container's name of an action's: letters, digits and "_".
func label(name whisk.FullName) string {
	text := []byte(name.Namespace + "_" + name.Name)
	for i, c := range text {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') {
			text[i] = '_'
		}
	}
	return string(text)
}
