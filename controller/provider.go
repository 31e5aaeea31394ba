// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"

	"github.com/whirl-faas/whirl/whisk"
)

// maxBindings is how many packages may lie on the way from a binding to the
// actions. A binding is made to a package that is none, but that one may be
// deleted and made again as a binding.
const maxBindings = 8

// packageSource finds a package: in the cache for calls, in the store for who
// reads or writes. The result is shared and never modified.
type packageSource func(ctx context.Context, name whisk.FullName) (*whisk.Package, error)

// cachedPackage is a packageSource.
func (c *Controller) cachedPackage(ctx context.Context, name whisk.FullName) (*whisk.Package, error) {
	if pkg, ok := c.packages.get(name); ok {
		return pkg, nil
	}
	return c.packages.load(ctx, name, name.Path(), func(ctx context.Context) (*whisk.Package, error) {
		return c.storedPackage(ctx, name)
	})
}

// storedPackage is a packageSource.
func (c *Controller) storedPackage(ctx context.Context, name whisk.FullName) (*whisk.Package, error) {
	pkg, _, err := c.fetchPackage(ctx, name)
	if err != nil {
		return nil, err
	}
	return &pkg, nil
}

// chain is a package and, if it is a binding, the packages that it leads to. The
// last one holds the actions.
type chain []*whisk.Package

func chainOf(ctx context.Context, name whisk.FullName, packages packageSource) (chain, error) {
	found := make(chain, 0, 2)
	for len(found) < maxBindings {
		pkg, err := packages(ctx, name)
		if err != nil {
			return nil, err
		}
		if found = append(found, pkg); !pkg.IsBinding() {
			return found, nil
		}
		name = pkg.Binding
	}
	return nil, errCircular(name)
}

// action returns the name under which an action of the package is stored.
func (l chain) action(name string) whisk.FullName {
	provider := l[len(l)-1].Name
	return whisk.FullName{Namespace: provider.Namespace, Package: provider.Name, Name: name}
}

// bound reports whether the actions lie behind a binding.
func (l chain) bound() bool { return len(l) > 1 }

// under lays the parameters of the packages under those of an action. A binding's
// come before those of the package that it leads to.
func (l chain) under(parameters whisk.Parameters) whisk.Parameters {
	var all whisk.Parameters
	for i := len(l) - 1; i >= 0; i-- {
		all = all.Merge(l[i].Parameters)
	}
	return all.Merge(parameters)
}

// stored returns the name under which the action of that name is stored: in
// another package if its own one is a binding.
func (c *Controller) stored(ctx context.Context, name whisk.FullName, packages packageSource) (whisk.FullName, chain, error) {
	if name.Package == "" {
		return name, nil, nil
	}
	packagesOnTheWay, err := chainOf(ctx, name.PackageName(), packages)
	if err != nil {
		return whisk.FullName{}, nil, err
	}
	return packagesOnTheWay.action(name.Name), packagesOnTheWay, nil
}
