// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// callers call an action, one after the other each, until they are stopped.
type callers struct {
	stop    atomic.Bool
	calls   atomic.Int64
	running sync.WaitGroup
}

func (c *cluster) call(action string, n int) *callers {
	load := &callers{}
	for range n {
		load.running.Go(func() {
			for !load.stop.Load() {
				answer := c.controller.send(c.t, "POST", "/namespaces/_/actions/"+action+"?blocking=true&result=true", `{"a":1}`)
				load.calls.Add(1)
				if answer.status != http.StatusOK {
					c.t.Errorf("a call ended with %d %s", answer.status, answer.body)
					return
				}
			}
		})
	}
	return load
}

// more waits until some more calls were answered.
func (l *callers) more(t *testing.T, n int64, when string) {
	t.Helper()
	target := l.calls.Load() + n
	eventually(t, 2*time.Minute, "calls are answered "+when, func() bool { return t.Failed() || l.calls.Load() >= target })
}

func (l *callers) end() {
	l.stop.Store(true)
	l.running.Wait()
}
