// SPDX-License-Identifier: Apache-2.0

package files

import (
	"context"
	"sync"

	"github.com/whirl-faas/whirl/whisk"
)

// names lets one call at a time give or take a blob's name. Without it, Sweep
// could find a blob old, and remove it just after a Put made it new. The zero
// value is ready for use.
type names struct {
	mu   sync.Mutex
	held map[whisk.Digest]chan struct{} // closed by the holder when it lets go
}

// acquire waits until nobody else holds the name, or ctx ends.
func (n *names) acquire(ctx context.Context, digest whisk.Digest) (release func(), err error) {
	for {
		n.mu.Lock()
		held, taken := n.held[digest]
		if !taken {
			if n.held == nil {
				n.held = make(map[whisk.Digest]chan struct{})
			}
			free := make(chan struct{})
			n.held[digest] = free
			n.mu.Unlock()
			return func() { n.release(digest, free) }, nil
		}
		n.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return nil, interrupted(ctx)
		}
	}
}

func (n *names) release(digest whisk.Digest, free chan struct{}) {
	n.mu.Lock()
	delete(n.held, digest)
	n.mu.Unlock()
	close(free)
}
