// SPDX-License-Identifier: Apache-2.0

package controllertest

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// recordKey is what a record is unique by.
type recordKey struct {
	namespace string
	id        whisk.ActivationID
}

// PutActivations implements [whisk.ActivationStore].
func (s *Store) PutActivations(ctx context.Context, records []whisk.Activation) error {
	return s.do(ctx, "PutActivations", func() error {
		for _, record := range records {
			key := recordKey{record.Namespace, record.ID}
			if _, there := s.activations[key]; !there {
				s.activations[key] = record
			}
		}
		return nil
	})
}

// Activation implements [whisk.ActivationStore].
func (s *Store) Activation(ctx context.Context, namespace string, id whisk.ActivationID) (record whisk.Activation, err error) {
	err = s.do(ctx, "Activation", func() error {
		found, ok := s.activations[recordKey{namespace, id}]
		if !ok {
			return whisk.Errorf(whisk.NotFound, "no activation %s", id)
		}
		record = found
		return nil
	})
	return record, err
}

// ListActivations implements [whisk.ActivationStore].
func (s *Store) ListActivations(ctx context.Context, query whisk.ActivationQuery) (found []whisk.Activation, err error) {
	err = s.do(ctx, "ListActivations", func() error {
		found = cut(s.ended(query), query.Skip, query.Limit)
		for i := range found {
			if !query.Full {
				found[i].Response = whisk.Response{Status: found[i].Response.Status}
				found[i].Logs = nil
			}
		}
		return nil
	})
	return found, err
}

// CountActivations implements [whisk.ActivationStore].
func (s *Store) CountActivations(ctx context.Context, query whisk.ActivationQuery) (n int, err error) {
	err = s.do(ctx, "CountActivations", func() error {
		n = len(s.ended(query))
		return nil
	})
	return n, err
}

func (s *Store) ended(query whisk.ActivationQuery) []whisk.Activation {
	var found []whisk.Activation
	for _, record := range s.activations {
		switch {
		case record.Namespace != query.Namespace,
			query.Name != "" && record.Name != query.Name,
			query.Name != "" && query.Package != nil && record.Package != *query.Package,
			!query.Since.IsZero() && record.Start.Before(query.Since),
			!query.Upto.IsZero() && record.Start.After(query.Upto):
			continue
		}
		found = append(found, record)
	}
	slices.SortFunc(found, func(a, b whisk.Activation) int {
		return cmp.Or(b.Start.Compare(a.Start), cmp.Compare(b.ID, a.ID))
	})
	return found
}

// ExpireActivations implements [whisk.ActivationStore].
func (s *Store) ExpireActivations(ctx context.Context, before time.Time, limit int) (n int, err error) {
	err = s.do(ctx, "ExpireActivations", func() error {
		maps.DeleteFunc(s.activations, func(_ recordKey, record whisk.Activation) bool {
			old := n < limit && record.Start.Before(before)
			if old {
				n++
			}
			return old
		})
		return nil
	})
	return n, err
}

// AppendLogs implements [whisk.LogStore].
func (s *Store) AppendLogs(ctx context.Context, entries []whisk.LogEntry) error {
	return s.do(ctx, "AppendLogs", func() error {
		for _, entry := range entries {
			if _, there := s.logs[entry.Activation]; !there {
				s.logs[entry.Activation] = entry
			}
		}
		return nil
	})
}

// Logs implements [whisk.LogStore].
func (s *Store) Logs(ctx context.Context, namespace string, id whisk.ActivationID) (lines []string, err error) {
	err = s.do(ctx, "Logs", func() error {
		if entry := s.logs[id]; entry.Namespace == namespace {
			lines = entry.Lines
		}
		return nil
	})
	return lines, err
}

// ExpireLogs implements [whisk.LogStore].
func (s *Store) ExpireLogs(ctx context.Context, before time.Time, limit int) (n int, err error) {
	err = s.do(ctx, "ExpireLogs", func() error {
		maps.DeleteFunc(s.logs, func(_ whisk.ActivationID, entry whisk.LogEntry) bool {
			old := n < limit && entry.Made.Before(before)
			if old {
				n++
			}
			return old
		})
		return nil
	})
	return n, err
}

// Accept implements [whisk.Queue].
func (s *Store) Accept(ctx context.Context, entries ...whisk.Accepted) error {
	return s.do(ctx, "Accept", func() error {
		s.acceptLocked(entries)
		return nil
	})
}

func (s *Store) acceptLocked(entries []whisk.Accepted) {
	for _, entry := range entries {
		if !slices.ContainsFunc(s.queue, func(other whisk.Accepted) bool { return other.Activation == entry.Activation }) {
			s.queue = append(s.queue, entry)
		}
	}
}

// Claim implements [whisk.Queue].
func (s *Store) Claim(ctx context.Context, id whisk.ActivationID, by whisk.ControllerID) error {
	return s.do(ctx, "Claim", func() error {
		for i, entry := range s.queue {
			switch {
			case entry.Activation != id:
			case entry.ClaimedBy != "":
				return whisk.Errorf(whisk.Conflict, "claimed by %s", entry.ClaimedBy)
			default:
				s.queue[i].ClaimedBy = by
				return nil
			}
		}
		return whisk.Errorf(whisk.NotFound, "no entry %s", id)
	})
}

// Complete implements [whisk.Queue].
func (s *Store) Complete(ctx context.Context, ids []whisk.ActivationID) error {
	return s.do(ctx, "Complete", func() error {
		s.queue = slices.DeleteFunc(s.queue, func(entry whisk.Accepted) bool { return slices.Contains(ids, entry.Activation) })
		return nil
	})
}

// Pending implements [whisk.Queue].
func (s *Store) Pending(ctx context.Context) iter.Seq2[whisk.Accepted, error] {
	return func(yield func(whisk.Accepted, error) bool) {
		var entries []whisk.Accepted
		if err := s.do(ctx, "Pending", func() error { entries = slices.Clone(s.queue); return nil }); err != nil {
			yield(whisk.Accepted{}, err)
			return
		}
		for _, entry := range entries {
			if !yield(entry, nil) {
				return
			}
		}
	}
}
