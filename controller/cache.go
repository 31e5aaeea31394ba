// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// cache keeps up to limit values that are dear to load. Loads of one key are
// shared. A value that was loaded while anything was invalidated is handed to
// those who waited for it but not kept: it may be older than the change.
type cache[K comparable, V any] struct {
	limit int
	ttl   time.Duration // 0: until it is invalidated

	mu      sync.RWMutex
	entries map[K]cached[V]

	epoch   atomic.Uint64 // raised by each invalidation
	flights singleflight.Group
}

type cached[V any] struct {
	value   V
	expires time.Time // zero for never
}

func newCache[K comparable, V any](limit int, ttl time.Duration) *cache[K, V] {
	return &cache[K, V]{limit: limit, ttl: ttl, entries: map[K]cached[V]{}}
}

// get returns the value of key if it is there and fresh.
func (c *cache[K, V]) get(key K) (V, bool) {
	c.mu.RLock()
	entry, found := c.entries[key]
	c.mu.RUnlock()
	if !found || !entry.expires.IsZero() && time.Now().After(entry.expires) {
		var none V
		return none, false
	}
	return entry.value, true
}

// load calls the function for key, once for all who ask at the same time, and
// keeps its value. name is key as a string. The loader's context does not end
// with the caller's, since others may wait for the same value; it is the
// store's task not to block for ever.
func (c *cache[K, V]) load(ctx context.Context, key K, name string, load func(context.Context) (V, error)) (V, error) {
	value, err, _ := c.flights.Do(name, func() (any, error) {
		epoch := c.epoch.Load()
		value, err := load(context.WithoutCancel(ctx))
		if err == nil {
			c.put(key, value, epoch)
		}
		return value, err
	})
	if err != nil {
		var none V
		return none, err
	}
	return value.(V), nil
}

// set keeps a value that was not loaded.
func (c *cache[K, V]) set(key K, value V) { c.put(key, value, c.epoch.Load()) }

func (c *cache[K, V]) put(key K, value V, epoch uint64) {
	entry := cached[V]{value: value}
	if c.ttl > 0 {
		entry.expires = time.Now().Add(c.ttl)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch.Load() != epoch {
		return
	}
	// Which entry has to go is left to the map's random order: nearly as good as
	// the least recently used one, and reads stay free of bookkeeping.
	if _, replaced := c.entries[key]; !replaced && len(c.entries) >= c.limit {
		for victim := range c.entries {
			delete(c.entries, victim)
			break
		}
	}
	c.entries[key] = entry
}

// invalidate drops the value of key, whose name is given.
func (c *cache[K, V]) invalidate(key K, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch.Add(1)
	c.flights.Forget(name)
	delete(c.entries, key)
}

// invalidateIf drops all values that stale picks.
func (c *cache[K, V]) invalidateIf(stale func(K, V) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch.Add(1)
	for key, entry := range c.entries {
		if stale(key, entry.value) {
			delete(c.entries, key)
		}
	}
}
