// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/whirl-faas/whirl/whisk"
)

// The parameters of actions and packages may be encrypted: from the write that
// brought them until the action that they are for is called. Documents, readers
// and logs have them encrypted. Only the cache has them in plain text, of the
// actions that were called lately, so that a warm call pays nothing.
//
// What was encrypted says by which scheme. Clients may send it back so, as part
// of an entity that they read before, and it is stored as it came. Therefore it is
// not shown to other namespaces: who could read another's secret, encrypted, could
// put it into an action of his own, and have it decrypted for him.

// shown returns what a caller sees of the parameters of an entity.
func shown(caller *Caller, of whisk.FullName, parameters whisk.Parameters) whisk.Parameters {
	isLocked := func(parameter whisk.Parameter) bool { return parameter.Encryption != "" }
	if of.Namespace == caller.Namespace || !slices.ContainsFunc(parameters, isLocked) {
		return parameters
	}
	return slices.DeleteFunc(slices.Clone(parameters), isLocked)
}

// shownTo returns the packages as a caller sees them.
func (l chain) shownTo(caller *Caller) chain {
	seen := slices.Clone(l)
	for i, pkg := range seen {
		view := *pkg
		view.Parameters = shown(caller, pkg.Name, pkg.Parameters)
		seen[i] = &view
	}
	return seen
}

// opened resolves an action whose parameters may be encrypted. One of which they
// cannot be decrypted is kept, but cannot be run.
func (c *Controller) opened(action whisk.Action, revision whisk.Revision, runtime whisk.Runtime, unusable error) *resolvedAction {
	if action.Exec.Kind == whisk.Sequence { // its parameters go nowhere
		return newResolved(action, revision, runtime, unusable)
	}
	plain, err := c.deps.Keys.Unlock(action.Parameters)
	if err == nil {
		action.Parameters = plain
	} else {
		c.deps.Logger.Error("action cannot be run: its parameters cannot be decrypted", "action", action.Name.Path(), "err", err)
		unusable = cmp.Or(unusable, errLocked(action.Name, err))
	}
	return newResolved(action, revision, runtime, unusable)
}

func errLocked(action whisk.FullName, err error) error {
	return whisk.Errorf(whisk.KindOf(err), "The parameters of '%s' cannot be decrypted: %v.", action.Path(), err)
}

// environmentOf tells apart the environments that the same revision of an action
// may be initialised with, where packages add to them: a container that has one of
// them never serves calls that want another. It is 0 if the packages add nothing.
// Others than controllers see it, so it must not tell what is in there.
func (c *Controller) environmentOf(action *resolvedAction, packages chain) uint64 {
	isInit := func(parameter whisk.Parameter) bool { return parameter.Init }
	if !slices.ContainsFunc(packages, func(pkg *whisk.Package) bool { return slices.ContainsFunc(pkg.Parameters, isInit) }) {
		return 0
	}
	given := slices.DeleteFunc(slices.Clone(action.Parameters), func(parameter whisk.Parameter) bool { return !parameter.Init })
	slices.SortFunc(given, func(a, b whisk.Parameter) int { return cmp.Compare(a.Key, b.Key) })
	mac := hmac.New(sha256.New, c.deps.Secret)
	mac.Write([]byte("environment"))
	for _, parameter := range given {
		for _, part := range [][]byte{[]byte(parameter.Key), parameter.Value} {
			mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
			mac.Write(part)
		}
	}
	return max(1, binary.BigEndian.Uint64(mac.Sum(nil)))
}
