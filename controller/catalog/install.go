// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/whisk"
)

// markKey is the annotation by which an entity of the catalog is known.
const markKey = "catalog"

// mark is its value. An entity of another version was changed by somebody else.
type mark struct {
	Version string `json:"version"` // of the entity as the catalog wrote it
	Digest  string `json:"digest"`  // of what it wrote; "" for a package that is not complete yet
}

// Install brings the packages into the controller's store. A nil logger discards.
// Actions whose kind the platform lacks are written all the same, and say so when called.
func Install(ctx context.Context, c *controller.Controller, logger *slog.Logger) error {
	found, err := bundles()
	if err != nil {
		return err
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	node := "nodejs:default"
	if runtime, known := c.Runtimes().Resolve(node); known {
		node = runtime.Kind
	}
	i := installer{c: c, itself: controller.Itself(Namespace), node: node, logger: logger.With("component", "catalog")}
	for _, b := range found {
		if err := i.install(ctx, b); err != nil {
			return fmt.Errorf("install %s/%s: %w", Namespace, b.name, err)
		}
	}
	return nil
}

type installer struct {
	c      *controller.Controller
	itself *controller.Caller
	node   string // the kind of actions that name none
	logger *slog.Logger
}

// install brings one package and its actions up to date. The package is marked as complete at
// the end, so who dies on the way leaves the rest to the next one.
func (i installer) install(ctx context.Context, b bundle) error {
	name := whisk.FullName{Namespace: Namespace, Name: b.name}
	whole, err := b.digest(i.node)
	if err != nil {
		return err
	}
	begun, err := i.begin(ctx, name, b, whole)
	if err != nil || !begun {
		return err
	}
	for _, action := range slices.Sorted(maps.Keys(b.Actions)) {
		if err := i.installAction(ctx, whisk.FullName{Namespace: Namespace, Package: b.name, Name: action}, b.Actions[action]); err != nil {
			return err
		}
	}
	return i.finish(ctx, name, b, whole)
}

// digest stands for the package with all its actions.
func (b bundle) digest(node string) (string, error) {
	parts := []any{b.body()}
	for _, action := range slices.Sorted(maps.Keys(b.Actions)) {
		parts = append(parts, action, b.Actions[action].body(node))
	}
	return digest(parts...)
}

// begin makes the package if it is not there, and reports whether there is anything to do.
func (i installer) begin(ctx context.Context, name whisk.FullName, b bundle, whole string) (bool, error) {
	pkg, err := i.c.Package(ctx, i.itself, name)
	switch {
	case err != nil && whisk.KindOf(err) == whisk.NotFound:
		return true, i.putPackage(ctx, name, b.body(), mark{Version: whisk.FirstVersion.String()}, false)
	case err != nil && whisk.KindOf(err) == whisk.Conflict:
		i.logger.Warn("package of the catalog left out, its name is taken", "package", name.Path())
		return false, nil
	case err != nil:
		return false, err
	}
	noted, ours := markOf(pkg.Annotations)
	if !ours {
		i.logger.Info("package of the catalog left out, there is another one", "package", name.Path())
	}
	return ours && noted.Digest != whole, nil
}

// finish notes in the package that it is complete. What somebody has changed of it stays.
func (i installer) finish(ctx context.Context, name whisk.FullName, b bundle, whole string) error {
	pkg, err := i.c.Package(ctx, i.itself, name)
	if err != nil {
		return unlessRaced(err)
	}
	noted, ours := markOf(pkg.Annotations)
	switch {
	case !ours:
		return nil
	case noted.Version == pkg.Version.String():
		return i.putPackage(ctx, name, b.body(), mark{pkg.Version.Next().String(), whole}, true)
	}
	i.logger.Info("package of the catalog left as it was changed", "package", name.Path())
	noted.Digest = whole
	kept, err := noted.in(pkg.Annotations)
	if err != nil {
		return err
	}
	text, err := json.Marshal(map[string]any{"annotations": kept})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	_, err = i.c.PutPackage(ctx, i.itself, name, text, true)
	return unlessRaced(err)
}

func (i installer) putPackage(ctx context.Context, name whisk.FullName, content body, noted mark, overwrite bool) error {
	text, err := marked(content, noted)
	if err != nil {
		return err
	}
	_, err = i.c.PutPackage(ctx, i.itself, name, text, overwrite)
	return unlessRaced(err)
}

// installAction writes an action if it is not there, or if an older program wrote it.
func (i installer) installAction(ctx context.Context, name whisk.FullName, made item) error {
	content := made.body(i.node)
	whole, err := digest(content)
	if err != nil {
		return err
	}
	version, overwrite := whisk.FirstVersion, false
	former, err := i.c.Action(ctx, i.itself, name, false)
	if err == nil {
		noted, ours := markOf(former.Annotations)
		if !ours || noted.Version != former.Version.String() {
			i.logger.Info("action of the catalog left as it was changed", "action", name.Path())
			return nil
		}
		if noted.Digest == whole {
			return nil
		}
		version, overwrite = former.Version.Next(), true
	} else if whisk.KindOf(err) != whisk.NotFound {
		return err
	}
	text, err := marked(content, mark{version.String(), whole})
	if err != nil {
		return err
	}
	_, _, err = i.c.PutAction(ctx, i.itself, name, text, overwrite)
	return unlessRaced(err)
}

// unlessRaced makes no error of one which says that somebody else wrote at the same time: another
// controller, which wrote the same, or an operator, whose word is the last.
func unlessRaced(err error) error {
	if err != nil && whisk.KindOf(err) == whisk.Conflict {
		return nil
	}
	return err
}

// marked returns the body of a PUT that says of itself what it is.
func marked(content body, noted mark) ([]byte, error) {
	annotations, err := noted.in(content.Annotations)
	if err != nil {
		return nil, err
	}
	content.Version, content.Annotations = noted.Version, annotations
	text, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return text, nil
}

// in returns annotations with the mark among them.
func (m mark) in(annotations whisk.Parameters) (whisk.Parameters, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return annotations.With(whisk.Parameter{Key: markKey, Value: text}), nil
}

func markOf(annotations whisk.Parameters) (mark, bool) {
	var m mark
	value := annotations.Get(markKey)
	return m, value != nil && json.Unmarshal(value, &m) == nil && m.Version != ""
}
