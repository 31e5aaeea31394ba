// SPDX-License-Identifier: Apache-2.0

// Package controllertest has what tests of the controller stand on: a store in
// memory that fails, hangs or dies on demand, and a balancer that answers as
// the test wants.
//
// Nothing here starts goroutines or touches the disk, so both may live in a
// testing/synctest bubble. They may be used concurrently.
package controllertest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Store implements all the contracts of whisk's databases.
type Store struct {
	*contents

	asked sync.Mutex
	fault func(op string, done bool) error // guarded by asked
	calls map[string]int                   // guarded by asked
}

// contents are what processes share that use one store.
type contents struct {
	mu          sync.Mutex
	documents   map[whisk.FullName]whisk.Document
	changes     []whisk.Change
	subjects    map[string]whisk.Subject
	limits      map[string]whisk.NamespaceLimits
	apis        map[apiName]whisk.API
	blobs       map[whisk.Digest]blob
	activations map[recordKey]whisk.Activation
	logs        map[whisk.ActivationID]whisk.LogEntry
	queue       []whisk.Accepted
	alarms      map[whisk.FullName]whisk.Alarm
	alarmed     whisk.Revision // the last one of alarms
}

type blob struct {
	content []byte
	put     time.Time
}

// NewStore returns an empty store.
func NewStore() *Store {
	return sharing(&contents{
		documents:   map[whisk.FullName]whisk.Document{},
		subjects:    map[string]whisk.Subject{},
		limits:      map[string]whisk.NamespaceLimits{},
		apis:        map[apiName]whisk.API{},
		blobs:       map[whisk.Digest]blob{},
		activations: map[recordKey]whisk.Activation{},
		logs:        map[whisk.ActivationID]whisk.LogEntry{},
		alarms:      map[whisk.FullName]whisk.Alarm{},
	})
}

func sharing(c *contents) *Store { return &Store{contents: c, calls: map[string]int{}} }

// Another returns the store as another process has it: what is in it is shared,
// faults and the count of calls are not.
func (s *Store) Another() *Store { return sharing(s.contents) }

// SetFault makes every operation ask fault, by its method's name, before it
// takes effect (done is false) and after (done is true). An error is the
// operation's; after the effect it stands for an answer that was lost.
func (s *Store) SetFault(fault func(op string, done bool) error) {
	s.asked.Lock()
	defer s.asked.Unlock()
	s.fault = fault
}

// Calls returns how often an operation was asked for.
func (s *Store) Calls(op string) int {
	s.asked.Lock()
	defer s.asked.Unlock()
	return s.calls[op]
}

// Records returns all activation records, by id.
func (s *Store) Records() map[whisk.ActivationID]whisk.Activation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recordsLocked()
}

func (s *Store) recordsLocked() map[whisk.ActivationID]whisk.Activation {
	records := make(map[whisk.ActivationID]whisk.Activation, len(s.activations))
	for key, record := range s.activations {
		records[key.id] = record
	}
	return records
}

// Queued returns the entries of the queue, oldest first.
func (s *Store) Queued() []whisk.Accepted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queue)
}

// do runs an operation between its two faults, unless the context has ended.
func (s *Store) do(ctx context.Context, op string, effect func() error) error {
	s.asked.Lock()
	s.calls[op]++
	fault := s.fault
	s.asked.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if fault != nil {
		if err := fault(op, false); err != nil {
			return err
		}
	}
	s.mu.Lock()
	err := effect()
	s.mu.Unlock()
	if err == nil && fault != nil {
		err = fault(op, true)
	}
	return err
}

func (s *Store) changed(change whisk.Change) whisk.Revision {
	change.Position = int64(len(s.changes) + 1)
	s.changes = append(s.changes, change)
	return whisk.Revision(change.Position)
}

