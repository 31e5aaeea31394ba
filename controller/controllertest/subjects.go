// SPDX-License-Identifier: Apache-2.0

package controllertest

import (
	"context"
	"maps"
	"slices"

	"github.com/whirl-faas/whirl/whisk"
)

// Subject implements [whisk.SubjectStore].
func (s *Store) Subject(ctx context.Context, name string) (subject whisk.Subject, err error) {
	err = s.do(ctx, "Subject", func() error {
		found, ok := s.subjects[name]
		if !ok {
			return whisk.Errorf(whisk.NotFound, "no subject %s", name)
		}
		subject = found
		return nil
	})
	return subject, err
}

// PutSubject implements [whisk.SubjectStore].
func (s *Store) PutSubject(ctx context.Context, subject whisk.Subject) error {
	return s.do(ctx, "PutSubject", func() error {
		for _, other := range s.subjects {
			for _, namespace := range other.Namespaces {
				if other.Name != subject.Name && slices.ContainsFunc(subject.Namespaces, func(n whisk.SubjectNamespace) bool {
					return n.Name == namespace.Name || n.UUID == namespace.UUID
				}) {
					return whisk.Errorf(whisk.Conflict, "namespace %s belongs to %s", namespace.Name, other.Name)
				}
			}
		}
		s.subjects[subject.Name] = subject
		s.changed(whisk.Change{Subject: subject.Name})
		return nil
	})
}

// DeleteSubject implements [whisk.SubjectStore].
func (s *Store) DeleteSubject(ctx context.Context, name string) error {
	return s.do(ctx, "DeleteSubject", func() error {
		if _, found := s.subjects[name]; !found {
			return whisk.Errorf(whisk.NotFound, "no subject %s", name)
		}
		delete(s.subjects, name)
		s.changed(whisk.Change{Subject: name})
		return nil
	})
}

// Subjects implements [whisk.SubjectStore].
func (s *Store) Subjects(ctx context.Context) (all []whisk.Subject, err error) {
	err = s.do(ctx, "Subjects", func() error {
		for _, name := range slices.Sorted(maps.Keys(s.subjects)) {
			all = append(all, s.subjects[name])
		}
		return nil
	})
	return all, err
}

// Lookup implements [whisk.SubjectStore].
func (s *Store) Lookup(ctx context.Context, uuid string) (whisk.Subject, error) {
	return s.holder(ctx, "Lookup", func(n whisk.SubjectNamespace) bool { return n.UUID == uuid })
}

// Owner implements [whisk.SubjectStore].
func (s *Store) Owner(ctx context.Context, namespace string) (whisk.Subject, error) {
	return s.holder(ctx, "Owner", func(n whisk.SubjectNamespace) bool { return n.Name == namespace })
}

func (s *Store) holder(ctx context.Context, op string, of func(whisk.SubjectNamespace) bool) (found whisk.Subject, err error) {
	err = s.do(ctx, op, func() error {
		for _, subject := range s.subjects {
			if slices.ContainsFunc(subject.Namespaces, of) {
				found = subject
				return nil
			}
		}
		return whisk.Errorf(whisk.NotFound, "nobody has it")
	})
	return found, err
}

// NamespaceLimits implements [whisk.SubjectStore].
func (s *Store) NamespaceLimits(ctx context.Context, namespace string) (limits whisk.NamespaceLimits, err error) {
	err = s.do(ctx, "NamespaceLimits", func() error {
		limits = s.limits[namespace]
		return nil
	})
	return limits, err
}

// PutNamespaceLimits implements [whisk.SubjectStore].
func (s *Store) PutNamespaceLimits(ctx context.Context, namespace string, limits whisk.NamespaceLimits) error {
	return s.do(ctx, "PutNamespaceLimits", func() error {
		s.limits[namespace] = limits
		s.changedOwner(namespace)
		return nil
	})
}

// DeleteNamespaceLimits implements [whisk.SubjectStore].
func (s *Store) DeleteNamespaceLimits(ctx context.Context, namespace string) error {
	return s.do(ctx, "DeleteNamespaceLimits", func() error {
		if _, found := s.limits[namespace]; !found {
			return whisk.Errorf(whisk.NotFound, "no limits of %s", namespace)
		}
		delete(s.limits, namespace)
		s.changedOwner(namespace)
		return nil
	})
}

// changedOwner is called within do.
func (s *Store) changedOwner(namespace string) {
	for _, subject := range s.subjects {
		if slices.ContainsFunc(subject.Namespaces, func(n whisk.SubjectNamespace) bool { return n.Name == namespace }) {
			s.changed(whisk.Change{Subject: subject.Name})
		}
	}
}
