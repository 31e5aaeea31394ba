// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/whirl-faas/whirl/whisk"
)

// storeExec stores the code of a PUT, if its kind may still be written. Of a
// sequence, which has none, it checks the components. name is the action's.
func (c *Controller) storeExec(ctx context.Context, name whisk.FullName, write execWrite) (whisk.Exec, []byte, error) {
	if write.kind == whisk.Sequence {
		return whisk.Exec{Kind: whisk.Sequence, Components: write.components}, nil, c.checkComponents(ctx, name, write.components)
	}
	if write.kind == whisk.Builtin {
		_, err := c.builtinOf(name)
		return whisk.Exec{Kind: whisk.Builtin}, nil, err
	}
	if write.runtime.Deprecated {
		return whisk.Exec{}, nil, errDeprecated(write.runtime.Kind)
	}
	exec := whisk.Exec{
		Kind: write.runtime.Kind, Image: write.image(),
		Size: whisk.Bytes(len(write.code)), Binary: whisk.IsBase64(write.code), Main: write.main,
	}
	if write.code == "" {
		return exec, noCode(exec), nil
	}
	digest, err := c.deps.Blobs.Put(ctx, strings.NewReader(write.code))
	if err != nil {
		return whisk.Exec{}, nil, fmt.Errorf("store the code: %w", err)
	}
	exec.Code = digest
	return exec, []byte(write.code), nil
}

// noCode is the code of an action that has none: empty where code is required,
// and nil where it is not.
func noCode(exec whisk.Exec) []byte {
	switch exec.Kind {
	case whisk.Blackbox, whisk.Sequence, whisk.Builtin:
		return nil
	}
	return []byte{}
}

// runtimeOf returns the runtime of a stored action, if it may still be used.
// Sequences and builtin actions need none.
func (c *Controller) runtimeOf(action whisk.Action) (whisk.Runtime, error) {
	if action.Exec.Kind == whisk.Sequence {
		return whisk.Runtime{}, nil
	}
	if action.Exec.Kind == whisk.Builtin {
		_, err := c.builtinOf(action.Name)
		return whisk.Runtime{}, err
	}
	if action.Exec.Kind == whisk.Blackbox && c.deps.Images {
		return c.deps.Manifest.Blackbox(action.Exec.Image), nil
	}
	runtime, known := c.deps.Manifest.Resolve(action.Exec.Kind)
	switch {
	case !known:
		return whisk.Runtime{}, c.errUnknownKind(action.Exec.Kind)
	case runtime.Deprecated:
		return whisk.Runtime{}, errDeprecated(runtime.Kind)
	}
	return runtime, nil
}

// errUnknownKind lists what may be used instead and, if somebody knows, tells
// how to get what was asked for.
func (c *Controller) errUnknownKind(kind string) error {
	kinds := append(c.deps.Manifest.Kinds(), whisk.Sequence)
	if c.deps.Images {
		kinds = append(kinds, whisk.Blackbox)
	}
	slices.Sort(kinds)
	text := fmt.Sprintf("The specified runtime '%s' is not supported by this platform. Valid values are: '%s'.", kind, strings.Join(kinds, "', '"))
	if hint := c.deps.Hint(kind); hint != "" {
		text += " " + hint
	}
	return whisk.Errorf(whisk.Invalid, "%s", text)
}

func errDeprecated(kind string) error {
	return whisk.Errorf(whisk.Invalid, "The '%s' runtime is no longer supported. You may read and delete but not update or invoke this action.", kind)
}
