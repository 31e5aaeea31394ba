// SPDX-License-Identifier: Apache-2.0

package runtimetest

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// patience is how long a check waits for output. It ends only failing tests.
const patience = 20 * time.Second

// Output collects one stream of a proxy. It is an [io.Writer].
type Output struct {
	mu      sync.Mutex
	text    []byte
	changed chan struct{} // closed and replaced at each write; nil before somebody waits
}

// Write implements [io.Writer].
func (o *Output) Write(text []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, text...)
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
	return len(text), nil
}

// String returns all that was written so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// Await waits until the stream has the text, and returns all it has then.
func (o *Output) Await(t testing.TB, text string) string {
	t.Helper()
	return o.await(t, "the text "+text, func(all string) bool { return strings.Contains(all, text) })
}

// Activations waits for the sentinels of n activations and returns the output
// of each, up to its sentinel.
func (o *Output) Activations(t testing.TB, n int) []string {
	t.Helper()
	const sentinel = whisk.LogSentinel + "\n"
	all := o.await(t, "sentinels", func(all string) bool { return strings.Count(all, sentinel) >= n })
	parts := strings.Split(all, sentinel)
	return parts[:len(parts)-1]
}

func (o *Output) await(t testing.TB, what string, enough func(all string) bool) string {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		o.mu.Lock()
		all := string(o.text)
		if o.changed == nil {
			o.changed = make(chan struct{})
		}
		changed := o.changed
		o.mu.Unlock()
		if enough(all) {
			return all
		}
		select {
		case <-changed:
		case <-deadline.C:
			t.Fatalf("waited %v for %s, have %q", patience, what, all[max(0, len(all)-2000):])
		}
	}
}