// Get implements [whisk.EntityStore].
func (s *Store) Get(ctx context.Context, name whisk.FullName) (doc whisk.Document, err error) {
	err = s.do(ctx, "Get", func() error {
		found, ok := s.documents[name]
		if !ok {
			return whisk.Errorf(whisk.NotFound, "no document %s", name)
		}
		doc = found
		return nil
	})
	return doc, err
}

// Put implements [whisk.EntityStore].
func (s *Store) Put(ctx context.Context, doc whisk.Document) (revision whisk.Revision, err error) {
	err = s.do(ctx, "Put", func() error {
		former := s.documents[doc.Name]
		if former.Revision != doc.Revision || former.Revision != 0 && former.Collection != doc.Collection {
			return whisk.Errorf(whisk.Conflict, "revision is %d", former.Revision)
		}
		revision = s.changed(whisk.Change{Entity: doc.Name})
		doc.Revision = revision
		s.documents[doc.Name] = doc
		return nil
	})
	return revision, err
}

// Delete implements [whisk.EntityStore].
func (s *Store) Delete(ctx context.Context, name whisk.FullName, revision whisk.Revision) error {
	return s.do(ctx, "Delete", func() error {
		former, found := s.documents[name]
		switch {
		case !found:
			return whisk.Errorf(whisk.NotFound, "no document %s", name)
		case former.Revision != revision:
			return whisk.Errorf(whisk.Conflict, "revision is %d", former.Revision)
		}
		delete(s.documents, name)
		s.changed(whisk.Change{Entity: name})
		return nil
	})
}

// Commit implements [whisk.EntityStore].
func (s *Store) Commit(ctx context.Context, tx whisk.Transaction) (revisions []whisk.Revision, err error) {
	err = s.do(ctx, "Commit", func() error {
		after, err := s.after(tx)
		if err != nil {
			return err
		}
		s.documents = after
		for _, doc := range tx.Puts {
			doc.Revision = s.changed(whisk.Change{Entity: doc.Name})
			s.documents[doc.Name] = doc
			revisions = append(revisions, doc.Revision)
		}
		for _, stored := range tx.Deletes {
			s.changed(whisk.Change{Entity: stored.Name})
		}
		return nil
	})
	return revisions, err
}

// after returns the documents as a transaction leaves them, with its puts'
// former revisions, or why it cannot be.
func (s *Store) after(tx whisk.Transaction) (map[whisk.FullName]whisk.Document, error) {
	if distinct(tx) < len(tx.Puts)+len(tx.Deletes) {
		return nil, whisk.Errorf(whisk.Invalid, "a name occurs more than once")
	}
	after := maps.Clone(s.documents)
	for _, stored := range tx.Deletes {
		if former, found := after[stored.Name]; !found || former.Revision != stored.Revision {
			return nil, whisk.Errorf(whisk.Conflict, "revision of %s is %d", stored.Name, former.Revision)
		}
		delete(after, stored.Name)
	}
	for _, doc := range tx.Puts {
		former := after[doc.Name]
		if former.Revision != doc.Revision || former.Revision != 0 && former.Collection != doc.Collection {
			return nil, whisk.Errorf(whisk.Conflict, "revision of %s is %d", doc.Name, former.Revision)
		}
		after[doc.Name] = doc
	}
	for _, name := range tx.Needs {
		if _, found := after[name]; !found {
			return nil, whisk.Errorf(whisk.Conflict, "%s is not there", name)
		}
	}
	for name := range after {
		if slices.Contains(tx.Vacant, name.PackageName()) {
			return nil, whisk.Errorf(whisk.Conflict, "%s is there", name)
		}
	}
	return after, nil
}

// distinct counts the names that a transaction writes.
func distinct(tx whisk.Transaction) int {
	names := map[whisk.FullName]bool{}
	for _, doc := range tx.Puts {
		names[doc.Name] = true
	}
	for _, stored := range tx.Deletes {
		names[stored.Name] = true
	}
	return len(names)
}

