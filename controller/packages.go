// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// PackageView is a package as its readers see it.
type PackageView struct {
	whisk.Package                    // a binding with its own parameters over those of where it leads
	Actions, Feeds []json.RawMessage // of where it leads, newest first, as [apijson.AppendPackageContents] takes them
}

// Package returns a package with what is in it.
func (c *Controller) Package(ctx context.Context, caller *Caller, name whisk.FullName) (PackageView, error) {
	err := mayReadPackage(ctx, caller, name, c.storedPackage)
	if is(err, whisk.NotFound) {
		err = whisk.Errorf(whisk.NotFound, "The requested resource '%s' does not exist.", name.Path())
	}
	if err != nil {
		return PackageView{}, err
	}
	packages, err := chainOf(ctx, name, c.storedPackage)
	if err == nil {
		err = c.mayShowPackage(caller, name, packages)
	}
	if err != nil {
		return PackageView{}, err
	}
	view := PackageView{Package: *packages[0]}
	view.Parameters = packages.shownTo(caller).under(nil)
	err = c.contents(ctx, packages[len(packages)-1].Name, func(doc whisk.Document) {
		content, isFeed, readErr := contentOf(doc)
		switch {
		case readErr != nil:
			c.deps.Logger.Error("summary of a packaged action not read", "action", doc.Name.Path(), "err", readErr)
		case isFeed:
			view.Feeds = append(view.Feeds, content)
		default:
			view.Actions = append(view.Actions, content)
		}
	})
	return view, err
}

// contentOf makes what a package shows of an action from the action's summary.
func contentOf(doc whisk.Document) (content json.RawMessage, isFeed bool, err error) {
	var summary struct {
		Version     whisk.Version    `json:"version"`
		Annotations whisk.Parameters `json:"annotations"`
	}
	if err := json.Unmarshal(doc.Summary, &summary); err != nil {
		return nil, false, fmt.Errorf("decode: %w", err)
	}
	action := whisk.Action{Name: doc.Name, Version: summary.Version, Annotations: summary.Annotations}
	return apijson.AppendPackageContent(nil, action), summary.Annotations.Get("feed") != nil, nil
}

// PutPackage creates a package or a binding from the JSON of a PUT, or updates
// it if overwrite is set, and returns it as [Controller.PutAction] does an action.
func (c *Controller) PutPackage(ctx context.Context, caller *Caller, name whisk.FullName, body []byte, overwrite bool) (whisk.Package, error) {
	if err := caller.Owns(name); err != nil {
		return whisk.Package{}, err
	}
	write, err := parsePackageWrite(body, caller.Namespace)
	if err != nil {
		return whisk.Package{}, err
	}
	if err := checkSizes(c.LimitsOf(caller), write.entityWrite); err != nil {
		return whisk.Package{}, err
	}
	if name.Name == "default" {
		return whisk.Package{}, whisk.Errorf(whisk.Invalid, "Package name 'default' is reserved.")
	}
	if err := c.mayBind(ctx, caller, write.binding); err != nil {
		return whisk.Package{}, err
	}
	former, revision, err := c.fetchPackage(ctx, name)
	if revision, err = replaceable(revision, err, overwrite); err != nil {
		return whisk.Package{}, err
	}
	if err := c.checkBinding(ctx, former, revision, write.binding); err != nil {
		return whisk.Package{}, err
	}
	pkg, err := mergePackage(former, name, revision, write)
	if err != nil {
		return whisk.Package{}, err
	}
	kept := pkg
	kept.Parameters = c.deps.Keys.Lock(pkg.Parameters)
	doc, err := encodePackage(kept, revision)
	if err != nil {
		return whisk.Package{}, err
	}
	_, err = c.commit(ctx, whisk.Transaction{Puts: []whisk.Document{doc}})
	return pkg, err
}

