// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"slices"

	"github.com/whirl-faas/whirl/client"
)

// stage is what was deployed for a workload at an endpoint.
type stage struct {
	endpoint *endpoint
	kind     string     // as the server has it, such as "nodejs:20"
	actions  []deployed // to call
	answered int64      // good answers, warm-up included
}

// deployWorkload makes the actions of a workload at an endpoint.
func (r *runner) deployWorkload(ctx context.Context, made *leavings, e *endpoint, kind string, w Workload) (*stage, error) {
	s := &stage{endpoint: e}
	for _, owner := range append([]*endpoint{e}, e.others...) {
		if err := r.deployIn(ctx, made, s, owner, kind, w); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// deployIn makes them in one namespace.
func (r *runner) deployIn(ctx context.Context, made *leavings, s *stage, e *endpoint, kind string, w Workload) error {
	purpose := ""
	if w != (Workload{}) {
		purpose = w.slug()
	}
	add := func(name string, spec client.ActionSpec) error {
		action, err := e.deploy(ctx, made, name, spec)
		if err != nil {
			return err
		}
		s.kind, s.actions = action.Exec.Kind, append(s.actions, deployed{e, name})
		return nil
	}
	before := len(s.actions)
	for i := range w.actions() {
		name := e.actionName(kind, purpose)
		if w.actions() > 1 {
			name = fmt.Sprintf("%s-%d", name, i)
		}
		if err := add(name, r.spec(kind, w.task())); err != nil {
			return err
		}
	}
	if w.name != "sequence" {
		return nil
	}
	parts := slices.Repeat([]string{"/_/" + s.actions[before].name}, w.count)
	s.actions = s.actions[:before] // only the sequence is called
	return add(e.actionName(kind, purpose+"-whole"), client.ActionSpec{Exec: &client.Exec{Kind: "sequence", Components: parts}})
}
