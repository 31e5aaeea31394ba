// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/whirl-faas/whirl/client"
)

const (
	// cleanupTime bounds the deletion of all that a part of a run has deployed. A
	// run that ends has one part to clean up after.
	cleanupTime   = 20 * time.Second
	cleanupAtOnce = 8 // deletions at a server
)

// Left is an action that may still be there after a run, because its deletion
// failed or had no answer in time.
type Left struct {
	Endpoint string `json:"endpoint"`
	Action   string `json:"action"`
}

// leavings are the actions that a part of a run has deployed, at all its endpoints.
type leavings struct {
	mu      sync.Mutex
	actions []deployed
}

func (l *leavings) add(action deployed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.actions = append(l.actions, action)
}

// forget takes out an action that was not made after all.
func (l *leavings) forget(action deployed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.actions = slices.DeleteFunc(l.actions, func(one deployed) bool { return one == action })
}

// clean deletes what was deployed, also after ctx ended, and reports what may be
// left. That does no harm to the figures.
func (r *runner) clean(ctx context.Context, made *leavings) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	left := made.remove(ctx)
	r.report.Left = append(r.report.Left, left...)
	for _, line := range describeLeft(left) {
		r.display.note("%s", line)
	}
}

// remove deletes the actions, the newest first, and returns those that may still
// be there when ctx ends, in the order of their names. A server that hangs does not
// hold up another one.
func (l *leavings) remove(ctx context.Context) (left []Left) {
	var (
		mu      sync.Mutex
		all     sync.WaitGroup
		servers = map[string][]deployed{}
	)
	for _, action := range slices.Backward(l.actions) {
		servers[action.endpoint.base] = append(servers[action.endpoint.base], action)
	}
	for base, actions := range servers {
		all.Go(func() {
			var deletions errgroup.Group
			deletions.SetLimit(cleanupAtOnce)
			for _, action := range actions {
				deletions.Go(func() error {
					if !action.remove(ctx) {
						mu.Lock()
						defer mu.Unlock()
						left = append(left, Left{base, action.name})
					}
					return nil
				})
			}
			_ = deletions.Wait() // none has an error
		})
	}
	all.Wait()
	slices.SortFunc(left, func(a, b Left) int {
		return cmp.Or(strings.Compare(a.Endpoint, b.Endpoint), strings.Compare(a.Action, b.Action))
	})
	return left
}

// remove deletes the action and says whether it is certainly gone.
func (d deployed) remove(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	_, err := d.endpoint.client.DeleteAction(ctx, d.name)
	refused, ok := errors.AsType[*client.Error](err)
	return err == nil || ok && refused.Status == http.StatusNotFound
}

// describeLeft has a line for each endpoint.
func describeLeft(left []Left) (lines []string) {
	names := map[string][]string{}
	for _, one := range left {
		names[one.Endpoint] = append(names[one.Endpoint], one.Action)
	}
	for _, one := range left {
		if actions := names[one.Endpoint]; actions != nil {
			lines = append(lines, fmt.Sprintf("not known to be deleted at %s: %s", one.Endpoint, strings.Join(actions, ", ")))
			delete(names, one.Endpoint)
		}
	}
	return lines
}