// List implements [whisk.EntityStore].
func (s *Store) List(ctx context.Context, query whisk.EntityQuery) (found []whisk.Document, err error) {
	err = s.do(ctx, "List", func() error {
		found = cut(s.matching(query), query.Skip, query.Limit)
		for i := range found {
			if !query.Full {
				found[i].Body = nil
			}
		}
		return nil
	})
	return found, err
}

// Count implements [whisk.EntityStore].
func (s *Store) Count(ctx context.Context, query whisk.EntityQuery) (n int, err error) {
	err = s.do(ctx, "Count", func() error {
		n = len(s.matching(query))
		return nil
	})
	return n, err
}

func (s *Store) matching(query whisk.EntityQuery) []whisk.Document {
	var found []whisk.Document
	for name, doc := range s.documents {
		if doc.Collection == query.Collection && name.Namespace == query.Namespace && (query.Package == nil || *query.Package == name.Package) && (doc.Public || !query.Public) {
			found = append(found, doc)
		}
	}
	slices.SortFunc(found, func(a, b whisk.Document) int {
		return cmp.Or(b.Updated.Compare(a.Updated), cmp.Compare(a.Name.Path(), b.Name.Path()))
	})
	return found
}

func cut[E any](list []E, skip, limit int) []E {
	list = list[min(skip, len(list)):]
	return list[:min(limit, len(list))]
}

// Changes implements [whisk.EntityStore].
func (s *Store) Changes(ctx context.Context, since int64, limit int) (found []whisk.Change, err error) {
	err = s.do(ctx, "Changes", func() error {
		found = slices.Clone(cut(s.changes, int(since), limit))
		return nil
	})
	return found, err
}

// LastChange implements [whisk.EntityStore].
func (s *Store) LastChange(ctx context.Context) (position int64, err error) {
	err = s.do(ctx, "LastChange", func() error {
		position = int64(len(s.changes))
		return nil
	})
	return position, err
}

// Digests implements [whisk.EntityStore].
func (s *Store) Digests(ctx context.Context) iter.Seq2[whisk.Digest, error] {
	return func(yield func(whisk.Digest, error) bool) {
		var digests []whisk.Digest
		err := s.do(ctx, "Digests", func() error {
			for _, doc := range s.documents {
				digests = append(digests, doc.Code)
			}
			return nil
		})
		if err != nil {
			yield("", err)
			return
		}
		for _, digest := range digests {
			if digest != "" && !yield(digest, nil) {
				return
			}
		}
	}
}

// Blobs returns the store's blobs; their methods' names clash with those of entities.
func (s *Store) Blobs() whisk.Blobs { return blobs{s} }

type blobs struct{ s *Store }

func (b blobs) Put(ctx context.Context, content io.Reader) (digest whisk.Digest, err error) {
	data, err := io.ReadAll(content)
	if err != nil {
		return "", fmt.Errorf("read the content: %w", err)
	}
	sum := sha256.Sum256(data)
	digest = whisk.Digest("sha256-" + hex.EncodeToString(sum[:]))
	return digest, b.s.do(ctx, "PutBlob", func() error {
		b.s.blobs[digest] = blob{data, time.Now()}
		return nil
	})
}

func (b blobs) Get(ctx context.Context, digest whisk.Digest) (content []byte, err error) {
	err = b.s.do(ctx, "GetBlob", func() error {
		found, ok := b.s.blobs[digest]
		if !ok {
			return whisk.Errorf(whisk.NotFound, "no blob %s", digest)
		}
		content = slices.Clone(found.content)
		return nil
	})
	return content, err
}

func (b blobs) Sweep(ctx context.Context, keep func(whisk.Digest) bool, olderThan time.Time) (n int, err error) {
	err = b.s.do(ctx, "Sweep", func() error {
		before := len(b.s.blobs)
		maps.DeleteFunc(b.s.blobs, func(digest whisk.Digest, found blob) bool {
			return !keep(digest) && found.put.Before(olderThan)
		})
		n = before - len(b.s.blobs)
		return nil
	})
	return n, err
}
