// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// resolvedAction is an action with all that a call needs of it, worked out
// once. Its parameters are in plain text, unless that is why it is unusable. It is
// shared by calls and never modified.
type resolvedAction struct {
	whisk.Action
	revision whisk.Revision
	runtime  whisk.Runtime
	unusable error // why it cannot be run, nil if it can; for the user

	label     string // names its containers
	listed    string // the package under which lists of activations find it
	bound     bool   // parameters must be laid under the payload, or taken out of it
	apiKey    bool   // the caller's key goes to the action
	conductor bool   // it chooses the steps of compositions
	keeping   Keeping
	final     map[string]bool
	initOnly  map[string]bool // parameters that go to /init and not to /run
	added     uint64          // see environmentOf

	identity []byte // `,"action_name":…,"action_version":…` of /run
	path     json.RawMessage
	kind     json.RawMessage
	limits   json.RawMessage
	binding  json.RawMessage // the binding that it was called through, nil for none
}

// keyFor is what the action's containers for a namespace are known by.
func (a *resolvedAction) keyFor(namespace string) whisk.ActionKey {
	return whisk.ActionKey{Namespace: namespace, Action: a.Name, Revision: a.revision, Environment: a.added}
}

// view is an action seen through packages that have parameters, or through a
// binding. It is of use for as long as what it was made of is what it would be made of.
type view struct {
	base     *resolvedAction
	packages chain
	action   *resolvedAction
}

// resolve returns what a call of that name runs, from the caches if it is there.
func (c *Controller) resolve(ctx context.Context, name whisk.FullName) (*resolvedAction, error) {
	stored, packages, err := c.stored(ctx, name, c.cachedPackage)
	if err != nil {
		return nil, err
	}
	base, err := c.resolveStored(ctx, stored)
	if err != nil || packages == nil || !packages.bound() && len(packages[0].Parameters) == 0 {
		return base, err
	}
	if known, ok := c.views.get(name); ok && known.base == base && slices.Equal(known.packages, packages) {
		return known.action, nil
	}
	action := base.Action
	action.Parameters = packages.under(action.Parameters)
	seen := c.opened(action, base.revision, base.runtime, base.unusable)
	seen.added = c.environmentOf(seen, packages)
	if packages.bound() {
		seen.behind(name)
	}
	c.views.set(name, view{base, packages, seen})
	return seen, nil
}

// resolveStored returns the action that is stored under that name, without
// what its package gives it.
func (c *Controller) resolveStored(ctx context.Context, name whisk.FullName) (*resolvedAction, error) {
	if action, ok := c.actions.get(name); ok {
		return action, nil
	}
	return c.actions.load(ctx, name, name.Path(), func(ctx context.Context) (*resolvedAction, error) {
		action, revision, err := c.fetchAction(ctx, name)
		if err != nil {
			return nil, err
		}
		runtime, unusable := c.runtimeOf(action)
		return c.opened(action, revision, runtime, unusable), nil
	})
}

func newResolved(action whisk.Action, revision whisk.Revision, runtime whisk.Runtime, unusable error) *resolvedAction {
	r := &resolvedAction{
		Action: action, revision: revision, runtime: runtime, unusable: unusable,
		label:     label(action.Name),
		listed:    action.Name.Package,
		bound:     len(action.Parameters) > 0,
		apiKey:    action.Annotations.Get("provide-api-key") == nil || action.Annotations.Truthy("provide-api-key"),
		conductor: action.Exec.Kind != whisk.Sequence && action.Annotations.Truthy("conductor"),
		keeping:   keepingOf(action.Annotations),
		path:      apijson.AppendString(nil, action.Name.Path()),
		kind:      apijson.AppendString(nil, action.Exec.Kind),
		limits:    apijson.AppendLimits(nil, action.Limits),
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
	r.identity = apijson.AppendString([]byte(`,"action_name":`), action.Name.String())
	r.identity = apijson.AppendString(append(r.identity, `,"action_version":`...), action.Version.String())
	return r
}

// behind notes that the action was called by the name that it has in a binding.
func (a *resolvedAction) behind(called whisk.FullName) {
	a.listed = called.Package
	a.binding = apijson.AppendString(nil, called.PackageName().Path())
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
