// SPDX-License-Identifier: Apache-2.0

package files

import (
	"context"
	"sync"
)

// names lets one call at a time give or take a file's name. Without it, Sweep
// could find a blob old, and remove it just after a Put made it new. The zero
// value is ready for use.
type names struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed by the holder when it lets go
}

// isHeld reports whether somebody holds the name right now.
func (n *names) isHeld(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, held := n.held[name]
	return held
}

// acquire waits until nobody else holds the name, or ctx ends.
func (n *names) acquire(ctx context.Context, name string) (release func(), err error) {
	for {
		n.mu.Lock()
		held, taken := n.held[name]
		if !taken {
			if n.held == nil {
				n.held = make(map[string]chan struct{})
			}
			free := make(chan struct{})
			n.held[name] = free
			n.mu.Unlock()
			return func() { n.release(name, free) }, nil
		}
		n.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return nil, interrupted(ctx)
		}
	}
}

func (n *names) release(name string, free chan struct{}) {
	n.mu.Lock()
	delete(n.held, name)
	n.mu.Unlock()
	close(free)
}
