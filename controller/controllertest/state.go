// SPDX-License-Identifier: Apache-2.0

package controllertest

import (
	"maps"
	"slices"

	"github.com/whirl-faas/whirl/whisk"
)

// State is all that is in a store, for reflect.DeepEqual: a request that was
// refused must leave it as it was.
type State struct {
	Documents   map[whisk.FullName]whisk.Document
	Changes     int // how many writes there were of documents, subjects and limits
	Blobs       []whisk.Digest
	Activations map[whisk.ActivationID]whisk.Activation
	Logs        map[whisk.ActivationID]whisk.LogEntry
	Queue       []whisk.Accepted
}

// State returns what is in the store now.
func (s *Store) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return State{
		Documents:   maps.Clone(s.documents),
		Changes:     len(s.changes),
		Blobs:       slices.Sorted(maps.Keys(s.blobs)),
		Activations: s.recordsLocked(),
		Logs:        maps.Clone(s.logs),
		Queue:       slices.Clone(s.queue),
	}
}

// Copy returns another store with what is in this one now, for who needs many
// that begin alike.
func (s *Store) Copy() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sharing(&contents{
		documents:   maps.Clone(s.documents),
		changes:     slices.Clone(s.changes),
		subjects:    maps.Clone(s.subjects),
		limits:      maps.Clone(s.limits),
		blobs:       maps.Clone(s.blobs),
		activations: maps.Clone(s.activations),
		logs:        maps.Clone(s.logs),
		queue:       slices.Clone(s.queue),
	})
}
