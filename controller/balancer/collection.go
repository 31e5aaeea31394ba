// SPDX-License-Identifier: Apache-2.0

package balancer

import (
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
}

// settle says what became of it, and tells who wants to know.
func (c *collection) settle(logs whisk.LogSummary, err error) {
	c.mu.Lock()
	c.settled, c.logs, c.err = true, logs, err
	then := c.then
	c.mu.Unlock()
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
