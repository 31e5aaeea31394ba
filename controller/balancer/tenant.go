// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"sync"
	"sync/atomic"

	"github.com/whirl-faas/whirl/whisk"
)

// tenant is what the actions of one namespace have of what all share. It is there
// for as long as one of them is known.
type tenant struct {
	namespace      string
	actions        int // guarded by Balancer.mu
	entries, bytes atomic.Int64

	mu      sync.Mutex // below an action's
	waiting int        // actions that wait and have no container
	firsts  pace       // at which such actions get one
}

// tenantLocked returns the tenant of a namespace, made if need be. The caller
// holds b.mu.
func (b *Balancer) tenantLocked(namespace string) *tenant {
	t := b.tenants[namespace]
	if t == nil {
		t = &tenant{namespace: namespace}
		b.tenants[namespace] = t
	}
	return t
}

// bareLocked keeps count of the tenant's actions that wait without a container.
// served says that this one was just given one.
func (a *action) bareLocked(served bool) {
	bare := a.waiting.len() > 0 && len(a.containers) == 0
	if bare == a.bare {
		return
	}
	a.bare = bare
	t, now := a.tenant, a.b.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if bare {
		if t.waiting++; t.waiting == 1 {
			t.firsts.begin(now)
		}
		return
	}
	t.waiting--
	if served {
		t.firsts.step(now)
	}
}

// coldWait estimates how long an action that has no container waits for one, behind
// how many others of its namespace. ok is false if nothing is known.
func (t *tenant) coldWait(now int64) (others int, wait int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	wait, ok = t.firsts.wait(t.waiting, now)
	return t.waiting, wait, ok
}

// reserve takes room in what all share. A namespace may have as much as is left for
// the others: so those that push share alike, and who comes new finds some.
func (o *overflow) reserve(t *tenant, size whisk.Bytes) error {
	all, own := o.entries.Add(1), t.entries.Add(1)
	if own+all > o.maxEntries+1 {
		o.entries.Add(-1)
		t.entries.Add(-1)
		return whisk.Errorf(whisk.Unavailable, "Too many activations are waiting for a container: %d, of which %d are of this namespace (limit of all: %d, of a namespace: what is left of that).", all-1, own-1, o.maxEntries)
	}
	all, own = o.bytes.Add(int64(size)), t.bytes.Add(int64(size))
	if own+all > o.maxBytes+int64(size) {
		o.release(t, size)
		return whisk.Errorf(whisk.Unavailable, "The activations that wait for a container hold too much memory: %v, of which %v are of this namespace (limit of all: %v, of a namespace: what is left of that).",
			whisk.Bytes(all)-size, whisk.Bytes(own)-size, whisk.Bytes(o.maxBytes))
	}
	return nil
}

// force takes room that may not be there.
func (o *overflow) force(t *tenant, size whisk.Bytes) {
	o.entries.Add(1)
	t.entries.Add(1)
	o.bytes.Add(int64(size))
	t.bytes.Add(int64(size))
}

func (o *overflow) release(t *tenant, size whisk.Bytes) {
	o.entries.Add(-1)
	t.entries.Add(-1)
	o.bytes.Add(-int64(size))
	t.bytes.Add(-int64(size))
}
