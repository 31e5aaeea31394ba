// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"sync"

	"github.com/whirl-faas/whirl/whisk"
)

// collection is what becomes of a run's output: somebody else stores it, and settles
// that once. The zero collection is not settled.
type collection struct {
	mu      sync.Mutex
	settled bool
	logs    whisk.LogSummary
	err     error
	then    func(whisk.LogSummary, error) // nil until somebody wants to be told
	ready   chan struct{}                 // nil until somebody waits; closed when it is settled
}

// settle says what became of it, and tells who wants to know.
func (c *collection) settle(logs whisk.LogSummary, err error) {
	c.mu.Lock()
	c.settled, c.logs, c.err = true, logs, err
	then, ready := c.then, c.ready
	c.mu.Unlock()
	if ready != nil {
		close(ready)
	}
	if then != nil {
		then(logs, err)
	}
}

// tell is [whisk.Outcome.AfterLogs].
func (c *collection) tell(f func(whisk.LogSummary, error)) {
	c.mu.Lock()
	if !c.settled {
		c.then = f
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	f(c.logs, c.err)
}

// wait is [whisk.Outcome.Logs].
func (c *collection) wait(ctx context.Context) (whisk.LogSummary, error) {
	c.mu.Lock()
	if !c.settled && c.ready == nil {
		c.ready = make(chan struct{})
	}
	settled, ready := c.settled, c.ready
	c.mu.Unlock()
	if settled {
		return c.logs, c.err
	}
	select {
	case <-ready:
		return c.logs, c.err
	case <-ctx.Done():
		return whisk.LogSummary{}, whisk.Errorf(whisk.Timeout, "the output was not stored in time: %w", context.Cause(ctx))
	}
}
