// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"

	"github.com/whirl-faas/whirl/whisk"
)

// ActionView is an action as its readers see it.
type ActionView struct {
	whisk.Action                // with its packages' parameters under its own
	Code         []byte         // as it was sent; nil if it was not asked for, or if there is none
	Binding      whisk.FullName // the package by which it was reached, where that is a binding and no code was asked for
}

// Action returns an action, with its code if withCode is set.
func (c *Controller) Action(ctx context.Context, caller *Caller, name whisk.FullName, withCode bool) (ActionView, error) {
	if err := c.MayRead(ctx, caller, name); err != nil {
		return ActionView{}, err
	}
	if err := c.mayShowAction(caller, name, nil); err != nil {
		return ActionView{}, err
	}
	stored, packages, err := c.stored(ctx, name, c.storedPackage)
	if err == nil {
		err = c.mayShowAction(caller, name, packages)
	}
	if err != nil {
		return ActionView{}, err
	}
	action, _, err := c.fetchAction(ctx, stored)
	if err != nil {
		return ActionView{}, err
	}
	view := ActionView{Action: action}
	view.Parameters = packages.shownTo(caller).under(shown(caller, stored, action.Parameters))
	switch {
	case withCode:
		view.Code, err = c.code(ctx, action)
	case packages.bound():
		view.Binding = name.PackageName()
	}
	return view, err
}

// DeleteAction removes an action and returns it with its code. The code itself
// goes later, when no action refers to it any more.
func (c *Controller) DeleteAction(ctx context.Context, caller *Caller, name whisk.FullName) (whisk.Action, []byte, error) {
	if err := c.MayChange(ctx, caller, name); err != nil {
		return whisk.Action{}, nil, err
	}
	action, revision, err := c.fetchAction(ctx, name)
	if err != nil {
		return whisk.Action{}, nil, err
	}
	// Read before the deletion, but its loss must not keep the action from being deleted.
	code, err := c.code(ctx, action)
	if err != nil {
		c.deps.Logger.Warn("code of a deleted action not read", "action", name.Path(), "err", err)
	}
	_, err = c.commit(ctx, whisk.Transaction{Deletes: []whisk.Stored{{Name: name, Revision: revision}}})
	return action, code, err
}

// code returns an action's code as it was sent; without an error it is nil only
// for a blackbox action that has none.
func (c *Controller) code(ctx context.Context, action whisk.Action) ([]byte, error) {
	if action.Exec.Code == "" {
		return noCode(action.Exec), nil
	}
	code, err := c.deps.Blobs.Get(ctx, action.Exec.Code)
	if err != nil {
		return nil, fmt.Errorf("read the code of %s: %w", action.Name, err)
	}
	return code, nil
}
