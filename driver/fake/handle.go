// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"context"
	"io"
	"sync"

	"github.com/whirl-faas/whirl/whisk"
)

// handle is a sandbox in one agent's hands. It implements [whisk.Sandbox].
type handle struct {
	*sandbox
	driver *Driver
	output [2]*output
	done   chan struct{} // closed by finish
	finish func()        // the sandbox, or the agent's process, has ended; idempotent
	dead   bool          // the agent's process has ended; guarded by sandbox.mu
}

var _ whisk.Sandbox = (*handle)(nil)

// adopt gives the sandbox to the agent that uses the driver.
func (s *sandbox) adopt(d *Driver) *handle {
	kept := d.config.Capabilities.Recovers
	h := &handle{sandbox: s, driver: d, done: make(chan struct{})}
	h.finish = sync.OnceFunc(func() { close(h.done) })
	for i, pipe := range s.output {
		h.output[i] = &output{pipe: pipe, kept: kept}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owner = h
	if s.over {
		h.finish()
	}
	return h
}

// orphan takes the sandbox from an agent whose process has ended.
func (s *sandbox) orphan() {
	s.mu.Lock()
	h := s.owner
	s.owner = nil
	if h != nil {
		h.dead = true
	}
	s.mu.Unlock()
	if h == nil {
		return
	}
	h.finish()
	for _, end := range h.output {
		_ = end.Close() // never fails
	}
}

func (h *handle) gone() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dead
}

func (h *handle) Done() <-chan struct{} { return h.done }

func (h *handle) Output() (stdout, stderr io.ReadCloser) { return h.output[0], h.output[1] }

// Settled implements [whisk.Sandbox].
func (h *handle) Settled() {
	if !h.gone() {
		h.settle()
	}
}

// Suspend implements [whisk.Sandbox].
func (h *handle) Suspend(ctx context.Context) error {
	if h.gone() {
		return nil
	}
	return h.freeze(ctx, h, true, Suspended, h.script.Suspend)
}

// Resume implements [whisk.Sandbox].
func (h *handle) Resume(ctx context.Context) error {
	if h.gone() {
		return nil
	}
	return h.freeze(ctx, h, false, Resumed, h.script.Resume)
}

// Destroy implements [whisk.Sandbox].
func (h *handle) Destroy(ctx context.Context) error {
	if h.gone() {
		return nil
	}
	return h.destroy(ctx, h)
}
