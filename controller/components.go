// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"

	"github.com/whirl-faas/whirl/whisk"
)

// checkComponents checks that what a sequence is to run is there, does not lead
// back to the sequence, and comes to no more runs than one sequence may have
// when nested sequences are unfolded.
func (c *Controller) checkComponents(ctx context.Context, name whisk.FullName, components []whisk.FullName) error {
	switch {
	case len(components) > c.config.Limits.SequenceLength:
		return errLongSequence()
	case len(components) == 0:
		return whisk.Errorf(whisk.Invalid, "No component specified for the sequence.")
	}
	w := walk{c: c, above: map[whisk.FullName]bool{name: true}}
	return w.descend(ctx, components)
}

// walk goes through a sequence and what is nested in it. It ends at the first
// thing that is wrong, so it never takes more steps than the limit and the
// depth allow.
type walk struct {
	c     *Controller
	above map[whisk.FullName]bool // the sequences around what is looked at
	runs  int                     // of containers so far
}

func (w *walk) descend(ctx context.Context, components []whisk.FullName) error {
	for _, component := range components {
		if err := w.visit(ctx, component); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) visit(ctx context.Context, component whisk.FullName) error {
	stored, _, err := w.c.stored(ctx, component, w.c.storedPackage)
	if err == nil && w.above[stored] {
		return whisk.Errorf(whisk.Invalid, "Sequence may not refer to itself.")
	}
	var action whisk.Action
	if err == nil {
		action, _, err = w.c.fetchAction(ctx, stored)
	}
	switch {
	case is(err, whisk.NotFound):
		return whisk.Errorf(whisk.Invalid, "%s", missingComponentText)
	case err != nil:
		return err
	}
	if action.Exec.Kind != whisk.Sequence {
		if w.runs++; w.runs > w.c.config.Limits.SequenceLength {
			return errLongSequence()
		}
		return nil
	}
	if len(w.above) > w.c.config.Limits.SequenceLength {
		return errLongSequence() // it would not run either
	}
	w.above[stored] = true
	defer delete(w.above, stored)
	return w.descend(ctx, action.Exec.Components)
}

func errLongSequence() error { return whisk.Errorf(whisk.Invalid, "%s", longSequenceText) }