// mayBind checks that the caller may read the package that a binding is to lead to, if any.
func (c *Controller) mayBind(ctx context.Context, caller *Caller, binding whisk.FullName) error {
	if binding == (whisk.FullName{}) {
		return nil
	}
	err := mayReadPackage(ctx, caller, binding, c.storedPackage)
	switch {
	case is(err, whisk.NotFound):
		return errBindingMissing()
	case is(err, whisk.Conflict):
		return errBindingInvalid()
	}
	return err
}

// checkBinding checks that a package may become what the binding says, if that
// says anything, and that there is no binding behind the binding.
func (c *Controller) checkBinding(ctx context.Context, former whisk.Package, revision whisk.Revision, binding whisk.FullName) error {
	if binding == (whisk.FullName{}) {
		return nil
	}
	if revision != 0 && !former.IsBinding() {
		return whisk.Errorf(whisk.Conflict, "Resource is a package and cannot be converted into a binding.")
	}
	provider, err := c.storedPackage(ctx, binding)
	switch {
	case is(err, whisk.NotFound):
		return errBindingMissing()
	case is(err, whisk.Conflict):
		return errBindingInvalid()
	case err != nil:
		return err
	case provider.IsBinding():
		return whisk.Errorf(whisk.Invalid, "Cannot bind to another package binding.")
	}
	return nil
}

func errBindingMissing() error {
	return whisk.Errorf(whisk.Invalid, "Binding references a package that does not exist.")
}

func errBindingInvalid() error {
	return whisk.Errorf(whisk.Conflict, "Cannot bind to a resource that is not a package.")
}

// mergePackage lays a write over the former package, which is none if its revision is 0.
func mergePackage(former whisk.Package, name whisk.FullName, revision whisk.Revision, write packageWrite) (whisk.Package, error) {
	pkg := former
	pkg.Name = name
	if write.binding != (whisk.FullName{}) {
		pkg.Binding = write.binding
	}
	if write.parameters != nil {
		pkg.Parameters = write.parameters
	}
	if write.annotations != nil {
		pkg.Annotations = write.annotations
	}
	pkg.Annotations = pkg.Annotations.Without("binding") // only the server says what is bound
	if pkg.IsBinding() {
		pkg.Annotations = pkg.Annotations.With(whisk.Parameter{Key: "binding", Value: apijson.AppendBinding(nil, pkg.Binding)})
	}
	if write.publish != nil {
		pkg.Publish = *write.publish
	}
	pkg.Updated = time.Now().Truncate(time.Millisecond)
	var err error
	pkg.Version, err = nextVersion(former.Version, revision == 0, write.version)
	return pkg, err
}

// DeletePackage removes a package or a binding. A package that has actions goes
// only with force, and they with it.
func (c *Controller) DeletePackage(ctx context.Context, caller *Caller, name whisk.FullName, force bool) (whisk.Package, error) {
	if err := caller.Owns(name); err != nil {
		return whisk.Package{}, err
	}
	pkg, revision, err := c.fetchPackage(ctx, name)
	if err != nil {
		return whisk.Package{}, err
	}
	var tx whisk.Transaction
	if !pkg.IsBinding() {
		tx.Vacant = []whisk.FullName{name}
		err := c.contents(ctx, name, func(doc whisk.Document) {
			tx.Deletes = append(tx.Deletes, whisk.Stored{Name: doc.Name, Revision: doc.Revision})
		})
		if err != nil {
			return whisk.Package{}, err
		}
	}
	if n := len(tx.Deletes); n > 0 && !force {
		return whisk.Package{}, errNotEmpty(n)
	}
	tx.Deletes = append(tx.Deletes, whisk.Stored{Name: name, Revision: revision})
	_, err = c.commit(ctx, tx)
	return pkg, err
}

func errNotEmpty(n int) error {
	entities := "entities"
	if n == 1 {
		entities = "entity"
	}
	return whisk.Errorf(whisk.Conflict, "Package not empty (contains %d %s). Set force param or delete package contents.", n, entities)
}
