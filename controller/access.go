// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"

	"github.com/whirl-faas/whirl/whisk"
)

// Who may do what. A key acts in its own namespace, with all rights; in others it
// may read public packages, and read and run the actions in them. The checks of
// this file come first in every use case; routes ask them before they read a
// body, as OpenWhisk does.

// Owns reports, as an error for the user, whether the caller's key is that of
// the namespace of what it wants.
func (c *Caller) Owns(name whisk.FullName) error {
	switch {
	case name.Namespace == c.Namespace:
		return nil
	case name.Name == "":
		return errDenied(name.Namespace)
	}
	return errDenied(name.Path())
}

// MayInvoke checks that the caller may run the action of that name. What is in a
// package goes by the package. It looks into the cache, as calls do.
func (c *Controller) MayInvoke(ctx context.Context, caller *Caller, action whisk.FullName) error {
	return c.mayUse(ctx, caller, action, c.cachedPackage)
}

// MayRead is MayInvoke for readers of the action. It looks into the store.
func (c *Controller) MayRead(ctx context.Context, caller *Caller, action whisk.FullName) error {
	return c.mayUse(ctx, caller, action, c.storedPackage)
}

func (c *Controller) mayUse(ctx context.Context, caller *Caller, action whisk.FullName, packages packageSource) error {
	if action.Package == "" {
		return caller.Owns(action)
	}
	return mayReadPackage(ctx, caller, action.PackageName(), packages)
}

// MayChange checks that the caller may write or delete the action of that name.
// The package must be there and hold its actions itself.
func (c *Controller) MayChange(ctx context.Context, caller *Caller, action whisk.FullName) error {
	if err := caller.Owns(action); err != nil || action.Package == "" {
		return err
	}
	pkg, err := c.storedPackage(ctx, action.PackageName())
	switch {
	case err != nil:
		return err
	case pkg.IsBinding():
		return whisk.Errorf(whisk.Invalid, "Operation not permitted on package binding.")
	}
	return nil
}

// mayReadPackage checks that the package is the caller's or public or, if it is
// a binding of the caller's, that the same holds for where it leads. Who does not
// own a package does not learn whether it is there.
func mayReadPackage(ctx context.Context, caller *Caller, name whisk.FullName, packages packageSource) error {
	named := name // refusals speak of the first on the way
	for range maxBindings {
		owned := name.Namespace == caller.Namespace
		pkg, err := packages(ctx, name)
		switch {
		case err != nil && !owned && isForUser(err):
			return errDenied(named.Path())
		case err != nil:
			return err
		case !pkg.IsBinding() && (owned || pkg.Publish):
			return nil
		case !pkg.IsBinding() || !owned:
			return errDenied(named.Path())
		}
		name = pkg.Binding
	}
	return errCircular(name)
}

// mayShowAction checks that an action may be shown to a caller who may use it. With
// ExecuteOnly what other namespaces share is there to be run and not to be read.
// packages are those that the action lies in, nil if they are not known yet.
func (c *Controller) mayShowAction(caller *Caller, name whisk.FullName, packages chain) error {
	switch {
	case !c.config.ExecuteOnly:
		return nil
	case name.Namespace != caller.Namespace:
		return whisk.Errorf(whisk.Denied, "GET not permitted for '%s' since it's an action in a shared package", name.PackageName().Path())
	case packages.bound() && packages.action(name.Name).Namespace != name.Namespace:
		return whisk.Errorf(whisk.Denied, "GET not permitted for '%s'. Resource does not exist or is an action in a shared package binding.", name.Path())
	}
	return nil
}

// mayShowPackage is mayShowAction for packages. packages begins with the one itself.
func (c *Controller) mayShowPackage(caller *Caller, name whisk.FullName, packages chain) error {
	switch {
	case !c.config.ExecuteOnly:
		return nil
	case name.Namespace != caller.Namespace:
		return whisk.Errorf(whisk.Denied, "GET not permitted for '%s' since it's a shared package", name.Path())
	case packages.bound() && packages[0].Binding.Namespace != name.Namespace:
		return whisk.Errorf(whisk.Denied, "GET not permitted since %s is a binding of a shared package", name.Name)
	}
	return nil
}

// isForUser reports whether an error was written for the user; see the doc comment of the package.
func isForUser(err error) bool {
	_, bare := err.(*whisk.Error)
	return bare
}

// mayUseAll checks several actions that an entity refers to. The text for those
// that are refused names them all, but for the packages that are refused as such.
func (c *Controller) mayUseAll(ctx context.Context, caller *Caller, actions []whisk.FullName, packages packageSource) error {
	var refused []string
	seen := map[whisk.FullName]bool{}
	for _, action := range actions {
		err := c.mayUse(ctx, caller, action, packages)
		switch {
		case err != nil && (action.Package != "" || !is(err, whisk.Denied)):
			return err
		case err != nil && !seen[action]:
			refused = append(refused, action.Path())
		}
		seen[action] = true
	}
	return errAllDenied(refused)
}
