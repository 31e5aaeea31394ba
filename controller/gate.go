// SPDX-License-Identifier: Apache-2.0

package controller

import "sync"

// gate counts what runs, and once closed lets nothing more in. The zero gate is open.
type gate struct {
	mu     sync.Mutex
	count  int
	closed error         // why; nil while open
	idle   chan struct{} // made by close; closed when the last one has left
}

// enter lets one in, or says why not. Whoever is in leaves exactly once.
func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		return g.closed
	}
	g.count++
	return nil
}

// join lets one in on behalf of another that is in, also while the gate is closed.
func (g *gate) join() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count++
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count--
	if g.count == 0 && g.closed != nil {
		close(g.idle)
	}
}

// close shuts the gate, once, and returns a channel that is closed when all have left.
func (g *gate) close(why error) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed, g.idle = why, make(chan struct{})
	if g.count == 0 {
		close(g.idle)
	}
	return g.idle
}
